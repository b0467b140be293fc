//! Accounts: the owners of keys, and the policies that say what their keys are.

use key_authority_domain::account::{Account, CountedKeys};
use key_authority_domain::audit::{Action, AuditEvent, IdempotencyKey};
use key_authority_domain::id::AccountId;
use key_authority_domain::policy_error::PolicyError;
use key_authority_domain::snapshot;
use key_authority_proto::v1;
use key_authority_storage::Urgency;

use super::context::{Admin, account_in};
use super::cursor;
use super::mutate::Mutated;
use crate::auth::permit::{Permit, Rights, TxPermit};
use crate::rpc::errors::RpcError;
use crate::wire::account::account_to_proto;
use crate::wire::{self, propagation::propagation_to_proto};

impl Admin {
    /// `CreateAccount`.
    pub(crate) async fn create_account(
        &self,
        permit: &Permit,
        request: v1::CreateAccountRequest,
    ) -> Result<v1::CreateAccountResponse, RpcError> {
        let mut new = wire::account::new_account(&request)?;
        let mark = new.request.take();
        let (mark, new) = (&mark, &new);
        let (mutated, propagation) = self
            .mutate(permit, Urgency::Ordinary, mark.as_ref(), |tx, permit| async move {
                // A name that is taken would disclose an account that the caller may not know of.
                if !permit.covers(&new.id) {
                    return Err(RpcError::AccountNotFound);
                }
                if new.id.is_system() {
                    return Err(PolicyError::AccountReserved.into());
                }
                if tx.is_account_id_used(&new.id).await? {
                    return Err(RpcError::AccountExists(new.id.clone()));
                }
                let account = new.clone().into_account(tx.now(), tx.revision());
                tx.insert_account(&account).await?;
                let event = account_event(&permit, Action::CreateAccount, mark.clone(), None, Some(&account))?;
                Ok((tx, account, event))
            })
            .await?;
        let account = match mutated {
            Mutated::Applied(account) => account,
            Mutated::Replayed(_) => self.visible_account(permit, &new.id).await?,
        };
        Ok(v1::CreateAccountResponse {
            account: Some(account_to_proto(&account)),
            propagation: Some(propagation_to_proto(&propagation)),
        })
    }

    /// `GetAccount`.
    pub(crate) async fn get_account(
        &self,
        permit: &Permit,
        request: v1::GetAccountRequest,
    ) -> Result<v1::Account, RpcError> {
        let id = wire::account::get_account(&request)?;
        Ok(account_to_proto(&self.visible_account(permit, &id).await?))
    }

    /// `ListAccounts`.
    pub(crate) async fn list_accounts(
        &self,
        permit: &Permit,
        request: v1::ListAccountsRequest,
    ) -> Result<v1::ListAccountsResponse, RpcError> {
        let size = wire::page::list_accounts(&request)?;
        let caller = permit.actor()?;
        let after = cursor::open(&self.keyring, caller.as_str(), &request)?;
        let page = self.store.accounts(&permit.accounts(), size, after.as_ref()).await?;
        Ok(v1::ListAccountsResponse {
            accounts: page.items.iter().map(account_to_proto).collect(),
            next_page_token: cursor::seal(&self.keyring, caller.as_str(), &request, page.next.as_ref())?,
        })
    }

    /// `UpdateAccount`.
    pub(crate) async fn update_account(
        &self,
        permit: &Permit,
        request: v1::UpdateAccountRequest,
    ) -> Result<v1::UpdateAccountResponse, RpcError> {
        let asked = wire::account::account_change(&request)?;
        let update = |account: &mut Account, permit: &TxPermit| {
            permit.check_policy(&account.id)?;
            if asked.etag.is_some_and(|etag| etag != account.revision) {
                return Err(RpcError::EtagMismatch);
            }
            Ok(asked.change.clone().apply(account)?)
        };
        let call = AccountChangeCall { id: &asked.id, mark: asked.request.as_ref(), action: Action::UpdateAccount };
        let (account, propagation) = self.change_account(permit, Urgency::Ordinary, call, update).await?;
        Ok(v1::UpdateAccountResponse { account: Some(account), propagation: Some(propagation) })
    }

    /// `SuspendAccount`.
    pub(crate) async fn suspend_account(
        &self,
        permit: &Permit,
        request: v1::SuspendAccountRequest,
    ) -> Result<v1::SuspendAccountResponse, RpcError> {
        let asked = wire::account::suspend_account(&request)?;
        let suspend = |account: &mut Account, _: &TxPermit| {
            if account.id.is_system() {
                return Err(PolicyError::AccountReserved.into());
            }
            account.suspended = true;
            Ok(())
        };
        let call =
            AccountChangeCall { id: &asked.account, mark: asked.request.as_ref(), action: Action::SuspendAccount };
        let (account, propagation) = self.change_account(permit, Urgency::Ending, call, suspend).await?;
        Ok(v1::SuspendAccountResponse { account: Some(account), propagation: Some(propagation) })
    }

    /// `ResumeAccount`.
    pub(crate) async fn resume_account(
        &self,
        permit: &Permit,
        request: v1::ResumeAccountRequest,
    ) -> Result<v1::ResumeAccountResponse, RpcError> {
        let asked = wire::account::resume_account(&request)?;
        let resume = |account: &mut Account, _: &TxPermit| {
            account.suspended = false;
            Ok(())
        };
        let call =
            AccountChangeCall { id: &asked.account, mark: asked.request.as_ref(), action: Action::ResumeAccount };
        let (account, propagation) = self.change_account(permit, Urgency::Ordinary, call, resume).await?;
        Ok(v1::ResumeAccountResponse { account: Some(account), propagation: Some(propagation) })
    }

    /// `DeleteAccount`.
    pub(crate) async fn delete_account(
        &self,
        permit: &Permit,
        request: v1::DeleteAccountRequest,
    ) -> Result<v1::DeleteAccountResponse, RpcError> {
        let asked = &wire::account::delete_account(&request)?;
        let (_, propagation) = self
            .mutate(permit, Urgency::Ordinary, asked.request.as_ref(), |tx, permit| async move {
                let account = account_in(&tx, &permit, &asked.account).await?;
                if account.id.is_system() {
                    return Err(PolicyError::AccountReserved.into());
                }
                if tx.count_keys(&account.id, CountedKeys::All).await? > 0 {
                    return Err(PolicyError::AccountNotEmpty.into());
                }
                tx.delete_account(&account.id).await?;
                let event = account_event(&permit, Action::DeleteAccount, asked.request.clone(), Some(&account), None)?;
                Ok((tx, (), event))
            })
            .await?;
        Ok(v1::DeleteAccountResponse { propagation: Some(propagation_to_proto(&propagation)) })
    }

    /// Changes an account by `change`, unless the same request has done so before.
    async fn change_account(
        &self,
        permit: &Permit,
        urgency: Urgency,
        AccountChangeCall { id, mark, action }: AccountChangeCall<'_>,
        change: impl Fn(&mut Account, &TxPermit) -> Result<(), RpcError>,
    ) -> Result<(v1::Account, v1::Propagation), RpcError> {
        let change = &change;
        let (mutated, propagation) = self
            .mutate(permit, urgency, mark, |tx, permit| async move {
                let mut account = account_in(&tx, &permit, id).await?;
                let before = account.clone();
                change(&mut account, &permit)?;
                tx.update_account(&mut account).await?;
                let event = account_event(&permit, action, mark.cloned(), Some(&before), Some(&account))?;
                Ok((tx, account, event))
            })
            .await?;
        let account = match mutated {
            Mutated::Applied(account) => account,
            Mutated::Replayed(_) => self.visible_account(permit, id).await?,
        };
        Ok((account_to_proto(&account), propagation_to_proto(&propagation)))
    }
}

/// A change to one account.
struct AccountChangeCall<'a> {
    id: &'a AccountId,
    mark: Option<&'a IdempotencyKey>,
    action: Action,
}

/// The event of a change to an account.
fn account_event(
    permit: &TxPermit,
    action: Action,
    mark: Option<IdempotencyKey>,
    before: Option<&Account>,
    after: Option<&Account>,
) -> Result<AuditEvent, RpcError> {
    let account = after.or(before).ok_or(RpcError::AccountNotFound)?;
    Ok(AuditEvent {
        actor: permit.actor().clone(),
        action,
        account: account.id.clone(),
        key_id: None,
        request: mark,
        before: before.map(snapshot::of_account),
        after: after.map(snapshot::of_account),
    })
}
