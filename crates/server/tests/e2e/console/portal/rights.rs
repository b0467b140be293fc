//! What the user of a portal may do.

use super::*;

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
        ("/console/accounts/acme/suspend".into(), Vec::new()),
        ("/console/accounts/acme/resume".into(), Vec::new()),
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

async fn callers_cannot_take_the_request_id_of_a_start(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let key = backend.key_in("acme").await;
    let request = DisableKeyRequest { key_id: key.id(), request_id: format!("portal-session:{}", "0".repeat(32)) };
    assert_eq!(invalid(backend.disable_key(request).await, "request_id"), "must not begin with `portal-session:`");
    let request = DisableKeyRequest { key_id: key.id(), request_id: "portal-request:0".into() };
    assert_eq!(invalid(backend.disable_key(request).await, "request_id"), "must not begin with `portal-request:`");
}

async fn users_of_a_portal_cannot_take_the_request_ids_of_its_backend(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let create = "/console/accounts/acme/create";
    let longest = "x".repeat(128);
    for (number, id) in ["order-1", longest.as_str()].into_iter().enumerate() {
        let mut visitor = enter(&authority, &link(&backend, "acme", &EVERYTHING).await).await;
        visitor.open(create).await;
        let form = visitor.filled_in(create, &[("name", "of a user"), ("request_id", id)]);
        visitor.post(create, &form).await;
        visitor.sees("<h1>Key created</h1>");
        // In the session, the ID still makes one key of a form that is sent twice.
        visitor.post(create, &form).await;
        visitor.sees("This form was sent before");
        let request = CreateKeyRequest { account: "acme".into(), request_id: id.into(), ..Default::default() };
        let created = backend.create_key(request.clone()).await.unwrap();
        assert_eq!(backend.create_key(request).await.unwrap().key.unwrap().id, created.key.unwrap().id);
        assert_eq!(backend.keys_of("acme").await.len(), 2 * (number + 1));
        // Nor those of another session.
        let mut other = enter(&authority, &link(&backend, "acme", &EVERYTHING).await).await;
        other.open("/console/accounts/acme/connect").await;
        let form = other.filled_in("/console/accounts/acme/connect", &[("request_id", id)]);
        assert!(form.iter().any(|(name, value)| name == "request_id" && value == id));
        let disable = format!("/console/keys/{}/disable", backend.keys_of("acme").await[0].id);
        let form: Vec<_> = form.into_iter().filter(|(name, _)| name == "request_id" || name == "form_token").collect();
        other.post(&disable, &form).await;
        other.sees("is disabled.");
    }
}

async fn users_of_a_portal_read_nothing_of_other_accounts_activity(authority: Authority) {
    let root = authority.client();
    let (_, backend) = product(&authority).await;
    let key = root.key_in("acme").await;
    let mut visitor = enter(&authority, &link(&backend, "acme", &EVERYTHING).await).await;
    visitor.open(&format!("/console/keys/{}", key.id())).await;
    visitor.sees("Audit trail");
    visitor.does_not_see("Revision");
    // The etag of the API is a revision.
    visitor.does_not_see(&format!("value=\"{}\"", root.key(&key.id()).await.etag));
    let mut form = visitor.filled_in("/console/sign-out", &[]);
    form.push(("revision".to_owned(), "1".to_owned()));
    for path in ["/console/wait", "/console/audit", "/console/replicas", "/console/accounts"] {
        visitor.post(path, &form).await;
        assert_eq!(visitor.status, 404, "{path}");
    }
    visitor.open("/console/nothing").await;
    assert_eq!(visitor.status, 404);
    let refused =
        series(&authority.metrics().await, "keyauthority_admin_refused_total", &[("reason", "PERMISSION_MISSING")]);
    assert_eq!(refused, Some(4.0), "a path that is not there is no refusal");
}

async fn a_portal_whose_backend_may_not_call_from_its_address_says_so_in_words_for_users(authority: Authority) {
    let root = authority.client();
    let (caller, backend) = product(&authority).await;
    let mut visitor = enter(&authority, &link(&backend, "acme", &[]).await).await;
    let networks = UpdateKeyRequest {
        key: Some(Key { id: caller, allowed_networks: vec!["192.0.2.0/24".into()], ..Key::default() }),
        update_mask: mask(&["allowed_networks"]),
        ..Default::default()
    };
    root.update_key(networks).await.unwrap();
    visitor.open("/console/accounts/acme").await;
    assert_eq!(visitor.status, 403);
    visitor.sees("Your keys cannot be opened from here.");
    visitor.does_not_see("caller");
}

async fn refused_calls_of_a_portal_name_its_session_and_user_in_the_log(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let request = CreatePortalSessionRequest { subject: "grace".into(), ..session_of("acme", &[]) };
    let link = link_for(&backend, request).await;
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

on_sqlite! {
    a_link_opens_the_keys_of_one_account_for_its_user,
    what_may_lacks_is_not_shown_and_is_refused_when_posted,
    a_suspended_account_has_a_portal_without_new_tokens,
    a_caller_lets_nobody_do_more_than_itself,
    bad_input_names_the_field_and_its_rule,
    callers_cannot_take_the_request_id_of_a_start,
    users_of_a_portal_cannot_take_the_request_ids_of_its_backend,
    users_of_a_portal_read_nothing_of_other_accounts_activity,
    a_portal_whose_backend_may_not_call_from_its_address_says_so_in_words_for_users,
    refused_calls_of_a_portal_name_its_session_and_user_in_the_log,
}

mod everywhere {
    use super::*;
    on_every_database! {
        each_change_names_the_user_and_the_caller,
    }
}
