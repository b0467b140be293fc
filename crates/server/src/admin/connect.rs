//! Connecting AI agents to an MCP server, with a key that is there or a new one.

use key_authority_domain::account::Account;
use key_authority_domain::audit::{Action, LoggedEvent};
use key_authority_domain::key::{Key, KeyState};
use key_authority_domain::permission::Permission;
use key_authority_domain::policy_error::PolicyError;
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::Token;
use key_authority_mcp_connect::{Instruction, PLACEHOLDER};
use key_authority_proto::v1::{self, TokenSource};
use key_authority_replica::protocol::wait::Propagation;
use key_authority_storage::read_tx::ReadTx;

use super::audited::{AuditRecord, account_in};
use super::context::Admin;
use super::keys::Issued;
use super::mutate::{Mutated, replayed};
use super::replay::Replay;
use crate::auth::call::Call;
use crate::auth::permit::{Rights, TxPermit};
use crate::rpc::errors::RpcError;
use crate::wire::connect::{ConnectSpec, connect, instruction_to_proto};
use crate::wire::key::{key_to_proto, new_key};
use crate::wire::propagation::propagation_to_proto;

/// What is filled in.
struct Found {
    key: Option<Key>,
    token: Option<Token>,
    source: TokenSource,
    propagation: Option<Propagation>,
}

impl Found {
    /// A key whose token is not shown, or none.
    fn unshown(key: Option<Key>, source: TokenSource) -> Self {
        Self { key, token: None, source, propagation: None }
    }
}

impl Replay for Found {
    async fn replay(tx: &ReadTx, permit: &TxPermit, logged: &LoggedEvent) -> Result<Self, RpcError> {
        Ok(Self::unshown(Some(Key::replay(tx, permit, logged).await?), TokenSource::Repeated))
    }
}

/// What is to be done.
enum Step {
    /// Nothing changes.
    Answer(Found),
    /// A key is created in this account.
    Create(Account),
    /// The token of this key is shown, and the log says so.
    Reveal(Key, Token),
}

impl Admin {
    /// `PrepareConnection`.
    pub(super) async fn prepare_connection(
        &self,
        call: &Call,
        request: v1::PrepareConnectionRequest,
    ) -> Result<v1::PrepareConnectionResponse, RpcError> {
        let asked = connect(&request)?;
        let found = match self.connect_unchanged(call, &asked).await? {
            Some(found) => found,
            None => self.connect_by_change(call, &asked).await?,
        };
        Ok(answer(&asked, &found, self.replica.time()))
    }

    /// The answer where nothing changes: it takes no turn among the changes.
    async fn connect_unchanged(&self, call: &Call, asked: &ConnectSpec) -> Result<Option<Found>, RpcError> {
        let tx = self.store.begin_reading().await?.not_before(self.replica.time());
        let permit = call.permit.authorize_in(&tx).await?;
        if replayed(&tx, &permit, asked.request.as_slice()).await?.is_some() {
            return Ok(None);
        }
        Ok(match self.connect_step(&tx, &permit, asked).await? {
            Step::Answer(found) => Some(found),
            Step::Create(_) | Step::Reveal(..) => None,
        })
    }

    async fn connect_by_change(&self, call: &Call, asked: &ConnectSpec) -> Result<Found, RpcError> {
        let Mutated { result, change } = self
            .transact(call, Action::CreateKey, asked.request.as_slice(), |tx, permit| async move {
                let (found, record) = match self.connect_step(&tx, &permit, asked).await? {
                    Step::Answer(found) => (found, None),
                    Step::Create(account) => {
                        let spec = new_key(&key_request(asked))?;
                        let Issued { key, token } =
                            self.create_in(&tx, &permit, &account, spec).await.map_err(of_name)?;
                        let record = AuditRecord::created(&key, tx.now());
                        (Found { token, ..Found::unshown(Some(key), TokenSource::Created) }, Some(record))
                    }
                    Step::Reveal(key, token) => {
                        let record = AuditRecord::changed(&key, &key, tx.now()).with_action(Action::RevealToken);
                        let found = Found::unshown(Some(key), TokenSource::Revealed);
                        (Found { token: Some(token), ..found }, Some(record))
                    }
                };
                Ok((tx, found, record))
            })
            .await?;
        // A token that is shown again changes nothing that a replica enforces.
        let propagation = match change {
            Some(change) if result.source != TokenSource::Revealed => Some(self.wait(call, change).await?),
            _ => None,
        };
        Ok(Found { propagation, ..result })
    }

    /// What is to be done as things stand.
    async fn connect_step(&self, tx: &ReadTx, permit: &TxPermit, asked: &ConnectSpec) -> Result<Step, RpcError> {
        let account = account_in(tx, permit, &asked.account).await?;
        let key = match &asked.key_id {
            Some(id) => Some(usable(tx.key(id).await?, &account, tx.now())?),
            None => tx.newest_active_key(&account.id).await?,
        };
        let Some(key) = key else {
            if !asked.create_if_none {
                return Ok(Step::Answer(Found::unshown(None, TokenSource::NoKey)));
            }
            check_may_create(permit)?;
            return Ok(Step::Create(account));
        };
        if !permit.has(Permission::TokensReveal) {
            return Ok(Step::Answer(Found::unshown(Some(key), TokenSource::NotPermitted)));
        }
        match self.reveal_sealed_token(permit, &key, &account) {
            Ok(token) => Ok(Step::Reveal(key, token)),
            Err(RpcError::Refused(PolicyError::NotRecoverable)) => {
                Ok(Step::Answer(Found::unshown(Some(key), TokenSource::NotKept)))
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Asked when a key is needed, not when `create_if_none` is set: whoever always sets it is answered where one is there.
fn check_may_create(permit: &impl Rights) -> Result<(), RpcError> {
    let needed = Permission::KeysWrite;
    if permit.has(needed) { Ok(()) } else { Err(RpcError::PermissionMissing(needed)) }
}

/// The key that was named, if it is the account's and passes.
fn usable(key: Option<Key>, account: &Account, now: Timestamp) -> Result<Key, RpcError> {
    let key = key.filter(|key| key.account == account.id).ok_or(RpcError::KeyNotFound)?;
    if key.state(now) == KeyState::Active { Ok(key) } else { Err(PolicyError::KeyNotActive.into()) }
}

/// A key that is called as the server is.
fn key_request(asked: &ConnectSpec) -> v1::CreateKeyRequest {
    v1::CreateKeyRequest {
        account: asked.account.as_str().to_owned(),
        display_name: asked.name.as_str().to_owned(),
        ..Default::default()
    }
}

/// What is wrong with the name of a key is wrong with that of the server.
fn of_name(failure: RpcError) -> RpcError {
    match failure {
        RpcError::Invalid(violations) => match violations.iter().find(|violation| violation.field == "display_name") {
            Some(violation) => RpcError::invalid("server_name", &violation.rule),
            None => RpcError::Invalid(violations),
        },
        failure => failure,
    }
}

fn answer(asked: &ConnectSpec, found: &Found, now: Timestamp) -> v1::PrepareConnectionResponse {
    let text = found.token.as_ref().map_or(PLACEHOLDER, Token::reveal);
    let instruction = |&client| instruction_to_proto(Instruction::new(client, &asked.name, &asked.endpoint, text));
    v1::PrepareConnectionResponse {
        instructions: asked.clients.iter().map(instruction).collect(),
        token_source: found.source.into(),
        placeholder: if found.token.is_some() { String::new() } else { PLACEHOLDER.to_owned() },
        key: found.key.as_ref().map(|key| key_to_proto(key, now)),
        propagation: found.propagation.as_ref().map(propagation_to_proto),
    }
}
