//! `keyctl verify`.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read};
use std::path::PathBuf;

use clap::Args;
use key_authority_proto::v1::{Verdict, VerifyRequest, VerifyResponse};

use super::Session;
use crate::console::prompt;
use crate::errors::{Error, Exit};
use crate::table::{Table, Tone, plain, toned};
use crate::views::{exactly_when, word};

/// More than any token has.
const BYTES_MAX: u64 = 64 * 1024;

/// Asks whether the holder of a token may do something; exit code 0 when it is valid, 1 when it is not
///
/// The token comes from a file or from standard input: on the command line others could read it.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// File with the token, or - for standard input
    #[arg(value_name = "FILE")]
    token: String,
    /// A scope that the holder needs; may be repeated
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// Project that the holder wants to act in
    #[arg(long, default_value = "", hide_default_value = true)]
    project: String,
    /// Account that the key must belong to
    #[arg(long, default_value = "", hide_default_value = true)]
    account: String,
    /// ID that the key must have, for pairs of key ID and secret
    #[arg(long, default_value = "", hide_default_value = true)]
    key_id: String,
    /// Address that the holder calls from
    #[arg(long, value_name = "ADDRESS", default_value = "", hide_default_value = true)]
    client_ip: String,
}

impl Verify {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let Self { token, scope: scopes, project, account, key_id, client_ip } = self;
        let token = presented(token).await?;
        let request = VerifyRequest { token, project, scopes, client_ip, account, key_id };
        let rpc = |mut api: crate::client::Api, request| async move { api.verify(request).await };
        let answer = session.client.ask(request, rpc).await?;
        session.console.show(&answer, || record(&answer, session.now))?;
        Ok(if answer.verdict() == Verdict::Valid { Exit::Done } else { Exit::No })
    }
}

/// The first line of a file, or of standard input.
async fn presented(place: String) -> Result<String, Error> {
    // In a thread of its own, so that an interrupt is heard while somebody types.
    let path = PathBuf::from(&place);
    let line = tokio::task::spawn_blocking(move || {
        if place != "-" {
            return first_line(File::open(place)?);
        }
        if io::stdin().is_terminal() {
            prompt("Token: ")?;
        }
        first_line(io::stdin().lock())
    });
    let line = line.await.map_err(io::Error::other).and_then(|line| line);
    line.map_err(|source| Error::File { path, source })
}

fn first_line(from: impl Read) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(from.take(BYTES_MAX)).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

fn record(answer: &VerifyResponse, now: i64) -> Table {
    let mut table = Table::record();
    let verdict = answer.verdict();
    let tone = if verdict == Verdict::Valid { Tone::Good } else { Tone::Bad };
    table.pair("verdict", toned(word("VERDICT_", verdict.as_str_name()).replace('_', " "), tone));
    table.pair("meaning", plain(meaning(verdict)));
    table.pair("missing", plain(answer.missing_scopes.join(" ")));
    table.pair("key", plain(&answer.key_id));
    table.pair("account", plain(&answer.account));
    table.pair("scopes", plain(answer.scopes.join(" ")));
    let labels: Vec<_> = answer.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    table.pair("labels", plain(labels.join(" ")));
    if verdict == Verdict::Valid {
        let expires = exactly_when(answer.expire_time.as_ref(), now);
        table.pair("expires", plain(if expires.is_empty() { "never".into() } else { expires }));
    }
    table
}

/// What a verdict means for the holder.
fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "",
        Verdict::Malformed => "this is no token: too short, too long, mistyped, or cut off",
        Verdict::Unknown => "no such token, for what was asked and for this caller",
        Verdict::Disabled => "the key is switched off, and may be enabled again",
        Verdict::Revoked => "the key was ended for good",
        Verdict::Expired => "the key has expired, or a renewal has ended this token of it",
        Verdict::AccountSuspended => "the account's keys do not work until it is resumed",
        Verdict::ProjectDenied => "the key does not cover the project",
        Verdict::ScopeDenied => "the key lacks scopes that were asked for",
        Verdict::NetworkDenied => "the key may not be used from that address, or none was named (--client-ip)",
        Verdict::Unspecified => "a verdict that this keyctl does not know, which is a refusal",
    }
}
