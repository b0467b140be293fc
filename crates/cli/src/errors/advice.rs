//! What to do next about each reason that the authority gives.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The next step after a call that ended with this, if there is one to name.
pub(super) fn next_step(status: &Status, is_change: bool) -> Option<String> {
    match status.get_details_error_info() {
        Some(info) => step(&info.reason, &info.metadata, is_change),
        None => Some(without_reason(status.code(), is_change).to_owned()),
    }
}

/// The next step after a call that nobody answered.
pub(super) fn unanswered(is_change: bool) -> &'static str {
    if is_change {
        "the change may have been made or not: keyctl audit tells; keyctl status shows how the authority is"
    } else {
        "ask again, or wait longer with --timeout; keyctl status shows how the authority is"
    }
}

/// Whatever answers without a reason is no authority, or not one of this version.
fn without_reason(code: Code, is_change: bool) -> &'static str {
    match code {
        Code::Unimplemented => "the authority does not know this call: is it older than this keyctl?",
        Code::OutOfRange => "the answer is too large; ask for less at once",
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => unanswered(is_change),
        _ => "is it the gRPC address of a Key Authority, and is https:// written where it speaks TLS?",
    }
}

fn step(reason: &str, metadata: &HashMap<String, String>, is_change: bool) -> Option<String> {
    let told = |name: &str, unknown: &str| metadata.get(name).cloned().unwrap_or_else(|| unknown.to_owned());
    let step = match reason {
        "FIELD_INVALID" => "the command's --help tells how each value is written",
        "CALLER_UNKNOWN" => {
            "name a file with a token of a key of account system: --token-file, KEYCTL_TOKEN_FILE or a profile"
        }
        "PERMISSION_MISSING" => {
            let permission = told("permission", "that it lacks");
            return Some(format!("call as a key of account system that has the scope {permission}"));
        }
        "CALLER_NETWORK_DENIED" => "call from a network that the caller's key allows",
        "CALLER_COVERS_NO_ACCOUNT" => {
            "let somebody who may give the caller's key accounts: keyctl keys edit KEY --project ACCOUNT"
        }
        "GRANT_EXCEEDS_CALLER" => "let a caller do it that holds as much",
        "KEY_NOT_FOUND" => "keyctl keys list shows the keys that there are",
        "ACCOUNT_NOT_FOUND" => {
            "keyctl accounts list shows the accounts that there are; keyctl accounts create makes one"
        }
        "KEY_EXISTS" => {
            "choose another --key-id, or none and one is made; keyctl keys show shows the one that is there"
        }
        "TOKEN_EXISTS" => "find the key that has the token: keyctl verify tells its ID; leave it out of the import",
        "REPLICAS_DIFFER" => "finish the upgrade: keyctl status shows which build each replica is",
        "ACCOUNT_EXISTS" => "choose another ID; keyctl accounts show shows the one that is there",
        "REQUEST_ID_REUSED" => "repeat the command, which draws another one",
        "ETAG_MISMATCH" => "look at it again (show --output json has the new etag), and decide anew",
        "KEY_LIMIT_REACHED" => {
            "keyctl keys list ACCOUNT shows them; keyctl keys revoke KEY or delete KEY makes room, \
             keyctl accounts edit ACCOUNT --max-keys allows more"
        }
        "KEY_RECENTLY_USED" => "make sure that nobody needs it, then repeat this with --allow-recently-used",
        "KEY_REVOKED" => "keyctl keys create makes another one",
        "KEY_EXPIRED" => "repeat this with --lifetime, --expire-time or --never-expires",
        "KEY_NOT_ACTIVE" => "keyctl keys show KEY tells its state; without --key the newest active one is used",
        "LIFETIME_NOT_ALLOWED" => "keyctl accounts show ACCOUNT lists the lifetimes; choose one with --lifetime",
        "NOT_RECOVERABLE" => "keyctl keys renew KEY gives it a new token, and ends the old one",
        "OVERLAP_NOT_ALLOWED" => "choose a shorter --overlap; keyctl accounts show ACCOUNT tells the longest",
        "SECRET_LIMIT_REACHED" => "keyctl keys show KEY tells when they end; without --overlap they end now",
        "PROJECTS_NOT_ALLOWED" => "keyctl accounts show ACCOUNT tells the rule for projects",
        "ACCOUNT_NOT_EMPTY" => "keyctl keys list ACCOUNT shows them, keyctl keys delete KEY deletes one",
        "ACCOUNT_SUSPENDED" => "keyctl accounts resume ACCOUNT",
        "ANSWER_TOO_LARGE" => "ask for less at once",
        "PROPAGATION_PENDING" => {
            let revision = told("revision", "REVISION");
            return Some(format!(
                "keyctl status --wait-for {revision} goes on waiting; if a token was to come, renew the key"
            ));
        }
        "DEADLINE_EXCEEDED" | "LEASE_EXPIRED" | "OUTCOME_UNKNOWN" => unanswered(is_change),
        "STORAGE_UNAVAILABLE" => "look after the authority's database, then repeat this",
        "ROW_CORRUPT" | "SEAL_BROKEN" | "STORAGE_FAULT" | "NO_RANDOMNESS" => "the server's log says more",
        // Nothing can be done about it, or nothing that this version knows.
        _ => return None,
    };
    Some(step.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For which there is nothing to do.
    const HOPELESS: [&str; 1] = ["ACCOUNT_RESERVED"];

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
            assert_eq!(step.is_none(), HOPELESS.contains(&reason), "{reason}: {step:?}");
        }
    }

    #[test]
    fn steps_name_what_the_authority_told() {
        let metadata = |name: &str, value: &str| HashMap::from([(name.to_owned(), value.to_owned())]);
        let missing = step("PERMISSION_MISSING", &metadata("permission", "keys.write"), true).unwrap();
        assert!(missing.ends_with("scope keys.write"), "{missing}");
        let pending = step("PROPAGATION_PENDING", &metadata("revision", "7"), true).unwrap();
        assert!(pending.contains("--wait-for 7"), "{pending}");
    }
}
