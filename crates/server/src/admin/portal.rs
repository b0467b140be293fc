//! Portal sessions: `CreatePortalSession`, and the start of a session when its link is followed.
//!
//! Nothing is stored for a session but the events of its creation and its start. The code in the link is sealed, and
//! the start has an idempotency key that is made of the code's random number. So the audit log, which has each such key
//! at most once, is what makes a code start one session over all replicas, and no code needs to be cleaned up.
//!
//! - t0: `CreatePortalSession` commits its event and returns the code.
//! - t1: a browser brings the code to a replica, which opens it.
//! - t2: under the lock on the log, the caller that created the session is authorized again.
//! - t3: an event with the same idempotency key ends the attempt: the code was used. Otherwise its event is committed.
//!   The key also has a secret of the browser: the browser that has used the code is answered as if it were new.
//! - t4: the session begins. If the answer of t3 was lost, the browser tries again.

use key_authority_domain::account::Account;
use key_authority_domain::audit::{Action, IdempotencyKey, LoggedEvent};
use key_authority_domain::id::RequestId;
use key_authority_domain::policy_error::PolicyError;
use key_authority_domain::snapshot;
use key_authority_domain::time::Timestamp;
use key_authority_proto::v1;
use key_authority_storage::read_tx::ReadTx;

use super::audited::{AuditRecord, account_in};
use super::context::Admin;
use super::mutate::check_log_format;
use super::replay::Replay;
use crate::auth::call::Call;
use crate::auth::permit::TxPermit;
use crate::auth::portal::{CODE_AGE_MAX, PortalGrant};
use crate::entropy;
use crate::rpc::errors::RpcError;
use crate::wire;
use crate::wire::time::timestamp_to_proto;

/// The path of the console at which a code starts a session.
pub(crate) const ENTER_PATH: &str = "/console/enter";

/// A session that was created, and the time of its creation.
struct Created(PortalGrant, Timestamp);

impl Replay for Created {
    /// The call has no `request_id`, so it is never repeated.
    async fn replay(_: &ReadTx, _: &TxPermit, _: &LoggedEvent) -> Result<Self, RpcError> {
        Err(RpcError::RequestIdReused)
    }
}

/// The account of a session that was started.
struct Started(Account);

impl Replay for Started {
    /// The same browser has started the session before, and did not learn of it.
    async fn replay(tx: &ReadTx, permit: &TxPermit, logged: &LoggedEvent) -> Result<Self, RpcError> {
        Ok(Self(account_in(tx, permit, &logged.event.account).await?))
    }
}

impl Admin {
    /// `CreatePortalSession`. It changes nothing that a replica enforces, so there is no propagation to wait for.
    pub(super) async fn create_portal_session(
        &self,
        call: &Call,
        request: v1::CreatePortalSessionRequest,
    ) -> Result<v1::CreatePortalSessionResponse, RpcError> {
        let spec = &wire::portal::create_portal_session(&request)?;
        let console = self.console_url.as_ref().ok_or(RpcError::ConsoleOff)?;
        let (id, (caller, address)) = (entropy::bytes()?, call.permit.presented()?);
        let created = self
            .transact(call, Action::CreatePortalSession, &[], |tx, permit| async move {
                let caller_end = permit.check_portal(&spec.may)?;
                let account = account_in(&tx, &permit, &spec.account).await?.id;
                if account.is_system() {
                    return Err(PolicyError::AccountReserved.into());
                }
                check_log_format(&tx, Action::CreatePortalSession).await?;
                let end = tx.now().after(spec.lifetime);
                let grant = PortalGrant {
                    id,
                    caller,
                    address,
                    account,
                    subject: spec.subject.clone(),
                    may: spec.may.clone(),
                    allowed_scopes: spec.allowed_scopes.clone(),
                    end: caller_end.map_or(end, |caller_end| caller_end.min(end)),
                };
                let (now, record) = (tx.now(), record(&grant));
                Ok((tx, Created(grant, now), record))
            })
            .await?;
        let Created(grant, now) = created.result;
        let code_end = now.after(CODE_AGE_MAX);
        let code = grant.seal_code(&self.keyring, code_end)?;
        Ok(v1::CreatePortalSessionResponse {
            url: format!("{console}{ENTER_PATH}?code={code}"),
            url_expire_time: Some(timestamp_to_proto(code_end)),
            expire_time: Some(timestamp_to_proto(grant.end)),
        })
    }

    /// Records that the session of a code starts in the browser with this digest. Returns its account.
    ///
    /// # Errors
    /// `REQUEST_ID_REUSED` if it has started before in another browser, on any replica.
    pub(super) async fn start_portal_session(
        &self,
        call: &Call,
        grant: &PortalGrant,
        browser: &[u8; 32],
    ) -> Result<Account, RpcError> {
        let id = RequestId::of_portal_session(&grant.session_id());
        let id = id.map_err(|rule| RpcError::invalid("code", rule.as_str()))?;
        let digest = *blake3::Hasher::new().update(&grant.id).update(browser).finalize().as_bytes();
        let once = IdempotencyKey { id, digest };
        let started = self
            .transact(call, Action::StartPortalSession, &[once], |tx, permit| async move {
                let account = account_in(&tx, &permit, &grant.account).await?;
                Ok((tx, Started(account), record(grant)))
            })
            .await?;
        let Started(account) = started.result;
        Ok(account)
    }
}

/// The audit record of a session: the same for its creation and its start.
fn record(grant: &PortalGrant) -> AuditRecord {
    let PortalGrant { account, subject, may, allowed_scopes, end, .. } = grant;
    let (id, allowed_scopes) = (grant.session_id(), allowed_scopes.as_ref());
    AuditRecord {
        after: Some(snapshot::of_portal_session(&id, account, subject, may, allowed_scopes, *end)),
        subject: Some(subject.clone()),
        ..AuditRecord::of_account(account.clone())
    }
}
