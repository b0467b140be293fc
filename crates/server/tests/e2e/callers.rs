//! Who may call: credentials, accounts within reach, anonymous questions, and a caller that ends in the middle.

use key_authority_proto::v1::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status};

use crate::api::questions::{mistyped, never_issued};
use crate::support::client::{PERMISSIONS, key_for, only, question};
use crate::support::expect::DOMAIN;
use crate::support::{
    Authority, Client, Database, Setup, assert_same_set, eventually, in_time, on_every_database, on_sqlite, refused,
    seconds,
};

/// Fails unless nothing is answered to this caller.
async fn assert_unauthenticated(caller: &Client, who: &str) {
    let unknown = |result: Result<(), Status>| {
        println!("{who}");
        refused(result, Code::Unauthenticated, "CALLER_UNKNOWN");
    };
    unknown(caller.verify(question("no token")).await.map(drop));
    unknown(caller.batch_verify(BatchVerifyRequest::default()).await.map(drop));
    unknown(caller.get_key(GetKeyRequest { key_id: "nothing".into() }).await.map(drop));
    unknown(caller.list_accounts(ListAccountsRequest::default()).await.map(drop));
    unknown(caller.create_key(key_for("acme")).await.map(drop));
    unknown(caller.get_authority_status(GetAuthorityStatusRequest {}).await.map(drop));
    assert_eq!(ask_by_stream(caller).await, Err((Code::Unauthenticated, "CALLER_UNKNOWN".to_owned())), "{who}");
}

/// One question by stream: the verdict, or why there is none, be it said by the stream or by the call.
async fn ask_by_stream(caller: &Client) -> Result<Verdict, (Code, String)> {
    let asked = VerifyStreamRequest { id: 1, request: Some(question("no token")) };
    let outcome = async {
        let mut answers = caller.verify_stream(tokio_stream::iter([asked])).await?;
        in_time("an outcome", answers.message()).await
    };
    match outcome.await {
        Ok(answer) => outcome_of(answer.expect("an outcome")),
        Err(status) => Err(told(&status)),
    }
}

fn outcome_of(answer: VerifyStreamResponse) -> Result<Verdict, (Code, String)> {
    match answer.outcome.expect("an outcome") {
        verify_stream_response::Outcome::Response(response) => Ok(response.verdict()),
        verify_stream_response::Outcome::Error(error) => Err((Code::from_i32(error.code), error.reason)),
    }
}

/// The code and the reason of an error.
fn told(status: &Status) -> (Code, String) {
    let details = tonic_types::StatusExt::get_error_details(status);
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, DOMAIN);
    (status.code(), info.reason.clone())
}

async fn a_call_without_a_good_credential_is_unauthenticated(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let (root, ordinary) = (authority.root_token(), client.key_in("acme").await.token);
    let never_issued = never_issued(&authority).await;
    let calls_with = async |value: Option<&str>, who: &str| {
        assert_unauthenticated(&Client::with_authorization(authority.channel(), value), who).await;
    };
    calls_with(None, "without a credential").await;
    for (value, who) in [
        (String::new(), "with an empty one"),
        ("Bearer".to_owned(), "with no token"),
        ("Bearer ".to_owned(), "with an empty token"),
        (root.clone(), "without a scheme"),
        (format!("Basic {root}"), "with another scheme"),
        (format!("Bearer  {}", root.replace('_', "-")), "with what is no token"),
        (format!("Bearer {root}x"), "with one character more"),
        (format!("Bearer {}", mistyped(&root)), "with a mistyped token"),
        (format!("Bearer {ordinary}"), "with the token of another account than system"),
        (format!("Bearer {never_issued}"), "with a token that is not issued"),
        (format!("Bearer {}", "a".repeat(5000)), "with a long one"),
    ] {
        calls_with(Some(&value), who).await;
    }
    assert_eq!(client.verdict(&ordinary).await, Verdict::Valid);
}

async fn a_caller_whose_key_ends_is_turned_away_at_once(authority: Authority) {
    let root = authority.client();
    let (key, caller) = authority.new_caller(&PERMISSIONS, None).await;
    let key_id = key.id();
    caller.list_accounts(ListAccountsRequest::default()).await.unwrap();
    root.disable_key(DisableKeyRequest { key_id: key_id.clone(), ..Default::default() }).await.unwrap();
    assert_unauthenticated(&caller, "a disabled caller").await;
    root.enable_key(EnableKeyRequest { key_id: key_id.clone(), ..Default::default() }).await.unwrap();
    caller.list_accounts(ListAccountsRequest::default()).await.unwrap();

    let renewed = root.renew_key(RenewKeyRequest { key_id: key_id.clone(), ..Default::default() }).await.unwrap();
    assert_unauthenticated(&caller, "a caller with its old token").await;
    let caller = authority.client_with(&renewed.token);
    caller.list_accounts(ListAccountsRequest::default()).await.unwrap();
    root.revoke(&key_id).await;
    assert_unauthenticated(&caller, "a revoked caller").await;
    root.delete_key(DeleteKeyRequest { key_id, ..Default::default() }).await.unwrap();
    assert_unauthenticated(&caller, "a deleted caller").await;

    let second = Some(create_key_request::Expiry::Lifetime(seconds(1).unwrap()));
    let scopes = vec!["accounts.read".into()];
    let short = root.new_key(CreateKeyRequest { scopes, expiry: second, ..key_for("system") }).await;
    let caller = authority.client_with(&short.token);
    eventually("a second passes", async || caller.list_accounts(ListAccountsRequest::default()).await.err()).await;
    assert_unauthenticated(&caller, "an expired caller").await;
}

async fn a_caller_may_call_from_its_networks_only(authority: Authority) {
    let root = authority.client();
    for (networks, is_here) in [(["127.0.0.0/8", "::1"], true), (["192.0.2.0/24", "2001:db8::/32"], false)] {
        let request = CreateKeyRequest {
            scopes: PERMISSIONS.map(String::from).to_vec(),
            allowed_networks: networks.map(String::from).to_vec(),
            ..key_for("system")
        };
        let caller = authority.client_with(&root.new_key(request).await.token);
        if is_here {
            caller.list_accounts(ListAccountsRequest::default()).await.unwrap();
        } else {
            let call = caller.list_accounts(ListAccountsRequest::default()).await;
            refused(call, Code::PermissionDenied, "CALLER_NETWORK_DENIED");
            let call = caller.verify(question("no token")).await;
            refused(call, Code::PermissionDenied, "CALLER_NETWORK_DENIED");
        }
    }
}

async fn a_caller_that_covers_no_account_may_do_nothing(authority: Authority) {
    let (_, caller) = authority.new_caller(&PERMISSIONS, Some(&[])).await;
    let denied = "CALLER_COVERS_NO_ACCOUNT";
    refused(caller.list_accounts(ListAccountsRequest::default()).await, Code::PermissionDenied, denied);
    refused(caller.get_key(GetKeyRequest { key_id: "nothing".into() }).await, Code::PermissionDenied, denied);
    refused(caller.verify(question("no token")).await, Code::PermissionDenied, denied);
}

async fn a_limited_caller_sees_nothing_of_other_accounts(authority: Authority) {
    let root = authority.client();
    let mut tokens = Vec::new();
    for account in ["a", "b"] {
        root.new_account(account, KeyPolicy::default()).await;
        tokens.push(root.key_in(account).await.token);
    }
    let (_, limited) = authority.new_caller(&PERMISSIONS, Some(&["a", "to-come"])).await;
    assert_eq!(limited.verdict(&tokens[0]).await, Verdict::Valid);
    let answer = limited.ask(&tokens[1]).await;
    assert_eq!((answer.verdict(), answer.key_id.as_str(), answer.account.as_str()), (Verdict::Unknown, "", ""));
    let named = VerifyRequest { account: "b".into(), ..question(&tokens[1]) };
    assert_eq!(limited.verify(named).await.unwrap().verdict(), Verdict::Unknown);
    let requests = tokens.iter().map(|token| question(token)).collect();
    let batch = limited.batch_verify(BatchVerifyRequest { requests }).await.unwrap().responses;
    assert_eq!(batch.iter().map(VerifyResponse::verdict).collect::<Vec<_>>(), [Verdict::Valid, Verdict::Unknown]);

    let listed = limited.keys_of("").await;
    assert_same_set(listed.into_iter().map(|key| key.account), ["a".to_owned()]);
    // It may create those that it may act on.
    limited.new_account("to-come", KeyPolicy::default()).await;
    limited.key_in("to-come").await;
    let account = Account { id: "another".into(), ..Account::default() };
    let another = CreateAccountRequest { account: Some(account), ..Default::default() };
    refused(limited.create_account(another).await, Code::NotFound, "ACCOUNT_NOT_FOUND");
    // A taken ID of a key out of reach is taken; no more is told.
    let taken = root.keys_of("b").await.remove(0).id;
    refused(
        limited.create_key(CreateKeyRequest { key_id: taken, ..key_for("a") }).await,
        Code::AlreadyExists,
        "KEY_EXISTS",
    );
}

async fn a_change_of_a_callers_reach_holds_from_its_return_on(authority: Authority) {
    let root = authority.client();
    for account in ["a", "b"] {
        root.new_account(account, KeyPolicy::default()).await;
    }
    let (key, caller) = authority.new_caller(&["keys.read"], Some(&["a"])).await;
    let update = async |scopes: &[&str], accounts: &[&str]| {
        let key = Key {
            id: key.id(),
            scopes: scopes.iter().map(|&scope| scope.into()).collect(),
            projects: only(accounts),
            ..Key::default()
        };
        let update_mask = crate::support::client::mask(&["scopes", "projects"]);
        root.update_key(UpdateKeyRequest { key: Some(key), update_mask, ..Default::default() }).await.unwrap();
    };
    let list =
        async |account: &str| caller.list_keys(ListKeysRequest { account: account.into(), ..Default::default() }).await;
    list("a").await.unwrap();
    refused(list("b").await, Code::NotFound, "ACCOUNT_NOT_FOUND");
    update(&["keys.read"], &["b"]).await;
    refused(list("a").await, Code::NotFound, "ACCOUNT_NOT_FOUND");
    list("b").await.unwrap();
    update(&["verify"], &["b"]).await;
    refused(list("b").await, Code::PermissionDenied, "PERMISSION_MISSING");
}

async fn anonymous_callers_may_ask_where_that_is_set(database: Database) {
    let authority = Setup::on(database).flags(["--anonymous-verify"]).start().await;
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let token = root.key_in("acme").await.token;
    let anyone = authority.anonymous();
    assert_eq!(anyone.verdict(&token).await, Verdict::Valid);
    assert_eq!(anyone.verdict("no token").await, Verdict::Malformed);
    let batch = anyone.batch_verify(BatchVerifyRequest { requests: vec![question(&token)] }).await.unwrap();
    assert_eq!(batch.responses[0].verdict(), Verdict::Valid);
    assert_eq!(ask_by_stream(&anyone).await, Ok(Verdict::Malformed));
    let unknown = "CALLER_UNKNOWN";
    refused(anyone.list_accounts(ListAccountsRequest::default()).await, Code::Unauthenticated, unknown);
    refused(anyone.create_key(key_for("acme")).await, Code::Unauthenticated, unknown);
    refused(anyone.get_authority_status(GetAuthorityStatusRequest {}).await, Code::Unauthenticated, unknown);
}

async fn a_streams_caller_is_authorized_for_every_question(authority: Authority) {
    let root = authority.client();
    let (key, caller) = authority.new_caller(&["verify"], None).await;
    let (ask, questions) = mpsc::unbounded_channel();
    let mut answers = caller.verify_stream(UnboundedReceiverStream::new(questions)).await.unwrap();
    let mut next_id = 0;
    // The outcome of one more question; where the stream ends with a status, what that says.
    let mut outcome = async || {
        next_id += 1;
        let _ = ask.send(VerifyStreamRequest { id: next_id, request: Some(question("no token")) });
        match in_time("an outcome", answers.message()).await {
            Ok(answer) => outcome_of(answer.expect("it does not end in silence")),
            Err(status) => Err(told(&status)),
        }
    };
    assert_eq!(outcome().await, Ok(Verdict::Malformed));
    root.disable_key(DisableKeyRequest { key_id: key.id(), ..Default::default() }).await.unwrap();
    assert_eq!(outcome().await, Err((Code::Unauthenticated, "CALLER_UNKNOWN".to_owned())));
}

async fn bootstrap_makes_another_root_key(mut authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let first = authority.root_id().await;
    assert!(authority.stop().await.success());
    let printed = authority.subcommand(&["bootstrap"], &[]).await.well().stdout;
    let is_token = |word: &&str| word.len() > 46 && word.rsplit_once('_').is_some_and(|(_, random)| random.len() == 46);
    let token = printed.split_whitespace().find(is_token).expect("the token is printed").to_owned();
    authority.restart().await;
    let another = authority.client_with(&token);
    let second = another.ask_in("system", &token).await;
    assert_eq!((second.verdict(), second.account.as_str()), (Verdict::Valid, "system"));
    assert_same_set(second.scopes, PERMISSIONS.map(String::from));
    assert_ne!(second.key_id, first);
    another.revoke(&first).await;
    assert_unauthenticated(&authority.client(), "the first root key").await;
    let made = ListAuditEventsRequest { actor: "bootstrap".into(), ..Default::default() };
    let made = another.events(made).await;
    let made: Vec<_> = made.iter().map(|event| (event.action(), event.key_id.as_str())).collect();
    assert_eq!(made, [(Action::Bootstrap, first.as_str()), (Action::Bootstrap, second.key_id.as_str())]);
}

async fn the_root_token_lies_in_a_file_that_only_its_owner_reads(mut authority: Authority) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = authority.printed_token_path().await;
    assert_eq!(path.canonicalize().unwrap(), authority.folder().join("root.token").canonicalize().unwrap());
    for file in [path, authority.secret_file()] {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    let token = authority.root_token();
    assert!(!authority.output().contains(&token), "the token itself is not printed");
    assert!(authority.stop().await.success());
    authority.restart().await;
    assert_eq!(authority.root_token(), token, "a second start makes no other");
    assert_eq!(authority.client().caller_verdict(&token).await, Verdict::Valid);
}

on_every_database! {
    a_call_without_a_good_credential_is_unauthenticated,
    a_caller_whose_key_ends_is_turned_away_at_once,
    a_caller_may_call_from_its_networks_only,
    a_caller_that_covers_no_account_may_do_nothing,
    a_limited_caller_sees_nothing_of_other_accounts,
    a_change_of_a_callers_reach_holds_from_its_return_on,
    anonymous_callers_may_ask_where_that_is_set,
    a_streams_caller_is_authorized_for_every_question,
    bootstrap_makes_another_root_key,
}

mod embedded {
    use super::*;
    on_sqlite! { the_root_token_lies_in_a_file_that_only_its_owner_reads }
}
