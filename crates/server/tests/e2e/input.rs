//! Bad input: of every field a value at its limit is taken, and one beyond is refused, naming the field and its rule.

mod accounts;
mod keys;
mod parts;
mod questions;
mod wire;

use std::fmt::Debug;

use tonic::Status;

use crate::support::invalid;

/// A field, requests that are fine in it, and requests that are not.
type Case<R> = (&'static str, Vec<R>, Vec<R>);

/// A case of one field: how a value of it goes into a request, values that are fine, and values that are not.
fn case<R: Clone, V>(field: &'static str, base: &R, set: impl Fn(&mut R, V), good: Vec<V>, bad: Vec<V>) -> Case<R> {
    let with = |value| {
        let mut request = base.clone();
        set(&mut request, value);
        request
    };
    (field, good.into_iter().map(with).collect(), bad.into_iter().map(with).collect())
}

/// Makes each call, and fails unless exactly the bad ones are refused for their field.
async fn check<R: Debug, T>(cases: Vec<Case<R>>, call: impl AsyncFn(R) -> Result<T, Status>) {
    for (field, good, bad) in cases {
        for (at, request) in good.into_iter().enumerate() {
            if let Err(status) = call(request).await {
                panic!("{field}, good value {at}: {status:?}");
            }
        }
        for (at, request) in bad.into_iter().enumerate() {
            let shown: String = format!("{request:?}").chars().take(200).collect();
            println!("{field}, bad value {at}: {shown}");
            let rule = invalid(call(request).await, field);
            assert!(rule.len() > 5, "{field}: {rule:?} is no rule");
        }
    }
}

/// So many characters of four bytes each: limits count characters, columns must hold them.
fn keys(count: usize) -> String {
    "🔑".repeat(count)
}

/// So many different texts.
fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("n{number}")).collect()
}

fn texts<const N: usize>(values: [&str; N]) -> Vec<String> {
    values.map(str::to_owned).to_vec()
}

fn good_ids() -> Vec<String> {
    [texts(["0", "A.b_c-d:e@f"]), vec!["x".repeat(64)]].concat()
}

fn bad_ids() -> Vec<String> {
    [texts([" ", "a b", "-a", "_a", ".a", "é", "aé", "a/b", "a\n", "a\0"]), vec!["x".repeat(65)]].concat()
}

fn bad_required_ids() -> Vec<String> {
    [bad_ids(), texts([""])].concat()
}

fn good_request_ids() -> Vec<String> {
    [texts(["!", "0f8fad5b-d9cb-469f-a165-70867728950e"]), vec!["~".repeat(128)]].concat()
}

fn bad_request_ids() -> Vec<String> {
    [texts([" ", "a b", "é", "a\n", "a\0", "\u{7f}"]), vec!["x".repeat(129)]].concat()
}

fn good_names() -> Vec<String> {
    [texts(["", " ", "a/b: c's \"d\" ; -- é", "\u{feff}\u{202e}"]), vec![keys(200)]].concat()
}

fn bad_names() -> Vec<String> {
    [texts(["a\nb", "a\tb", "\0", "\u{7f}", "\u{85}"]), vec![keys(201)]].concat()
}

fn span(seconds: i64, nanos: i32) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos }
}

const YEAR: i64 = 365 * 86_400;

/// Durations that no field takes: beyond 100 years whatever a year is, negative, and none at all.
fn bad_spans() -> Vec<prost_types::Duration> {
    let far = [101 * 366 * 86_400, 315_576_000_001, i64::MAX, i64::MIN, -1].map(|seconds| span(seconds, 0));
    let none = [span(1, -1), span(-1, -1), span(0, -1), span(1, 1_000_000_000), span(1, i32::MIN)];
    [far.to_vec(), none.to_vec()].concat()
}

/// Lifetimes that no key may have.
fn bad_lifetimes() -> Vec<prost_types::Duration> {
    [bad_spans(), vec![span(0, 0), span(0, 999_999_999)]].concat()
}

fn good_lifetimes() -> Vec<prost_types::Duration> {
    vec![span(1, 0), span(1, 999_999_999), span(100 * YEAR, 0)]
}

/// Instants that are none.
fn bad_times() -> Vec<prost_types::Timestamp> {
    let bad = [(253_402_300_800, 0), (i64::MAX, 0), (i64::MIN, 0), (-62_135_596_801, 0), (0, -1), (0, 1_000_000_000)];
    bad.map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos }).to_vec()
}
