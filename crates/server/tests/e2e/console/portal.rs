//! Portal sessions: the call that creates one, its link, and what its user may do.

use std::pin::Pin;

use key_authority_proto::v1::*;
use tonic::Code;

use super::Visitor;
use crate::support::client::{PERMISSIONS, mask, only};
use crate::support::{Authority, Client, Database, Setup, invalid, on_database_servers, on_every_database, on_sqlite};
use crate::support::{eventually, refused, seconds};

const ENTER: &str = "/console/enter";
const EVERYTHING: [PortalAction; 7] = [
    PortalAction::Create,
    PortalAction::Update,
    PortalAction::Disable,
    PortalAction::Renew,
    PortalAction::Revoke,
    PortalAction::Delete,
    PortalAction::Reveal,
];

fn session_of(account: &str, may: &[PortalAction]) -> CreatePortalSessionRequest {
    let may = may.iter().map(|action| i32::from(*action)).collect();
    CreatePortalSessionRequest { account: account.into(), subject: "ada".into(), may, lifetime: None }
}

/// The path and the code of a new link.
async fn link(backend: &Client, account: &str, may: &[PortalAction]) -> String {
    let url = backend.create_portal_session(session_of(account, may)).await.unwrap().url;
    let (_, path) = url.split_once("/console").unwrap();
    format!("/console{path}")
}

/// A browser that has followed a link.
async fn enter(authority: &Authority, link: &str) -> Visitor {
    let mut visitor = Visitor::new(authority);
    follow(&mut visitor, link).await;
    visitor
}

async fn follow(visitor: &mut Visitor, link: &str) {
    // The browser comes from the product's site.
    let answer = visitor.ask("GET", link, &[("sec-fetch-site", "cross-site")], String::new()).await;
    assert_eq!(answer.status, 200, "{}", visitor.page);
    visitor.submit(ENTER, &[]).await;
}

/// Makes two accounts, and the backend of a product that covers one of them: the ID of its key, and the caller.
async fn product(authority: &Authority) -> (String, Client) {
    let root = authority.client();
    let account = Account { id: "acme".into(), display_name: "Acme & Co".into(), ..Account::default() };
    root.create_account(CreateAccountRequest { account: Some(account), ..Default::default() }).await.unwrap();
    root.new_account("other", KeyPolicy::default()).await;
    let (key, backend) = authority.new_caller(&PERMISSIONS, Some(&["acme"])).await;
    (key.id(), backend)
}

async fn a_link_opens_the_keys_of_one_account_for_its_user(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let (mine, other) = (backend.key_in("acme").await, authority.client().key_in("other").await);
    let mut visitor = enter(&authority, &link(&backend, "acme", &EVERYTHING).await).await;
    assert_eq!((visitor.status, visitor.path.as_str()), (200, "/console/accounts/acme"));
    visitor.sees("<bdi>ada</bdi>");
    visitor.sees("Acme &#38; Co");
    visitor.sees(&mine.id());
    visitor.does_not_see("Accounts");
    visitor.does_not_see("/console/audit");
    visitor.open("/console/").await;
    assert_eq!(visitor.path, "/console/accounts/acme");
    // What another account has is what nobody has.
    let mut pages = Vec::new();
    for path in ["/console/accounts/other", "/console/accounts/nothing", "/console/accounts/system"] {
        visitor.open(path).await;
        assert_eq!(visitor.status, 404, "{path}");
        pages.push(visitor.page.clone());
    }
    assert!(pages.windows(2).all(|pair| pair[0] == pair[1]), "{pages:?}");
    let mut pages = Vec::new();
    for id in [other.id(), "nothing".into(), authority.root_id().await] {
        visitor.open(&format!("/console/keys/{id}")).await;
        assert_eq!(visitor.status, 404, "{id}");
        visitor.sees("There is no such key.");
        visitor.does_not_see("caller");
        pages.push(visitor.page.clone());
    }
    assert!(pages.windows(2).all(|pair| pair[0] == pair[1]), "{pages:?}");
    for path in ["/console/accounts", "/console/accounts/", "/console/audit", "/console/replicas", "/console/x"] {
        visitor.open(path).await;
        assert_eq!(visitor.status, 404, "{path}");
    }
    visitor.open(&format!("/console/keys/{}", mine.id())).await;
    visitor.sees("Audit trail");
    visitor.sees("Create key");
}

async fn what_may_lacks_is_not_shown_and_is_refused_when_posted(authority: Authority) {
    let root = authority.client();
    let policy = KeyPolicy { recoverable: true, ..KeyPolicy::default() };
    root.new_account("acme", policy).await;
    let (_, backend) = authority.new_caller(&PERMISSIONS, None).await;
    let key = root.key_in("acme").await;
    let page = format!("/console/keys/{}", key.id());
    let mut may_all = enter(&authority, &link(&backend, "acme", &EVERYTHING).await).await;
    let mut may_create = enter(&authority, &link(&backend, "acme", &[PortalAction::Create]).await).await;
    let mut reader = enter(&authority, &link(&backend, "acme", &[]).await).await;
    for visitor in [&mut may_create, &mut reader] {
        visitor.open(&page).await;
        for button in [">Save<", ">Disable<", ">Renew<", ">Revoke<", ">Delete<", "Show the token"] {
            visitor.does_not_see(button);
        }
        visitor.open("/console/accounts/acme").await;
        for button in [">Disable<", ">Copy<"] {
            visitor.does_not_see(button);
        }
    }
    may_create.sees("Create key");
    reader.does_not_see("Create key");
    may_all.open(&page).await;
    for button in [">Save<", ">Disable<", ">Renew<", ">Revoke<", ">Delete<", "Show the token"] {
        may_all.sees(button);
    }
    // The same forms, sent by somebody who may not.
    let revoke = format!("{page}/revoke");
    let forms = [
        (page.clone(), may_all.filled_in(&page, &[("name", "stolen")])),
        (revoke.clone(), may_all.filled_in(&revoke, &[("confirm", &key.id())])),
        (format!("{page}/disable"), may_all.filled_in(&format!("{page}/disable"), &[])),
        (format!("{page}/enable"), Vec::new()),
        (format!("{page}/reveal"), Vec::new()),
        (format!("{page}/renew"), Vec::new()),
        (format!("{page}/delete"), vec![("allow_recently_used".to_owned(), "yes".to_owned())]),
        ("/console/accounts/acme/create".into(), vec![("name".to_owned(), "stolen".to_owned())]),
        (
            "/console/accounts/acme/connect".into(),
            [("server_name", "s"), ("server_url", "https://mcp.example/"), ("create", "yes")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        ),
    ];
    let before = root.events(ListAuditEventsRequest::default()).await.len();
    let expected = root.key(&key.id()).await;
    reader.open("/console/accounts/acme").await;
    let token = reader.filled_in("/console/sign-out", &[]);
    for (action, mut form) in forms {
        form.retain(|(name, _)| name != "form_token");
        form.extend(token.clone());
        reader.post(&action, &form).await;
        if action.ends_with("/connect") {
            assert_eq!(reader.status, 200, "the key's token is a placeholder: {}", reader.page);
            reader.does_not_see(&key.token);
        } else {
            assert_eq!(reader.status, 403, "{action}: {}", reader.page);
        }
    }
    assert_eq!(root.key(&key.id()).await, expected);
    assert_eq!(root.events(ListAuditEventsRequest::default()).await.len(), before);
    // One action does not bring another one that needs the same permission.
    may_create.open("/console/accounts/acme/create").await;
    may_create.submit("/console/accounts/acme/create", &[("name", "made here")]).await;
    may_create.sees("<h1>Key created</h1>");
    let token = may_create.filled_in("/console/sign-out", &[]);
    may_create.post(&format!("{page}/disable"), &token).await;
    assert_eq!(may_create.status, 403);
    assert_eq!(root.verdict(&key.token).await, Verdict::Valid);
    // Nor does it by another way to the same change.
    root.new_account("bare", KeyPolicy::default()).await;
    let mut may_update = enter(&authority, &link(&backend, "bare", &[PortalAction::Update]).await).await;
    may_update.open("/console/accounts/bare/connect").await;
    may_update.sees("You may not create keys here. Ask the people whose product led you here");
    may_update.does_not_see("name=\"server_name\"");
    let fields = [("server_name", "s"), ("server_url", "https://mcp.example/"), ("create", "yes")];
    let mut form = may_update.filled_in("/console/sign-out", &[]);
    form.extend(fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
    may_update.post("/console/accounts/bare/connect", &form).await;
    may_update.sees("may not do this");
    assert!(root.keys_of("bare").await.is_empty());
}

async fn each_change_names_the_user_and_the_caller(authority: Authority) {
    let (caller, backend) = product(&authority).await;
    let mut visitor = enter(&authority, &link(&backend, "acme", &EVERYTHING).await).await;
    visitor.open("/console/accounts/acme/create").await;
    visitor.submit("/console/accounts/acme/create", &[("name", "laptop")]).await;
    visitor.sees("<h1>Key created</h1>");
    let of_caller = ListKeysRequest { account: "acme".into(), created_by: caller.clone(), ..Default::default() };
    let keys = backend.list_keys(of_caller).await.unwrap().keys;
    let [key] = keys.as_slice() else { panic!("{keys:?}") };
    assert_eq!((key.created_by.as_str(), key.created_by_subject.as_str()), (caller.as_str(), "ada"));
    let page = format!("/console/keys/{}", key.id);
    visitor.open(&page).await;
    visitor.sees("<span class=\"quiet\"> for <bdi>ada</bdi></span>");
    visitor.submit(&format!("{page}/revoke"), &[("confirm", "laptop"), ("reason", "lost")]).await;
    visitor.sees("Revoked. It is in force everywhere.");
    visitor.does_not_see("replica");
    visitor.open("/console/keys/of-somebody-else").await;
    visitor.sees("There is no such key.");
    visitor.does_not_see("caller");
    let filter = ListAuditEventsRequest { account: "acme".into(), actor: caller, ..Default::default() };
    let events = authority.client().events(filter).await;
    let actions: Vec<_> = events.iter().map(|event| (event.action(), event.subject.as_str())).collect();
    let expected = [Action::CreatePortalSession, Action::StartPortalSession, Action::CreateKey, Action::RevokeKey];
    assert_eq!(actions, expected.map(|action| (action, "ada")));
    assert!(events[0].after.as_ref().unwrap().fields.contains_key("session_id"));
    assert_eq!(events[0].after, events[1].after);
    // What the caller does by itself is no user's.
    let own = backend.key_in("acme").await;
    assert_eq!(own.key.created_by_subject, "");
    let events = authority.client().events(ListAuditEventsRequest { key_id: own.id(), ..Default::default() }).await;
    assert_eq!(events[0].subject, "");
    authority.subcommand(&["audit", "verify"], &[]).await.well();
}

async fn a_link_is_followed_without_harm_and_redeemed_once(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let link = link(&backend, "acme", &[]).await;
    let mut preview = Visitor::new(&authority);
    for site in ["cross-site", "none", "same-origin"] {
        let answer = preview.ask("GET", &link, &[("sec-fetch-site", site)], String::new()).await;
        assert_eq!(answer.status, 200, "{site}");
        assert_eq!(preview.cookies.keys().collect::<Vec<_>>(), ["key-authority-enter"], "no session begins");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    // A form of another site starts nothing.
    let form = preview.filled_in(ENTER, &[]);
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
    let answer = preview.ask("POST", ENTER, &[("sec-fetch-site", "cross-site")], body).await;
    assert_eq!(answer.status, 403);

    let mut visitor = enter(&authority, &link).await;
    assert_eq!(visitor.path, "/console/accounts/acme");
    let mut second = Visitor::new(&authority);
    second.ask("GET", &link, &[], String::new()).await;
    second.submit(ENTER, &[]).await;
    assert_eq!(second.status, 410);
    second.sees("This link was used before");
    assert!(second.cookies.is_empty());
    // In the browser that has the session, the same link leads to it: somebody went back.
    visitor.open(&link).await;
    assert_eq!((visitor.status, visitor.path.as_str()), (200, "/console/accounts/acme"));
    for code in ["", "x", "AAAA", &"A".repeat(5000)] {
        second.open(&format!("{ENTER}?code={code}")).await;
        assert_eq!(second.status, 410, "{code}");
    }
    let code = link.split_once("code=").unwrap().1;
    assert!(!authority.output().contains(code) && !authority.output().contains(&code[..40]), "the log has the code");
}

async fn links_in_two_tabs_of_a_browser_both_open_the_keys(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let mut visitor = Visitor::new(&authority);
    let mut forms = Vec::new();
    for _ in 0..2 {
        visitor.ask("GET", &link(&backend, "acme", &[]).await, &[], String::new()).await;
        forms.push(visitor.filled_in(ENTER, &[]));
    }
    for form in forms {
        visitor.post(ENTER, &form).await;
        assert_eq!((visitor.status, visitor.path.as_str()), (200, "/console/accounts/acme"));
    }
}

async fn signing_out_ends_the_session_and_leads_back_to_the_product(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let mut visitor = enter(&authority, &link(&backend, "acme", &[]).await).await;
    let mut thief = Visitor::new(&authority);
    thief.cookies = visitor.cookies.clone();
    visitor.submit("/console/sign-out", &[]).await;
    assert_eq!(visitor.status, 200);
    visitor.sees("go back to the page that led you here");
    assert!(visitor.cookies.is_empty(), "{:?}", visitor.cookies);
    thief.open("/console/accounts/acme").await;
    thief.sees("<h1>Your session has ended</h1>");
    thief.does_not_see("name=\"token\"");
}

/// What ends a caller, by the ID of its key.
type End = fn(Client, String) -> Pin<Box<dyn Future<Output = ()> + Send>>;

async fn a_session_ends_at_once_with_its_caller(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let ends: [(&str, End); 6] = [
        ("revoked", |root, id| Box::pin(async move { _ = root.revoke(&id).await })),
        ("disabled", |root, id| {
            Box::pin(async move {
                _ = root.disable_key(DisableKeyRequest { key_id: id, ..Default::default() }).await.unwrap();
            })
        }),
        ("deleted", |root, id| {
            Box::pin(async move {
                _ = root.delete_key(DeleteKeyRequest { key_id: id, ..Default::default() }).await.unwrap();
            })
        }),
        ("without the permission", |root, id| {
            let key = Key { id, scopes: vec!["keys.write".into(), "keys.read".into()], ..Key::default() };
            Box::pin(changed(root, key, "scopes"))
        }),
        ("without the account", |root, id| {
            let key = Key { id, projects: only(&["other"]), ..Key::default() };
            Box::pin(changed(root, key, "projects"))
        }),
        ("with a new token", |root, id| {
            Box::pin(async move {
                _ = root.renew_key(RenewKeyRequest { key_id: id, ..Default::default() }).await.unwrap();
            })
        }),
    ];
    for (how, end) in ends {
        let (caller, backend) = authority.new_caller(&["portal.write", "keys.write"], Some(&["acme"])).await;
        let mut visitor = enter(&authority, &link(&backend, "acme", &[PortalAction::Create]).await).await;
        visitor.open("/console/accounts/acme/create").await;
        let form = visitor.filled_in("/console/accounts/acme/create", &[("name", "too late")]);
        let late = link(&backend, "acme", &[]).await;
        end(root.clone(), caller.id()).await;
        visitor.post("/console/accounts/acme/create", &form).await;
        assert_eq!(visitor.status, 403, "{how}");
        visitor.sees("<h1>Your session has ended</h1>");
        assert!(visitor.cookies.is_empty(), "{how}");
        let late = enter(&authority, &late).await;
        assert_eq!(late.status, 410, "{how}: a link is worth no more");
    }
    assert!(root.keys_of("acme").await.is_empty(), "nothing was created");
}

async fn changed(root: Client, key: Key, path: &'static str) {
    let request = UpdateKeyRequest { key: Some(key), update_mask: mask(&[path]), ..Default::default() };
    root.update_key(request).await.unwrap();
}

async fn a_session_loses_what_its_caller_loses(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let (caller, backend) = authority.new_caller(&["portal.write", "keys.write"], None).await;
    let mut visitor = enter(&authority, &link(&backend, "acme", &[PortalAction::Create]).await).await;
    visitor.sees("Create key");
    visitor.open("/console/accounts/acme/create").await;
    let form = visitor.filled_in("/console/accounts/acme/create", &[("name", "too late")]);
    changed(root.clone(), Key { id: caller.id(), scopes: vec!["portal.write".into()], ..Key::default() }, "scopes")
        .await;
    visitor.open("/console/accounts/acme").await;
    assert_eq!(visitor.status, 200);
    visitor.does_not_see("Create key");
    visitor.post("/console/accounts/acme/create", &form).await;
    assert_eq!(visitor.status, 403);
    assert!(root.keys_of("acme").await.is_empty());
}

async fn a_caller_lets_nobody_do_more_than_itself(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let (_, reader) = authority.new_caller(&["portal.write"], None).await;
    for (action, permission) in [
        (PortalAction::Create, "keys.write"),
        (PortalAction::Update, "keys.write"),
        (PortalAction::Disable, "keys.write"),
        (PortalAction::Renew, "keys.write"),
        (PortalAction::Revoke, "keys.revoke"),
        (PortalAction::Delete, "keys.write"),
        (PortalAction::Reveal, "tokens.reveal"),
    ] {
        for account in ["acme", "nobody"] {
            let created = reader.create_portal_session(session_of(account, &[action])).await;
            let (status, _) = refused(created, Code::PermissionDenied, "GRANT_EXCEEDS_CALLER");
            let message = status.message();
            assert!(message.contains(action.as_str_name()) && message.contains(permission), "{message}");
        }
    }
    let (_, revoker) = authority.new_caller(&["portal.write", "keys.revoke"], None).await;
    revoker.create_portal_session(session_of("acme", &[PortalAction::Revoke])).await.unwrap();
    let created = authority.client().create_portal_session(session_of("system", &[])).await;
    refused(created, Code::FailedPrecondition, "ACCOUNT_RESERVED");
}

async fn a_session_lasts_as_long_as_asked_and_no_longer_than_its_caller(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let root = authority.client();
    let lasts = async |client: &Client, lifetime| {
        let created = client.create_portal_session(CreatePortalSessionRequest { lifetime, ..session_of("acme", &[]) });
        let created = created.await.unwrap();
        assert!(!format!("{created:?}").contains("code="), "Debug shows no code");
        let (code, end) = (created.url_expire_time.unwrap(), created.expire_time.unwrap());
        end.seconds - (code.seconds - 60)
    };
    assert_eq!(lasts(&root, None).await, 3600);
    assert_eq!(lasts(&root, seconds(43_200)).await, 43_200);
    assert_eq!(lasts(&root, seconds(1)).await, 1);
    let request = CreateKeyRequest {
        account: "system".into(),
        scopes: vec!["portal.write".into()],
        expiry: Some(create_key_request::Expiry::Lifetime(prost_types::Duration { seconds: 600, nanos: 0 })),
        ..Default::default()
    };
    let short = root.new_key(request).await;
    let ends = authority.client_with(&short.token).create_portal_session(session_of("acme", &[])).await.unwrap();
    assert_eq!(ends.expire_time, short.key.expire_time);
}

async fn bad_input_names_the_field_and_its_rule(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let create = async |request| root.create_portal_session(request).await;
    let base = || session_of("acme", &[]);
    for subject in ["", " ", "\u{200b}", "\u{202e} \u{feff}", "two\nlines", "nul\0", &"x".repeat(129)] {
        let rule = invalid(create(CreatePortalSessionRequest { subject: subject.into(), ..base() }).await, "subject");
        assert!(!rule.contains("two"), "{rule}");
    }
    for lifetime in [0, -1, 43_201] {
        let request = CreatePortalSessionRequest { lifetime: seconds(lifetime), ..base() };
        assert_eq!(invalid(create(request).await, "lifetime"), "must be 1 second to 12 hours");
    }
    for number in [0, -1, 8, i32::MAX] {
        invalid(create(CreatePortalSessionRequest { may: vec![1, number], ..base() }).await, "may[1]");
    }
    invalid(create(session_of("", &[])).await, "account");
    invalid(create(session_of("a b", &[])).await, "account");
    let longest = CreatePortalSessionRequest { subject: "ü".repeat(128), ..base() };
    assert!(create(longest).await.unwrap().url.len() < 2000);
}

async fn a_suspended_account_has_a_portal_without_new_tokens(authority: Authority) {
    let (_, backend) = product(&authority).await;
    backend.suspend_account(SuspendAccountRequest { account: "acme".into(), ..Default::default() }).await.unwrap();
    let mut visitor = enter(&authority, &link(&backend, "acme", &EVERYTHING).await).await;
    visitor.sees("Suspended");
    visitor.open("/console/accounts/acme/create").await;
    visitor.submit("/console/accounts/acme/create", &[("name", "k")]).await;
    visitor.sees("suspended");
    assert!(backend.keys_of("acme").await.is_empty());
}

async fn a_link_does_not_quietly_replace_an_operator(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    follow(&mut visitor, &link(&backend, "acme", &[]).await).await;
    assert_eq!(visitor.status, 409);
    visitor.sees("You are signed in as an operator");
    visitor.open("/console/accounts").await;
    visitor.sees("<h1>Accounts</h1>");
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    follow(&mut visitor, &link(&backend, "acme", &[]).await).await;
    visitor.submit(ENTER, &[]).await;
    assert_eq!(visitor.path, "/console/accounts/acme");
    visitor.does_not_see("Accounts");
}

async fn a_link_replaces_the_session_of_nobody_else_unasked(authority: Authority) {
    product(&authority).await;
    authority.client().new_account("second", KeyPolicy::default()).await;
    let (_, backend) = authority.new_caller(&PERMISSIONS, Some(&["acme", "second"])).await;
    let of = async |account: &str, subject: &str| {
        let request = CreatePortalSessionRequest { subject: subject.into(), ..session_of(account, &[]) };
        let url = backend.create_portal_session(request).await.unwrap().url;
        format!("/console{}", url.split_once("/console").unwrap().1)
    };
    let mut visitor = enter(&authority, &of("acme", "ada").await).await;
    for (account, subject) in [("acme", "mallory"), ("second", "ada")] {
        follow(&mut visitor, &of(account, subject).await).await;
        assert_eq!(visitor.status, 409, "{account} {subject}");
        visitor.sees("You are signed in as <bdi>ada</bdi>, account <bdi>Acme &#38; Co</bdi>");
        visitor.open("/console/").await;
        visitor.sees("<bdi>ada</bdi> · <bdi>Acme");
    }
    // Another session of the same user is no surprise.
    follow(&mut visitor, &of("acme", "ada").await).await;
    assert_eq!((visitor.status, visitor.path.as_str()), (200, "/console/accounts/acme"));
    follow(&mut visitor, &of("second", "ada").await).await;
    visitor.submit(ENTER, &[]).await;
    assert_eq!((visitor.status, visitor.path.as_str()), (200, "/console/accounts/second"));
}

async fn a_session_that_is_replaced_has_ended(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    let mut thief = Visitor::new(&authority);
    let replace: [&str; 3] = ["sign in", "a link instead of an operator", "a link of the same user"];
    for how in replace {
        thief.cookies = visitor.cookies.clone();
        thief.open("/console/").await;
        assert_eq!(thief.status, 200, "{how}");
        if how == "sign in" {
            visitor.open("/console/sign-in").await;
            visitor.submit("/console/sign-in", &[("token", &authority.root_token())]).await;
        } else {
            follow(&mut visitor, &link(&backend, "acme", &[]).await).await;
        }
        if visitor.status == 409 {
            visitor.submit(ENTER, &[]).await;
        }
        assert_eq!(visitor.status, 200, "{how}: {}", visitor.page);
        thief.open("/console/").await;
        let page = if how == replace[2] { "<h1>Your session has ended</h1>" } else { "<h1>Sign in</h1>" };
        thief.sees(page);
    }
    visitor.open("/console/").await;
    assert_eq!(visitor.path, "/console/accounts/acme");
}

async fn only_the_browser_that_opened_a_link_sends_its_code(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let link = link(&backend, "acme", &[]).await;
    let code = link.split_once("code=").unwrap().1;
    let (mut attacker, mut victim) = (Visitor::new(&authority), Visitor::new(&authority));
    attacker.ask("GET", &link, &[], String::new()).await;
    // What a page of another site can send: the fields that the attacker has, but no cookie of this site. Over clear
    // text, browsers send no Sec-Fetch-Site.
    let form = attacker.filled_in(ENTER, &[]);
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
    for (headers, body) in [
        (&[("origin", "null")][..], body.clone()),
        (&[("origin", "null")], format!("code={code}")),
        (&[], format!("code={code}&form_token=")),
    ] {
        victim.cookies.clear();
        let answer = victim.ask("POST", ENTER, headers, body).await;
        assert_eq!((answer.status, answer.header("location")), (403, None), "{headers:?}");
        assert!(!victim.cookies.contains_key("key-authority"));
        victim.sees("cookies are off");
    }
    // The cookie of one browser does not go with the form of another one.
    victim.ask("POST", ENTER, &[("origin", "null")], body).await;
    assert_eq!(victim.status, 403);
    // Nothing of this has used the link up, and the page that said so goes on.
    victim.submit(ENTER, &[]).await;
    assert_eq!((victim.status, victim.path.as_str()), (200, "/console/accounts/acme"), "{}", victim.page);
}

async fn a_browser_whose_answer_was_lost_starts_the_session_again(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let link = link(&backend, "acme", &[]).await;
    let mut visitor = Visitor::new(&authority);
    visitor.ask("GET", &link, &[], String::new()).await;
    let (cookies, page) = (visitor.cookies.clone(), visitor.page.clone());
    visitor.submit(ENTER, &[]).await;
    assert_eq!(visitor.status, 200);
    let mut again = Visitor::new(&authority);
    (again.cookies, again.page) = (cookies, page);
    again.submit(ENTER, &[]).await;
    assert_eq!((again.status, again.path.as_str()), (200, "/console/accounts/acme"), "{}", again.page);
    let other = enter(&authority, &link).await;
    assert_eq!(other.status, 410, "another browser");
    let actions = vec![Action::StartPortalSession.into()];
    let started = authority.client().events(ListAuditEventsRequest { actions, ..Default::default() }).await;
    assert_eq!(started.len(), 1);
}

async fn callers_cannot_take_the_request_id_of_a_start(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let key = backend.key_in("acme").await;
    let request = DisableKeyRequest { key_id: key.id(), request_id: format!("portal-session:{}", "0".repeat(32)) };
    assert_eq!(invalid(backend.disable_key(request).await, "request_id"), "must not begin with `portal-session:`");
}

async fn refused_calls_of_a_portal_name_its_session_and_user_in_the_log(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let request = CreatePortalSessionRequest { subject: "grace".into(), ..session_of("acme", &[]) };
    let url = backend.create_portal_session(request).await.unwrap().url;
    let link = format!("/console{}", url.split_once("/console").unwrap().1);
    let mut visitor = enter(&authority, &link).await;
    visitor.open("/console/keys/nothing").await;
    assert_eq!(visitor.status, 404);
    let actions = vec![Action::StartPortalSession.into()];
    let started = authority.client().events(ListAuditEventsRequest { actions, ..Default::default() }).await;
    let Some(prost_types::value::Kind::StringValue(session)) =
        started[0].after.as_ref().unwrap().fields["session_id"].kind.clone()
    else {
        panic!("a text")
    };
    eventually("the refusal is logged", async || {
        let output = authority.output();
        let of_session = |line: &&str| line.contains("admin call refused") && line.contains(&session);
        let refusal = output.lines().find(of_session)?;
        (refusal.contains("acme") && refusal.contains("grace")).then_some(())
    })
    .await;
    assert!(!authority.output().contains(link.split_once("code=").unwrap().1));
}

async fn links_begin_with_the_public_url(database: Database) {
    let authority = Setup::on(database).flags(["--public-url", "https://keys.example.com/"]).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let created = authority.client().create_portal_session(session_of("acme", &[])).await.unwrap();
    assert!(created.url.starts_with("https://keys.example.com/console/enter?code="), "{}", created.url);
    eventually("the address is printed", async || {
        authority.output().contains("  console     https://keys.example.com/console/\n").then_some(())
    })
    .await;
    for wrong in ["keys.example.com", "https://", "ftp://x", "https://x/keys", "https://u:secret@x", "https://x?y", ""]
    {
        let ended = authority.subcommand(&["check-config"], &["--public-url", wrong]).await.badly();
        assert!(ended.stderr.contains("--public-url") && ended.stderr.contains("must be http"), "{}", ended.stderr);
        assert!(!ended.text().contains("secret@"), "{}", ended.text());
    }
}

async fn without_a_console_there_are_no_links(database: Database) {
    let authority = Setup::on(database).flags(["--no-console"]).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let created = authority.client().create_portal_session(session_of("acme", &[])).await;
    let (status, _) = refused(created, Code::FailedPrecondition, "CONSOLE_OFF");
    assert!(status.message().contains("--no-console"), "{}", status.message());
    assert_eq!(authority.client().events(ListAuditEventsRequest::default()).await.len(), 2, "it is not recorded");
}

async fn of_twenty_browsers_at_two_replicas_one_gets_the_session(authority: Authority) {
    let other = authority.another(|setup| setup).await;
    let (_, backend) = product(&authority).await;
    let link = link(&backend, "acme", &[]).await;
    let mut browsers = tokio::task::JoinSet::new();
    for number in 0..20 {
        let mut visitor = Visitor::new(if number % 2 == 0 { &authority } else { &other });
        let link = link.clone();
        browsers.spawn(async move {
            follow(&mut visitor, &link).await;
            (visitor.status, visitor.path, visitor.cookies.contains_key("key-authority"))
        });
    }
    let ends = browsers.join_all().await;
    let won: Vec<_> = ends.iter().filter(|(status, ..)| *status == 200).collect();
    assert!(matches!(won.as_slice(), [(200, path, true)] if path == "/console/accounts/acme"), "{ends:?}");
    assert_eq!(ends.iter().filter(|end| (end.0, end.2) == (410, false)).count(), 19, "{ends:?}");
    let actions = vec![Action::StartPortalSession.into()];
    let started = authority.client().events(ListAuditEventsRequest { actions, ..Default::default() }).await;
    assert_eq!(started.len(), 1);
}

async fn the_session_of_one_replica_is_valid_at_all_of_them(authority: Authority) {
    let other = authority.another(|setup| setup).await;
    let (caller, backend) = product(&authority).await;
    let visitor = enter(&authority, &link(&backend, "acme", &[]).await).await;
    let mut elsewhere = Visitor::new(&other);
    elsewhere.cookies = visitor.cookies.clone();
    elsewhere.open("/console/accounts/acme").await;
    assert_eq!(elsewhere.status, 200);
    authority.client().revoke(&caller).await;
    elsewhere.open("/console/accounts/acme").await;
    elsewhere.sees("<h1>Your session has ended</h1>");
}

async fn an_outage_does_not_spend_the_link(database: Database) {
    let authority = Setup::on(database).linked().start().await;
    let (_, backend) = product(&authority).await;
    let link = link(&backend, "acme", &[]).await;
    let mut visitor = Visitor::new(&authority);
    visitor.ask("GET", &link, &[], String::new()).await;
    authority.link().cut();
    visitor.submit(ENTER, &[]).await;
    assert_eq!(visitor.status, 503, "{}", visitor.page);
    visitor.sees("in this browser, the link works until it is a minute old");
    assert!(!visitor.cookies.contains_key("key-authority"), "{:?}", visitor.cookies);
    assert_eq!(visitor.filled_in(ENTER, &[]).iter().filter(|(name, _)| name == "replace").count(), 0);
    authority.link().open();
    eventually("the database is back", async || {
        visitor.submit(ENTER, &[]).await;
        (visitor.status != 503).then_some(())
    })
    .await;
    assert_eq!((visitor.status, visitor.path.as_str()), (200, "/console/accounts/acme"), "{}", visitor.page);
}

on_sqlite! {
    a_link_opens_the_keys_of_one_account_for_its_user,
    what_may_lacks_is_not_shown_and_is_refused_when_posted,
    links_in_two_tabs_of_a_browser_both_open_the_keys,
    signing_out_ends_the_session_and_leads_back_to_the_product,
    a_session_loses_what_its_caller_loses,
    a_caller_lets_nobody_do_more_than_itself,
    bad_input_names_the_field_and_its_rule,
    a_suspended_account_has_a_portal_without_new_tokens,
    a_link_does_not_quietly_replace_an_operator,
    a_link_replaces_the_session_of_nobody_else_unasked,
    a_session_that_is_replaced_has_ended,
    only_the_browser_that_opened_a_link_sends_its_code,
    callers_cannot_take_the_request_id_of_a_start,
    refused_calls_of_a_portal_name_its_session_and_user_in_the_log,
    links_begin_with_the_public_url,
    without_a_console_there_are_no_links,
}

mod everywhere {
    use super::*;
    on_every_database! {
        each_change_names_the_user_and_the_caller,
        a_link_is_followed_without_harm_and_redeemed_once,
        a_browser_whose_answer_was_lost_starts_the_session_again,
        a_session_ends_at_once_with_its_caller,
        a_session_lasts_as_long_as_asked_and_no_longer_than_its_caller,
    }
}

mod servers {
    use super::*;
    on_database_servers! {
        of_twenty_browsers_at_two_replicas_one_gets_the_session,
        the_session_of_one_replica_is_valid_at_all_of_them,
        an_outage_does_not_spend_the_link,
    }
}
