//! Users of portal sessions share what the backend of their product may use of a replica.

use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt as _};
use key_authority_proto::v1::{CreatePortalSessionRequest, ListKeysRequest, PortalAction};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Visitor;
use super::portal::{enter, link_for, product, session_of};
use crate::support::{Authority, in_time, on_sqlite};

const KEYS: &str = "/console/accounts/acme";
/// The requests of one user that are answered at a time.
const AT_A_TIME: usize = 4;
/// Those that wait.
const WAITING_MAX: usize = 100;

/// Sends the head of a request: its first line, and further headers.
async fn send(visitor: &Visitor, request: &str, headers: &str) -> TcpStream {
    let cookies: Vec<_> = visitor.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\nsec-fetch-site: same-origin\r\n{headers}\r\n",
        visitor.address,
        cookies.join("; "),
    );
    let mut stream = TcpStream::connect(&visitor.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Sends the head of a form, and waits until the server wants the rest, which does not follow.
async fn unfinished_form(visitor: &Visitor) -> TcpStream {
    let headers = "content-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\nexpect: 100-continue\r\n";
    let mut stream = send(visitor, &format!("POST {KEYS}/create"), headers).await;
    let mut answer = [0; 25];
    in_time("the server reads the form", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(std::str::from_utf8(&answer), Ok("HTTP/1.1 100 Continue\r\n\r\n"));
    stream
}

/// Makes as many requests as may wait, and one more, while the requests that are answered at a time do not end. Returns
/// the answer to the one that is refused, and those that follow.
async fn one_too_many(visitor: &Visitor) -> (String, impl Stream<Item = String> + use<>) {
    let mut answers = FuturesUnordered::new();
    for _ in 0..=WAITING_MAX {
        let mut stream = send(visitor, &format!("GET {KEYS}"), "connection: close\r\n").await;
        answers.push(async move {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        });
    }
    (in_time("one too many", answers.next()).await.unwrap(), answers)
}

async fn many_requests_of_a_user_wait_for_each_other_and_not_those_of_another_user(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let [mut ada, mut bob] = [const { None }; 2];
    for (user, subject) in [(&mut ada, "ada"), (&mut bob, "bob")] {
        let session = CreatePortalSessionRequest { subject: subject.into(), ..session_of("acme", &[]) };
        *user = Some(enter(&authority, &link_for(&backend, session).await).await);
    }
    let (mut ada, mut bob) = (ada.unwrap(), bob.unwrap());
    let mut forms = Vec::new();
    for _ in 0..AT_A_TIME {
        forms.push(unfinished_form(&ada).await);
    }
    let next = tokio::spawn(async move {
        ada.open(KEYS).await;
        ada
    });
    for _ in 0..3 {
        bob.open(KEYS).await;
        assert_eq!(bob.status, 200, "{}", bob.page);
    }
    assert!(!next.is_finished(), "more than {AT_A_TIME} requests of a user at a time");
    forms.pop();
    let ada = in_time("the next request of the user", next).await.unwrap();
    assert_eq!(ada.status, 200, "{}", ada.page);
}

async fn a_request_that_finds_a_hundred_others_waiting_is_refused_for_some_seconds(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let ada = enter(&authority, &link_for(&backend, session_of("acme", &[])).await).await;
    let mut forms = Vec::new();
    for _ in 0..AT_A_TIME {
        forms.push(unfinished_form(&ada).await);
    }
    let (refused, answers) = one_too_many(&ada).await;
    assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("\r\nretry-after: "), "{refused}");
    drop(forms);
    let answered: Vec<String> = in_time("the others are answered", answers.collect()).await;
    assert_eq!(answered.iter().filter(|answer| answer.starts_with("HTTP/1.1 200 ")).count(), WAITING_MAX);
}

async fn a_request_that_waits_while_its_session_ends_changes_nothing(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let link = link_for(&backend, session_of("acme", &[PortalAction::Create])).await;
    let mut ada = enter(&authority, &link).await;
    ada.open(&format!("{KEYS}/create")).await;
    let form = ada.filled_in(&format!("{KEYS}/create"), &[("name", "too late")]);
    let mut forms = Vec::new();
    for _ in 0..AT_A_TIME {
        forms.push(unfinished_form(&ada).await);
    }
    let mut other_tab = Visitor { cookies: ada.cookies.clone(), page: ada.page.clone(), ..Visitor::new(&authority) };
    let waiting = tokio::spawn(async move {
        ada.post(&format!("{KEYS}/create"), &form).await;
        ada
    });
    // Signing out does not wait.
    other_tab.submit("/console/sign-out", &[]).await;
    drop(forms);
    let ada = in_time("the form is answered", waiting).await.unwrap();
    assert_eq!(ada.status, 403, "{}", ada.page);
    let keys = backend.list_keys(ListKeysRequest { account: "acme".into(), ..Default::default() }).await.unwrap().keys;
    assert!(keys.is_empty(), "{keys:?}");
}

async fn a_link_waits_for_the_requests_of_its_user_and_is_not_spent(authority: Authority) {
    let (_, backend) = product(&authority).await;
    let ada = enter(&authority, &link_for(&backend, session_of("acme", &[])).await).await;
    let link = link_for(&backend, session_of("acme", &[])).await;
    let mut other_browser = Visitor::new(&authority);
    other_browser.ask("GET", &link, &[("sec-fetch-site", "cross-site")], String::new()).await;
    let mut forms = Vec::new();
    for _ in 0..AT_A_TIME {
        forms.push(unfinished_form(&ada).await);
    }
    let (refused, answers) = one_too_many(&ada).await;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    other_browser.submit("/console/enter", &[]).await;
    assert_eq!(other_browser.status, 429, "{}", other_browser.page);
    other_browser.sees("Try again");
    // A form of the session is offered once more as well.
    let mut tab = Visitor { cookies: ada.cookies.clone(), page: ada.page.clone(), ..Visitor::new(&authority) };
    let mut form = tab.filled_in("/console/sign-out", &[]);
    form.push(("name".to_owned(), "typed with care".to_owned()));
    tab.post(&format!("{KEYS}/create"), &form).await;
    assert_eq!(tab.status, 429, "{}", tab.page);
    tab.sees("typed with care");
    drop(forms);
    let answered: Vec<String> = in_time("the others are answered", answers.collect()).await;
    assert_eq!(answered.len(), WAITING_MAX);
    other_browser.submit("/console/enter", &[]).await;
    assert_eq!((other_browser.status, other_browser.path.as_str()), (200, KEYS), "{}", other_browser.page);
}

on_sqlite! {
    a_link_waits_for_the_requests_of_its_user_and_is_not_spent,
    a_request_that_finds_a_hundred_others_waiting_is_refused_for_some_seconds,
    a_request_that_waits_while_its_session_ends_changes_nothing,
    many_requests_of_a_user_wait_for_each_other_and_not_those_of_another_user,
}
