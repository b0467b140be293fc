//! What the pages show, and to whom.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use key_authority_proto::v1::*;

use super::Visitor;
use crate::support::client::{key_for, only};
use crate::support::{Authority, on_sqlite, seconds};

async fn keys_stand_in_sections_page_by_page(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy { max_keys: 100, ..KeyPolicy::default() }).await;
    let mut keys = Vec::new();
    for number in 0..60 {
        let request = CreateKeyRequest { display_name: format!("key number {number}"), ..key_for("acme") };
        keys.push(root.new_key(request).await);
    }
    root.disable_key(DisableKeyRequest { key_id: keys[58].id(), ..Default::default() }).await.unwrap();
    root.revoke(&keys[59].id()).await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open("/console/accounts").await;
    visitor.sees("60 of 100 keys");
    visitor.open("/console/accounts/acme").await;
    let section = |page: &str, id: &str| {
        let (_, rest) = page.split_once(&format!("id=\"part-{id}\">")).unwrap_or_else(|| panic!("no section {id}"));
        rest.split("</tbody>").next().unwrap().to_owned()
    };
    assert!(section(&visitor.page, "disabled").contains("key number 58"));
    assert!(section(&visitor.page, "ended").contains("key number 59"));
    let enabled = section(&visitor.page, "enabled");
    assert!(enabled.contains("key number 57") && !enabled.contains("key number 7<"), "{enabled}");
    assert_eq!(enabled.matches("scope=\"row\"").count(), 50);
    let next = enabled.split("<a href=\"").last().unwrap().split('"').next().unwrap().replace("&#38;", "&");
    visitor.open(&next).await;
    let rest = section(&visitor.page, "enabled");
    assert_eq!(rest.matches("scope=\"row\"").count(), 8);
    assert!(rest.contains("key number 7<"), "{rest}");
    visitor.open("/console/accounts/acme?state=ended").await;
    visitor.does_not_see("key number 57");
    visitor.open("/console/accounts/acme?q=NUMBER+5").await;
    assert_eq!(visitor.page.matches("scope=\"row\"").count(), 11, "5 and 50 to 59");
    visitor.open("/console/accounts/acme?q=nothing").await;
    visitor.sees("No key matches.");
    visitor.open("/console/accounts/acme?sort=create_time&q=number").await;
    assert!(section(&visitor.page, "enabled").contains("key number 0<"), "the oldest is first");
    let next = visitor.page.split("<a href=\"").find(|link| link.contains("page=")).unwrap();
    visitor.open(&next.split('"').next().unwrap().replace("&#38;", "&")).await;
    assert!(section(&visitor.page, "enabled").contains("key number 57<"));
}

async fn an_account_without_keys_says_what_to_do(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open("/console/accounts/acme").await;
    visitor.sees("This account has no keys yet.");
    visitor.sees("/console/accounts/acme/create");
    visitor.open("/console/accounts?q=ACM").await;
    visitor.sees("/console/accounts/acme");
    visitor.open("/console/accounts?q=nothing").await;
    visitor.sees("No account has");
}

async fn a_visitor_sees_what_its_key_permits(authority: Authority) {
    let root = authority.client();
    for account in ["mine", "theirs"] {
        root.new_account(account, KeyPolicy::default()).await;
    }
    let [mine, theirs] = [root.key_in("mine").await, root.key_in("theirs").await];
    let (reader, _) = authority.new_caller(&["accounts.read", "keys.read"], Some(&["mine"])).await;
    let mut visitor = Visitor::signed_in(&authority, &reader.token).await;
    visitor.open("/console/accounts").await;
    visitor.sees("/console/accounts/mine");
    visitor.does_not_see("theirs");
    for absent in ["/console/audit", "/console/replicas"] {
        visitor.does_not_see(&format!("href=\"{absent}\""));
        visitor.open(absent).await;
        assert_eq!(visitor.status, 403, "{absent}");
        visitor.sees("<h1>Not permitted</h1>");
        visitor.sees("lacks the scope <span class=\"code\">");
    }
    visitor.open(&format!("/console/keys/{}", mine.id())).await;
    assert_eq!(visitor.status, 200);
    for button in [">Save<", ">Disable<", ">Renew<", ">Revoke<", ">Delete<"] {
        visitor.does_not_see(button);
    }
    for path in
        [format!("/console/keys/{}", theirs.id()), "/console/accounts/theirs".into(), "/console/keys/none".into()]
    {
        visitor.open(&path).await;
        assert_eq!(visitor.status, 404, "{path}");
        visitor.sees("<h1>Not found</h1>");
        visitor.sees("It may have been deleted.");
    }
    visitor.open("/console/no-such-page").await;
    visitor.sees("There is no such page.");
    visitor.does_not_see("deleted");
    // What is not shown is refused as well.
    let token =
        visitor.page.split("name=\"form_token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    for action in ["disable", "revoke", "delete", "renew", "reveal"] {
        let fields = [("form_token".to_owned(), token.clone()), ("confirm".to_owned(), mine.id())];
        visitor.post(&format!("/console/keys/{}/{action}", mine.id()), &fields).await;
        assert_eq!(visitor.status, 403, "{action}");
    }
    let key = root.get_key(GetKeyRequest { key_id: mine.id() }).await.unwrap();
    assert_eq!(key.state(), KeyState::Active);
}

async fn a_key_is_found_by_its_token_in_every_account_that_the_visitor_covers(authority: Authority) {
    let root = authority.client();
    for account in ["mine", "theirs"] {
        root.new_account(account, KeyPolicy { token_prefix: "shop_".into(), ..KeyPolicy::default() }).await;
    }
    let [mine, theirs] = [root.key_in("mine").await, root.key_in("theirs").await];
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open("/console/keys").await;
    for key in [&mine, &theirs] {
        visitor.sees(&format!("href=\"/console/keys/{}\"", key.id()));
    }
    let token = &mine.token;
    let leaked = [format!("Authorization: Bearer {token}"), format!("\"{token}\","), format!("API_KEY={token}")];
    let encoded = [
        format!("\"Bearer\\u0020{token}\""),
        token.replace('_', "%5F"),
        format!("Basic {}", BASE64_STANDARD.encode(format!(":{token}"))),
    ];
    let known = [token.clone(), token[..20].to_owned(), format!("{}…", &token[.."shop_".len() + 4]), mine.id()];
    for search in leaked.into_iter().chain(encoded).chain(known) {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", &search).finish();
        visitor.open(&format!("/console/keys?{query}")).await;
        visitor.sees(&format!("href=\"/console/keys/{}\"", mine.id()));
        visitor.does_not_see(&theirs.id());
        visitor.does_not_see(token);
        assert!(!visitor.path.contains(&token[20..]) && visitor.path.len() < 60, "{}", visitor.path);
    }
    visitor.open(&format!("/console/keys?q={}", &token[12..])).await;
    visitor.sees("Paste a token from its beginning on.");
    visitor.open(&format!("/console/accounts/mine?state=enabled&sort=create_time&q={token}")).await;
    assert!(visitor.path.contains("state=enabled") && visitor.path.contains("sort=create_time"), "{}", visitor.path);
    visitor.sees(&format!("href=\"/console/keys/{}\"", mine.id()));
    assert!(!visitor.path.contains(token), "{}", visitor.path);
    // The beginning of a token is shortened to its hint.
    visitor.open(&format!("/console/accounts/mine?state=enabled&q={}", &token[..20])).await;
    visitor.sees(&format!("href=\"/console/keys/{}\"", mine.id()));
    assert!(visitor.path.contains("state=enabled"), "{}", visitor.path);
    // No other field of an address keeps a token either.
    for address in [
        "/console/audit?actor=&key=",
        "/console/audit?actor=",
        "/console/accounts?q=",
        "/console/accounts/mine?project=",
    ] {
        visitor.open(&format!("{address}{token}")).await;
        assert_eq!(visitor.status, 200, "{}", visitor.page);
        assert!(visitor.path.contains("=shop_") && !visitor.path.contains(token), "{}", visitor.path);
        visitor.does_not_see(token);
        let mut signed_out = Visitor::new(&authority);
        signed_out.open(&format!("{address}{token}")).await;
        assert!(signed_out.path.contains("shop_") && !signed_out.path.contains(token), "{}", signed_out.path);
    }
    let mut signed_out = Visitor::new(&authority);
    signed_out.open(&format!("/console/keys?sort=create_time&q={token}")).await;
    assert!(signed_out.path.contains("sort") && !signed_out.path.contains(token), "{}", signed_out.path);
    signed_out.does_not_see(token);
    let (reader, _) = authority.new_caller(&["keys.read"], Some(&["theirs"])).await;
    let visitor = Visitor::signed_in(&authority, &reader.token).await;
    assert_eq!(visitor.path, "/console/keys");
    visitor.sees(&theirs.id());
    visitor.does_not_see(&mine.id());
}

async fn pages_are_compressed_for_requests_of_the_visitor_alone(authority: Authority) {
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    for (site, encoding) in
        [("same-origin", Some("gzip")), ("none", Some("gzip")), ("same-site", None), ("cross-site", None)]
    {
        let headers = [("accept-encoding", "gzip"), ("sec-fetch-site", site)];
        let answer = visitor.ask("GET", "/console/audit", &headers, String::new()).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, encoding), "{site}");
    }
    let answer = visitor.ask("GET", "/console/audit", &[("accept-encoding", "gzip")], String::new()).await;
    assert_eq!(answer.header("content-encoding"), None);
}

async fn a_caller_without_pages_is_told_what_it_lacks(authority: Authority) {
    let (verifier, _) = authority.new_caller(&["verify"], None).await;
    let mut visitor = Visitor::new(&authority);
    visitor.open("/console/").await;
    visitor.submit("/console/sign-in", &[("token", &verifier.token)]).await;
    assert_eq!(visitor.status, 403);
    visitor.sees("none of the permissions accounts.read, keys.read, audit.read and operate");
}

async fn names_are_text_and_never_markup(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let hostile = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "\u{202e}gnp.exe",
        "{{ 7 * 7 }}",
        &"😀".repeat(200),
    ];
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    for name in hostile {
        let request = CreateKeyRequest {
            display_name: name.into(),
            description: name.into(),
            labels: [("label".to_owned(), name.to_owned())].into(),
            projects: only(&[name]),
            ..key_for("acme")
        };
        let key = root.new_key(request).await;
        for path in [
            "/console/accounts/acme".to_owned(),
            format!("/console/keys/{}", key.id()),
            format!("/console/keys/{}/renew", key.id()),
            format!("/console/keys/{}/delete", key.id()),
            "/console/accounts/acme/connect".to_owned(),
            "/console/accounts/acme/create".to_owned(),
            "/console/audit".to_owned(),
        ] {
            visitor.open(&path).await;
            assert_eq!(visitor.status, 200, "{path}");
            for markup in ["<script>alert", "<img src=x", "' onmouseover='"] {
                visitor.does_not_see(markup);
            }
        }
    }
}

async fn a_text_does_not_turn_its_neighbours_around(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let turned = "\u{202e}etirw";
    let request = CreateKeyRequest {
        display_name: turned.into(),
        scopes: vec!["read".into(), turned.into()],
        projects: only(&["\u{2069}", turned]),
        labels: [("a".to_owned(), turned.to_owned()), ("b".to_owned(), "blue".to_owned())].into(),
        ..key_for("acme")
    };
    let id = root.new_key(request).await.id();
    let page = format!("/console/keys/{id}");
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(&page).await;
    visitor.sees(&format!("<bdi>read</bdi>, <bdi>{turned}</bdi>"));
    visitor.sees(&format!("<bdi>a={turned}</bdi>, <bdi>b=blue</bdi>"));
    // In plain text, each begins with U+2068 and ends with U+2069.
    visitor.sees(&format!("<title>\u{2068}{turned}\u{2069} · Key Authority</title>"));
    visitor.sees(&format!("a: \u{2068}{turned}\u{2069}; b: blue"));
    visitor.sees("<bdi>\u{2069}</bdi>");
    visitor.submit(&format!("{page}/disable"), &[]).await;
    visitor.sees(&format!("“\u{2068}{turned}\u{2069}” is disabled."));
    visitor.open("/console/accounts/acme").await;
    visitor.sees(&format!("<bdi>read</bdi>, <bdi>{turned}</bdi>"));
}

async fn the_audit_log_is_filtered_and_shows_before_and_after(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let key = root.new_key(CreateKeyRequest { display_name: "first name".into(), ..key_for("acme") }).await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(&format!("/console/keys/{}", key.id())).await;
    visitor.submit(&format!("/console/keys/{}", key.id()), &[("name", "second name")]).await;
    visitor.sees("Saved. Enforced by 1 of 1 replica after");
    visitor.sees("Update key");
    visitor.open("/console/audit?action=ACTION_UPDATE_KEY").await;
    visitor.sees("<bdi>first name</bdi></td><td class=\"lines\"><bdi>second name</bdi>");
    visitor.does_not_see("<td data-label=\"Action\">Create key</td>");
    visitor.open("/console/audit?account=acme&actor=nobody").await;
    visitor.sees("No event matches.");
    // From who did it to all that they did.
    let root_page = format!("/console/keys/{}", authority.root_id().await);
    visitor.open(&format!("/console/keys/{}", key.id())).await;
    visitor.sees(&format!("<a href=\"{root_page}\">"));
    visitor.does_not_see("What this caller has changed");
    visitor.open(&root_page).await;
    let changed = format!("/console/audit?actor={}", authority.root_id().await);
    visitor.sees(&format!("<a href=\"{changed}\">What this caller has changed</a>"));
    visitor.open(&changed).await;
    visitor.sees(&key.id());
}

async fn the_newest_events_are_first_however_many_there_are(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let id = root.key_in("acme").await.id();
    for _ in 0..60 {
        root.disable_key(DisableKeyRequest { key_id: id.clone(), ..Default::default() }).await.unwrap();
        root.enable_key(EnableKeyRequest { key_id: id.clone(), ..Default::default() }).await.unwrap();
    }
    root.revoke(&id).await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    let action = |visitor: &Visitor, nth: usize| {
        let mut actions = visitor.page.split("<td data-label=\"Action\">").skip(1);
        actions.nth(nth).map(|rest| rest.split('<').next().unwrap().to_owned())
    };
    visitor.open("/console/audit?account=acme").await;
    assert_eq!(action(&visitor, 0).as_deref(), Some("Revoke key"));
    visitor.sees("The newest event is first.");
    visitor.open(&visitor.link("Next page")).await;
    assert_eq!(action(&visitor, 22).as_deref(), Some("Create account"));
    visitor.sees("The newest event is first.");
    // The page of a key goes on to older events, also where there is no page of the audit log.
    visitor.open(&format!("/console/keys/{id}")).await;
    assert_eq!(action(&visitor, 0).as_deref(), Some("Revoke key"));
    assert_eq!(action(&visitor, 50), None);
    for _ in 0..2 {
        visitor.open(&visitor.link("Older events")).await;
    }
    assert_eq!(action(&visitor, 21).as_deref(), Some("Create key"));
    assert_eq!(action(&visitor, 22), None);
    visitor.does_not_see("Older events");
    visitor.open(&visitor.link("Newest events")).await;
    assert_eq!(action(&visitor, 0).as_deref(), Some("Revoke key"));
    visitor.open(&format!("/console/keys/{id}?trail=altered")).await;
    assert_eq!(visitor.status, 400);
}

async fn the_replicas_page_shows_the_state_of_the_authority(authority: Authority) {
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open("/console/replicas").await;
    for text in ["Head of the log", "this page", "SQLite", authority.grpc()] {
        visitor.sees(text);
    }
}

async fn last_use_and_expiry_are_relative_with_the_exact_time(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let lifetime = Some(create_key_request::Expiry::Lifetime(seconds(3 * 86_400 + 60).unwrap()));
    let key = root.new_key(CreateKeyRequest { expiry: lifetime, ..key_for("acme") }).await;
    assert_eq!(root.verdict(&key.token).await, Verdict::Valid);
    let id = key.id();
    crate::support::eventually("the use is written", async || {
        root.get_key(GetKeyRequest { key_id: id.clone() }).await.unwrap().last_used_time
    })
    .await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open("/console/accounts/acme").await;
    visitor.sees(">in 3 days</time>");
    visitor.sees(" UTC\">");
    visitor.open(&format!("/console/keys/{}/delete", key.id())).await;
    visitor.sees("This key is in use.");
}

on_sqlite! {
    keys_stand_in_sections_page_by_page,
    an_account_without_keys_says_what_to_do,
    a_visitor_sees_what_its_key_permits,
    a_key_is_found_by_its_token_in_every_account_that_the_visitor_covers,
    pages_are_compressed_for_requests_of_the_visitor_alone,
    a_caller_without_pages_is_told_what_it_lacks,
    names_are_text_and_never_markup,
    a_text_does_not_turn_its_neighbours_around,
    the_audit_log_is_filtered_and_shows_before_and_after,
    the_newest_events_are_first_however_many_there_are,
    the_replicas_page_shows_the_state_of_the_authority,
    last_use_and_expiry_are_relative_with_the_exact_time,
}
