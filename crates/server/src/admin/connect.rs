//! `PrepareConnection`: instructions that connect AI agents to an MCP server, with an existing key or a new one.

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

/// The key and the token that the instructions contain.
struct PreparedConnection {
    key: Option<Key>,
    token: Option<Token>,
    source: TokenSource,
    propagation: Option<Propagation>,
}

impl PreparedConnection {
    /// A connection with a key whose token the response does not contain, or without a key.
    fn without_token(key: Option<Key>, source: TokenSource) -> Self {
        Self { key, token: None, source, propagation: None }
    }
}

impl Replay for PreparedConnection {
    async fn replay(tx: &ReadTx, permit: &TxPermit, logged: &LoggedEvent) -> Result<Self, RpcError> {
        Ok(Self::without_token(Some(Key::replay(tx, permit, logged).await?), TokenSource::Repeated))
    }
}

/// What a request requires, given the current state.
enum Step {
    /// Answer without a change.
    Answer(PreparedConnection),
    /// Create a key in this account.
    Create(Account),
    /// Reveal the token of this key, and record that in the log.
    Reveal(Key, Token),
}

impl Admin {
    /// `PrepareConnection`.
    pub(super) async fn prepare_connection(
        &self,
        call: &Call,
        request: v1::PrepareConnectionRequest,
    ) -> Result<v1::PrepareConnectionResponse, RpcError> {
        let spec = connect(&request)?;
        let found = match self.connect_unchanged(call, &spec).await? {
            Some(found) => found,
            None => self.connect_by_change(call, &spec).await?,
        };
        Ok(answer(&spec, &found, self.replica.time()))
    }

    /// Answers a request that changes nothing, without waiting in the queue of changes.
    async fn connect_unchanged(&self, call: &Call, spec: &ConnectSpec) -> Result<Option<PreparedConnection>, RpcError> {
        let reading = self.begin_reading(call).await?;
        let (tx, permit) = (&reading.tx, &reading.permit);
        if replayed(tx, permit, spec.request.as_slice()).await?.is_some() {
            return Ok(None);
        }
        Ok(match self.connect_step(tx, permit, spec).await? {
            Step::Answer(found) => Some(found),
            Step::Create(_) | Step::Reveal(..) => None,
        })
    }

    async fn connect_by_change(&self, call: &Call, spec: &ConnectSpec) -> Result<PreparedConnection, RpcError> {
        let Mutated { result, change } = self
            .transact(call, Action::CreateKey, spec.request.as_slice(), |tx, permit| async move {
                let (found, record) = match self.connect_step(&tx, &permit, spec).await? {
                    Step::Answer(found) => (found, None),
                    Step::Create(account) => {
                        let key_spec = new_key(&key_request(spec))?;
                        let Issued { key, token } =
                            self.create_in(&tx, &permit, &account, key_spec).await.map_err(with_server_name_field)?;
                        let record = AuditRecord::created(&key, tx.now());
                        let found = PreparedConnection::without_token(Some(key), TokenSource::Created);
                        (PreparedConnection { token, ..found }, Some(record))
                    }
                    Step::Reveal(key, token) => {
                        let record = AuditRecord::changed(&key, &key, tx.now()).with_action(Action::RevealToken);
                        let found = PreparedConnection::without_token(Some(key), TokenSource::Revealed);
                        (PreparedConnection { token: Some(token), ..found }, Some(record))
                    }
                };
                Ok((tx, found, record))
            })
            .await?;
        // Revealing a token changes nothing that a replica enforces.
        let propagation = match change {
            Some(change) if result.source != TokenSource::Revealed => Some(self.wait(call, change).await?),
            _ => None,
        };
        Ok(PreparedConnection { propagation, ..result })
    }

    /// Decides what the request requires, given the state in the transaction.
    async fn connect_step(&self, tx: &ReadTx, permit: &TxPermit, spec: &ConnectSpec) -> Result<Step, RpcError> {
        let account = account_in(tx, permit, &spec.account).await?;
        let key = match &spec.key_id {
            Some(id) => Some(usable(tx.key_of(id, &permit.accounts()).await?, &account, tx.now())?),
            None => tx.newest_active_key(&account.id).await?,
        };
        let Some(key) = key else {
            if !spec.create_if_none {
                return Ok(Step::Answer(PreparedConnection::without_token(None, TokenSource::NoKey)));
            }
            check_may_create(permit)?;
            return Ok(Step::Create(account));
        };
        if !permit.has(Permission::TokensReveal) {
            return Ok(Step::Answer(PreparedConnection::without_token(Some(key), TokenSource::NotPermitted)));
        }
        match self.reveal_sealed_token(permit, &key, &account) {
            Ok(token) => Ok(Step::Reveal(key, token)),
            Err(RpcError::Policy(PolicyError::NotRecoverable)) => {
                Ok(Step::Answer(PreparedConnection::without_token(Some(key), TokenSource::NotKept)))
            }
            Err(error) => Err(error),
        }
    }
}

/// Checks the permission when a key must be created, and not when `create_if_none` is set: a caller that always sets it
/// needs no `keys.write` while a key exists.
fn check_may_create(permit: &impl Rights) -> Result<(), RpcError> {
    if permit.has(Permission::KeysWrite) { Ok(()) } else { Err(RpcError::PermissionMissing(&[Permission::KeysWrite])) }
}

/// Returns the requested key, if it belongs to the account and is active.
fn usable(key: Option<Key>, account: &Account, now: Timestamp) -> Result<Key, RpcError> {
    let key = key.filter(|key| key.account == account.id).ok_or(RpcError::KeyNotFound)?;
    if key.state(now) == KeyState::Active { Ok(key) } else { Err(PolicyError::KeyNotActive.into()) }
}

/// Builds the request for a key that is named after the server.
fn key_request(spec: &ConnectSpec) -> v1::CreateKeyRequest {
    v1::CreateKeyRequest {
        account: spec.account.as_str().to_owned(),
        display_name: spec.name.as_str().to_owned(),
        ..Default::default()
    }
}

/// Attributes a violation of the key's name to `server_name`, from which the name was taken.
fn with_server_name_field(error: RpcError) -> RpcError {
    match error {
        RpcError::Invalid(violations) => match violations.iter().find(|violation| violation.field == "display_name") {
            Some(violation) => RpcError::invalid("server_name", &violation.rule),
            None => RpcError::Invalid(violations),
        },
        error => error,
    }
}

fn answer(spec: &ConnectSpec, found: &PreparedConnection, now: Timestamp) -> v1::PrepareConnectionResponse {
    let text = found.token.as_ref().map_or(PLACEHOLDER, Token::reveal);
    let instruction = |&client| instruction_to_proto(Instruction::new(client, &spec.name, &spec.endpoint, text));
    v1::PrepareConnectionResponse {
        instructions: spec.clients.iter().map(instruction).collect(),
        token_source: found.source.into(),
        placeholder: if found.token.is_some() { String::new() } else { PLACEHOLDER.to_owned() },
        key: found.key.as_ref().map(|key| key_to_proto(key, now)),
        propagation: found.propagation.as_ref().map(propagation_to_proto),
    }
}
