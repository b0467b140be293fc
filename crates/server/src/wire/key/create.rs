//! The key to create.

use std::collections::BTreeSet;

use key_authority_domain::access::{Network, ProjectAccess, Scope};
use key_authority_domain::account::ExpiryChoice;
use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::id::{AccountId, Actor, KeyId};
use key_authority_domain::key::{Labels, NewKey};
use key_authority_domain::text::{DESCRIPTION, DISPLAY_NAME};
use key_authority_proto::v1;

use super::expiry::{Said, expiry};
use crate::wire::access::{Holder, labels, networks, projects, scopes};
use crate::wire::check::Check;
use crate::wire::mark::mark;
use crate::wire::violations::Violations;

/// What a new key shall be: all but what is not for the caller to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeySpec {
    /// In which account.
    pub account: AccountId,
    /// Under which ID; None leaves it to the authority.
    pub id: Option<KeyId>,
    /// A label for people.
    pub display_name: String,
    /// More words for people.
    pub description: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// Where; None leaves it to the policy.
    pub projects: Option<ProjectAccess>,
    /// From where.
    pub networks: BTreeSet<Network>,
    /// The caller's own notes.
    pub labels: Labels,
    /// Until when.
    pub expiry: ExpiryChoice,
    /// Whether it starts switched off.
    pub disabled: bool,
    /// By what the call is known when it is repeated.
    pub request: Option<IdempotencyKey>,
}

impl KeySpec {
    /// The new key under `id`: the one that was asked for, or a generated one.
    #[must_use]
    pub(crate) fn into_new_key(self, id: KeyId, created_by: Actor) -> NewKey {
        NewKey {
            id,
            display_name: self.display_name,
            description: self.description,
            scopes: self.scopes,
            projects: self.projects,
            networks: self.networks,
            labels: self.labels,
            expiry: self.expiry,
            disabled: self.disabled,
            created_by,
        }
    }
}

/// Reads the key to create. In the account `system` scopes must be permissions and projects IDs of accounts.
///
/// # Errors
/// What is wrong with the request.
pub(crate) fn new_key(request: &v1::CreateKeyRequest) -> Result<KeySpec, Violations> {
    let mut check = Check::new();
    let account = check.required("account", &request.account, AccountId::new);
    let holder = Holder::of(account.as_ref());
    let id = check.optional("key_id", &request.key_id, KeyId::new);
    let display_name = check.text("display_name", &request.display_name, DISPLAY_NAME);
    let description = check.text("description", &request.description, DESCRIPTION);
    let scopes = scopes(&mut check, &request.scopes, holder);
    let projects = projects(&mut check, request.projects.as_ref(), holder);
    let labels = labels(&mut check, &request.labels);
    let networks = networks(&mut check, &request.allowed_networks);
    let expiry = expiry(&mut check, request.expiry.as_ref().map(Said::from));
    let disabled = request.disabled;
    let request = mark(&mut check, request);
    check.finish(|| {
        Some(KeySpec {
            account: account?,
            id,
            display_name,
            description,
            scopes,
            projects,
            networks,
            labels,
            expiry,
            disabled,
            request,
        })
    })
}
