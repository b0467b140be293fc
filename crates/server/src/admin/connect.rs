//! Connecting AI agents to an MCP server, with a key that is there or a new one.

use key_authority_domain::account::Account;
use key_authority_domain::audit::{Action, IdempotencyKey};
use key_authority_domain::connect::{Instruction, PLACEHOLDER};
use key_authority_domain::key::{Key, KeyState};
use key_authority_domain::permission::Permission;
use key_authority_domain::policy_error::PolicyError;
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::Token;
use key_authority_proto::v1::{self, TokenSource};
use key_authority_replica::propagation::Propagation;
use key_authority_storage::Urgency;
use key_authority_storage::read_tx::ReadTx;

use super::context::{Admin, account_in, key_event, replayed_in};
use super::mutate::{Mutated, of_commit, of_event};
use crate::auth::permit::{Permit, Rights, TxPermit};
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

/// What is to be done.
enum Step {
    /// Nothing changes.
    Tell(Found),
    /// A key is created in this account.
    Create(Account),
    /// The token of this key is shown, and the log says so.
    Show(Key, Token),
}

impl Admin {
    /// `GetConnectInstructions`.
    pub(crate) async fn get_connect_instructions(
        &self,
        permit: &Permit,
        request: v1::GetConnectInstructionsRequest,
    ) -> Result<v1::GetConnectInstructionsResponse, RpcError> {
        let mut asked = connect(&request)?;
        let mark = asked.request.take();
        let found = match self.connect_unchanged(permit, &asked, mark.as_ref()).await? {
            Some(found) => found,
            None => self.connect_by_change(permit, &asked, mark).await?,
        };
        Ok(answer(&asked, &found, self.view.time()))
    }

    /// The answer where nothing changes: it takes no turn among the changes.
    async fn connect_unchanged(
        &self,
        permit: &Permit,
        asked: &ConnectSpec,
        mark: Option<&IdempotencyKey>,
    ) -> Result<Option<Found>, RpcError> {
        let tx = self.store.begin_reading().await?.not_before(self.view.time());
        let permit = permit.judge_in(&tx).await?;
        if replayed_in(&tx, &permit, mark.map_or(&[], std::slice::from_ref)).await?.is_some() {
            return Ok(None);
        }
        Ok(match self.connect_step(&tx, &permit, asked).await? {
            Step::Tell(found) => Some(found),
            Step::Create(_) | Step::Show(..) => None,
        })
    }

    async fn connect_by_change(
        &self,
        permit: &Permit,
        asked: &ConnectSpec,
        mark: Option<IdempotencyKey>,
    ) -> Result<Found, RpcError> {
        let mark = &mark;
        match self
            .transact(permit, Urgency::Ordinary, mark.as_slice(), |tx, permit| async move {
                let (found, event) = match self.connect_step(&tx, &permit, asked).await? {
                    Step::Tell(found) => (found, None),
                    Step::Create(account) => {
                        let spec = new_key(&key_request(asked))?;
                        let (key, token) = self.create_in(&tx, &permit, &account, spec).await.map_err(of_name)?;
                        let event = key_event(&permit, Action::CreateKey, mark.clone(), None, Some(&key), tx.now())?;
                        (Found { token: Some(token), ..Found::unshown(Some(key), TokenSource::Created) }, Some(event))
                    }
                    Step::Show(key, token) => {
                        let shown = Some(&key);
                        let event = key_event(&permit, Action::RevealToken, mark.clone(), shown, shown, tx.now())?;
                        (Found { token: Some(token), ..Found::unshown(Some(key), TokenSource::Revealed) }, Some(event))
                    }
                };
                Ok((tx, found, event))
            })
            .await?
        {
            Mutated::Applied((mut found, committed)) => {
                if let (TokenSource::Created, Some(committed)) = (found.source, committed) {
                    found.propagation = Some(self.wait(of_commit(&committed)).await?);
                }
                Ok(found)
            }
            Mutated::Replayed(logged) => {
                let propagation = Some(self.wait(of_event(&logged)).await?);
                let key = self.key_of_event(permit, logged).await?;
                Ok(Found { propagation, ..Found::unshown(Some(key), TokenSource::Repeated) })
            }
        }
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
                return Ok(Step::Tell(Found::unshown(None, TokenSource::NoKey)));
            }
            check_may_create(permit)?;
            return Ok(Step::Create(account));
        };
        if !permit.has(Permission::TokensReveal) {
            return Ok(Step::Tell(Found::unshown(Some(key), TokenSource::NotPermitted)));
        }
        match self.reveal_sealed_token(permit, &key, &account) {
            Ok(token) => Ok(Step::Show(key, token)),
            Err(RpcError::Refused(PolicyError::NotRecoverable)) => {
                Ok(Step::Tell(Found::unshown(Some(key), TokenSource::NotKept)))
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

fn answer(asked: &ConnectSpec, found: &Found, now: Timestamp) -> v1::GetConnectInstructionsResponse {
    let text = found.token.as_ref().map_or(PLACEHOLDER, Token::reveal);
    let instruction = |&client| instruction_to_proto(Instruction::new(client, &asked.name, &asked.endpoint, text));
    v1::GetConnectInstructionsResponse {
        instructions: asked.clients.iter().map(instruction).collect(),
        token_source: found.source.into(),
        placeholder: if found.token.is_some() { String::new() } else { PLACEHOLDER.to_owned() },
        key: found.key.as_ref().map(|key| key_to_proto(key, now)),
        propagation: found.propagation.as_ref().map(propagation_to_proto),
    }
}
