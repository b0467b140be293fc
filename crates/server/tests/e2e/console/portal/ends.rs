//! When the session of a portal ends.

use std::pin::Pin;

use super::*;

async fn signing_out_ends_the_session_and_leads_back_to_the_product(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let mut visitor = Visitor::new(&authority);
    visitor.open(&link(&backend, "acme", &[]).await).await;
    let (entrance, form) = (visitor.cookies.clone(), visitor.page.clone());
    visitor.submit(ENTER, &[]).await;
    let mut thief = Visitor::new(&authority);
    thief.cookies = visitor.cookies.clone();
    // The link starts its session several times for the browser that opened it: an answer may be lost.
    let mut again = Visitor::new(&authority);
    (again.cookies, again.page) = (entrance.clone(), form.clone());
    again.submit(ENTER, &[]).await;
    assert_eq!((again.status, again.path.as_str()), (200, "/console/accounts/acme"));
    visitor.submit("/console/sign-out", &[]).await;
    assert_eq!(visitor.status, 200);
    visitor.sees("go back to the page that led you here");
    // Nor does the link start the session again, with a copy of the cookie of its page.
    let mut entered = Visitor::new(&authority);
    (entered.cookies, entered.page) = (entrance, form);
    entered.submit(ENTER, &[]).await;
    assert_eq!(entered.status, 410);
    eventually("the second start is logged", async || {
        let output = authority.output();
        let refused = |line: &&str| line.contains("admin call refused") && line.contains("REQUEST_ID_REUSED");
        output.lines().find(refused).map(|_| ())
    })
    .await;
    again.open("/console/accounts/acme").await;
    again.sees("<h1>Your session has ended</h1>");
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

async fn the_page_of_an_ended_session_says_what_became_of_the_form(authority: Authority) {
    let (key, backend) = product(&authority).await;
    let mut visitor = enter(&authority, &link(&backend, "acme", &[PortalAction::Create]).await).await;
    let cookies = visitor.cookies.clone();
    visitor.open("/console/accounts/acme/create").await;
    let form = visitor.filled_in("/console/accounts/acme/create", &[("name", "too late")]);
    authority.client().revoke(&key).await;
    visitor.post("/console/accounts/acme/create", &form).await;
    visitor.sees("The form that you have just sent changed nothing.");
    visitor.does_not_see("What you did before is saved");
    visitor.cookies = cookies;
    visitor.open("/console/accounts/acme").await;
    visitor.sees("What you did before is saved");
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

on_sqlite! {
    signing_out_ends_the_session_and_leads_back_to_the_product,
    a_session_loses_what_its_caller_loses,
    the_page_of_an_ended_session_says_what_became_of_the_form,
    a_session_that_is_replaced_has_ended,
}

mod everywhere {
    use super::*;
    on_every_database! {
        a_session_ends_at_once_with_its_caller,
        a_session_lasts_as_long_as_asked_and_no_longer_than_its_caller,
    }
}

mod servers {
    use super::*;
    on_database_servers! {
        the_session_of_one_replica_is_valid_at_all_of_them,
    }
}
