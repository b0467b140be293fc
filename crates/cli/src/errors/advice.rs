//! The next step for each error reason of the authority.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::escape::one_line;

/// The next step after a call that failed with `status`, if there is one.
pub(super) fn next_step(status: &Status, is_change: bool) -> Option<String> {
    match status.get_details_error_info() {
        Some(info) => step(&info.reason, &info.metadata, is_change),
        None => Some(without_reason(status.code(), is_change).to_owned()),
    }
}

/// The next step after a call without a response.
pub(super) fn unanswered(is_change: bool) -> &'static str {
    if is_change {
        "the change may have been made: check with keyctl audit; keyctl status shows the state of the authority"
    } else {
        "retry, or wait longer with --timeout; keyctl status shows the state of the authority"
    }
}

/// The next step after a call whose connection was lost. A server that requires a client certificate closes the
/// connection after the handshake, and gives no reason that reaches the caller.
pub(super) fn disconnected(code: Code, is_change: bool) -> String {
    let step = without_reason(code, is_change);
    format!(
        "{step}; if the server requires client certificates (mutual TLS), are --client-cert and --client-key right?"
    )
}

/// The next step for a status without a reason: the server is not an authority, or has another version.
fn without_reason(code: Code, is_change: bool) -> &'static str {
    match code {
        Code::Unimplemented => "the authority does not support this call: is it older than this keyctl?",
        Code::OutOfRange => "the response is too large; request less at once",
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => unanswered(is_change),
        _ => {
            "is this the gRPC address of a Key Authority, and does the endpoint start with https:// if TLS is enabled?"
        }
    }
}

fn step(reason: &str, metadata: &HashMap<String, String>, is_change: bool) -> Option<String> {
    let value =
        |name: &str, unknown: &str| metadata.get(name).map_or_else(|| unknown.to_owned(), |value| one_line(value));
    let step = match reason {
        "FIELD_INVALID" => "the command's --help describes the format of each value",
        "CALLER_UNKNOWN" => {
            "set a file with a token of a key of account system: --token-file, KEYCTL_TOKEN_FILE or a profile"
        }
        "PERMISSION_MISSING" => {
            let permission = value("permission", "that it lacks");
            return Some(format!("call with a key of account system that has the scope {permission}"));
        }
        "CALLER_NETWORK_DENIED" => "call from a network that the caller's key allows",
        "CALLER_COVERS_NO_ACCOUNT" => {
            "ask an administrator to give the caller's key accounts: keyctl keys edit KEY --project ACCOUNT"
        }
        "GRANT_EXCEEDS_CALLER" => "call with a key that has at least the granted scopes, projects, networks and expiry",
        "SCOPES_NOT_ALLOWED" => "choose scopes out of those that the portal session allows",
        "KEY_NOT_FOUND" => "keyctl keys list shows the existing keys",
        "ACCOUNT_NOT_FOUND" => "keyctl accounts list shows the existing accounts; keyctl accounts create creates one",
        "KEY_EXISTS" => "choose another --key-id, or none to generate one; keyctl keys show shows the existing key",
        "TOKEN_EXISTS" => "keyctl verify shows which key has the token; do not import it, or make another token",
        "DIGEST_NOT_ALLOWED" => {
            "omit --sha256 and --blake3; keyctl accounts edit ACCOUNT --caller-digests true allows them"
        }
        "HOLDER_NETWORK_DENIED" => "set --client-ip to the address of the holder, within the networks of the key",
        "HOLDER_MAY_NOT_RENEW" => {
            "keyctl keys renew KEY renews it; keyctl accounts edit ACCOUNT --holder-may-renew true allows this command"
        }
        "REPLICAS_DIFFER" => "finish the upgrade: keyctl status shows the build of each replica",
        "ACCOUNT_EXISTS" => "choose another ID; keyctl accounts show shows the existing account",
        "REQUEST_ID_REUSED" => "repeat the command, which generates a new request ID",
        "ETAG_MISMATCH" => {
            "read it again (show --output json contains the new etag), then decide whether to repeat the change"
        }
        "KEY_LIMIT_REACHED" => {
            "keyctl keys list ACCOUNT shows the keys; keyctl keys revoke KEY or delete KEY makes room; \
             keyctl accounts edit ACCOUNT --max-keys raises the limit"
        }
        "KEY_RECENTLY_USED" => "make sure that the key is no longer needed, then repeat with --allow-recently-used",
        "KEY_REVOKED" => "keyctl keys create creates another key",
        "KEY_EXPIRED" => "repeat with --lifetime, --expire-time or --never-expires",
        "KEY_NOT_ACTIVE" => "keyctl keys show KEY shows its state; without --key the newest active key is used",
        "LIFETIME_NOT_ALLOWED" => "keyctl accounts show ACCOUNT lists the lifetimes; choose one with --lifetime",
        "NOT_RECOVERABLE" => "keyctl keys renew KEY issues a new token and ends the old one",
        "OVERLAP_NOT_ALLOWED" => "choose a shorter --overlap; keyctl accounts show ACCOUNT shows the maximum",
        "SECRET_LIMIT_REACHED" => "keyctl keys show KEY shows when the tokens end; without --overlap they end now",
        "PROJECTS_NOT_ALLOWED" => "keyctl accounts show ACCOUNT shows the rule for projects",
        "ACCOUNT_NOT_EMPTY" => "keyctl keys list ACCOUNT shows the keys; keyctl keys delete KEY deletes one",
        "CONSOLE_OFF" => "use a server that has a console: with --api-listen, and without --no-console",
        "ACCOUNT_SUSPENDED" => "keyctl accounts resume ACCOUNT",
        "ANSWER_TOO_LARGE" => "request less at once",
        "TOO_MANY_CALLS" | "TOO_MANY_BYTES" => "wait for the calls in progress, then repeat the command",
        "IMPORT_RUNNING" => "wait until the other imports of this caller have ended, then repeat the command",
        "TOO_MANY_CHANGES" => "wait until earlier changes of this caller have ended, and run fewer of them at once",
        "PROPAGATION_PENDING" => {
            let revision = value("revision", "REVISION");
            return Some(format!(
                "keyctl status --wait-for {revision} continues to wait; if the command creates a token, renew the key"
            ));
        }
        "DEADLINE_EXCEEDED" | "LEASE_EXPIRED" | "OUTCOME_UNKNOWN" => unanswered(is_change),
        "SECRET_VERSION_MISSING" => "repeat the command, or use another replica; the operator adds the version",
        "STORAGE_UNAVAILABLE" => "check the authority's database, then repeat the command",
        "ROW_CORRUPT" | "SEAL_BROKEN" | "STORAGE_FAULT" | "NO_RANDOMNESS" => "the server's log has the details",
        // No next step exists, or this version does not know the reason.
        _ => return None,
    };
    Some(step.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reasons without a next step.
    const WITHOUT_STEP: [&str; 1] = ["ACCOUNT_RESERVED"];

    /// The reasons in the comment of the service: `//   - ONE, TWO: what it means`.
    fn reasons() -> Vec<&'static str> {
        let proto = include_str!("../../../../proto/keyauthority/v1/key_authority.proto");
        let (comment, _) = proto.split_once("service KeyAuthority").unwrap();
        let lines = comment.lines().filter_map(|line| line.strip_prefix("//   - ")?.split_once(':'));
        lines.flat_map(|(names, _)| names.split(", ")).collect()
    }

    #[test]
    fn every_reason_has_a_next_step() {
        let reasons = reasons();
        assert!(reasons.len() > 30, "{reasons:?}");
        for reason in reasons {
            let step = step(reason, &HashMap::new(), true);
            assert_eq!(step.is_none(), WITHOUT_STEP.contains(&reason), "{reason}: {step:?}");
        }
    }

    #[test]
    fn steps_contain_the_metadata_of_the_error() {
        let metadata = |name: &str, value: &str| HashMap::from([(name.to_owned(), value.to_owned())]);
        let missing = step("PERMISSION_MISSING", &metadata("permission", "keys.write"), true).unwrap();
        assert!(missing.ends_with("scope keys.write"), "{missing}");
        let pending = step("PROPAGATION_PENDING", &metadata("revision", "7"), true).unwrap();
        assert!(pending.contains("--wait-for 7"), "{pending}");
    }
}
