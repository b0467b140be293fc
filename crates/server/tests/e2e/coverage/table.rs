//! The table: an RPC a row. To add an RPC, add its row; [`super::every_rpc_is_in_the_table`] says when one is missing.

use std::pin::Pin;

use key_authority_proto::v1::*;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::client::{connection_of, key_for, mask, question};
use crate::support::{Client, NewKey, in_time};

/// What a call is about.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) account: String,
    pub(crate) key: NewKey,
}

impl Target {
    /// What is not there.
    pub(crate) fn of_nothing(&self) -> Self {
        let key = NewKey { key: Key { id: "nothing".into(), ..Key::default() }, token: self.key.token.clone() };
        Self { account: "nobody".into(), key }
    }
}

/// What must be there for a call to change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    Nothing,
    Account,
    SuspendedAccount,
    Key,
    DisabledKey,
}

/// What a caller who may not act on the account gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tenancy {
    /// `NOT_FOUND` with this reason.
    NotFound(&'static str),
    /// `VERDICT_UNKNOWN`.
    Unknown,
    /// A list in which it is not.
    Hidden,
    /// It is about no account: whoever has the permission may.
    OfTheWhole,
    /// It is about all accounts: `PERMISSION_DENIED` with this reason for who does not cover them.
    OfAll(&'static str),
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Verdict(Verdict),
    Accounts(Vec<String>),
}

/// Why nothing came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RpcError {
    pub(crate) code: Code,
    pub(crate) reason: String,
}

impl From<Status> for RpcError {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let reason =
            details.error_info().map_or_else(|| format!("none: {}", status.message()), |info| info.reason.clone());
        Self { code: status.code(), reason }
    }
}

type Call = fn(Client, Target) -> Pin<Box<dyn Future<Output = Result<Outcome, RpcError>> + Send>>;

/// An RPC.
pub(crate) struct Case {
    pub(crate) method: &'static str,
    /// Each of them will do.
    pub(crate) permissions: &'static [&'static str],
    pub(crate) tenancy: Tenancy,
    /// The event it leaves. None: it changes nothing.
    pub(crate) action: Option<Action>,
    pub(crate) ready: Ready,
    pub(crate) call: Call,
}

const KEY: Tenancy = Tenancy::NotFound("KEY_NOT_FOUND");
const ACCOUNT: Tenancy = Tenancy::NotFound("ACCOUNT_NOT_FOUND");

/// A row whose outcome is told by the body.
macro_rules! row {
    ($method:ident [$($permission:literal)+] $tenancy:expr, $action:expr, $ready:ident, |$client:ident, $target:ident| $body:expr) => {
        Case {
            method: stringify!($method),
            permissions: &[$($permission),+],
            tenancy: $tenancy,
            action: $action,
            ready: Ready::$ready,
            call: |$client, $target| Box::pin(async move { $body }),
        }
    };
}

/// A row of a unary RPC about a key: no more than its ID is said.
macro_rules! key_row {
    ($method:ident $call:ident $request:ident [$($permission:literal)+] $action:expr, $ready:ident) => {
        row!($method [$($permission)+] KEY, $action, $ready, |client, target| {
            client.$call($request { key_id: target.key.id(), ..Default::default() }).await?;
            Ok(Outcome::Done)
        })
    };
}

/// A row of a unary RPC about an account: no more than its ID is said.
macro_rules! account_row {
    ($method:ident $call:ident $request:ident [$($permission:literal)+] $action:expr, $ready:ident) => {
        row!($method [$($permission)+] ACCOUNT, $action, $ready, |client, target| {
            client.$call($request { account: target.account, ..Default::default() }).await?;
            Ok(Outcome::Done)
        })
    };
}

pub(crate) const TABLE: &[Case] = &[
    row!(Verify ["verify"] Tenancy::Unknown, None, Key, |client, target| {
        Ok(Outcome::Verdict(client.verify(question(&target.key.token)).await?.verdict()))
    }),
    row!(BatchVerify ["verify"] Tenancy::Unknown, None, Key, |client, target| {
        let requests = vec![question(&target.key.token)];
        let answers = client.batch_verify(BatchVerifyRequest { requests }).await?;
        Ok(Outcome::Verdict(answers.responses[0].verdict()))
    }),
    row!(VerifyStream ["verify"] Tenancy::Unknown, None, Key, |client, target| {
        let asked = VerifyStreamRequest { id: 1, request: Some(question(&target.key.token)) };
        let mut answers = client.verify_stream(tokio_stream::iter([asked])).await?;
        let answer = in_time("the outcome", answers.message()).await?.expect("an outcome");
        match answer.outcome.expect("an outcome") {
            verify_stream_response::Outcome::Response(response) => Ok(Outcome::Verdict(response.verdict())),
            verify_stream_response::Outcome::Error(error) => {
                Err(RpcError { code: Code::from_i32(error.code), reason: error.reason })
            }
        }
    }),
    row!(CreateKey ["keys.write"] ACCOUNT, Some(Action::CreateKey), Account, |client, target| {
        client.create_key(key_for(&target.account)).await?;
        Ok(Outcome::Done)
    }),
    row!(ImportKeys ["keys.write"] ACCOUNT, Some(Action::ImportKeys), Account, |client, target| {
        let secret = Some(imported_key::Secret::Token(format!("a token of {}", target.account).replace(' ', "-")));
        let keys = vec![ImportedKey { secret, ..ImportedKey::default() }];
        let answer = client.import(ImportKeysRequest { account: target.account, keys, ..Default::default() }).await?;
        assert_eq!(answer.imported, 1, "{:?}", answer.errors);
        Ok(Outcome::Done)
    }),
    row!(GetKey ["keys.read"] KEY, None, Key, |client, target| {
        client.get_key(GetKeyRequest { key_id: target.key.id() }).await?;
        Ok(Outcome::Done)
    }),
    account_row!(ListKeys list_keys ListKeysRequest ["keys.read"] None, Key),
    row!(UpdateKey ["keys.write"] KEY, Some(Action::UpdateKey), Key, |client, target| {
        let key = Some(Key { id: target.key.id(), display_name: "changed".into(), ..Key::default() });
        client.update_key(UpdateKeyRequest { key, update_mask: mask(&["display_name"]), ..Default::default() }).await?;
        Ok(Outcome::Done)
    }),
    key_row!(DisableKey disable_key DisableKeyRequest ["keys.write"] Some(Action::DisableKey), Key),
    key_row!(EnableKey enable_key EnableKeyRequest ["keys.write"] Some(Action::EnableKey), DisabledKey),
    key_row!(RevokeKey revoke_key RevokeKeyRequest ["keys.write" "keys.revoke"] Some(Action::RevokeKey), Key),
    row!(RevokeKeys ["keys.revoke"] ACCOUNT, Some(Action::RevokeKeys), Key, |client, target| {
        let answer = client.revoke_keys(RevokeKeysRequest { account: target.account, ..Default::default() }).await?;
        assert_eq!((answer.count, answer.key_ids), (1, vec![target.key.id()]));
        Ok(Outcome::Done)
    }),
    row!(RevokeToken ["keys.revoke" "verify"] KEY, Some(Action::RevokeToken), Key, |client, target| {
        client.revoke_token(RevokeTokenRequest { token: target.key.token, ..Default::default() }).await?;
        Ok(Outcome::Done)
    }),
    row!(RenewToken ["verify"] KEY, Some(Action::RenewToken), Key, |client, target| {
        client.renew_token(RenewTokenRequest { token: target.key.token, ..Default::default() }).await?;
        Ok(Outcome::Done)
    }),
    key_row!(RenewKey renew_key RenewKeyRequest ["keys.write"] Some(Action::RenewKey), Key),
    key_row!(DeleteKey delete_key DeleteKeyRequest ["keys.write"] Some(Action::DeleteKey), Key),
    row!(RevealToken ["tokens.reveal"] KEY, Some(Action::RevealToken), Key, |client, target| {
        client.reveal_token(RevealTokenRequest { key_id: target.key.id() }).await?;
        Ok(Outcome::Done)
    }),
    row!(PrepareConnection ["keys.read"] ACCOUNT, Some(Action::RevealToken), Key, |client, target| {
        client.prepare_connection(connection_of(&target.account)).await?;
        Ok(Outcome::Done)
    }),
    row!(CreateAccount ["accounts.write"] ACCOUNT, Some(Action::CreateAccount), Nothing, |client, target| {
        let account = Some(Account { id: target.account, ..Account::default() });
        client.create_account(CreateAccountRequest { account, ..Default::default() }).await?;
        Ok(Outcome::Done)
    }),
    row!(GetAccount ["accounts.read"] ACCOUNT, None, Account, |client, target| {
        client.get_account(GetAccountRequest { account: target.account }).await?;
        Ok(Outcome::Done)
    }),
    row!(ListAccounts ["accounts.read"] Tenancy::Hidden, None, Account, |client, _target| {
        let listed = client.list_accounts(ListAccountsRequest { page_size: 1000, ..Default::default() }).await?;
        Ok(Outcome::Accounts(listed.accounts.into_iter().map(|account| account.id).collect()))
    }),
    row!(UpdateAccount ["accounts.write"] ACCOUNT, Some(Action::UpdateAccount), Account, |client, target| {
        let account = Some(Account { id: target.account, display_name: "changed".into(), ..Account::default() });
        let update_mask = mask(&["display_name"]);
        client.update_account(UpdateAccountRequest { account, update_mask, ..Default::default() }).await?;
        Ok(Outcome::Done)
    }),
    account_row!(SuspendAccount suspend_account SuspendAccountRequest ["accounts.write"] Some(Action::SuspendAccount), Account),
    account_row!(ResumeAccount resume_account ResumeAccountRequest ["accounts.write"] Some(Action::ResumeAccount), SuspendedAccount),
    account_row!(DeleteAccount delete_account DeleteAccountRequest ["accounts.write"] Some(Action::DeleteAccount), Account),
    account_row!(ListAuditEvents list_audit_events ListAuditEventsRequest ["audit.read"] None, Key),
    row!(CreatePortalSession ["portal.write"] ACCOUNT, Some(Action::CreatePortalSession), Account, |client, target| {
        let (account, subject) = (target.account, "ada".into());
        let request = CreatePortalSessionRequest { account, subject, ..Default::default() };
        client.create_portal_session(request).await?;
        Ok(Outcome::Done)
    }),
    row!(AwaitRevision ["keys.read"] Tenancy::OfTheWhole, None, Nothing, |client, _target| {
        client.await_revision(AwaitRevisionRequest { revision: 1 }).await?;
        Ok(Outcome::Done)
    }),
    row!(AcceptRestore ["operate"] Tenancy::OfAll("GRANT_EXCEEDS_CALLER"), Some(Action::AcceptRestore), Nothing, |client, _target| {
        client.accept_restore(AcceptRestoreRequest::default()).await?;
        Ok(Outcome::Done)
    }),
    row!(GetAuthorityStatus ["operate"] Tenancy::OfTheWhole, None, Nothing, |client, _target| {
        client.get_authority_status(GetAuthorityStatusRequest {}).await?;
        Ok(Outcome::Done)
    }),
];
