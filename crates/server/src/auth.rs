//! Authentication and authorization: [`credential`] reads the header of a call once, [`permit`] decides what its holder
//! may do, and [`call`] is the context that a handler gets.

pub(crate) mod call;
pub(crate) mod credential;
pub(crate) mod permit;
