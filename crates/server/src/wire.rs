//! Conversion between protobuf messages and the domain. Every field of every request is validated in this module.
//!
//! A request is validated as a whole, so that its caller gets all errors at once. [`check::Check`] collects them.
//! The result is either domain values, which need no further validation, or [`violations::Violations`], which name
//! fields and rules and never repeat a value. What a policy or a state forbids is up to the domain.
//!
//! Every function depends only on its arguments: no clock, no randomness, no `tonic::Status`.
//!
//! To add a request, add a struct of domain values (or use the one value, if there is only one), a function from the
//! generated type to it in the file of its subject, its type to [`idempotency_key`] if it changes something or to
//! [`page`] if it lists, and a line to `wire/tests.rs`.

pub(crate) mod access;
pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod connect;
pub(crate) mod fields;
pub(crate) mod idempotency_key;
pub(crate) mod import;
pub(crate) mod key;
mod mask;
pub(crate) mod methods;
pub(crate) mod page;
pub(crate) mod portal;
pub(crate) mod propagation;
pub(crate) mod request_types;
pub(crate) mod revision;
pub(crate) mod time;
pub(crate) mod violations;

#[cfg(test)]
mod tests;
