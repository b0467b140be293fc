//! The pages: thin handlers, each with its template.

pub(super) mod account_actions;
pub(super) mod accounts;
pub(super) mod audit;
pub(super) mod connect;
pub(super) mod create;
mod created;
mod edit_own;
pub(super) mod errors;
mod events;
mod expiry;
pub(super) mod find;
mod instructions;
pub(super) mod key;
pub(super) mod key_actions;
mod key_fields;
mod key_form;
mod key_view;
pub(super) mod keys;
mod lost;
pub(super) mod new_account;
mod overlap;
pub(super) mod renew;
pub(super) mod replicas;
mod scope_choice;
pub(super) mod search;
