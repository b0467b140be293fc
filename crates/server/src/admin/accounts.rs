//! RPCs on accounts: the owners of keys, and the policies for their keys.

use key_authority_domain::account::{Account, CountedKeys};
use key_authority_domain::audit::{Action, IdempotencyKey};
use key_authority_domain::id::AccountId;
use key_authority_domain::policy_error::PolicyError;
use key_authority_proto::v1;
use key_authority_storage::page::Newest;

use super::audited::{AuditRecord, account_in};
use super::context::Admin;
use super::cursor;
use super::listing;
use crate::auth::call::Call;
use crate::auth::permit::{Rights, TxPermit};
use crate::rpc::errors::RpcError;
use crate::wire;
use crate::wire::account::account_to_proto;

impl Admin {
    /// `CreateAccount`.
    pub(super) async fn create_account(
        &self,
        call: &Call,
        request: v1::CreateAccountRequest,
    ) -> Result<v1::CreateAccountResponse, RpcError> {
        let new = &compiling(|| wire::account::new_account(&request))?;
        let (account, propagation) = self
            .mutate(call, Action::CreateAccount, new.request.as_slice(), |tx, permit| async move {
                // An error that says that the ID is taken would disclose an account that the caller may not see.
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
                let record = AuditRecord::created(&account, tx.now());
                Ok((tx, account, record))
            })
            .await?;
        Ok(v1::CreateAccountResponse { account: Some(account_to_proto(&account)), propagation })
    }

    /// `GetAccount`.
    pub(super) async fn get_account(
        &self,
        call: &Call,
        request: v1::GetAccountRequest,
    ) -> Result<v1::Account, RpcError> {
        let id = wire::account::get_account(&request)?;
        Ok(account_to_proto(&self.visible_account(&call.permit, &id).await?))
    }

    /// `ListAccounts`.
    pub(super) async fn list_accounts(
        &self,
        call: &Call,
        request: v1::ListAccountsRequest,
    ) -> Result<v1::ListAccountsResponse, RpcError> {
        let size = wire::page::list_accounts(&request)?;
        let caller = call.permit.actor()?;
        let after = cursor::open(&self.keyring, caller.as_str(), &request)?;
        let page = self.store.accounts(&call.permit.accounts(), size, after.as_ref()).await?;
        let (accounts, next) = listing::messages(page, account_to_proto, Newest::after_account);
        let next_page_token = cursor::seal(&self.keyring, caller.as_str(), &request, next.as_ref())?;
        Ok(v1::ListAccountsResponse { accounts, next_page_token })
    }

    /// `UpdateAccount`.
    pub(super) async fn update_account(
        &self,
        call: &Call,
        request: v1::UpdateAccountRequest,
    ) -> Result<v1::UpdateAccountResponse, RpcError> {
        let spec = compiling(|| wire::account::account_change(&request))?;
        let update = |account: &mut Account, permit: &TxPermit| {
            permit.check_policy(&account.id)?;
            if spec.etag.is_some_and(|etag| etag != account.revision) {
                return Err(RpcError::EtagMismatch);
            }
            Ok(spec.change.clone().apply(account)?)
        };
        let (account, propagation) =
            self.change_account(call, Action::UpdateAccount, spec.request.as_slice(), &spec.id, update).await?;
        Ok(v1::UpdateAccountResponse { account: Some(account), propagation })
    }

    /// `SuspendAccount`.
    pub(super) async fn suspend_account(
        &self,
        call: &Call,
        request: v1::SuspendAccountRequest,
    ) -> Result<v1::SuspendAccountResponse, RpcError> {
        let spec = wire::account::suspend_account(&request)?;
        let suspend = |account: &mut Account, _: &TxPermit| {
            if account.id.is_system() {
                return Err(PolicyError::AccountReserved.into());
            }
            account.suspended = true;
            Ok(())
        };
        let (account, propagation) =
            self.change_account(call, Action::SuspendAccount, spec.request.as_slice(), &spec.account, suspend).await?;
        Ok(v1::SuspendAccountResponse { account: Some(account), propagation })
    }

    /// `ResumeAccount`.
    pub(super) async fn resume_account(
        &self,
        call: &Call,
        request: v1::ResumeAccountRequest,
    ) -> Result<v1::ResumeAccountResponse, RpcError> {
        let spec = wire::account::resume_account(&request)?;
        let resume = |account: &mut Account, _: &TxPermit| {
            account.suspended = false;
            Ok(())
        };
        let (account, propagation) =
            self.change_account(call, Action::ResumeAccount, spec.request.as_slice(), &spec.account, resume).await?;
        Ok(v1::ResumeAccountResponse { account: Some(account), propagation })
    }

    /// `DeleteAccount`.
    pub(super) async fn delete_account(
        &self,
        call: &Call,
        request: v1::DeleteAccountRequest,
    ) -> Result<v1::DeleteAccountResponse, RpcError> {
        let spec = &wire::account::delete_account(&request)?;
        let ((), propagation) = self
            .mutate(call, Action::DeleteAccount, spec.request.as_slice(), |tx, permit| async move {
                let account = account_in(&tx, &permit, &spec.account).await?;
                if account.id.is_system() {
                    return Err(PolicyError::AccountReserved.into());
                }
                if tx.count_towards_limit(&account.id, CountedKeys::All, 1).await? > 0 {
                    return Err(PolicyError::AccountNotEmpty.into());
                }
                tx.delete_account(&account.id).await?;
                let record = AuditRecord::deleted(&account, tx.now());
                Ok((tx, (), record))
            })
            .await?;
        Ok(v1::DeleteAccountResponse { propagation })
    }

    /// Changes an account by `change`, unless the same request was made before.
    async fn change_account(
        &self,
        call: &Call,
        action: Action,
        request_keys: &[IdempotencyKey],
        id: &AccountId,
        change: impl Fn(&mut Account, &TxPermit) -> Result<(), RpcError>,
    ) -> Result<(v1::Account, Option<v1::Propagation>), RpcError> {
        let change = &change;
        let (account, propagation) = self
            .mutate(call, action, request_keys, |tx, permit| async move {
                let mut account = account_in(&tx, &permit, id).await?;
                let before = account.clone();
                change(&mut account, &permit)?;
                tx.update_account(&mut account).await?;
                let record = AuditRecord::changed(&before, &account, tx.now());
                Ok((tx, account, record))
            })
            .await?;
        Ok((account_to_proto(&account), propagation))
    }
}

/// Runs `parse`, which may compile the pattern of a policy. A costly pattern takes tens of milliseconds, so the other
/// tasks of this thread go on elsewhere.
fn compiling<T>(parse: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(parse)
}
