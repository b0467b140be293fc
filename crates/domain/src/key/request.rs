//! What a caller asks for when it creates or updates a key.

use std::collections::BTreeSet;

use super::labels::Labels;
use crate::access::{Network, ProjectAccess, Scope};
use crate::account::ExpiryChoice;
use crate::id::{Actor, KeyId, Subject};
use crate::time::Timestamp;

/// The fields of a new key.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The ID.
    pub id: KeyId,
    /// A name for people.
    pub display_name: String,
    /// A description for people.
    pub description: String,
    /// The scopes.
    pub scopes: BTreeSet<Scope>,
    /// The projects. None: as the account's policy defines.
    pub projects: Option<ProjectAccess>,
    /// The networks that the key is valid from. Empty: any.
    pub networks: BTreeSet<Network>,
    /// The caller's metadata.
    pub labels: Labels,
    /// The expiry.
    pub expiry: ExpiryChoice,
    /// Whether the key is created disabled.
    pub disabled: bool,
    /// The caller that creates the key.
    pub created_by: Actor,
    /// The user for whom the caller creates it, in a portal session.
    pub created_by_subject: Option<Subject>,
}

/// A change to a key. A field that is None stays unchanged.
#[derive(Debug, Clone, Default)]
pub struct KeyChange {
    /// The name for people.
    pub display_name: Option<String>,
    /// The description.
    pub description: Option<String>,
    /// The scopes.
    pub scopes: Option<BTreeSet<Scope>>,
    /// The projects. `Some(None)` resets them to what the account's policy defines.
    pub projects: Option<Option<ProjectAccess>>,
    /// The networks.
    pub networks: Option<BTreeSet<Network>>,
    /// The caller's metadata.
    pub labels: Option<Labels>,
    /// The expiry. `Some(None)`: the key never expires.
    pub expire_time: Option<Option<Timestamp>>,
}
