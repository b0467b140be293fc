//! No secret comes out: a session with every RPC, errors included, at the most talkative log level; then each secret of it is
//! looked for in everything that the server wrote, answered, counted and stored.

use std::collections::BTreeMap;

use key_authority_domain::secret::Keyring;
use key_authority_domain::token::Token;
use key_authority_proto::v1::*;
use prost::Message as _;
use tonic::Status;

use crate::api::questions::mistyped;
use crate::coverage::{TABLE, make_ready};
use crate::support::client::{connection_of, key_for, question};
use crate::support::{Authority, Client, Database, Setup, http, in_time, on_every_database};

/// The password of the database user that the server logs in with.
const PASSWORD: &str = "canary0password0of0the0database";

/// Everything to look for, by what it is.
#[derive(Default)]
struct Canaries(BTreeMap<String, Vec<u8>>);

impl Canaries {
    fn add(&mut self, what: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        let (what, bytes) = (what.into(), bytes.into());
        assert!(bytes.len() >= 16, "{what} is long enough to be no coincidence");
        self.0.insert(what, bytes);
    }

    /// Adds a text in the spellings in which it could come out.
    fn add_spellings(&mut self, what: &str, bytes: &[u8]) {
        self.add(format!("{what}, as it is"), bytes);
        self.add(format!("{what}, hexadecimal"), hex(bytes));
        self.add(format!("{what}, in capitals"), hex(bytes).to_uppercase());
        self.add(format!("{what}, as a list of bytes"), list(bytes));
    }

    /// Fails when any is in `text`.
    #[track_caller]
    fn assert_not_in(&self, place: &str, text: &[u8]) {
        let hits: Vec<_> =
            self.0.iter().filter(|(_, canary)| contains(text, canary)).map(|(what, _)| what.as_str()).collect();
        assert!(hits.is_empty(), "{place} ({} bytes) holds {hits:?}", text.len());
    }
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    let first = wanted[0];
    text.windows(wanted.len()).any(|part| part[0] == first && part == wanted)
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn list(bytes: &[u8]) -> String {
    bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}

/// The part of a token that is secret: its prefix and the first random characters are shown as a hint.
fn secret_part(token: &str) -> &str {
    &token[token.len() - 42..]
}

/// What was answered: everything but the tokens that are there to be shown.
#[derive(Default)]
struct Answers {
    bytes: Vec<u8>,
    tokens: Vec<String>,
    /// What another system brought along: tokens and plain digests, which are nowhere.
    brought: Vec<Vec<u8>>,
}

impl Answers {
    fn refusal<T>(&mut self, result: Result<T, Status>) {
        let Err(status) = result else { panic!("the call should be refused") };
        self.bytes.extend(format!("{status:?} {status} {:?}", status.metadata()).into_bytes());
        self.bytes.extend(status.details());
    }
}

async fn no_secret_comes_out(database: Database) {
    let mut authority = Setup::on(database).log("trace").password(PASSWORD).start().await;
    let root = authority.client();
    let mut answers = Answers::default();
    answers.tokens.push(authority.root_token());

    // Every RPC, as it is meant, on keys whose tokens are known.
    for case in TABLE {
        let target = make_ready(&root, &format!("of-{}", case.method), case.ready).await;
        answers.tokens.extend(Some(target.key.token.clone()).filter(|token| !token.is_empty()));
        (case.call)(root.clone(), target).await.unwrap();
    }
    tokens_are_made_and_shown(&root, &mut answers).await;
    #[cfg(feature = "ext-authz")]
    a_proxy_asks(&authority, &mut answers).await;
    the_door_is_used(&authority, &mut answers).await;
    tokens_are_imported(&root, &mut answers).await;
    refusals(&authority, &mut answers).await;
    for path in ["/metrics", "/livez", "/readyz", "/nothing"] {
        answers.bytes.extend(http::get(authority.http(), path).await.1.into_bytes());
    }
    for event in root.events(ListAuditEventsRequest::default()).await {
        answers.bytes.extend(event.encode_to_vec());
        answers.bytes.extend(format!("{event:?}").into_bytes());
    }
    for key in root.keys_of("").await {
        answers.bytes.extend(key.encode_to_vec());
    }
    let status = root.get_authority_status(GetAuthorityStatusRequest {}).await.unwrap();
    answers.bytes.extend(status.encode_to_vec());
    let stored_while_running = authority.database().dump();
    let help = authority.subcommand(&["check-config"], &[]).await.text();
    let wrong =
        authority.subcommand(&["check-config"], &["--listen", "nowhere", "--database-url-file", "/x"]).await.text();
    assert!(authority.stop().await.success());
    let proof = authority.subcommand(&["audit", "verify"], &[]).await.well().text();

    let secret_text = std::fs::read_to_string(authority.secret_file()).unwrap();
    let digits = secret_text.trim().rsplit(':').next().unwrap().to_owned();
    let secret: Vec<u8> = (0..64).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect();
    let keyring = Keyring::parse(&secret_text).unwrap();
    let (mut stored, mut written) = (Canaries::default(), Canaries::default());
    for (number, token) in answers.tokens.iter().enumerate() {
        let digest = keyring.digest(Token::parse(token).unwrap()).0;
        for canaries in [&mut stored, &mut written] {
            canaries.add_spellings(&format!("token {number}"), secret_part(token).as_bytes());
        }
        // The database keeps digests; nobody else does.
        written.add_spellings(&format!("the digest of token {number}"), &digest);
    }
    for canaries in [&mut stored, &mut written] {
        canaries.add_spellings("the authority secret", &secret);
        canaries.add("the password of the database", PASSWORD);
        for (number, brought) in answers.brought.iter().enumerate() {
            canaries.add_spellings(&format!("what was brought {number}"), brought);
        }
    }
    let output = authority.output();
    println!("{} bytes of output", output.len());
    written.assert_not_in("the output", output.as_bytes());
    written.assert_not_in("the answers", &answers.bytes);
    for (place, text) in [("check-config", &help), ("check-config with errors", &wrong), ("audit verify", &proof)] {
        written.assert_not_in(place, text.as_bytes());
    }
    stored.assert_not_in("the database, while it was in use", &stored_while_running);
    stored.assert_not_in("the database", &authority.database().dump());

    // The search does find: what is stored is found in what is stored.
    let digest = keyring.digest(Token::parse(&answers.tokens[0]).unwrap()).0;
    let mut control = Canaries::default();
    control.add_spellings("the digest of the root token", &digest);
    let dump = authority.database().dump();
    assert!(control.0.values().any(|canary| contains(&dump, canary)), "the search is blind");
}

/// A proxy asks about each token so far, which is in each place of a request.
#[cfg(feature = "ext-authz")]
async fn a_proxy_asks(authority: &Authority, answers: &mut Answers) {
    use crate::ext_authz::ask::{Asked, Proxy};
    let proxy = Proxy::of(authority).await;
    for token in &answers.tokens {
        let in_query = Asked::of(format!("/?token={token}")).route("token_in", "query:token");
        let in_two_places = Asked::bearer(token).header("x-api-key", mistyped(token));
        for asked in [Asked::bearer(token), in_two_places.raw(), in_query.clone(), in_query.route("typo", token)] {
            answers.bytes.extend(format!("{:?}", proxy.check(asked).await).into_bytes());
        }
    }
}

/// By HTTP: tokens where they belong, and where they do not.
async fn the_door_is_used(authority: &Authority, answers: &mut Answers) {
    let (path, form) = ("/keyauthority.v1.KeyAuthority/Verify", "application/x-www-form-urlencoded");
    let json = "application/json";
    let root = format!("Bearer {}", authority.root_token());
    for token in answers.tokens.clone() {
        let (bearer, uri) = (format!("Bearer {token}"), format!("/?key={token}"));
        let (caller, in_query) = (root.as_str(), "/forward-auth?token_in=query:key");
        for (target, content_type, body, headers) in [
            (path, json, format!("{{\"token\": \"{token}\"}}"), &[("authorization", caller)][..]),
            (path, json, format!("{{\"client_ip\": \"{token}\"}}"), &[("authorization", caller)]),
            (path, json, format!("{{\"scops\": \"{token}\"}}"), &[("authorization", caller)]),
            (path, json, format!("{{\"scopes\": \"{token}\"}}"), &[("authorization", caller)]),
            (path, json, format!("{{\"token\": \"{token}\""), &[("authorization", caller)]),
            (path, json, "{}".to_owned(), &[("authorization", bearer.as_str())]),
            ("/introspect", form, format!("token={token}"), &[("authorization", caller)]),
            ("/introspect", form, format!("token=x&client_ip={token}"), &[("authorization", caller)]),
            ("/introspect", form, format!("token=x&scop={token}"), &[("authorization", bearer.as_str())]),
            (in_query, form, String::new(), &[("x-key-authority-caller", caller), ("x-forwarded-uri", uri.as_str())]),
            (in_query, form, String::new(), &[("x-key-authority-caller", bearer.as_str())]),
            (&format!("/forward-auth?token_in={token}"), form, String::new(), &[("x-key-authority-caller", caller)]),
            (&format!("/{token}"), form, String::new(), &[("authorization", bearer.as_str())]),
        ] {
            let headers = [&[("content-type", content_type)], headers].concat();
            let answer = http::send(authority.api(), http::request("POST", target, &headers, body)).await;
            answers.bytes.extend(format!("{:?}", answer.headers).into_bytes());
            answers.bytes.extend(answer.body);
        }
    }
}

/// Calls that answer with tokens: creation, renewal, revelation.
async fn tokens_are_made_and_shown(root: &Client, answers: &mut Answers) {
    for (account, recoverable) in [("kept", true), ("not-kept", false)] {
        root.new_account(account, KeyPolicy { recoverable, ..Default::default() }).await;
        let created = root.key_in(account).await;
        let renewed = root.renew_key(RenewKeyRequest { key_id: created.id(), ..Default::default() }).await.unwrap();
        let reveal = root.reveal_token(RevealTokenRequest { key_id: created.id() }).await;
        assert_eq!(reveal.is_ok(), recoverable);
        // What is to be pasted has the token in it, where it is kept, and is shown to nobody else.
        let response = root.prepare_connection(connection_of(account)).await.unwrap();
        assert_eq!(response.token_source() == TokenSource::Revealed, recoverable);
        answers.bytes.extend(format!("{response:?}").into_bytes());
        // The holder's side: who shows a token as a stream's question, in a batch, alone; also a retired one.
        for token in [&created.token, &renewed.token] {
            let answer = root.ask(token).await;
            answers.bytes.extend(answer.encode_to_vec());
            root.batch_verify(BatchVerifyRequest { requests: vec![question(token)] }).await.unwrap();
            let asked = VerifyStreamRequest { id: 1, request: Some(question(token)) };
            let mut stream = root.verify_stream(tokio_stream::iter([asked])).await.unwrap();
            in_time("an outcome", stream.message()).await.unwrap();
        }
        answers.tokens.extend([created.token, renewed.token]);
    }
}

/// Whole tokens and digests of another system: imported, presented, and refused with something wrong beside them.
async fn tokens_are_imported(root: &Client, answers: &mut Answers) {
    use imported_key::Secret;
    let whole = "canary/of+another-system-0123456789".to_owned();
    let (blake3, sha256) = (blake3::hash(b"canary"), <sha2::Sha256 as sha2::Digest>::digest("canary"));
    let secrets =
        [Secret::Token(whole.clone()), Secret::Blake3(blake3.as_bytes().to_vec()), Secret::Sha256(sha256.to_vec())];
    for account in ["kept", "not-kept"] {
        for secret in secrets.clone() {
            let good = ImportedKey { secret: Some(secret), ..ImportedKey::default() };
            let bad = ImportedKey { key_id: whole.clone(), token_hint: whole.clone(), ..good.clone() };
            let keys = vec![good, bad];
            let message =
                ImportKeysRequest { account: account.into(), keys, request_id: account.into(), dry_run: false };
            let answer = match root.import(message.clone()).await {
                Ok(answer) => answer,
                Err(status) => {
                    answers.refusal::<()>(Err(status));
                    root.import(ImportKeysRequest { request_id: String::new(), ..message }).await.unwrap()
                }
            };
            answers.bytes.extend(answer.encode_to_vec());
            answers.bytes.extend(format!("{answer:?}").into_bytes());
        }
    }
    for token in [&whole, "canary"] {
        answers.bytes.extend(root.ask(token).await.encode_to_vec());
    }
    answers.brought.extend([whole.into_bytes(), blake3.as_bytes().to_vec(), sha256.to_vec()]);
}

/// Calls that fail while they carry a token where one belongs, and where none does.
async fn refusals(authority: &Authority, answers: &mut Answers) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy { max_keys: 1, ..Default::default() }).await;
    let token = root.key_in("acme").await.token;
    answers.tokens.push(token.clone());
    for value in
        [format!("Bearer {token}"), token.clone(), format!("Basic {token}"), format!("Bearer {}", mistyped(&token))]
    {
        let stranger = Client::with_authorization(authority.channel(), Some(&value));
        answers.refusal(stranger.list_accounts(ListAccountsRequest::default()).await);
        answers.refusal(stranger.verify(question(&token)).await);
    }
    answers.refusal(root.create_key(key_for("acme")).await);
    answers.refusal(root.verify(VerifyRequest { client_ip: token.clone(), ..question(&token) }).await);
    answers.refusal(root.get_key(GetKeyRequest { key_id: token.clone() }).await);
    answers.refusal(root.get_account(GetAccountRequest { account: token.clone() }).await);
    let scopes = vec![format!("{token} {token}")];
    answers.refusal(root.create_key(CreateKeyRequest { scopes, ..key_for("acme") }).await);
    let page = ListKeysRequest { page_token: token.clone(), ..Default::default() };
    answers.refusal(root.list_keys(page).await);
    let named = CreateKeyRequest { request_id: format!("{token} "), ..key_for("acme") };
    answers.refusal(root.create_key(named).await);
    let pattern = KeyPolicy { display_name_pattern: format!("({token}"), ..Default::default() };
    let account = Account { id: "pattern".into(), policy: Some(pattern), ..Default::default() };
    answers.refusal(root.create_account(CreateAccountRequest { account: Some(account), ..Default::default() }).await);
    let requests = vec![VerifyRequest { client_ip: token.clone(), ..question(&token) }];
    answers.refusal(root.batch_verify(BatchVerifyRequest { requests }).await);
}

on_every_database! { no_secret_comes_out }
