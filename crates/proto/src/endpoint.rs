//! The address of an authority, as people and other tools write it.

use std::fmt;

/// The address of an authority: `http://HOST:PORT` for plain text, `https://HOST:PORT` for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    url: String,
    is_tls: bool,
}

/// Why a text is not the address of an authority. It contains no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointError {
    endpoint: String,
    problem: &'static str,
    advice: String,
}

impl EndpointUrl {
    /// Parses an address. Schemes may have capitals, and `grpc` and `grpcs` mean `http` and `https`. Spaces around the
    /// address and one slash at its end are ignored.
    ///
    /// # Errors
    /// If the address has another form, for example a name for gRPC's resolvers such as `dns:///HOST:PORT`, which does
    /// not say whether to use TLS.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(without_scheme(text));
        };
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "http" | "grpc" => false,
            "https" | "grpcs" => true,
            "unix" => return Err(error(text, "is a socket file", either(""))),
            _ => return Err(error(text, "does not begin with http:// or https://", either(place_of(rest)))),
        };
        let scheme = if is_tls { "https" } else { "http" };
        let place = rest.rsplit('@').next().unwrap_or(rest);
        let (host, path) = place.split_at(place.find(['/', '?', '#']).unwrap_or(place.len()));
        let url = format!("{scheme}://{host}");
        let use_url = || format!("use {url}");
        if host.matches(':').count() > 1 && !host.starts_with('[') {
            return Err(error(text, "has an IPv6 address without brackets", format!("use {scheme}://[ADDRESS]:PORT")));
        }
        if host.is_empty() || host.starts_with(':') {
            return Err(error(text, "names no host", format!("use {scheme}://HOST:PORT")));
        }
        let name_and_port = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        if let Some((name, port)) = name_and_port
            && !port.parse().is_ok_and(|port: u16| port > 0)
        {
            return Err(error(&url, "has no valid port", format!("use {scheme}://{name}:PORT")));
        }
        if place != rest {
            return Err(error(&url, "was given with a user or password", use_url()));
        }
        if !path.is_empty() && path != "/" {
            return Err(error(text, "has a path", use_url()));
        }
        Ok(Self { url, is_tls })
    }

    /// The address with scheme, without a path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Whether the connection uses TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }
}

/// The error of an address without `://`.
fn without_scheme(text: &str) -> EndpointError {
    // gRPC also writes `dns:HOST:PORT`. With `dns:PORT`, `dns` is a host.
    let place = match text.split_once(':') {
        Some(("dns" | "ipv4" | "ipv6", place)) if place.parse::<u16>().is_err() => place,
        Some(("unix", _)) => return error(text, "is a socket file", either("")),
        _ => text,
    };
    error(text, "does not begin with http:// or https://", either(place_of(place)))
}

/// The host and port of a name such as `//resolver/HOST:PORT`.
fn place_of(rest: &str) -> &str {
    let place = rest.trim_end_matches('/').rsplit('/').next().unwrap_or(rest);
    place.rsplit('@').next().unwrap_or(place)
}

fn either(place: &str) -> String {
    let place = if place.is_empty() { "HOST:PORT" } else { place };
    format!("use http://{place} for plain text, https://{place} for TLS")
}

fn error(endpoint: &str, problem: &'static str, advice: String) -> EndpointError {
    // What precedes an `@` may be a password.
    let endpoint = match endpoint.rsplit_once('@') {
        Some((_, place)) => format!("…@{place}"),
        None => endpoint.to_owned(),
    };
    EndpointError { endpoint, problem, advice }
}

impl EndpointError {
    /// A right address, as a sentence that begins with "use".
    #[must_use]
    pub fn advice(&self) -> &str {
        &self.advice
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the endpoint {} {}", self.endpoint, self.problem)
    }
}

impl std::error::Error for EndpointError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood_as_tools_write_them() {
        for (text, url) in [
            ("http://127.0.0.1:50051", "http://127.0.0.1:50051"),
            (" HTTP://keys.example.com:50051/\r\n", "http://keys.example.com:50051"),
            ("grpc://keys:50051", "http://keys:50051"),
            ("GRPCS://keys", "https://keys"),
            ("https://[::1]", "https://[::1]"),
            ("https://[::1]:50051", "https://[::1]:50051"),
        ] {
            let endpoint = EndpointUrl::parse(text).unwrap();
            assert_eq!((endpoint.as_str(), endpoint.is_tls()), (url, url.starts_with("https")), "{text}");
        }
    }

    #[test]
    fn advice_names_a_right_address() {
        let either = "use http://keys:50051 for plain text, https://keys:50051 for TLS";
        for (text, problem, advice) in [
            ("keys:50051", "does not begin with http:// or https://", either),
            ("dns:///keys:50051", "does not begin with http:// or https://", either),
            ("dns://8.8.8.8/keys:50051", "does not begin with http:// or https://", either),
            ("dns:keys:50051", "does not begin with http:// or https://", either),
            ("tcp://keys:50051/", "does not begin with http:// or https://", either),
            ("unix:/run/keys.sock", "is a socket file", "use http://HOST:PORT for plain"),
            ("unix:///run/keys.sock", "is a socket file", "use http://HOST:PORT for plain"),
            ("http://keys:grpc", "has no valid port", "use http://keys:PORT"),
            ("https://keys:", "has no valid port", "use https://keys:PORT"),
            ("http://[::1]:65536", "has no valid port", "use http://[::1]:PORT"),
            ("http://keys:0", "has no valid port", "use http://keys:PORT"),
            ("", "does not begin with", "use http://HOST:PORT for plain"),
            ("http://keys:50051/v1", "has a path", "use http://keys:50051"),
            ("grpcs://keys:50051?x=y", "has a path", "use https://keys:50051"),
            ("https://", "names no host", "use https://HOST:PORT"),
            ("http://:50051", "names no host", "use http://HOST:PORT"),
            ("http://::1:50051", "has an IPv6 address without brackets", "use http://[ADDRESS]:PORT"),
        ] {
            let error = EndpointUrl::parse(text).unwrap_err();
            assert!(error.to_string().starts_with(&format!("the endpoint {text} {problem}")), "{error}");
            assert!(error.advice().starts_with(advice), "{text}: {}", error.advice());
        }
    }

    #[test]
    fn errors_contain_no_password() {
        for text in ["http://u:canary@h:1", "tcp://u:canary@h:1", "u:canary@h:1", "https://u:can/ary@h:1"] {
            let error = EndpointUrl::parse(text).unwrap_err();
            let shown = format!("{error} {} {error:?}", error.advice());
            assert!(!shown.contains("can"), "{shown}");
        }
    }
}
