//! Audit event rows.

use key_authority_domain::audit::{Action, AuditEvent, IdempotencyKey, LoggedEvent};
use key_authority_domain::id::{AccountId, Actor, KeyId, RequestId, Revision, Subject};
use key_authority_domain::time::Timestamp;
use sea_orm::ActiveValue::Set;

use crate::entity::audit_event;
use crate::error::StorageError;
use crate::mapping::RowContext;

pub(crate) fn to_domain(model: audit_event::Model) -> Result<LoggedEvent, StorageError> {
    let id = model.revision.to_string();
    let row = RowContext { table: "audit_event", id: &id };
    let request = match (model.request_id, model.request_digest) {
        (Some(id), Some(digest)) => Some(IdempotencyKey {
            id: row.valid("request_id", RequestId::new(&id))?,
            digest: row.bytes("request_digest", &digest)?,
        }),
        (None, None) => None,
        _ => return Err(row.corrupt("request_digest")),
    };
    Ok(LoggedEvent {
        revision: Revision(model.revision),
        time: Timestamp::from_micros(model.event_time),
        event: AuditEvent {
            actor: row.valid("actor", Actor::new(&model.actor))?,
            subject: row.valid("subject", model.subject.as_deref().map(Subject::new).transpose())?,
            action: Action::from_number(model.action).ok_or_else(|| row.corrupt("action"))?,
            account: row.valid("account", AccountId::new(&model.account))?,
            key_id: row.valid("key_id", model.key_id.as_deref().map(KeyId::new).transpose())?,
            request,
            before: model.before_json,
            after: model.after_json,
        },
        secret_version: row.number("secret_version", model.secret_version)?,
        hash: row.hash("hash", &model.hash)?,
    })
}

pub(crate) fn to_row(logged: LoggedEvent) -> Result<audit_event::ActiveModel, StorageError> {
    let id = logged.revision.to_string();
    let row = RowContext { table: "audit_event", id: &id };
    let (request_id, request_digest) = logged.event.request.map(|key| (key.id, key.digest)).unzip();
    Ok(audit_event::ActiveModel {
        revision: Set(logged.revision.0),
        event_time: Set(logged.time.micros()),
        actor: Set(logged.event.actor.as_str().to_owned()),
        action: Set(logged.event.action.number()),
        account: Set(logged.event.account.as_str().to_owned()),
        key_id: Set(logged.event.key_id.map(|id| id.as_str().to_owned())),
        request_id: Set(request_id.map(|id| id.as_str().to_owned())),
        request_digest: Set(request_digest.map(|digest| digest.to_vec())),
        before_json: Set(logged.event.before),
        after_json: Set(logged.event.after),
        secret_version: Set(row.number("secret_version", logged.secret_version)?),
        hash: Set(logged.hash.0.to_vec()),
        subject: Set(logged.event.subject.map(|subject| subject.as_str().to_owned())),
    })
}
