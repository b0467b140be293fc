//! Signing in and out, and what a session is worth.

use key_authority_proto::v1::*;

use super::Visitor;
use crate::support::http::{request, send, series};
use crate::support::{Authority, Database, Setup, eventually, on_sqlite};

async fn a_page_asks_to_sign_in_and_leads_back(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let mut visitor = Visitor::new(&authority);
    visitor.open("/console/accounts/acme?state=disabled").await;
    assert!(visitor.path.starts_with("/console/sign-in"), "{}", visitor.path);
    visitor.sees("<h1>Sign in</h1>");
    visitor.submit("/console/sign-in", &[("token", &authority.root_token())]).await;
    assert_eq!((visitor.status, visitor.path.as_str()), (200, "/console/accounts/acme?state=disabled"));
    // A page for people who are signed in leads nobody elsewhere.
    let mut visitor = Visitor::new(&authority);
    visitor.open("/console/sign-in?to=//evil.example/").await;
    visitor.submit("/console/sign-in", &[("token", &authority.root_token())]).await;
    assert_eq!(visitor.path, "/console/accounts");
}

async fn a_session_is_a_sealed_cookie_and_never_the_token(authority: Authority) {
    let mut visitor = Visitor::new(&authority);
    visitor.open("/console/sign-in").await;
    let fields = visitor.filled_in("/console/sign-in", &[("token", &authority.root_token())]);
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
    let answer = visitor.ask("POST", "/console/sign-in", &[("sec-fetch-site", "same-origin")], body).await;
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    assert!(cookie.ends_with("; Path=/console; HttpOnly; SameSite=Strict; Max-Age=43200"), "{cookie}");
    assert!(!cookie.contains(&authority.root_token()));
    let before = visitor.cookies.clone();
    visitor.open("/console/").await;
    assert_eq!(visitor.status, 200);
    visitor.does_not_see(&authority.root_token());
    // A changed cookie is no session.
    let (name, value) = before.iter().next().unwrap();
    let last = if value.ends_with('A') { 'B' } else { 'A' };
    visitor.cookies.insert(name.clone(), format!("{}{last}", &value[..value.len() - 1]));
    visitor.open("/console/").await;
    visitor.sees("<h1>Sign in</h1>");
    assert!(!authority.output().contains(&authority.root_token()), "the log has the token");
}

async fn only_tokens_of_callers_sign_in_and_failures_are_bounded(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let customer = authority.client().key_in("acme").await;
    let mut visitor = Visitor::new(&authority);
    visitor.open("/console/sign-in").await;
    for (token, message) in [
        ("nonsense", "This is not a valid token of a key of account system."),
        (customer.token.as_str(), "This is not a valid token of a key of account system."),
    ] {
        visitor.submit("/console/sign-in", &[("token", token)]).await;
        assert_eq!(visitor.status, 422);
        visitor.sees(message);
        visitor.does_not_see(token);
    }
    for _ in 0..8 {
        visitor.submit("/console/sign-in", &[("token", "nonsense")]).await;
    }
    let form = |token: &str| visitor.filled_in("/console/sign-in", &[("token", token)]);
    let (valid, wrong) = (form(&authority.root_token()), ["nonsense", &customer.token].map(form));
    for wrong in wrong {
        visitor.post("/console/sign-in", &wrong).await;
        assert_eq!(visitor.status, 429);
        visitor.sees("Too many sign-ins from your address have failed.");
    }
    // Wrong tokens of others at the same address keep nobody out.
    visitor.post("/console/sign-in", &valid).await;
    assert_eq!((visitor.status, visitor.path.as_str()), (200, "/console/accounts"));
}

async fn a_revoked_caller_is_signed_out_at_once(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let (caller, _) = authority.new_caller(&["accounts.read", "keys.read", "keys.write"], None).await;
    let mut visitor = Visitor::signed_in(&authority, &caller.token).await;
    visitor.open("/console/accounts/acme/create").await;
    let form = visitor.filled_in("/console/accounts/acme/create", &[("name", "too late")]);
    authority.client().revoke(&caller.id()).await;
    visitor.post("/console/accounts/acme/create", &form).await;
    assert_eq!(visitor.status, 403);
    visitor.sees("key is revoked");
    visitor.open("/console/accounts").await;
    visitor.sees("<h1>Sign in</h1>");
    let keys = authority.client().list_keys(ListKeysRequest { account: "acme".into(), ..Default::default() }).await;
    assert!(keys.unwrap().keys.is_empty(), "nothing was created");
}

async fn the_own_key_is_disabled_on_purpose_only(authority: Authority) {
    let root = authority.client();
    let (caller, _) = authority.new_caller(&["accounts.read", "keys.read", "keys.write"], None).await;
    let mut visitor = Visitor::signed_in(&authority, &caller.token).await;
    let (list, page) = ("/console/accounts/system", format!("/console/keys/{}", caller.id()));
    let disable = format!("{page}/disable");
    for from in [list, &page] {
        visitor.open(from).await;
        visitor.submit(&disable, &[]).await;
        assert_eq!(visitor.status, 409);
        visitor.sees("You are signed in with this key.");
        visitor.sees("key-authority bootstrap");
        assert_eq!(root.key(&caller.id()).await.state(), KeyState::Active);
    }
    visitor.open(&page).await;
    visitor.sees("Revoking it signs you out at once");
    visitor.sees("renewing it signs you out");
    visitor.open(&format!("{page}/delete")).await;
    visitor.sees("Deleting it signs you out at once");
    visitor.open(list).await;
    visitor.submit(&disable, &[]).await;
    visitor.submit(&disable, &[]).await;
    assert_eq!(root.key(&caller.id()).await.state(), KeyState::Disabled);
    // The way out stands where the visitor lands.
    visitor.sees("Your session has ended, because its key is not valid any more.");
    visitor.sees("<code>key-authority bootstrap</code>");
    // Another key is no question.
    let other = authority.new_caller(&["verify"], None).await.0;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    let page = format!("/console/keys/{}", other.id());
    visitor.open(&page).await;
    visitor.does_not_see("You are signed in with this key.");
    visitor.submit(&format!("{page}/disable"), &[]).await;
    visitor.sees("is disabled. Enforced by");
}

async fn the_root_of_the_address_leads_people_to_the_console(authority: Authority) {
    let ask = async |accept| send(authority.api(), request("GET", "/", &[("accept", accept)], "")).await;
    let answer = ask("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8").await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/console/")));
    for accept in ["*/*", "application/json"] {
        assert_eq!(ask(accept).await.json()["code"].as_str(), Some("not_found"), "{accept}");
    }
}

async fn signing_out_ends_the_session_also_for_a_copied_cookie(authority: Authority) {
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    let mut thief = Visitor::new(&authority);
    thief.cookies = visitor.cookies.clone();
    thief.open("/console/accounts").await;
    assert_eq!(thief.path, "/console/accounts");
    visitor.submit("/console/sign-out", &[]).await;
    visitor.sees("You are signed out.");
    thief.open("/console/accounts").await;
    thief.sees("<h1>Sign in</h1>");
}

async fn a_form_of_another_session_or_site_changes_nothing(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let action = "/console/accounts/acme/create";
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    let mut other = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(action).await;
    other.open(action).await;
    let own = visitor.filled_in(action, &[("name", "stolen")]);
    let stolen = other.filled_in(action, &[("name", "stolen")]);
    let encoded = |fields: &[(String, String)]| {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
    };
    let without: Vec<_> = own.iter().filter(|(name, _)| name != "form_token").cloned().collect();
    for (fields, headers) in [
        (&stolen, vec![("sec-fetch-site", "same-origin")]),
        (&without, vec![("sec-fetch-site", "same-origin")]),
        (&own, vec![("sec-fetch-site", "cross-site")]),
        (&own, vec![("origin", "https://evil.example")]),
    ] {
        let answer = visitor.ask("POST", action, &headers, encoded(fields)).await;
        assert_eq!(answer.status, 403, "{headers:?}");
        visitor.sees("This form does not belong to your session");
    }
    let keys = ListKeysRequest { account: "acme".into(), ..Default::default() };
    assert!(authority.client().list_keys(keys.clone()).await.unwrap().keys.is_empty());
    // The same form works where it belongs.
    visitor.post(action, &own).await;
    visitor.sees("<h1>Key created</h1>");
    assert_eq!(authority.client().list_keys(keys).await.unwrap().keys.len(), 1);
}

async fn a_cookie_of_another_application_signs_nobody_out(authority: Authority) {
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.cookies.insert("a-visitor".to_owned(), "Jürgen".to_owned());
    let answer = visitor.ask("GET", "/console/accounts", &[], String::new()).await;
    assert_eq!(answer.status, 200, "{:?}", answer.headers);
}

async fn refusals_of_the_console_are_logged_and_counted(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let key = root.key_in("acme").await;
    let (caller, _) = authority.new_caller(&["keys.read", "accounts.read"], None).await;
    let mut visitor = Visitor::signed_in(&authority, &caller.token).await;
    let token = visitor.filled_in("/console/sign-out", &[]);
    let page = format!("/console/keys/{}", key.id());
    for action in [page.clone(), format!("{page}/revoke"), "/console/accounts/acme/create".to_owned()] {
        visitor.post(&action, &token).await;
        assert_eq!(visitor.status, 403, "{action}");
    }
    visitor.post(&format!("{page}/disable"), &[("form_token".to_owned(), "of another session".to_owned())]).await;
    assert_eq!(visitor.status, 403);
    visitor.open("/console/audit").await;
    assert_eq!(visitor.status, 403);
    let metrics = authority.metrics().await;
    let count = |reason| series(&metrics, "keyauthority_admin_refused_total", &[("reason", reason)]);
    assert_eq!((count("PERMISSION_MISSING"), count("FORM_FOREIGN")), (Some(4.0), Some(1.0)), "{metrics}");
    for (route, reason) in [
        ("/console/keys/{key}", "PERMISSION_MISSING"),
        ("/console/keys/{key}/revoke", "PERMISSION_MISSING"),
        ("/console/accounts/{account}/create", "PERMISSION_MISSING"),
        ("/console/keys/{key}/disable", "FORM_FOREIGN"),
        ("/console/audit", "PERMISSION_MISSING"),
    ] {
        eventually("the refusal is logged", async || {
            let output = authority.output();
            let of_route = |line: &&str| {
                line.contains("admin call refused")
                    && [format!("\"{route}\""), reason.to_owned(), caller.id()].iter().all(|word| line.contains(word))
            };
            output.lines().find(of_route).map(|_| ())
        })
        .await;
    }
}

async fn requests_after_the_end_of_the_key_are_logged(authority: Authority) {
    let root = authority.client();
    let (caller, _) = authority.new_caller(&["keys.read", "accounts.read"], None).await;
    let mut visitor = Visitor::signed_in(&authority, &caller.token).await;
    root.revoke_key(RevokeKeyRequest { key_id: caller.id(), ..Default::default() }).await.unwrap();
    visitor.open("/console/accounts").await;
    visitor.sees("<h1>Sign in</h1>");
    eventually("the refusal is logged", async || {
        let output = authority.output();
        let refused = |line: &&str| {
            line.contains("admin call refused") && line.contains("\"/console/accounts\"") && line.contains(&caller.id())
        };
        output.lines().find(refused).map(|_| ())
    })
    .await;
}

async fn files_of_another_version_are_not_kept(authority: Authority) {
    let mut visitor = Visitor::new(&authority);
    visitor.open("/console/sign-in").await;
    let style = visitor.page.split("href=\"").find(|link| link.starts_with("/console/assets/style.css")).unwrap();
    let style = style.split('"').next().unwrap().to_owned();
    for (path, caching) in [
        (style.as_str(), "public, max-age=31536000, immutable"),
        ("/console/assets/style.css", "no-cache"),
        ("/console/assets/style.css?v=000000000000", "no-cache"),
    ] {
        let answer = visitor.ask("GET", path, &[], String::new()).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some(caching)), "{path}");
    }
}

async fn every_response_has_the_headers_of_a_strict_page(authority: Authority) {
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    for path in ["/console/accounts", "/console/nothing", "/console/sign-in", "/console/assets/style.css", "/console"] {
        let answer = visitor.ask("GET", path, &[], String::new()).await;
        let policy = answer.header("content-security-policy").unwrap();
        assert_eq!(
            policy,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action \
             'self'; frame-ancestors 'none'; base-uri 'none'",
        );
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let is_asset = path.contains("assets");
        assert_eq!(answer.header("cache-control") == Some("no-store"), !is_asset, "{path}");
    }
    for page in ["/console/accounts", "/console/audit", "/console/replicas"] {
        visitor.open(page).await;
        for forbidden in ["<style", " style=", "onclick", "<script>", "javascript:", "http://", "https://cdn"] {
            visitor.does_not_see(forbidden);
        }
    }
}

async fn a_link_on_another_site_does_not_lose_the_session(authority: Authority) {
    let mut visitor = Visitor::new(&authority);
    // The browser keeps the cookie back, so the page opens itself once more from this site.
    let answer = visitor.ask("GET", "/console/audit", &[("sec-fetch-site", "cross-site")], String::new()).await;
    assert_eq!((answer.status, answer.header("refresh")), (200, Some("0; url=/console/audit")));
}

async fn the_console_can_be_left_out(database: Database) {
    let authority = Setup::on(database).flags(["--no-console"]).start().await;
    for path in ["/console/", "/"] {
        let answer = send(authority.api(), request("GET", path, &[("accept", "text/html")], "")).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (404, Some("not_found")));
    }
    assert!(!authority.output().contains("console"), "{}", authority.output());
}

async fn the_start_prints_where_the_console_is(authority: Authority) {
    let line = format!("  console     http://{}/console/", authority.api());
    crate::support::eventually("the address of the console is printed", async || {
        authority.output().lines().any(|printed| printed == line).then_some(())
    })
    .await;
}

async fn a_notice_is_shown_in_its_own_session_alone(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let id = root.key_in("acme").await.id();
    let page = format!("/console/keys/{id}");
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    let mut other = Visitor::signed_in(&authority, &authority.root_token()).await;
    visitor.open(&page).await;
    let form = visitor.filled_in(&format!("{page}/disable"), &[]);
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
    visitor.ask("POST", &format!("{page}/disable"), &[("sec-fetch-site", "same-origin")], body).await;
    let notice = visitor.cookies["key-authority-notice"].clone();
    other.cookies.insert("key-authority-notice".into(), notice);
    other.open(&page).await;
    other.does_not_see("is disabled.");
    visitor.open(&page).await;
    visitor.sees("is disabled. Enforced by");
}

async fn every_path_and_method_has_a_page(authority: Authority) {
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    for (method, path, status) in [
        ("PUT", "/console/accounts", 405),
        ("POST", "/console/audit", 403),
        ("DELETE", "/console/sign-in", 405),
        ("POST", "/console/left", 405),
        ("PUT", "/console/enter", 405),
        ("POST", "/console/assets/style.css", 405),
        ("GET", "/console/keys/%ff", 404),
        ("GET", "/console/accounts/%ff/create", 404),
        ("GET", "/console/assets/nothing", 404),
    ] {
        let answer = visitor.ask(method, path, &[("sec-fetch-site", "same-origin")], String::new()).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", visitor.page);
        assert!(answer.header("content-security-policy").is_some(), "{method} {path}");
        visitor.sees("<!doctype html>");
    }
    // After the sign-in, a page follows, also if a form led to it.
    for path in ["/console/sign-out", "/console/wait"] {
        let mut visitor = Visitor::new(&authority);
        visitor.open(path).await;
        visitor.submit("/console/sign-in", &[("token", &authority.root_token())]).await;
        assert_eq!((visitor.status, visitor.path.as_str()), (200, "/console/accounts"), "{path}");
    }
}

on_sqlite! {
    the_own_key_is_disabled_on_purpose_only,
    the_root_of_the_address_leads_people_to_the_console,
    a_notice_is_shown_in_its_own_session_alone,
    every_path_and_method_has_a_page,
    a_page_asks_to_sign_in_and_leads_back,
    a_session_is_a_sealed_cookie_and_never_the_token,
    only_tokens_of_callers_sign_in_and_failures_are_bounded,
    a_revoked_caller_is_signed_out_at_once,
    signing_out_ends_the_session_also_for_a_copied_cookie,
    a_form_of_another_session_or_site_changes_nothing,
    a_cookie_of_another_application_signs_nobody_out,
    refusals_of_the_console_are_logged_and_counted,
    requests_after_the_end_of_the_key_are_logged,
    files_of_another_version_are_not_kept,
    every_response_has_the_headers_of_a_strict_page,
    a_link_on_another_site_does_not_lose_the_session,
    the_console_can_be_left_out,
    the_start_prints_where_the_console_is,
}
