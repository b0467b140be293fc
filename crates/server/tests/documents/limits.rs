//! `docs/limits.md` has a row for each constant that limits a peer, and each row has the constant's number.

use std::collections::BTreeSet;
use std::path::Path;

/// The file with the flags. Their defaults are in the attributes.
const FLAGS: &str = "program/config/args.rs";
/// The sources whose constants limit peers, as files and as folders.
const LIMITING: [&str; 9] = [
    "transport/",
    "rpc/",
    "http/",
    "console/",
    "admin/",
    "verify/decode.rs",
    "verify/methods.rs",
    "program/routes.rs",
    "program/side_port.rs",
];
/// How the names of such constants end.
const NAMES: [&str; 9] = ["_MAX", "_LIMIT", "_TIMEOUT", "_GRACE", "_WINDOW", "_RESETS", "_SHARE", "_LINES", "_SIZE"];

/// Each limit: the beginning of its row, what the row says, the source file, and the constant or flag with its value.
const LIMITS: &[(&str, &str, &str, &str)] = &[
    ("open connections of a gRPC", "10,000", FLAGS, r#"MAX_CONNECTIONS", default_value = "10000""#),
    ("from one address", "5,000", FLAGS, r#"MAX_CONNECTIONS_PER_ADDRESS", default_value = "5000""#),
    ("of strangers |", "1,024", FLAGS, r#"MAX_UNAUTHENTICATED_CONNECTIONS", default_value = "1024""#),
    ("of one caller", "half", "program/config/limits.rs", "CALLERS: usize = 2"),
    ("of strangers from one", "a quarter", "program/config/limits.rs", "STRANGER_ADDRESSES: usize = 4"),
    (
        "time that the calls of such",
        "500 ms",
        "transport/connection.rs",
        "EVICTION_GRACE: Duration = Duration::from_millis(500)",
    ),
    ("TLS handshake", "5 s", FLAGS, r#"PREFACE_TIMEOUT", default_value = "5s""#),
    ("HTTP/1.1: time from", "75 s", "transport/http1.rs", "HEAD_TIMEOUT: Duration = Duration::from_secs(75)"),
    ("age |", "30 min ± 10 %", FLAGS, r#"MAX_CONNECTION_AGE", default_value = "30m""#),
    ("age |", "± 10 %", "transport/connection.rs", "AGE_SPREAD: f64 = 0.1"),
    ("buffers of the kernel", "128 KiB", "transport/socket.rs", "SOCKET_BUFFER_SIZE: u32 = 128 * 1024"),
    (
        "calls in flight after",
        "+ 5 s",
        "program/config/limits.rs",
        "AGE_GRACE_EXTRA: Duration = Duration::from_secs(5)",
    ),
    ("frames that carry no call", "10,000", "transport/frame_credit.rs", "CREDIT_MAX: u32 = 10_000"),
    ("frames that carry no call", "4 for each frame", "transport/frame_credit.rs", "CREDIT_PER_REQUEST: u32 = 4"),
    (
        "frames that carry no call",
        "10 for each second",
        "transport/frame_credit.rs",
        "GAIN_INTERVAL: Duration = Duration::from_millis(100)",
    ),
    ("streams that the server resets", "1,024", "transport/http2.rs", "LOCAL_ERROR_RESETS: usize = 1024"),
    ("streams that the server resets", "256", "transport/http2.rs", "PENDING_ACCEPT_RESETS: usize = 256"),
    (
        "time without an answer to a `PING`",
        "10 s",
        "transport/http2.rs",
        "KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10)",
    ),
    (
        "time without an answer to a `PING`",
        "30 s",
        "transport/http2.rs",
        "KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30)",
    ),
    (
        "connections of the operations",
        "256, 64 from one",
        "program/side_port.rs",
        "PlaceLimits { total: 256, per_address: 64",
    ),
    ("head of a request there", "16 KiB", "program/side_port.rs", "BUFFER: usize = 16 * 1024"),
    ("head of a request there", "5 s", "program/side_port.rs", "HEAD_LIMIT: Duration = Duration::from_secs(5)"),
    (
        "time of a connection there",
        "1 min",
        "program/side_port.rs",
        "CONNECTION_LIMIT: Duration = Duration::from_mins(1)",
    ),
    ("calls in flight on", "1,000", FLAGS, r#"MAX_STREAMS_PER_CONNECTION", default_value = "1000""#),
    ("of a stranger |", "100", "transport/places.rs", "STRANGER_CALLS_MAX: usize = 100"),
    ("headers of a call", "16 KiB", "transport/http2.rs", "HEADER_LIST_SIZE: u32 = 16 * 1024"),
    ("data of a stream", "256 KiB", "transport/http2.rs", "STREAM_WINDOW: u32 = 256 * 1024"),
    ("data of a stream", "1 MiB", "transport/http2.rs", "CONNECTION_WINDOW: u32 = 1024 * 1024"),
    ("time until a response begins", "30 s", FLAGS, r#"REQUEST_TIMEOUT", default_value = "30s""#),
    ("message of Verify", "64 KiB", "verify/methods.rs", "QUESTION_BYTES_MAX: usize = 64 * 1024"),
    ("message of BatchVerify", "4 MiB", "verify/methods.rs", "BATCH_BYTES_MAX: usize = 4 * 1024 * 1024"),
    ("message of BatchVerify", "4 MiB", "program/routes.rs", "const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024"),
    ("message of BatchVerify", "4 MiB", "program/routes.rs", "CHECK_BYTES_MAX: usize = 4 * 1024 * 1024"),
    ("questions of a BatchVerify", "1,000", "verify/decode.rs", "BATCH_MAX: usize = 1000"),
    (
        "response to a BatchVerify",
        "4 MiB − 64 KiB",
        "verify/methods.rs",
        "RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024 - 64 * 1024",
    ),
    ("message of ImportKeys", "16 MiB", "program/routes.rs", "IMPORT_BYTES_MAX: usize = 16 * 1024 * 1024"),
    ("message of health", "1 KiB", "rpc/health.rs", "REQUEST_BYTES_MAX: usize = 1024"),
    ("message of health", "1 KiB", "program/routes.rs", "REFLECTION_BYTES_MAX: usize = 1024"),
    ("incomplete requests of a connection", "32 MiB", "transport/budget/account.rs", "REQUEST_SHARE: usize = 8"),
    ("the same of a stranger", "64 KiB", "transport/budget/account.rs", "STRANGER_REQUEST_BYTES: usize = 64 * 1024"),
    ("incomplete requests over 2 KiB", "8 MiB", "transport/budget/account.rs", "STRANGERS_REQUEST_SHARE: usize = 32"),
    ("incomplete requests over 2 KiB", "2 KiB", "transport/budget/account.rs", "FREE_BYTES: usize = 2 * 1024"),
    ("fields and elements of a message", "5,000", "rpc/field_count.rs", "FIELDS_MAX: usize = 5_000"),
    (
        "fields and elements of a request of a proxy",
        "100,000",
        "rpc/field_count.rs",
        "CHECK_FIELDS_MAX: usize = 100_000",
    ),
    ("fields and elements of an import", "20,000", "rpc/field_count.rs", "IMPORT_OWN_FIELDS_MAX: usize = 20_000"),
    ("fields and elements of an import", "3,000,000", "rpc/field_count.rs", "IMPORT_FIELDS_MAX: usize = 3_000_000"),
    ("unread responses", "4 MiB", "transport/budget/account.rs", "RESPONSE_SHARE: usize = 64"),
    ("unread responses", "256 KiB", "transport/budget/account.rs", "STRANGER_RESPONSE_BYTES: usize = 256 * 1024"),
    ("pages (ListKeys", "2", "transport/budget/account.rs", "PAGES_MAX: usize = 2"),
    ("reads of a caller", "half", "admin/context.rs", "CALLER_SHARE: u32 = 2"),
    ("reads of a caller", "5", FLAGS, r#"DATABASE_CONNECTIONS", default_value = "10""#),
    ("both, of all", "256 MiB", FLAGS, r#"MAX_HELD_MIB", default_value = "256""#),
    (
        "time in which a peer does",
        "30 s",
        "transport/budget/account.rs",
        "STALL_LIMIT: Duration = Duration::from_secs(30)",
    ),
    ("time in which a peer does", "16 KiB", "transport/budget/account.rs", "PIECE_BYTES: usize = 16 * 1024"),
    ("open health watches", "8", "transport/places.rs", "WATCHES_MAX: usize = 8"),
    ("calls of reflection", "4", "transport/places.rs", "REFLECTIONS_MAX: usize = 4"),
    ("calls of reflection", "a minute", "program/routes.rs", "REFLECTION_TIME_MAX: Duration = Duration::from_mins(1)"),
    ("head of a request |", "16 KiB", "transport/http1.rs", "HEAD_BYTES_MAX: usize = 16 * 1024"),
    ("JSON body", "1 MiB", "http/connect/body.rs", "JSON_BYTES_MAX: usize = 1024 * 1024"),
    ("JSON body", "4 MiB", "http/connect/body.rs", "PROTO_BYTES_MAX: usize = 4 * 1024 * 1024"),
    ("fields and elements of a JSON", "100,000", "http/connect/names.rs", "VALUES_MAX: usize = 100_000"),
    ("JSON messages", "over 64 KiB", "http/connect/body.rs", "LARGE_BYTES: usize = 64 * 1024"),
    ("form of the console", "256 KiB", "console/arrival.rs", "FORM_BYTES_MAX: usize = 256 * 1024"),
    ("form of the console", "60 KiB", "console/arrival.rs", "SIGN_IN_BYTES_MAX: usize = 60 * 1024"),
    ("form of the console", "16 KiB", "console/arrival.rs", "KEPT_BYTES_MAX: usize = 16 * 1024"),
    ("form of `/introspect`", "64 KiB", "http/form.rs", "FORM_BYTES_MAX: usize = 64 * 1024"),
    ("form that starts", "8 KiB", "console/portal.rs", "CODE_BYTES_MAX: usize = 8 * 1024"),
    ("failed sign-ins", "10,", "console/throttle.rs", "FAILURES_MAX: u64 = 10"),
    ("failed sign-ins", "6 s", "console/throttle.rs", "FORGIVEN_AFTER: Duration = Duration::from_secs(6)"),
    ("addresses whose failed", "10,000", "console/throttle.rs", "ADDRESSES_MAX: usize = 10_000"),
    ("sessions that are remembered", "10,000", "console/session.rs", "ENDED_MAX: usize = 10_000"),
    ("body that a rejected", "64 KiB", "http/unread.rs", "BYTES_MAX: usize = 64 * 1024"),
    ("body that a rejected", "500 ms", "http/unread.rs", "WAIT_MAX: Duration = Duration::from_millis(500)"),
    (
        "time until a change of the console",
        "15 s",
        "console/shared.rs",
        "PATIENCE_MAX: Duration = Duration::from_secs(15)",
    ),
    ("portal session", "12 hours", "console/session.rs", "AGE_MAX: Duration = Duration::from_hours(12)"),
    ("portal session", "30 minutes", "console/session.rs", "IDLE_MAX: Duration = Duration::from_mins(30)"),
    ("requests of a user", "4", "console/shared.rs", "USER_REQUESTS_MAX: usize = 4"),
    ("requests of a user", "100", "console/shared.rs", "USER_WAITING_MAX: usize = 100"),
    ("`allowed_scopes`", "900 bytes", "wire/portal.rs", "ALLOWED_SCOPES_BYTES_MAX: usize = 900"),
    ("import messages", "32,", "admin/import_queue.rs", "CALLER_MESSAGES_MAX: usize = 32"),
    ("import messages", "32 MiB", "admin/import_queue.rs", "CALLER_BYTES_MAX: usize = 32 * 1024 * 1024"),
    ("keys in a transaction", "500", "admin/import/message.rs", "PART_KEYS_MAX: usize = 500"),
    ("keys in a transaction", "4 MiB", "admin/import/message.rs", "PART_BYTES_MAX: usize = 4 * 1024 * 1024"),
    ("keys that a change of RevokeKeys", "5,000", "admin/revoke_keys.rs", "PART_KEYS_MAX: usize = 5_000"),
    ("keys that a change of RevokeKeys", "16 MiB", "admin/revoke_keys.rs", "PART_BYTES_MAX: u64 = 16 * 1024 * 1024"),
    ("a page |", "3.5 MiB", "admin/listing.rs", "PAGE_BYTES_MAX: usize = 7 * 512 * 1024"),
    ("a page |", "1,000 items", "wire/page.rs", "PAGE_SIZE_MAX: u32 = 1000"),
    ("log lines about calls", "10 a second", "auth/call.rs", "STRANGERS_LINES: u32 = 10"),
    ("log lines about calls", "100;", "auth/call.rs", "CALLERS_LINES: u32 = 100"),
    ("log lines about calls", "; 10;", "transport/connection.rs", "CUT_LINES: u32 = 10"),
    ("log lines about calls", "; 1)", "transport/connection.rs", "REFUSED_LINES: u32 = 1"),
    ("log lines that wait", "8,192", "observability/telemetry/log_writer.rs", "QUEUE_LINES: usize = 8_192"),
];

/// Constants that limit no peer: the source file, the name, and the reason.
const NO_LIMITS: &[(&str, &str, &str)] = &[
    ("transport/http2.rs", "FRAME_SIZE", "what the server sends and accepts in a frame, as HTTP/2 has it by default"),
    ("console/arrival.rs", "PAGE_SHARE", "the part of a request's time that is left for its page"),
    ("rpc/errors.rs", "SCOPES_NAMED_MAX", "how many scopes a status names"),
    ("transport/http2_stream.rs", "READ_MAX", "how much of a socket is read at once"),
    ("transport/budget/account.rs", "HEADER_FIELD_BYTES", "what a header is counted as"),
    ("rpc/field_count.rs", "DEPTH_MAX", "the depth to which messages in messages are decoded"),
    ("rpc/raw/frame.rs", "HEADER_BYTES", "the length of a frame's header"),
    ("rpc/raw/stream.rs", "MESSAGES_MAX", "how many answers of a stream are made at once"),
    ("rpc/raw/stream.rs", "CHUNK_BYTES", "how many answers of a stream are sent at once"),
    ("rpc/raw/unary.rs", "USUAL_RESPONSE_BYTES", "the first capacity of a response"),
    ("http/connect/body.rs", "PREFIX_BYTES", "the length of a frame's header"),
    ("http/connect/call.rs", "GRPC_TIMEOUT", "the name of a header"),
    ("console/frame.rs", "BACK_BYTES_MAX", "how long an address is that a form returns to"),
    ("console/pages/connect.rs", "KEYS_MAX", "how many keys a page of the console offers"),
    ("console/pages/accounts.rs", "COUNTED_MAX", "how far a page of the console counts"),
    ("console/pages/accounts.rs", "SEARCHED_MAX", "how far a search of the console goes"),
    ("console/pages/key_fields.rs", "QUOTED_MAX", "how much of a value an error quotes"),
    ("console/pages/created.rs", "FILE_NAME_MAX", "the name of a downloaded file"),
    ("admin/revoke_keys.rs", "IDS_MAX", "how many IDs a response of RevokeKeys has"),
];

fn sources() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Rust files in a folder.
fn files(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path.strip_prefix(sources()).unwrap().to_str().unwrap().to_owned());
        }
    }
}

fn page() -> String {
    read(&sources().join("../../../docs/limits.md"))
}

#[test]
fn each_row_has_the_number_of_its_constant() {
    let page = page();
    let mut faults = Vec::new();
    for (row, number, file, constant) in LIMITS {
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with(&format!("| {row}"))).collect();
        if !matches!(rows[..], [only] if only.contains(number)) {
            faults.push(format!("no single row `{row}` with {number}: {rows:?}"));
        }
        let constant_is =
            |text: &str| text.lines().any(|line| line.contains(constant) && !line.trim().starts_with("//"));
        if !constant_is(&read(&sources().join(file))) {
            faults.push(format!("{file} has no `{constant}`"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_constant_that_limits_a_peer_has_a_row() {
    let mut all = Vec::new();
    files(sources(), &mut all);
    let mut without = BTreeSet::new();
    let mut exempted = BTreeSet::<&(&str, &str, &str)>::new();
    for file in all.iter().filter(|file| LIMITING.iter().any(|prefix| file.starts_with(prefix))) {
        let text = read(&sources().join(file));
        let text = text.split("#[cfg(test)]").next().unwrap();
        for line in text.lines() {
            let Some((_, declared)) = line.split_once("const ").filter(|(before, _)| !before.contains("//")) else {
                continue;
            };
            let Some((name, _)) = declared.split_once(':') else { continue };
            let is_limit = NAMES.iter().any(|end| name.ends_with(end)) || name.contains("_BYTES");
            let has_row = LIMITS.iter().any(|(_, _, source, constant)| {
                source == file && constant.trim_start_matches("const ").split(':').next() == Some(name)
            });
            let exemption = NO_LIMITS.iter().find(|(source, constant, _)| source == file && *constant == name);
            exempted.extend(exemption);
            if is_limit && !has_row && exemption.is_none() {
                without.insert(format!("{file}: {name}"));
            }
        }
    }
    assert!(without.is_empty(), "no row in docs/limits.md:\n{without:#?}");
    let stale: Vec<_> = NO_LIMITS.iter().filter(|exemption| !exempted.contains(exemption)).collect();
    assert!(stale.is_empty(), "no such constant:\n{stale:#?}");
}

#[test]
fn each_flag_of_the_page_is_compared() {
    for word in page().split('`').filter(|word| word.starts_with("--max-") || word.ends_with("-timeout")) {
        let flag = word.split(' ').next().unwrap().trim_start_matches("--").replace('-', "_").to_uppercase();
        let is_compared =
            LIMITS.iter().any(|(_, _, file, constant)| *file == FLAGS && constant.starts_with(&format!("{flag}\"")));
        assert!(is_compared, "{word}");
    }
}
