//! The standard environment variables of OpenTelemetry.
//!
//! A variable is honoured, or rejected by its name: traces that silently go nowhere are noticed when they are needed.
//! Variables have an effect only if traces are exported, so that variables which a platform sets for all of its
//! programs keep none from starting. An empty variable counts as unset, as the specification says. Values are shown
//! only where they cannot be credentials.
//!
//! The exporter reads its endpoint, headers and timeout, and the SDK reads the attributes of the resource and the limits
//! of the batches; this module only checks what they would ignore, or fail with.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::Url;

use super::trace::CallSampler;

/// How traces are exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceConfig {
    /// The transport to the collector.
    pub(super) protocol: TraceProtocol,
    /// Valid values of `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    pub(super) sampler: [String; 2],
    /// Whether the environment names the service.
    pub(super) is_service_named: bool,
}

/// The transport to the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TraceProtocol {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP over HTTP/1.1, as protobuf.
    HttpProtobuf,
}

const ENDPOINT: &[&str] = &["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOL: &[&str] = &["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const COMPRESSION: &[&str] = &["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
const TIMEOUT: &[&str] = &["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const HEADERS: &[&str] = &["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];

/// The limits of the batches that the SDK reads, with their largest values: the SDK allocates the queue at once.
const BATCHES: [(&str, u64); 3] = [
    ("OTEL_BSP_SCHEDULE_DELAY", 3_600_000),
    ("OTEL_BSP_MAX_QUEUE_SIZE", 65_536),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 65_536),
];

/// Reads the variables; `None` if traces are not exported.
///
/// # Errors
/// All errors, each of which begins with the name of a variable.
pub(crate) fn trace_config(variables: &BTreeMap<String, String>) -> Result<Option<TraceConfig>, Vec<String>> {
    let mut read = Reader { variables, errors: Vec::new() };
    let config = read.trace_config();
    if read.errors.is_empty() { Ok(config) } else { Err(read.errors) }
}

struct Reader<'a> {
    variables: &'a BTreeMap<String, String>,
    errors: Vec<String>,
}

impl<'a> Reader<'a> {
    fn trace_config(&mut self) -> Option<TraceConfig> {
        let is_disabled = self.one_of(&["OTEL_SDK_DISABLED"], &[("false", false), ("true", true)]);
        if is_disabled.unwrap_or(false) {
            return None;
        }
        let is_wanted = self.one_of(&["OTEL_TRACES_EXPORTER"], &[("otlp", true), ("none", false)]);
        if !is_wanted.unwrap_or_else(|| self.first(ENDPOINT).is_some()) {
            return None;
        }
        let protocols = [("grpc", TraceProtocol::Grpc), ("http/protobuf", TraceProtocol::HttpProtobuf)];
        let protocol = self.one_of(PROTOCOL, &protocols).unwrap_or(TraceProtocol::Grpc);
        self.one_of(COMPRESSION, &[("gzip", ()), ("none", ())]);
        self.check(ENDPOINT, is_plain_http, "must be a URL that begins with http://; for TLS, run a local collector");
        self.check(TIMEOUT, |value| is_number(value, u64::MAX), "must be a whole number of milliseconds above 0");
        self.check(HEADERS, are_headers, "must be pairs name=value of HTTP headers, separated by commas");
        self.check(&["OTEL_RESOURCE_ATTRIBUTES"], are_pairs, "must be pairs name=value, separated by commas");
        for (name, max) in BATCHES {
            self.check(&[name], |value| is_number(value, max), &format!("must be a whole number from 1 to {max}"));
        }
        self.check(&["OTEL_BSP_EXPORT_TIMEOUT"], |_| false, "has no effect; set OTEL_EXPORTER_OTLP_TIMEOUT");
        let is_propagated = |value: &str| value.split(',').any(|name| name.trim() == "tracecontext");
        self.check(&["OTEL_PROPAGATORS"], is_propagated, "must contain tracecontext, which is the only one supported");
        Some(TraceConfig { protocol, sampler: self.sampler(), is_service_named: self.is_service_named() })
    }

    fn sampler(&mut self) -> [String; 2] {
        let names = ["OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"];
        let sampler = names.map(|name| self.first(&[name]).map_or_else(String::new, |(_, value)| value.to_owned()));
        let [name, argument] = &sampler;
        if CallSampler::parse(name, argument).is_none() {
            self.errors.push(format!(
                "OTEL_TRACES_SAMPLER is {name:?} with OTEL_TRACES_SAMPLER_ARG {argument:?}: must be always_on, always_off \
                 or traceidratio, each also with the prefix parentbased_, and the ratio from 0 to 1"
            ));
        }
        sampler
    }

    fn is_service_named(&self) -> bool {
        let is_attribute = |pair: &str| pair.split_once('=').is_some_and(|(name, _)| name.trim() == "service.name");
        let attributes = self.first(&["OTEL_RESOURCE_ATTRIBUTES"]);
        self.first(&["OTEL_SERVICE_NAME"]).is_some()
            || attributes.is_some_and(|(_, pairs)| pairs.split(',').any(is_attribute))
    }

    /// Returns the first of these variables that is set, and its value.
    fn first(&self, names: &[&'static str]) -> Option<(&'static str, &'a str)> {
        names
            .iter()
            .find_map(|&name| Some((name, self.variables.get(name)?.trim())).filter(|(_, value)| !value.is_empty()))
    }

    /// Reads the first of these variables that is set, which must have one of these values, in any case.
    fn one_of<T: Copy>(&mut self, names: &[&'static str], values: &[(&str, T)]) -> Option<T> {
        let (name, text) = self.first(names)?;
        let found = values.iter().find(|(value, _)| value.eq_ignore_ascii_case(text));
        if found.is_none() {
            let values: Vec<_> = values.iter().map(|(value, _)| *value).collect();
            self.errors.push(format!("{name} is {text:?}: must be {}", values.join(" or ")));
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// Checks the first of these variables that is set. The error does not show the value.
    fn check(&mut self, names: &[&'static str], is_valid: impl Fn(&str) -> bool, rule: &str) {
        if let Some((name, value)) = self.first(names)
            && !is_valid(value)
        {
            self.errors.push(format!("{name} {rule}"));
        }
    }
}

fn is_plain_http(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.scheme() == "http" && url.has_host())
}

fn is_number(text: &str, max: u64) -> bool {
    text.parse().is_ok_and(|number: u64| (1..=max).contains(&number))
}

fn are_headers(text: &str) -> bool {
    let is_header = |pair: &str| {
        let Some((name, value)) = pair.split_once('=') else { return false };
        let value: Vec<u8> = percent_decode_str(value.trim()).collect();
        name.trim().parse::<HeaderName>().is_ok() && HeaderValue::from_bytes(&value).is_ok()
    };
    text.split_terminator(',').all(is_header)
}

fn are_pairs(text: &str) -> bool {
    text.split_terminator(',').all(|pair| pair.split_once('=').is_some_and(|(name, _)| !name.trim().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITH_COLLECTOR: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");

    fn read(variables: &[(&str, &str)]) -> Result<Option<TraceConfig>, Vec<String>> {
        trace_config(&variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn traces_are_exported_if_a_collector_or_the_exporter_is_named() {
        for variables in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", ""), ("OTEL_TRACES_EXPORTER", " ")],
            &[WITH_COLLECTOR, ("OTEL_TRACES_EXPORTER", "none")],
            &[WITH_COLLECTOR, ("OTEL_SDK_DISABLED", "TRUE")],
            // What does not matter is not checked.
            &[("OTEL_TRACES_SAMPLER", "sometimes"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")],
            &[WITH_COLLECTOR, ("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "zipkin")],
        ] {
            assert_eq!(read(variables), Ok(None), "{variables:?}");
        }
        for variables in [
            &[WITH_COLLECTOR][..],
            &[("OTEL_TRACES_EXPORTER", "otlp")],
            &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://[::1]:4318/v1/traces"), ("OTEL_SDK_DISABLED", "")],
        ] {
            let config = read(variables).unwrap().unwrap();
            assert_eq!((config.protocol, config.is_service_named), (TraceProtocol::Grpc, false), "{variables:?}");
        }
    }

    #[test]
    fn the_variable_of_the_signal_wins_and_an_empty_one_is_unset() {
        let protocol = |signal, general| {
            let names = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
            read(&[WITH_COLLECTOR, (names[0], signal), (names[1], general)]).unwrap().unwrap().protocol
        };
        assert_eq!(protocol("http/protobuf", "grpc"), TraceProtocol::HttpProtobuf);
        assert_eq!(protocol("", "http/protobuf"), TraceProtocol::HttpProtobuf);
        assert_eq!(protocol("grpc", "nonsense"), TraceProtocol::Grpc);
        for (name, value) in
            [("OTEL_SERVICE_NAME", "keys"), ("OTEL_RESOURCE_ATTRIBUTES", "zone=a, service.name = keys")]
        {
            assert!(read(&[WITH_COLLECTOR, (name, value)]).unwrap().unwrap().is_service_named, "{name}");
        }
    }

    #[test]
    fn what_the_exporter_reads_is_accepted_as_the_specification_has_it() {
        let variables = [
            WITH_COLLECTOR,
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, X-Tenant = c"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
            ("OTEL_RESOURCE_ATTRIBUTES", "zone=a,host.name=b%2Cc"),
            ("OTEL_BSP_SCHEDULE_DELAY", "1000"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "4096"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1024"),
        ];
        assert!(read(&variables).unwrap().is_some());
    }

    #[test]
    fn what_is_not_supported_is_rejected_by_name_without_credentials() {
        for (name, value) in [
            ("OTEL_SDK_DISABLED", "yes"),
            ("OTEL_TRACES_EXPORTER", "console"),
            ("OTEL_TRACES_EXPORTER", "otlp,console"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://user:canary@collector:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "localhost:4317"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization: Bearer canary"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a key=canary"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=canary%0A"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment:canary"),
            ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "9999999999"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "30000"),
            ("OTEL_PROPAGATORS", "b3"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ] {
            let errors = read(&[WITH_COLLECTOR, (name, value)]).unwrap_err();
            assert!(matches!(&errors[..], [only] if only.starts_with(name)), "{name}={value}: {errors:?}");
            assert!(!errors[0].contains("canary"), "{errors:?}");
        }
    }
}
