//! Links to a portal: each starts one session, in the browser that opened it.

use super::*;

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

async fn pages_of_a_link_load_nothing_that_stores_its_address(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let link = link(&backend, "acme", &[]).await;
    let mut visitor = Visitor::new(&authority);
    visitor.open(&link).await;
    visitor.sees("/console/assets/console.js");
    visitor.does_not_see("htmx.min.js");
    visitor.open(&link.replace("code=", "code=x")).await;
    assert_eq!(visitor.status, 410);
    visitor.does_not_see("htmx.min.js");
    let entered = enter(&authority, &link).await;
    entered.sees("htmx.min.js");
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
        link_for(&backend, request).await
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

async fn a_replica_without_the_secret_of_a_link_does_not_spend_it(database: Database) {
    let mut first = Setup::on(database).start().await;
    let second = first.another(|setup| setup).await;
    first.client().new_account("acme", KeyPolicy::default()).await;
    let secret = std::fs::read_to_string(first.secret_file()).unwrap();
    let secrets = format!("1:{}\n2:{}", secret.trim().trim_start_matches("1:"), "08".repeat(32));
    assert!(first.stop().await.success());
    std::fs::write(first.secret_file(), secrets).unwrap();
    first.restart().await;
    let root = first.client();
    // Every replica learns of the new version by its first token.
    root.key_in("acme").await;
    let link = link(&root, "acme", &[]).await;

    let mut elsewhere = Visitor::new(&second);
    elsewhere.ask("GET", &link, &[], String::new()).await;
    assert_eq!(elsewhere.status, 503, "{}", elsewhere.page);
    elsewhere.sees("Your keys cannot be read or changed at the moment.");
    // The page was opened at one replica, and its form reaches the other one.
    let mut visitor = Visitor::new(&first);
    visitor.ask("GET", &link, &[], String::new()).await;
    assert_eq!(visitor.status, 200);
    second.api().clone_into(&mut visitor.address);
    visitor.submit(ENTER, &[]).await;
    assert_eq!(visitor.status, 503, "{}", visitor.page);
    visitor.sees("<h1>Your keys could not be opened yet</h1>");
    visitor.sees("Your keys cannot be read or changed at the moment. Try again: in this browser, the link works");
    first.api().clone_into(&mut visitor.address);
    visitor.submit(ENTER, &[]).await;
    assert_eq!((visitor.status, visitor.path.as_str()), (200, "/console/accounts/acme"), "{}", visitor.page);
}

on_sqlite! {
    pages_of_a_link_load_nothing_that_stores_its_address,
    links_in_two_tabs_of_a_browser_both_open_the_keys,
    only_the_browser_that_opened_a_link_sends_its_code,
    a_link_does_not_quietly_replace_an_operator,
    a_link_replaces_the_session_of_nobody_else_unasked,
    links_begin_with_the_public_url,
    without_a_console_there_are_no_links,
}

mod everywhere {
    use super::*;
    on_every_database! {
        a_link_is_followed_without_harm_and_redeemed_once,
        a_browser_whose_answer_was_lost_starts_the_session_again,
    }
}

mod servers {
    use super::*;
    on_database_servers! {
        of_twenty_browsers_at_two_replicas_one_gets_the_session,
        an_outage_does_not_spend_the_link,
        a_replica_without_the_secret_of_a_link_does_not_spend_it,
    }
}
