//! The two text formats of metrics, and which one a scraper gets.
//!
//! prometheus-client writes `OpenMetrics`. Scrapers that do not know it read the older Prometheus text format, in which
//! the metadata of a family names the series (`…_total`), and the type `info` does not exist.

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format 0.0.4.
    Prometheus,
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
}

/// One media range of an `Accept` header.
struct MediaRange<'a> {
    media: &'a str,
    version: Option<&'a str>,
    /// From 0 (not acceptable) to 1.
    quality: f32,
}

impl Format {
    /// Selects the format for a request with these `Accept` headers: `OpenMetrics` if it is named, and not less wanted
    /// than text. A request that accepts neither format gets text, as other exporters do.
    pub(crate) fn negotiate<'a>(accept: impl IntoIterator<Item = &'a str>) -> Self {
        let ranges: Vec<_> =
            accept.into_iter().flat_map(|value| value.split(',')).filter_map(MediaRange::parse).collect();
        // The most specific range with the text format says how much it is wanted.
        let text = ["text/plain", "text/*", "*/*"].into_iter().find_map(|media| quality(&ranges, media, "0.0.4"));
        let open_metrics = quality(&ranges, "application/openmetrics-text", "1.0.0").unwrap_or(0.0);
        if open_metrics > 0.0 && open_metrics >= text.unwrap_or(0.0) { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Returns the value of the `Content-Type` header.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Returns the highest quality among the ranges with this media type, in this version or in any.
fn quality(ranges: &[MediaRange<'_>], media: &str, version: &str) -> Option<f32> {
    let is_ours = |range: &&MediaRange<'_>| {
        range.media.eq_ignore_ascii_case(media) && range.version.is_none_or(|wanted| wanted == version)
    };
    ranges.iter().filter(is_ours).map(|range| range.quality).reduce(f32::max)
}

impl<'a> MediaRange<'a> {
    /// Parses one range; `None` for a malformed one, which is ignored.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self { media: parts.next()?, version: None, quality: 1.0 };
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            if name.eq_ignore_ascii_case("q") {
                range.quality = value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?;
            } else if name.eq_ignore_ascii_case("version") {
                range.version = Some(value.trim_matches('"'));
            }
        }
        Some(range)
    }
}

/// Rewrites `OpenMetrics` as written by prometheus-client (`HELP`, `TYPE`, `UNIT`, series) in the Prometheus format.
pub(super) fn to_prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            // It names the series, whose suffix depends on the type.
            help = described.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, words)) = help.take_if(|(described, _)| *described == name) {
                push_line(&mut text, &["# HELP ", name, suffix, " ", words]);
            }
            push_line(&mut text, &["# TYPE ", name, suffix, " ", kind]);
        } else if !line.starts_with('#') {
            push_line(&mut text, &[line]);
        }
    }
    text
}

fn push_line(text: &mut String, parts: &[&str]) {
    text.extend(parts.iter().copied());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapers_get_open_metrics_only_if_they_name_it() {
        let negotiate = |accept: &str| Format::negotiate([accept]);
        for accept in [
            "",
            "*/*",
            "text/*;q=0.5",
            "text/plain",
            "text/plain;version=0.0.4",
            "TEXT/PLAIN; Version=\"0.0.4\"",
            "text/plain;version=0.0.4;q=1,*/*;q=0.1",
            "application/*",
            "application/json",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;q=0.3,text/plain;q=0.4",
            "application/openmetrics-text;q=2",
            "application/openmetrics-text;q=",
        ] {
            assert_eq!(negotiate(accept), Format::Prometheus, "{accept}");
        }
        for accept in [
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=1.0.0; Q=0.1",
            "text/plain;q=0.4,application/openmetrics-text;q=0.5",
            "application/openmetrics-text, */*",
            "text/plain;q=0, application/openmetrics-text;q=0.1, */*",
            // Prometheus 2.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            // Prometheus 3.
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        ] {
            assert_eq!(negotiate(accept), Format::OpenMetrics, "{accept}");
        }
        assert_eq!(Format::negotiate(["text/plain;q=0.1", "application/openmetrics-text"]), Format::OpenMetrics);
        assert_eq!(Format::negotiate([]), Format::Prometheus);
    }

    #[test]
    fn metadata_names_the_series() {
        let open_metrics = "# HELP calls Calls answered.\n# TYPE calls counter\ncalls_total{code=\"OK\"} 3\n\
                            # HELP wait_seconds Time waited.\n# TYPE wait_seconds histogram\n# UNIT wait_seconds seconds\n\
                            wait_seconds_bucket{le=\"+Inf\"} 1\n# HELP build The build.\n# TYPE build info\n\
                            build_info{version=\"1\"} 1\n# TYPE odd unknown\nodd 2\n# EOF\n";
        let text = "# HELP calls_total Calls answered.\n# TYPE calls_total counter\ncalls_total{code=\"OK\"} 3\n\
                    # HELP wait_seconds Time waited.\n# TYPE wait_seconds histogram\n\
                    wait_seconds_bucket{le=\"+Inf\"} 1\n# HELP build_info The build.\n# TYPE build_info gauge\n\
                    build_info{version=\"1\"} 1\n# TYPE odd untyped\nodd 2\n";
        assert_eq!(to_prometheus(open_metrics), text);
    }
}
