//! CPU time per answer of the HTTP door, beside Verify by gRPC and beside a bare axum handler, measured by h2load.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use key_authority_testkit::process::command;
use key_authority_testkit::server::Server;

use super::Bench;
use super::servers::{Pair, START_LIMIT};
use crate::h2load::{self, H2loadResult, RecordedRequest};
use crate::key_set::Presented;
use crate::report::Table;
use crate::usage::Usage;

/// Measures each path, the real server and the bare handler alternately.
pub(super) async fn measure(bench: &mut Bench, pair: &Pair) -> Result<()> {
    let mut command = command(std::env::current_exe()?);
    command.arg("bare-http");
    let bare =
        Server::start("the bare handler", command, &bench.work.path().join("bare-http.log"), START_LIMIT).await?;
    let target = pair.ours()?;
    let token = pair.key_set.presented(0, Presented::Valid)?;
    let caller = &target.token;
    let introspection = RecordedRequest {
        path: "/introspect",
        headers: vec![
            "content-type: application/x-www-form-urlencoded".to_owned(),
            format!("authorization: Bearer {caller}"),
        ],
        body: Some(format!("token={token}").into_bytes()),
        is_grpc: false,
    };
    let forward_auth = RecordedRequest {
        path: "/forward-auth",
        headers: vec![format!("x-key-authority-caller: Bearer {caller}"), format!("authorization: Bearer {token}")],
        body: None,
        is_grpc: false,
    };
    let api = pair.api.context("the server has no HTTP door")?;
    let columns = ["path", "server CPU, µs an answer", "bare, µs", "ratio", "answers/s", "bare, 1/s"];
    let note = "h2load over HTTP/2, 8 connections × 32, one repeated request. Bare is an axum handler that reads the body \
                and returns a constant answer; for Verify, the bare tonic service.";
    let mut table = Table::new("HTTP door", note, &columns);
    let verify = RecordedRequest::verify(&target, pair.key_set)?;
    let bare_grpc = pair.bare()?;
    for (name, address, request, other, other_usage) in [
        ("POST /introspect", api, &introspection, bare.grpc, &Usage::of(&bare.process)?),
        ("GET /forward-auth", api, &forward_auth, bare.grpc, &Usage::of(&bare.process)?),
        ("Verify by gRPC", target.address, &verify, bare_grpc.address, &bare_grpc.usage),
    ] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..bench.args.rounds.max(1) {
            let work = bench.work.path();
            ours.push(h2load::measure(address, &target.usage, pair.ours.http, request, work).await?);
            theirs.push(h2load::measure(other, other_usage, None, request, work).await?);
        }
        let (ours, theirs) = (median(ours)?, median(theirs)?);
        let ratio = ours.server_us / theirs.server_us;
        let figures = [ours.server_us, theirs.server_us, ratio, ours.per_second, theirs.per_second];
        table.add(name, figures.map(Some));
    }
    bench.report.add(table);
    Ok(())
}

fn median(mut rounds: Vec<H2loadResult>) -> Result<H2loadResult> {
    rounds.sort_by(|one, other| one.server_us.total_cmp(&other.server_us));
    rounds.get(rounds.len() / 2).copied().context("no round was measured")
}

/// The address on which a server of a measurement serves HTTP.
pub(super) fn free_address() -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    listener.local_addr().context("no port is free")
}
