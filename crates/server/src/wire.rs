//! The wire and the domain, turned into each other: the place where every field of every request is checked.
//!
//! A request is checked whole, so that its caller learns of all that is wrong at once: [`violations::Check`] collects, and
//! what comes out is either domain values, which need not be checked again, or [`violations::Violations`], which name fields
//! and rules and never repeat a value. What a policy or a state forbids is the domain's to say, not this module's.
//!
//! Everything here is a function of its arguments: no clock, no chance, no `tonic::Status`. On the way of Verify
//! ([`verify`]) nothing is allocated unless something is wrong.
//!
//! To add a request: a struct of domain values, a function from the generated type to it in the file of its subject, its
//! type in [`mark`] if it changes something or in [`page`] if it lists, and a line in `wire/tests.rs`.

pub(crate) mod access;
pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod connect;
pub(crate) mod fields;
pub(crate) mod import;
pub(crate) mod key;
pub(crate) mod mark;
mod mask;
pub(crate) mod methods;
pub(crate) mod page;
pub(crate) mod propagation;
pub(crate) mod revision;
pub(crate) mod time;
pub(crate) mod violations;

#[cfg(test)]
mod tests;
