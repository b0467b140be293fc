//! Authentication and authorization: [`credential`] reads the header of a call once, [`permit`] decides what its holder
//! may do, and [`call`] is the context that a handler gets.
//!
//! A *caller* is the client that makes a call. It presents a *credential*, the digests of its token. The key that the
//! token belongs to is the *holder* of a permit, and the *actor* of an event in the audit log.

pub(crate) mod call;
pub(crate) mod credential;
pub(crate) mod permit;
pub(crate) mod portal;
