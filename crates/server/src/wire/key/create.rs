//! The key to create.

use std::collections::BTreeSet;

use key_authority_domain::access::{Network, ProjectAccess, Scope};
use key_authority_domain::account::ExpiryChoice;
use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::id::{AccountId, Actor, KeyId};
use key_authority_domain::key::{KeyTexts, Labels, NewKey};
use key_authority_domain::secret::Keyring;
use key_authority_domain::text::{DESCRIPTION, DISPLAY_NAME};
use key_authority_proto::v1;

use super::digest::{CallerDigest, DigestField, caller_digest, request_keys};
use super::expiry::{ExpiryField, expiry};
use crate::wire::access::{Holder, labels, networks, projects, scopes};
use crate::wire::check::Check;
use crate::wire::idempotency_key::idempotency_key;
use crate::wire::violations::Violations;

/// The attributes of a new key that the caller chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeySpec {
    /// The account.
    pub account: AccountId,
    /// The ID; `None` for a generated one.
    pub id: Option<KeyId>,
    /// The display name.
    pub display_name: String,
    /// The description.
    pub description: String,
    /// The scopes.
    pub scopes: BTreeSet<Scope>,
    /// The projects; `None` for those of the policy.
    pub projects: Option<ProjectAccess>,
    /// The networks from which the key may be used.
    pub networks: BTreeSet<Network>,
    /// The labels.
    pub labels: Labels,
    /// The expiry.
    pub expiry: ExpiryChoice,
    /// Whether the key starts disabled.
    pub disabled: bool,
    /// The digest of the token; `None` if the authority makes the token.
    pub digest: Option<CallerDigest>,
    /// The idempotency key of the request.
    pub request: Option<IdempotencyKey>,
}

impl KeySpec {
    /// Returns the idempotency keys of the request; empty without a `request_id`.
    #[must_use]
    pub(crate) fn request_keys(&self, keyring: &Keyring) -> Vec<IdempotencyKey> {
        request_keys(keyring, self.request.as_ref(), self.digest.as_ref())
    }

    /// Returns the new key under `id`: the requested ID, or a generated one.
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
            created_by_subject: None,
        }
    }
}

/// Reads the key to create. In the account `system` scopes must be permissions and projects IDs of accounts.
///
/// # Errors
/// The violations of the request.
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
    let texts = KeyTexts {
        display_name: &display_name,
        description: &description,
        scopes: &scopes,
        projects: projects.as_ref(),
        labels: &labels,
        networks: &networks,
    };
    if let Err((field, rule)) = texts.check(0) {
        check.violation(field, rule.as_str());
    }
    let expiry = expiry(&mut check, request.expiry.as_ref().map(ExpiryField::from));
    let disabled = request.disabled;
    let digest = caller_digest(&mut check, request.digest.as_ref().map(DigestField::from), &request.token_hint);
    let request = idempotency_key(&mut check, request);
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
            digest,
            request,
        })
    })
}
