//! What happens to a whole database server: its clock steps, it becomes read-only. On a server of their own, one at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use key_authority_proto::v1::*;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::support::authority::{STORAGE, VERIFY};
use crate::support::client::{key_for, question};
use crate::support::database::DatabaseClock;
use crate::support::http::{Answer, request, send};
use crate::support::standby::Pair;
use crate::support::{Authority, Client, Database, NewKey, Setup, eventually, on_database_servers, refused, seconds};

const ENTER: &str = "/console/enter";
/// The beginning of the header that stores a session.
const SESSION: &[u8] = b"key-authority=";

/// What must never be let pass again, and what must go on passing.
struct Tokens {
    replaced: NewKey,
    expired: NewKey,
    live: NewKey,
}

async fn short_lived(client: &Client) -> NewKey {
    let second = Some(create_key_request::Expiry::Lifetime(seconds(1).unwrap()));
    client.new_key(CreateKeyRequest { expiry: second, ..key_for("acme") }).await
}

async fn await_expiry(client: &Client, key: &NewKey) {
    let has_expired = async || (client.verdict(&key.token).await == Verdict::Expired).then_some(());
    eventually("the key expires", has_expired).await;
}

async fn tokens(client: &Client) -> Tokens {
    client.new_account("acme", KeyPolicy::default()).await;
    let replaced = client.key_in("acme").await;
    client.renew_key(RenewKeyRequest { key_id: replaced.id(), ..Default::default() }).await.unwrap();
    let expired = short_lived(client).await;
    await_expiry(client, &expired).await;
    let live = client.key_in("acme").await;
    Tokens { replaced, expired, live }
}

async fn assert_verdicts(replicas: &[&Authority], tokens: &Tokens) {
    for replica in replicas {
        let client = replica.client();
        assert_eq!(client.verdict(&tokens.replaced.token).await, Verdict::Expired, "a renewal has replaced it");
        assert_eq!(client.verdict(&tokens.expired.token).await, Verdict::Expired, "it had expired");
        assert_eq!(client.verdict(&tokens.live.token).await, Verdict::Valid);
    }
}

fn clock_steps(metrics: &str) -> u64 {
    let count = metrics.lines().find_map(|line| line.strip_prefix("keyauthority_clock_steps_total "));
    count.expect("the metric is there").parse().unwrap()
}

/// Asks about the ended tokens without a pause until `is_over`, and returns how often.
fn keep_asking(client: Client, tokens: &Tokens, is_over: &Arc<AtomicBool>) -> tokio::task::JoinHandle<u64> {
    let (replaced, expired, is_over) = (tokens.replaced.clone(), tokens.expired.clone(), Arc::clone(is_over));
    tokio::spawn(async move {
        let mut asked = 0;
        while !is_over.load(Ordering::Relaxed) {
            assert_eq!(client.verdict(&replaced.token).await, Verdict::Expired);
            assert_eq!(client.verdict(&expired.token).await, Verdict::Expired);
            asked += 2;
        }
        asked
    })
}

async fn a_clock_that_steps_brings_no_token_back(database: Database) {
    const DAY: i64 = 86_400;
    let clock = DatabaseClock::new();
    let mut first = Setup::on(database).clocked().start().await;
    let second = first.another(|setup| setup).await;
    let client = first.client();
    let tokens = tokens(&client).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let askers = [&first, &second].map(|replica| keep_asking(replica.client(), &tokens, &is_over));
    let mut steps = [0, 0];
    for offset in [-30, 0, -DAY, 0, 30, DAY, 0] {
        clock.set_off(offset);
        for (replica, before) in [&first, &second].into_iter().zip(&mut steps) {
            // While it steps, the simulated clock of a busy server may show both times in turn: several steps.
            let noticed = async || Some(clock_steps(&replica.metrics().await)).filter(|steps| steps > before);
            *before = eventually("the step is noticed", noticed).await;
        }
        assert_verdicts(&[&first, &second], &tokens).await;
        // Changes go on, and what they make lives and ends as ever.
        let fresh = short_lived(&client).await;
        await_expiry(&second.client(), &fresh).await;
        let renewed = client.key_in("acme").await;
        client.renew_key(RenewKeyRequest { key_id: renewed.id(), ..Default::default() }).await.unwrap();
        for replica in [&first, &second] {
            assert_eq!(replica.client().verdict(&renewed.token).await, Verdict::Expired);
        }
    }
    is_over.store(true, Ordering::Relaxed);
    for asker in askers {
        assert!(asker.await.unwrap() > 100);
    }
    let lines = first.output().matches("the database's clock stepped").count() as u64;
    assert_eq!(lines, clock_steps(&first.metrics().await), "one line a step");
    // A replica that starts behind a step back knows the time of the newest event.
    clock.set_off(-DAY);
    assert!(first.stop().await.success());
    first.restart().await;
    assert_verdicts(&[&first, &second], &tokens).await;
    let events = first.client().events(ListAuditEventsRequest::default()).await;
    let times: Vec<_> = events.iter().map(|event| event.time.map(|time| (time.seconds, time.nanos))).collect();
    assert!(times.is_sorted(), "times follow revisions");
    first.subcommand(&["audit", "verify"], &[]).await.well();
}

fn set_read_only(authority: &Authority, is_read_only: bool) {
    let database = authority.database();
    let word = if is_read_only { "on" } else { "off" };
    match database.database {
        Database::Postgres => {
            database.sql_each(&[
                &format!("ALTER SYSTEM SET default_transaction_read_only = {word}"),
                "SELECT pg_reload_conf()",
            ]);
        }
        _ => database.sql_each(&[&format!("SET GLOBAL read_only = {word}")]),
    }
}

/// Makes the server writable again, whatever becomes of the test.
struct ReadOnly<'a>(&'a Authority);

impl<'a> ReadOnly<'a> {
    fn new(authority: &'a Authority) -> Self {
        set_read_only(authority, true);
        Self(authority)
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        // A panic amid another would hide the first.
        let made_writable = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| set_read_only(self.0, false)));
        assert!(made_writable.is_ok() || std::thread::panicking(), "the server stays read-only");
    }
}

async fn a_database_that_becomes_read_only_is_an_outage_and_no_denial(database: Database) {
    let authority = Setup::on(database).clocked().flags(["--lease", "5s"]).start().await;
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let (kept, revoked) = (client.key_in("acme").await, client.key_in("acme").await);
    client.revoke(&revoked.id()).await;
    {
        let _read_only = ReadOnly::new(&authority);
        let refusal = async || match client.create_key(key_for("acme")).await {
            Err(status) if status.message().contains("read-only") => Some(status),
            Err(status) => {
                refused::<()>(Err(status), Code::Unavailable, "STORAGE_UNAVAILABLE");
                None
            }
            // A session that was open before goes on until it is looked at again.
            Ok(_) => None,
        };
        let status = eventually("changes are refused with words", refusal).await;
        refused::<()>(Err(status), Code::Unavailable, "STORAGE_UNAVAILABLE");
        // Until the lease is over, Verify answers by what it knows; then it says that it cannot tell.
        authority.await_health(VERIFY, ServingStatus::NotServing).await;
        for key in [&kept, &revoked] {
            refused(client.verify(question(&key.token)).await, Code::Unavailable, "LEASE_EXPIRED");
        }
        assert!(authority.output().contains("database session refused: the server is read-only"));
    }
    authority.await_health(VERIFY, ServingStatus::Serving).await;
    authority.await_health(STORAGE, ServingStatus::Serving).await;
    assert_eq!(client.verdict(&kept.token).await, Verdict::Valid);
    assert_eq!(client.verdict(&revoked.token).await, Verdict::Revoked);
    client.revoke(&kept.id()).await;
    assert_eq!(client.verdict(&kept.token).await, Verdict::Revoked);
}

/// Revokes keys one after another, and returns those whose revocation was acknowledged.
async fn keep_revoking(client: Client, keys: Vec<NewKey>, is_over: Arc<AtomicBool>) -> Vec<NewKey> {
    let mut acknowledged = Vec::new();
    for key in keys {
        let request = RevokeKeyRequest { key_id: key.id(), ..Default::default() };
        match client.revoke_within(request, Duration::from_secs(4)).await {
            Ok(_) => {
                // From here on, no replica may accept it.
                assert_ne!(
                    client.verify(question(&key.token)).await.map(|answer| answer.verdict()).ok(),
                    Some(Verdict::Valid)
                );
                acknowledged.push(key);
            }
            Err(status) => assert!(
                matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled),
                "{status:?}"
            ),
        }
        if is_over.load(Ordering::Relaxed) {
            break;
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronous_standby_that_is_promoted_has_every_acknowledged_change() {
    let pair = Pair::start().await;
    let setup = Setup::on(Database::Postgres).linked().flags(["--lease", "5s"]);
    let mut first = setup.prepare_on(pair.primary.login.clone()).await;
    first.restart().await;
    let second = first.another(|setup| setup).await;
    let client = first.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let mut keys = Vec::new();
    for _ in 0..200 {
        keys.push(client.key_in("acme").await);
    }
    let (kept, unreplicated) = (client.key_in("acme").await, client.key_in("acme").await);
    let is_over = Arc::new(AtomicBool::new(false));
    let halves = [keys[..100].to_vec(), keys[100..].to_vec()];
    let revokers = [(&first, 0), (&second, 1)].map(|(replica, half): (&Authority, usize)| {
        tokio::spawn(keep_revoking(replica.client(), halves[half].clone(), Arc::clone(&is_over)))
    });
    let some_are_revoked = async || {
        let count = pair.primary_count("SELECT count(*) FROM api_key WHERE revoke_time IS NOT NULL");
        (count >= 20).then_some(())
    };
    eventually("some are revoked", some_are_revoked).await;
    // While the standby is silent, a change is visible at the primary and acknowledged to nobody: neither at first, nor when
    // the request is repeated.
    pair.standby.freeze();
    let waits = RevokeKeyRequest { key_id: unreplicated.id(), request_id: "r-1".into(), ..Default::default() };
    for _ in 0..2 {
        let early = client.revoke_within(waits.clone(), Duration::from_secs(2)).await.unwrap_err();
        assert!(matches!(early.code(), Code::DeadlineExceeded | Code::Cancelled | Code::Unavailable), "{early:?}");
    }
    pair.standby.thaw();
    let replicated = async || client.revoke_key(waits.clone()).await.ok();
    eventually("it is acknowledged when the standby has it", replicated).await;
    // The old primary lives on without a standby, and acknowledges nothing from now on.
    pair.promote();
    for replica in [&first, &second] {
        replica.await_health(VERIFY, ServingStatus::NotServing).await;
        refused(replica.client().verify(question(&kept.token)).await, Code::Unavailable, "LEASE_EXPIRED");
    }
    for replica in [&first, &second] {
        replica.link().lead_to(pair.standby.login.address());
    }
    for replica in [&first, &second] {
        replica.await_health(VERIFY, ServingStatus::Serving).await;
        replica.await_health(STORAGE, ServingStatus::Serving).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for revoker in revokers {
        let acknowledged = revoker.await.unwrap();
        assert!(acknowledged.len() >= 5, "{}", acknowledged.len());
        for replica in [&first, &second] {
            for key in &acknowledged {
                assert_eq!(replica.client().verdict(&key.token).await, Verdict::Revoked, "it was acknowledged");
            }
            assert_eq!(replica.client().verdict(&kept.token).await, Verdict::Valid);
        }
    }
    assert_eq!(first.client().verdict(&unreplicated.token).await, Verdict::Revoked, "it was acknowledged");
    let request = RevokeKeyRequest { key_id: kept.id(), ..Default::default() };
    let revoked = async || client.revoke_key(request.clone()).await.ok();
    eventually("changes go on at the new primary", revoked).await;
    assert_eq!(second.client().verdict(&kept.token).await, Verdict::Revoked);
}

async fn a_portal_ends_by_the_clock_of_the_database(database: Database) {
    let clock = DatabaseClock::new();
    let authority = Setup::on(database).clocked().start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let code = async || {
        let request =
            CreatePortalSessionRequest { account: "acme".into(), subject: "ada".into(), ..Default::default() };
        let url = authority.client().create_portal_session(request).await.unwrap().url;
        url.split_once("code=").unwrap().1.to_owned()
    };
    let opened =
        async |code: &str| send(authority.api(), request("GET", &format!("{ENTER}?code={code}"), &[], "")).await;
    let form = |opened: &Answer| {
        let cookie = opened.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        (cookie, form_token(opened))
    };
    let enter = async |code: &str, (cookie, token): (String, String)| {
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("cookie", &cookie)];
        send(authority.api(), request("POST", ENTER, &headers, format!("code={code}&form_token={token}"))).await
    };
    let (used, kept) = (code().await, code().await);
    let entered = enter(&used, form(&opened(&used).await)).await;
    assert_eq!((entered.status, entered.header("location")), (303, Some("/console/accounts/acme")));
    let cookie = entered.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let open = async || {
        send(authority.api(), request("GET", "/console/accounts/acme", &[("cookie", &cookie)], "")).await.status
    };
    assert_eq!(open().await, 200);
    // Looking at a link does not use it up.
    let looked_at = opened(&kept).await;
    assert_eq!(looked_at.status, 200);
    clock.set_off(61);
    eventually("the link is over", async || (opened(&kept).await.status == 410).then_some(())).await;
    assert_eq!(enter(&kept, form(&looked_at)).await.status, 410);
    eventually("the late attempt is logged", async || {
        let is_logged =
            authority.output().lines().any(|line| line.contains("admin call refused") && line.contains("ada"));
        is_logged.then_some(())
    })
    .await;
    assert!(!authority.output().contains(&kept), "the log has the code");
    assert_eq!(open().await, 200, "the session lasts longer than its link");
    clock.set_off(3601);
    eventually("the session is over", async || (open().await == 403).then_some(())).await;
}

/// The token of the first form of a page.
fn form_token(page: &Answer) -> String {
    let page = String::from_utf8_lossy(&page.body).into_owned();
    let (_, rest) = page.split_once("name=\"form_token\" value=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// Each request is a change, whose response has a cookie of its own: the notice.
async fn a_session_whose_requests_are_changes_does_not_end(database: Database) {
    let clock = DatabaseClock::new();
    let authority = Setup::on(database).clocked().start().await;
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let id = root.key_in("acme").await.id();
    let mut cookies = BTreeMap::new();
    let ask = async |cookies: &BTreeMap<String, String>, method: &str, path: &str, body: String| {
        let sent: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let sent = sent.join("; ");
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("cookie", sent.as_str())];
        send(authority.api(), request(method, path, &headers, body)).await
    };
    let keep = |cookies: &mut BTreeMap<String, String>, answer: &Answer| {
        for cookie in answer.headers.get_all("set-cookie") {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            cookies.insert(name.to_owned(), rest.split(';').next().unwrap().to_owned());
        }
    };
    let page = ask(&cookies, "GET", "/console/sign-in", String::new()).await;
    keep(&mut cookies, &page);
    let body = format!("form_token={}&token={}", form_token(&page), authority.root_token());
    let signed_in = ask(&cookies, "POST", "/console/sign-in", body).await;
    assert_eq!(signed_in.status, 303);
    keep(&mut cookies, &signed_in);
    let key = format!("/console/keys/{id}");
    let page = ask(&cookies, "GET", &key, String::new()).await;
    let body = format!("form_token={}", form_token(&page));
    for (minutes, change) in [(20, "disable"), (40, "enable"), (60, "disable"), (80, "enable")] {
        clock.set_off(minutes * 60);
        eventually("the replica has the time", async || {
            // Its response is not kept, so it does not prolong the session.
            let probe = ask(&cookies, "GET", &key, String::new()).await;
            let is_renewed = probe.headers.get_all("set-cookie").iter().any(|set| set.as_bytes().starts_with(SESSION));
            (is_renewed || probe.status != 200).then_some(())
        })
        .await;
        let changed = ask(&cookies, "POST", &format!("{key}/{change}"), body.clone()).await;
        assert_eq!((changed.status, changed.header("location")), (303, Some(key.as_str())), "after {minutes} minutes");
        keep(&mut cookies, &changed);
    }
}

on_database_servers! {
    a_session_whose_requests_are_changes_does_not_end,
    a_portal_ends_by_the_clock_of_the_database,
    a_clock_that_steps_brings_no_token_back,
    a_database_that_becomes_read_only_is_an_outage_and_no_denial,
}
