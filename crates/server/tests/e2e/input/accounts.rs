//! Bad input to the RPCs about accounts and the log.

use key_authority_proto::v1::*;

use super::*;
use crate::support::client::mask;
use crate::support::{Authority, on_every_database, seconds};

fn base() -> CreateAccountRequest {
    let account = Account { policy: Some(KeyPolicy::default()), ..Account::default() };
    CreateAccountRequest { account: Some(account), request_id: String::new() }
}

fn policy(request: &mut CreateAccountRequest) -> &mut KeyPolicy {
    request.account.as_mut().unwrap().policy.as_mut().unwrap()
}

/// The fields that an account has when it is created and that can be changed afterwards.
fn content_cases() -> Vec<Case<CreateAccountRequest>> {
    let base = &base();
    let prefixes = [texts(["", "a_", "mko_tkn_", "a1_2b_"]), vec![format!("{}_", "a".repeat(31))]].concat();
    let no_prefixes = texts(["_", "a", "A_", "1a_", "a__", "a_b", "_a_", "a-b_", "ä_", "a_ "]);
    let no_prefixes = [no_prefixes, vec![format!("{}_", "a".repeat(32))]].concat();
    let many = |count| (1..=count).map(|day| span(day * 86_400, 0)).collect::<Vec<_>>();
    let lifetimes = |bad: prost_types::Duration| vec![span(1, 0), bad];
    let windows = || vec![span(0, 0), span(0, 999_999_999), span(100 * YEAR, 0)];
    vec![
        case(
            "account.display_name",
            base,
            |r, v| r.account.as_mut().unwrap().display_name = v,
            good_names(),
            bad_names(),
        ),
        case("account.policy.token_prefix", base, |r, v| policy(r).token_prefix = v, prefixes, no_prefixes),
        case(
            "account.policy.display_name_pattern",
            base,
            |r, v| policy(r).display_name_pattern = v,
            [texts(["", r"^\p{L}[A-Za-z0-9 /_.-]{0,62}$", "(?i)x|y"]), vec!["a".repeat(256)]].concat(),
            [texts(["(", "*", "[", r"(?<=a)b", r"(a)\1", r"\w{5000}"]), vec!["a".repeat(257)]].concat(),
        ),
        case("account.policy.max_keys", base, |r, v| policy(r).max_keys = v, vec![0, 1, u32::MAX], vec![]),
        case("account.policy.counted_states", base, |r, v| policy(r).counted_states = v, vec![0, 1, 2], vec![3, -1]),
        case("account.policy.project_rule", base, |r, v| policy(r).project_rule = v, vec![0, 1, 2], vec![3, -1]),
        case(
            "account.policy.lifetimes",
            base,
            |r, v| policy(r).lifetimes = v,
            vec![many(32), good_lifetimes()],
            [vec![many(33)], bad_lifetimes().into_iter().map(lifetimes).collect()].concat(),
        ),
        case(
            "account.policy.default_lifetime",
            base,
            |r, (among, v): (Vec<_>, _)| (policy(r).lifetimes, policy(r).default_lifetime) = (among, Some(v)),
            [vec![(many(3), span(86_400, 0))], good_lifetimes().into_iter().map(|v| (vec![], v)).collect()].concat(),
            [vec![(many(3), span(5, 0))], bad_lifetimes().into_iter().map(|v| (vec![], v)).collect()].concat(),
        ),
        case(
            "account.policy.recently_used_window",
            base,
            |r, v| policy(r).recently_used_window = Some(v),
            windows(),
            bad_spans(),
        ),
        case("account.policy.max_overlap", base, |r, v| policy(r).max_overlap = Some(v), windows(), bad_spans()),
    ]
}

async fn create_account_takes_what_its_limits_allow(authority: Authority) {
    let client = authority.client();
    let nameless = CreateAccountRequest::default();
    let named = |mut request: CreateAccountRequest, number: usize| {
        request.account.as_mut().unwrap().id = format!("account-{number}");
        request
    };
    let mut number = 0;
    let mut name_all = |requests: Vec<CreateAccountRequest>| {
        let named = requests.into_iter().map(|request| {
            number += 1;
            named(request, number)
        });
        named.collect::<Vec<_>>()
    };
    let mut cases: Vec<_> =
        content_cases().into_iter().map(|(field, good, bad)| (field, name_all(good), name_all(bad))).collect();
    let ids = case("request_id", &base(), |r, v| r.request_id = v, good_request_ids(), bad_request_ids());
    cases.extend([
        (ids.0, name_all(ids.1), name_all(ids.2)),
        case("account.id", &base(), |r, v| r.account.as_mut().unwrap().id = v, good_ids(), bad_required_ids()),
        ("account", vec![], vec![nameless]),
    ]);
    check(cases, async |request| {
        let created = client.create_account(request).await?.account.unwrap();
        let read = client.get_account(GetAccountRequest { account: created.id.clone() }).await?;
        assert_eq!(read, created, "it is read as it was written");
        Ok(())
    })
    .await;
}

async fn update_account_takes_what_its_limits_allow(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let update = |create: CreateAccountRequest| {
        let mut account = create.account.unwrap();
        account.id = "acme".into();
        UpdateAccountRequest { account: Some(account), ..Default::default() }
    };
    let all = |creates: Vec<_>| creates.into_iter().map(update).collect::<Vec<_>>();
    let mut cases: Vec<_> =
        content_cases().into_iter().map(|(field, good, bad)| (field, all(good), all(bad))).collect();
    let base = update(base());
    // A single field of the policy is checked with those that stay.
    let mut odd = base.clone();
    odd.update_mask = mask(&["policy.max_overlap"]);
    odd.account.as_mut().unwrap().policy.as_mut().unwrap().max_overlap = seconds(-1);
    cases.extend([
        ("account.policy.max_overlap", vec![], vec![odd]),
        case("account.id", &base, |r, v| r.account.as_mut().unwrap().id = v, vec![], bad_required_ids()),
        case("request_id", &base, |r, v| r.request_id = v, good_request_ids(), bad_request_ids()),
        ("account", vec![], vec![UpdateAccountRequest::default()]),
    ]);
    check(cases, async |request| client.update_account(request).await).await;
}

async fn the_other_calls_about_an_account_take_what_their_limits_allow(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let (ids, no_ids) = (texts(["acme"]), bad_required_ids);
    let get = case("account", &GetAccountRequest::default(), |r, v| r.account = v, ids.clone(), no_ids());
    check(vec![get], async |request| client.get_account(request).await).await;
    let base = SuspendAccountRequest { account: "acme".into(), ..Default::default() };
    let suspend = vec![
        case("account", &base, |r, v| r.account = v, ids.clone(), no_ids()),
        case("request_id", &base, |r, v| r.request_id = v, good_request_ids(), bad_request_ids()),
    ];
    check(suspend, async |request| client.suspend_account(request).await).await;
    let base = ResumeAccountRequest { account: "acme".into(), ..Default::default() };
    let resume = vec![
        case("account", &base, |r, v| r.account = v, ids.clone(), no_ids()),
        case("request_id", &base, |r, v| r.request_id = v, vec![], bad_request_ids()),
    ];
    check(resume, async |request| client.resume_account(request).await).await;
    let base = DeleteAccountRequest { account: "acme".into(), ..Default::default() };
    let delete = vec![
        case("request_id", &base, |r, v| r.request_id = v, vec![], bad_request_ids()),
        case("account", &base, |r, v| r.account = v, ids, no_ids()),
    ];
    check(delete, async |request| client.delete_account(request).await).await;
    let sizes = (vec![0, 1, 1000], vec![-1, 1001, i32::MIN, i32::MAX]);
    let list = vec![
        case("page_size", &ListAccountsRequest::default(), |r, v| r.page_size = v, sizes.0, sizes.1),
        case("page_token", &ListAccountsRequest::default(), |r, v| r.page_token = v, vec![], texts(["x", " "])),
    ];
    check(list, async |request| client.list_accounts(request).await).await;
}

async fn list_audit_events_takes_what_its_limits_allow(authority: Authority) {
    let client = authority.client();
    let base = &ListAuditEventsRequest::default();
    let times = || {
        let limits = [(-62_135_596_800, 0), (0, 0), (253_402_300_799, 999_999_999)];
        limits.map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos }).to_vec()
    };
    let reveal = i32::from(Action::RevealToken);
    let cases = vec![
        case("account", base, |r, v| r.account = v, good_ids(), bad_ids()),
        case("key_id", base, |r, v| r.key_id = v, good_ids(), bad_ids()),
        case("actor", base, |r, v| r.actor = v, good_ids(), bad_ids()),
        case(
            "actions",
            base,
            |r, v| r.actions = v,
            vec![(1..=22).collect(), vec![reveal; 100]],
            vec![vec![0], vec![reveal, 23], vec![-1], vec![reveal; 101]],
        ),
        case("start_time", base, |r, v| r.start_time = Some(v), times(), bad_times()),
        case("end_time", base, |r, v| r.end_time = Some(v), times(), bad_times()),
        case("page_size", base, |r, v| r.page_size = v, vec![0, 1, 1000], vec![-1, 1001, i32::MIN, i32::MAX]),
        case("page_token", base, |r, v| r.page_token = v, vec![], texts(["x", " "])),
    ];
    check(cases, async |request| client.list_audit_events(request).await).await;
}

on_every_database! {
    create_account_takes_what_its_limits_allow,
    update_account_takes_what_its_limits_allow,
    the_other_calls_about_an_account_take_what_their_limits_allow,
    list_audit_events_takes_what_its_limits_allow,
}
