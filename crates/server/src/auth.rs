//! Who calls, and what they may do: [`credential`] reads the header of a call once, [`permit`] decides what its holder may do, and
//! [`call`] is what a handler gets of both.

pub(crate) mod call;
pub(crate) mod credential;
pub(crate) mod permit;
