//! The dashboard and the alerts in `deploy/observability` ask for what the server exports: every metric, every label and every
//! value of a label is one that a server's `/metrics` shows. What they mean, `promtool` checks.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that panics has failed, which is all that it should do"
)]

#[path = "clients/server.rs"]
#[expect(dead_code, reason = "the server that is started here tells its HTTP address too")]
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::Value;
use server::{tools, workspace};

/// The values of each label of each series, as `/metrics` shows them.
type Exported = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Labels that Prometheus adds when it scrapes.
const OF_THE_SCRAPE: [&str; 2] = ["job", "instance"];
/// A series for each code would be many that stay at 0, so each comes with its first call.
const COMES_WITH_CALLS: (&str, [&str; 2]) = ("grpc_server_handled_total", ["grpc_service", "grpc_method"]);
const CODES: [&str; 5] = ["OK", "Internal", "Unknown", "DataLoss", "Unavailable"];
/// Series that Prometheus makes itself.
const OF_PROMETHEUS: &str = "up";

/// What an expression asks for.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    metrics: BTreeSet<String>,
    /// Labels that results are grouped by.
    grouped_by: BTreeSet<String>,
    /// Metric, label and value.
    matched: BTreeSet<(String, String, String)>,
}

/// Reads `PromQL` as far as names go: words, strings, braces and the lists after `by` and its like.
fn asked(expression: &str) -> Asked {
    let mut asked = Asked::default();
    let mut rest = expression;
    let mut metric = String::new();
    while let Some(first) = rest.chars().next() {
        let word = rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).next().unwrap();
        if word.is_empty() {
            rest = match first {
                '{' => {
                    let (inside, after) =
                        rest.get(1..).and_then(|inside| inside.split_once('}')).expect("a brace closes");
                    asked.match_labels(&metric, inside);
                    after
                }
                // A duration.
                '[' => rest.split_once(']').expect("a bracket closes").1,
                _ => rest.get(first.len_utf8()..).unwrap(),
            };
            continue;
        }
        rest = rest.get(word.len()..).unwrap().trim_start();
        match word {
            "by" | "without" | "on" | "ignoring" | "group_left" | "group_right" => {
                let (inside, after) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).expect("a list");
                asked.grouped_by.extend(inside.split(',').map(|label| label.trim().to_owned()));
                rest = after;
            }
            "sum" | "min" | "max" | "count" | "and" | "or" | "unless" | "offset" => {}
            _ if rest.starts_with('(') || word.starts_with(|c: char| c.is_ascii_digit()) => {}
            _ => {
                word.clone_into(&mut metric);
                asked.metrics.insert(metric.clone());
            }
        }
    }
    asked
}

impl Asked {
    /// Notes `name="value", name=~"one|other"`.
    fn match_labels(&mut self, metric: &str, matchers: &str) {
        for matcher in matchers.split("\",").map(|matcher| matcher.trim().trim_end_matches('"')) {
            let (name, values) = matcher.split_once('"').expect("a matcher has a value in quotes");
            let name = name.trim_end_matches(['=', '~', '!']).trim();
            // A variable of the dashboard is what the reader chooses.
            for value in values.split('|').filter(|value| !value.starts_with('$')) {
                self.matched.insert((metric.to_owned(), name.to_owned(), value.to_owned()));
            }
        }
    }

    /// What of it the server does not export.
    fn missing(&self, exported: &Exported) -> Vec<String> {
        let mut missing = Vec::new();
        let ours: Vec<_> = self.metrics.iter().filter(|metric| *metric != OF_PROMETHEUS).collect();
        missing.extend(ours.iter().filter(|metric| !exported.contains_key(**metric)).map(ToString::to_string));
        for label in self.grouped_by.iter().filter(|label| !OF_THE_SCRAPE.contains(&label.as_str())) {
            let has = |metric: &&&String| exported.get(**metric).is_some_and(|labels| labels.contains_key(label));
            if !ours.iter().any(|metric| has(&metric)) {
                missing.push(format!("{label} of {ours:?}"));
            }
        }
        for (metric, label, value) in &self.matched {
            if OF_THE_SCRAPE.contains(&label.as_str()) {
                continue;
            }
            let values = exported.get(metric).and_then(|labels| labels.get(label));
            if !values.is_some_and(|values| values.iter().any(|known| fits(known, value))) {
                missing.push(format!("{metric}{{{label}=\"{value}\"}}"));
            }
        }
        missing
    }
}

/// Whether a value of a label fits a pattern, in which a dot stands for any character.
fn fits(value: &str, pattern: &str) -> bool {
    value.len() == pattern.len() && value.bytes().zip(pattern.bytes()).all(|(byte, of)| byte == of || of == b'.')
}

/// The `/metrics` of a server that has refused one call and failed one request, since a reason and a status are series from
/// their first time on.
fn scrape() -> String {
    let (_head, body) = scrape_as("");
    String::from_utf8(body).unwrap()
}

/// The head and the body of the same, for a request with more headers.
fn scrape_as(headers: &str) -> (String, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_key-authority"))
        .env_clear()
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It prints its addresses when it can be used, each behind a word, and a line to try as the last.
    let mut printed = BTreeMap::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        let mut words = line.split_whitespace().map(str::to_owned);
        printed.insert(words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if printed.contains_key("try") {
            break;
        }
    }
    let addresses = printed.get("gRPC").zip(printed.get("HTTP")).zip(printed.get("API"));
    let answer = addresses.map(|((grpc, http), api)| {
        // A proxy without a token of its own is misconfigured.
        let mut stream = TcpStream::connect(api)?;
        write!(stream, "GET /forward-auth HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\n\r\n")?;
        let mut failed = String::new();
        stream.read_to_string(&mut failed)?;
        assert!(failed.starts_with("HTTP/1.1 500"), "{failed}");
        let call = ["-plaintext", grpc, "keyauthority.v1.KeyAuthority/ListAccounts"];
        let refused = Command::new(tools().join("grpcurl")).args(call).output()?;
        let mut stream = TcpStream::connect(http)?;
        // HTTP/1.0 knows no chunks.
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: {http}\r\n{headers}\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok::<_, std::io::Error>((refused.status.success(), answer))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let (has_passed, mut answer) = answer.expect("it says where it listens").unwrap();
    assert!(!has_passed, "a call without a token was answered");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("the answer has a head");
    let body = answer.split_off(end + 4);
    (String::from_utf8(answer).unwrap().to_lowercase(), body)
}

/// What a program makes of an input, and whether it ended well.
fn pipe(program: &[&str], input: &[u8]) -> (bool, Vec<u8>) {
    let mut child = Command::new(program[0])
        .args(&program[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap_or_else(|error| panic!("{program:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        let output = child.wait_with_output().unwrap();
        (output.status.success(), output.stdout)
    })
}

fn exported(text: &str) -> Exported {
    let mut exported = Exported::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, _value)) = line.rsplit_once(' ') else { continue };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let known = exported.entry(name.to_owned()).or_default();
        for label in labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once("=\"").unwrap();
            known.entry(label.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
        }
    }
    // The series that are not there yet have the labels of the one that is.
    let (name, labels) = COMES_WITH_CALLS;
    let started = exported.get("grpc_server_started_total").expect("calls are counted").clone();
    let mut handled: BTreeMap<_, _> =
        started.into_iter().filter(|(label, _)| labels.contains(&label.as_str())).collect();
    handled.insert("grpc_code".to_owned(), CODES.map(str::to_owned).into());
    exported.insert(name.to_owned(), handled);
    exported
}

/// All values of a name, wherever it stands in a document.
fn all<'a>(name: &str, document: &'a Value, found: &mut Vec<&'a str>) {
    match document {
        Value::Object(fields) => {
            found.extend(fields.get(name).and_then(Value::as_str));
            fields.values().for_each(|field| all(name, field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| all(name, item, found)),
        _ => {}
    }
}

fn read(name: &str) -> String {
    std::fs::read_to_string(workspace().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn alerts() -> Value {
    let script = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let rules = workspace().join("deploy/observability/alerts.yaml");
    let run = Command::new(tools().join("python")).args(["-c", script]).arg(rules).output().unwrap();
    serde_json::from_slice(&run.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&run.stderr)))
}

#[test]
fn every_panel_and_rule_asks_for_what_the_server_exports() {
    let exported = exported(&scrape());
    let dashboard: Value = serde_json::from_str(&read("deploy/observability/dashboard.json")).unwrap();
    let alerts = alerts();
    let mut expressions = Vec::new();
    all("expr", &dashboard, &mut expressions);
    let panels = expressions.len();
    all("expr", &alerts, &mut expressions);
    assert!(panels >= 20 && expressions.len() > panels, "{panels} of {} expressions", expressions.len());
    for expression in expressions {
        let asked = asked(expression);
        assert!(!asked.metrics.is_empty(), "{expression}");
        assert_eq!(asked.missing(&exported), [""; 0], "{expression}");
    }
}

#[test]
fn every_alert_leads_to_a_place_in_the_runbook() {
    let operations = read("docs/operations.md");
    let anchors: BTreeSet<String> = operations
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-"))
        .collect();
    let alerts = alerts();
    let (mut places, mut names) = (Vec::new(), Vec::new());
    all("runbook", &alerts, &mut places);
    all("alert", &alerts, &mut names);
    assert_eq!(places.len(), names.len(), "an alert has no runbook");
    for place in places {
        assert!(anchors.contains(place), "docs/operations.md has no heading for {place}: {anchors:?}");
    }
}

#[test]
fn scrapers_get_the_format_that_they_ask_for() {
    for headers in ["", "Accept: text/plain;version=0.0.4\r\n", "Accept: */*\r\nAccept-Encoding: gzip;q=0, deflate\r\n"]
    {
        let (head, body) = scrape_as(headers);
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{headers}: {head}");
        assert!(!head.contains("content-encoding") && head.contains("vary: "), "{headers}: {head}");
        let (is_valid, _) = pipe(&["promtool", "check", "metrics"], &body);
        assert!(is_valid, "promtool finds faults in:\n{}", String::from_utf8_lossy(&body));
    }
    let named = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1\r\n\
                 Accept-Encoding: gzip\r\n";
    let (head, body) = scrape_as(named);
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"), "{head}");
    assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
    let (is_gzip, text) = pipe(&["gzip", "--decompress", "--stdout"], &body);
    assert!(is_gzip && text.ends_with(b"# EOF\n") && text.len() > 3 * body.len(), "{} bytes", text.len());
}

#[test]
fn what_does_not_exist_is_noticed() {
    let exported = exported(
        "# TYPE verify counter\nverify_total{verdict=\"VALID\"} 0\nverify_total{verdict=\"REVOKED\"} 1\n\
         grpc_server_started_total{grpc_service=\"s\",grpc_method=\"m\",grpc_type=\"unary\"} 0\nlag 0\n",
    );
    for (expression, missing) in [
        ("sum by (job, verdict) (rate(verify_total{verdict=~\"VALID|REVOKED\", job=~\"$job\"}[5m])) > 0.5", ""),
        ("max(lag) - min by (job) (lag{instance=\"a\"} offset 5m) or up{job=~\".*\"} == 0", ""),
        ("histogram_quantile(0.99, rate(grpc_server_handled_total{grpc_method=\"m\", grpc_code!=\"OK\"}[1m]))", ""),
        ("rate(verify[$__rate_interval])", "verify"),
        ("count by (outcome) (verify_total)", "outcome of [\"verify_total\"]"),
        ("verify_total{verdict=\"valid\"}", "verify_total{verdict=\"valid\"}"),
        ("verify_total{verdict=~\"VALID|GONE\"}", "verify_total{verdict=\"GONE\"}"),
        ("lag{verdict=\"VALID\"}", "lag{verdict=\"VALID\"}"),
        ("grpc_server_handled_total{grpc_code=\"INTERNAL\"}", "grpc_server_handled_total{grpc_code=\"INTERNAL\"}"),
    ] {
        assert_eq!(asked(expression).missing(&exported).join("; "), missing, "{expression}");
    }
}
