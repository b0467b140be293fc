//! The steps of Verify between request and response: each by itself, and all together.
//!
//! Run `cargo bench -p key-authority-bench`. `BENCH_KEYS=10000000` sets the number of keys (default: one million), and
//! `BENCH_STOCK=<folder>` keeps the keys for the next run.

use std::hint::black_box;
use std::path::Path;

use anyhow::{Context as _, Result};
use criterion::Criterion;
use key_authority_bench::key_set::{KeySet, Presented, SCOPES};
use key_authority_bench::resident::Resident;
use key_authority_domain::token::{Token, TokenDigest};
use key_authority_domain::verdict::{Question, Verdict, decide};
use key_authority_proto::v1;
use prost::Message as _;

/// More keys than the processor's caches hold, in random order.
const COLD: u64 = 200_000;
/// Few enough keys that the processor's caches hold all of them.
const HOT: u64 = 64;
/// Requests per batch.
const BATCH: usize = 100;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let keys = std::env::var("BENCH_KEYS").map_or(Ok(1_000_000), |keys| keys.parse())?;
    let resident = runtime.block_on(async {
        match std::env::var_os("BENCH_STOCK") {
            Some(key_set) => Resident::kept(keys, Path::new(&key_set)).await,
            None => Resident::load(keys).await,
        }
    })?;
    let mut criterion = Criterion::default().configure_from_args();
    measure_steps(&mut criterion, &resident)?;
    for (name, count) in [("hot", HOT), ("cold", COLD)] {
        measure_lookups(&mut criterion, &resident, name, count)?;
    }
    criterion.final_summary();
    Ok(())
}

/// The steps whose cost does not depend on the key.
fn measure_steps(criterion: &mut Criterion, resident: &Resident) -> Result<()> {
    let Resident { view, keyring, .. } = resident;
    let text = resident.key_set.presented(0, Presented::Valid)?;
    let token = Token::parse(&text)?;
    let moment = view.lease_proof()?;
    let secret = view.find(moment, keyring.digests(token)).context("the key is there")?;
    let question = Question { scopes: &SCOPES[..1], ..Question::default() };
    criterion.bench_function("parse and checksum", |bench| bench.iter(|| Token::parse(black_box(&text)).is_ok()));
    criterion.bench_function("digest", |bench| bench.iter(|| keyring.digest(black_box(token))));
    criterion.bench_function("lease check", |bench| bench.iter(|| black_box(view).lease_proof()));
    criterion.bench_function("decide", |bench| {
        bench.iter(|| decide(Some(&black_box(&secret).facts()), black_box(&question), moment.now()));
    });
    let credential = resident.credential()?;
    criterion.bench_function("judge the caller", |bench| {
        bench.iter(|| resident.callers.authorize_verify(black_box(&credential)).is_ok());
    });
    Ok(())
}

/// The steps whose cost depends on whether the key is in a cache.
fn measure_lookups(criterion: &mut Criterion, resident: &Resident, name: &str, count: u64) -> Result<()> {
    let Resident { view, keyring, callers, verifier, key_set, .. } = resident;
    let texts = texts(*key_set, count)?;
    let digests = texts.iter().map(|text| Ok(keyring.digest(Token::parse(text)?))).collect::<Result<Vec<_>>>()?;
    let mut digests = digests.iter().cycle();
    let moment = view.lease_proof()?;
    criterion.bench_function(&format!("look-up, {name}"), |bench| {
        bench.iter(|| view.find(moment, digests.next().map(|digest| TokenDigest(digest.0))).is_some());
    });
    let question = Question { scopes: &SCOPES[..1], ..Question::default() };
    let mut presented = texts.iter().cycle();
    criterion.bench_function(&format!("decision, {name}"), |bench| {
        bench.iter(|| {
            let token = presented.next().and_then(|text| Token::parse(text).ok())?;
            let moment = view.lease_proof().ok()?;
            let secret = view.find(moment, keyring.digests(token));
            let facts = secret.as_ref().map(|secret| secret.facts());
            Some(decide(facts.as_ref(), &question, moment.now()) == Verdict::Valid)
        });
    });
    let messages: Vec<Vec<u8>> = texts.iter().map(|text| encoded(text)).collect();
    let mut messages = messages.iter().cycle();
    let credential = resident.credential()?;
    let mut out = Vec::with_capacity(1024);
    criterion.bench_function(&format!("Verify, from message to message, {name}"), |bench| {
        bench.iter(|| {
            out.clear();
            let permit = callers.authorize_verify(&credential).ok()?;
            verifier.verify(&permit, messages.next()?, &mut out).ok()?;
            Some(out.len())
        });
    });
    let batches: Vec<Vec<u8>> = texts.chunks(BATCH).map(encoded_batch).collect();
    let mut batches = batches.iter().cycle();
    criterion.bench_function(&format!("BatchVerify of up to {BATCH}, from message to message, {name}"), |bench| {
        bench.iter(|| {
            out.clear();
            let permit = callers.authorize_verify(&credential).ok()?;
            verifier.batch_verify(&permit, batches.next()?, &mut out).ok()?;
            Some(out.len())
        });
    });
    Ok(())
}

fn texts(key_set: KeySet, count: u64) -> Result<Vec<String>> {
    // Distant numbers, so that no cache line or prefetch serves the next key.
    (0..count).map(|number| key_set.presented(number.wrapping_mul(7_919) % key_set.count, Presented::Valid)).collect()
}

fn encoded(token: &str) -> Vec<u8> {
    request(token).encode_to_vec()
}

fn encoded_batch(tokens: &[String]) -> Vec<u8> {
    v1::BatchVerifyRequest { requests: tokens.iter().map(|token| request(token)).collect() }.encode_to_vec()
}

fn request(token: &str) -> v1::VerifyRequest {
    v1::VerifyRequest { token: token.to_owned(), scopes: vec![SCOPES[0].to_owned()], ..Default::default() }
}
