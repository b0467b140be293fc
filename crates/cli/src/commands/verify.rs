//! `keyctl verify`.

use clap::Args;
use key_authority_proto::v1::{Verdict, VerifyRequest, VerifyResponse};

use super::Session;
use crate::console::note;
use crate::errors::{Error, Exit};
use crate::table::{Table, Tone, plain, toned};
use crate::token_input::presented;
use crate::views::{exactly_when, word};

/// The prefix of callers' tokens, unless the policy of account `system` sets another one.
const CALLER_PREFIX: &str = "ka_sys_";

/// Verifies a token; exit code 0 if it is valid, 1 if not
///
/// The token is read from a file or from standard input, because other users could read the command line.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// File with the token, or - for standard input
    #[arg(value_name = "FILE")]
    token: String,
    /// Required scope; may be repeated
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// Required project
    #[arg(long, default_value = "", hide_default_value = true)]
    project: String,
    /// Account that the key must belong to
    #[arg(long, default_value = "", hide_default_value = true)]
    account: String,
    /// ID that the key must have, for pairs of key ID and secret
    #[arg(long, default_value = "", hide_default_value = true)]
    key_id: String,
    /// IP address of the client that presents the token
    #[arg(long, value_name = "ADDRESS", default_value = "", hide_default_value = true)]
    client_ip: String,
}

impl Verify {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let Self { token, scope: scopes, project, account, key_id, client_ip } = self;
        let token = presented(token).await?;
        let is_unnamed_caller = token.starts_with(CALLER_PREFIX) && account.is_empty();
        let request = VerifyRequest { token, project, scopes, client_ip, account, key_id };
        let rpc = |mut api: crate::client::Api, request| async move { api.verify(request).await };
        let answer = session.client.ask(request, rpc).await?;
        session.console.show(&answer, || record(&answer, session.now))?;
        if let Some(step) = next_step(answer.verdict(), is_unnamed_caller) {
            note(&format!("  next: {step}"));
        }
        Ok(if answer.verdict() == Verdict::Valid { Exit::Done } else { Exit::No })
    }
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

/// Explanation of a verdict.
fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "",
        Verdict::Malformed => "not a token: too short, too long, mistyped or truncated",
        Verdict::Unknown => "no token matches the question within the accounts of this caller",
        Verdict::Disabled => "the key is disabled and can be enabled again",
        Verdict::Revoked => "the key is permanently revoked",
        Verdict::Expired => "the key has expired, or a renewal has ended this token",
        Verdict::AccountSuspended => "the account is suspended; its keys are valid again when it is resumed",
        Verdict::ProjectDenied => "the key does not cover the project",
        Verdict::ScopeDenied => "the key lacks required scopes",
        Verdict::NetworkDenied => "the key is not valid from this address, or no address was given (--client-ip)",
        Verdict::Unspecified => "a verdict that this keyctl does not know; treat it as a denial",
    }
}

/// The next step after a verdict, if there is one.
fn next_step(verdict: Verdict, is_unnamed_caller: bool) -> Option<&'static str> {
    match verdict {
        Verdict::Unknown if is_unnamed_caller => {
            Some("the token begins like that of a caller: repeat with --account system")
        }
        Verdict::Malformed => {
            Some("keyctl keys list --query BEGINNING finds a key by the prefix of its token and the next 4 characters")
        }
        _ => None,
    }
}
