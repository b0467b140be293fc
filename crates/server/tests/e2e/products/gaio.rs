//! Gaio: project-scoped keys for integrations.

use key_authority_proto::v1::*;
use tonic::Code;

use super::{account_of, assert_shown_nowhere, assert_without_token};
use crate::support::client::{key_for, mask, only};
use crate::support::{Authority, Client, nanos_between, on_every_database, refused, seconds};

/// Gives a key these projects.
async fn assign(client: &Client, key_id: &str, projects: &[&str]) -> Key {
    let request = UpdateKeyRequest {
        key: Some(Key { id: key_id.into(), projects: only(projects), ..Default::default() }),
        update_mask: mask(&["projects"]),
        ..Default::default()
    };
    client.update_key(request).await.unwrap().key.unwrap()
}

async fn gaio_01_a_key_has_an_id_a_state_a_name_a_token_and_projects(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "gaio").await;
    let request = CreateKeyRequest {
        display_name: "Zapier".into(),
        projects: only(&["p1", "p2", "p3"]),
        disabled: true,
        ..key_for(&account)
    };
    let inactive = client.new_key(request).await;
    let active = client.key_in(&account).await;
    assert!(inactive.token.starts_with("gaio_"));
    let listed = client.keys_of(&account).await;
    let shown: Vec<_> = listed
        .iter()
        .map(|key| {
            let projects = key.projects.as_ref().expect("always present in a response");
            (key.id.clone(), key.state(), key.display_name.as_str(), projects.all, projects.only.len())
        })
        .collect();
    let expected =
        [(active.id(), KeyState::Active, "", false, 0), (inactive.id(), KeyState::Disabled, "Zapier", false, 3)];
    assert_eq!(shown, expected);
}

async fn gaio_02_an_inactive_key_does_not_verify(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "gaio").await;
    let with = |disabled| CreateKeyRequest { projects: only(&["p1"]), disabled, ..key_for(&account) };
    let (active, inactive) = (client.new_key(with(false)).await, client.new_key(with(true)).await);
    assert_eq!(client.verdict_in(&active.token, "p1").await, Verdict::Valid);
    assert_eq!(client.verdict_in(&inactive.token, "p1").await, Verdict::Disabled);
    client.enable_key(EnableKeyRequest { key_id: inactive.id(), ..Default::default() }).await.unwrap();
    assert_eq!(client.verdict_in(&inactive.token, "p1").await, Verdict::Valid);
}

async fn gaio_03_projects_are_assigned_after_creation(authority: Authority) {
    use Verdict::{ProjectDenied, Valid};

    let client = authority.client();
    let account = account_of(&client, "gaio").await;
    let created = client.key_in(&account).await;
    let verdicts = async || {
        let mut verdicts = Vec::new();
        for project in ["", "p1", "p2", "p3"] {
            verdicts.push(client.verdict_in(&created.token, project).await);
        }
        verdicts
    };
    assert_eq!(created.key.projects, only(&[]));
    assert_eq!(verdicts().await, [ProjectDenied; 4], "a key with none verifies nowhere");

    assert_eq!(assign(&client, &created.id(), &["p1"]).await.projects, only(&["p1"]));
    assert_eq!(verdicts().await, [Valid, Valid, ProjectDenied, ProjectDenied]);
    assign(&client, &created.id(), &["p2", "p3"]).await;
    assert_eq!(verdicts().await, [Valid, ProjectDenied, Valid, Valid]);
    assign(&client, &created.id(), &[]).await;
    assert_eq!(verdicts().await, [ProjectDenied; 4]);

    let all = Some(ProjectAccess { all: true, only: vec![] });
    let create = CreateKeyRequest { projects: all.clone(), ..key_for(&account) };
    refused(client.create_key(create).await, Code::FailedPrecondition, "PROJECTS_NOT_ALLOWED");
    let update = UpdateKeyRequest {
        key: Some(Key { id: created.id(), projects: all, ..Default::default() }),
        update_mask: mask(&["projects"]),
        ..Default::default()
    };
    refused(client.update_key(update).await, Code::FailedPrecondition, "PROJECTS_NOT_ALLOWED");
}

async fn gaio_04_tokens_are_shown_at_creation_and_renewal_only(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "gaio").await;
    let created = client.key_in(&account).await;
    assert_shown_nowhere(&client, &created.key, &created.token).await;
    let request = RenewKeyRequest { key_id: created.id(), request_id: "renewal".into(), ..Default::default() };
    let renewed = client.renew_key(request.clone()).await.unwrap();
    assert!(renewed.token.starts_with("gaio_") && renewed.token != created.token);
    assert_shown_nowhere(&client, renewed.key.as_ref().unwrap(), &renewed.token).await;
    let repeated = client.renew_key(request).await.unwrap();
    assert_eq!(repeated.token, "", "not a second time");
    assert_without_token(&repeated, &renewed.token);
    assert_eq!(repeated.key.unwrap().secrets.len(), 2, "and no third secret");
}

async fn gaio_05_renewing_gives_the_same_key_a_new_token(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "gaio").await;
    let created = client.new_key(CreateKeyRequest { projects: only(&["p1"]), ..key_for(&account) }).await;
    assert_eq!(client.verdict(&created.token).await, Verdict::Valid);
    let renewed = client.renew_key(RenewKeyRequest { key_id: created.id(), ..Default::default() }).await.unwrap();
    assert_eq!(client.verdict(&created.token).await, Verdict::Expired, "the old one, the moment the call returns");
    let answer = client.ask(&renewed.token).await;
    assert_eq!((answer.verdict(), answer.key_id), (Verdict::Valid, created.id()));
    let key = renewed.key.unwrap();
    assert_eq!((&key.id, &key.projects), (&created.id(), &only(&["p1"])), "the same key");
    assert_eq!(key.token_hint, renewed.token[.."gaio_".len() + 4]);

    let overlapping = RenewKeyRequest { key_id: key.id, overlap: seconds(1), ..Default::default() };
    refused(client.renew_key(overlapping).await, Code::FailedPrecondition, "OVERLAP_NOT_ALLOWED");
    assert_eq!(client.verdict(&renewed.token).await, Verdict::Valid);
}

async fn gaio_06_editing_and_deleting(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "gaio").await;
    let created = client.new_key(CreateKeyRequest { projects: only(&["p1"]), ..key_for(&account) }).await;
    let edit = UpdateKeyRequest {
        key: Some(Key { id: created.id(), display_name: "Make".into(), projects: only(&["p2"]), ..Default::default() }),
        update_mask: mask(&["display_name", "projects"]),
        ..Default::default()
    };
    let edited = client.update_key(edit).await.unwrap().key.unwrap();
    assert_eq!((edited.display_name.as_str(), edited.projects), ("Make", only(&["p2"])));

    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let (client, token) = (client.clone(), created.token.clone());
        calls.spawn(async move { client.verdict_in(&token, "p2").await });
    }
    assert_eq!(calls.join_all().await, [Verdict::Valid; 5], "every integration that uses it");
    client.delete_key(DeleteKeyRequest { key_id: created.id(), ..Default::default() }).await.unwrap();
    assert_eq!(client.verdict_in(&created.token, "p2").await, Verdict::Unknown, "stops at once");
    refused(client.get_key(GetKeyRequest { key_id: created.id() }).await, Code::NotFound, "KEY_NOT_FOUND");
}

async fn gaio_07_every_step_is_in_the_audit_log(authority: Authority) {
    let client = authority.client();
    let account = account_of(&client, "gaio").await;
    let (caller, operator) = authority.new_caller(&["keys.read", "keys.write"], Some(&[&account])).await;
    let created = operator.new_key(CreateKeyRequest { disabled: true, ..key_for(&account) }).await;
    let key_id = created.id();
    operator.enable_key(EnableKeyRequest { key_id: key_id.clone(), ..Default::default() }).await.unwrap();
    assign(&operator, &key_id, &["p1"]).await;
    operator.renew_key(RenewKeyRequest { key_id: key_id.clone(), ..Default::default() }).await.unwrap();
    operator.disable_key(DisableKeyRequest { key_id: key_id.clone(), ..Default::default() }).await.unwrap();
    operator.delete_key(DeleteKeyRequest { key_id: key_id.clone(), ..Default::default() }).await.unwrap();

    let events = client.events(ListAuditEventsRequest { key_id: key_id.clone(), ..Default::default() }).await;
    let steps: Vec<_> = events.iter().map(AuditEvent::action).collect();
    let expected = [
        Action::CreateKey,
        Action::EnableKey,
        Action::UpdateKey,
        Action::RenewKey,
        Action::DisableKey,
        Action::DeleteKey,
    ];
    assert_eq!(steps, expected);
    let mut last = created.key.create_time;
    for event in &events {
        assert_eq!((&event.actor, &event.account), (&caller.id(), &account), "with who");
        assert!(nanos_between(last, event.time) >= 0, "and when, in order");
        last = event.time;
    }
    assert!(events[0].before.is_none() && events[0].after.is_some());
    assert!(events[5].before.is_some() && events[5].after.is_none());
    let projects = |part: &Option<prost_types::Struct>| part.as_ref().unwrap().fields["projects"].clone();
    assert_ne!(projects(&events[2].before), projects(&events[2].after), "the change itself");
}

on_every_database! {
    gaio_01_a_key_has_an_id_a_state_a_name_a_token_and_projects,
    gaio_02_an_inactive_key_does_not_verify,
    gaio_03_projects_are_assigned_after_creation,
    gaio_04_tokens_are_shown_at_creation_and_renewal_only,
    gaio_05_renewing_gives_the_same_key_a_new_token,
    gaio_06_editing_and_deleting,
    gaio_07_every_step_is_in_the_audit_log,
}
