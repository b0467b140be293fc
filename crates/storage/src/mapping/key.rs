//! Key rows: a row of `api_key` and its rows of `api_key_secret`.

use std::collections::{BTreeSet, HashMap};

use key_authority_domain::access::{Access, Network, Project, ProjectAccess, Scope};
use key_authority_domain::foreign::Scheme;
use key_authority_domain::id::{AccountId, Actor, KeyId, Revision, Subject};
use key_authority_domain::key::{Key, Revocation, Secret, Usage};
use key_authority_domain::text::ValidationError;
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::TokenDigest;
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::{FromQueryResult, QueryResult};

use crate::entity::{api_key, api_key_secret};
use crate::error::StorageError;
use crate::mapping::{RowContext, json_list};

fn set<T: Ord>(
    row: RowContext<'_>,
    column: &'static str,
    text: &str,
    read: fn(&str) -> Result<T, ValidationError>,
) -> Result<BTreeSet<T>, StorageError> {
    let items: Vec<String> = row.json(column, text)?;
    row.valid(column, items.iter().map(|item| read(item)).collect())
}

/// The columns of a key that hold its access.
pub(crate) struct AccessColumns<'a> {
    pub(crate) scopes: &'a str,
    pub(crate) all_projects: bool,
    pub(crate) projects: &'a str,
    pub(crate) networks: &'a str,
}

impl AccessColumns<'_> {
    pub(crate) fn to_domain(&self, row: RowContext<'_>) -> Result<Access, StorageError> {
        let projects = if self.all_projects {
            ProjectAccess::All
        } else {
            ProjectAccess::Only(set(row, "projects", self.projects, Project::new)?)
        };
        Ok(Access {
            scopes: set(row, "scopes", self.scopes, Scope::new)?,
            projects,
            networks: set(row, "networks", self.networks, Network::new)?,
        })
    }
}

/// Rows of keys and of their secrets, both in the order of the keys' IDs, not yet converted.
pub(crate) struct KeyRows {
    pub(crate) keys: Vec<QueryResult>,
    pub(crate) secrets: Vec<QueryResult>,
}

impl KeyRows {
    /// Converts the rows. Most of the CPU time of a start is spent here, so the conversion can run on another thread
    /// than the read.
    pub(crate) fn into_keys(self) -> Result<Vec<Key>, StorageError> {
        let mut secrets = Vec::with_capacity(self.secrets.len());
        for row in &self.secrets {
            secrets.push(api_key_secret::Model::from_query_result(row, "")?);
        }
        let mut secrets = secrets.into_iter().peekable();
        let with_secrets = |row: &QueryResult| {
            let key = api_key::Model::from_query_result(row, "")?;
            let secrets_of_key = std::iter::from_fn(|| secrets.next_if(|secret| secret.key_id == key.id)).collect();
            to_domain(key, secrets_of_key)
        };
        self.keys.iter().map(with_secrets).collect()
    }
}

/// Joins keys with their secrets. The order of the keys is kept; secrets may have any order.
pub(crate) fn to_domain_all(
    keys: Vec<api_key::Model>,
    secrets: Vec<api_key_secret::Model>,
) -> Result<Vec<Key>, StorageError> {
    let mut by_key: HashMap<String, Vec<api_key_secret::Model>> = HashMap::new();
    for secret in secrets {
        by_key.entry(secret.key_id.clone()).or_default().push(secret);
    }
    keys.into_iter()
        .map(|key| {
            let secrets = by_key.remove(&key.id).unwrap_or_default();
            to_domain(key, secrets)
        })
        .collect()
}

fn to_domain(model: api_key::Model, mut secrets: Vec<api_key_secret::Model>) -> Result<Key, StorageError> {
    let row = RowContext { table: "api_key", id: &model.id };
    let api_key::Model { scopes, all_projects, projects, networks, .. } = &model;
    let access = AccessColumns { scopes, all_projects: *all_projects, projects, networks }.to_domain(row)?;
    if secrets.is_empty() {
        return Err(StorageError::corrupt("api_key_secret", "key_id", model.id));
    }
    secrets.sort_by_key(|secret| secret.version);
    Ok(Key {
        id: row.valid("id", KeyId::new(&model.id))?,
        account: row.valid("account", AccountId::new(&model.account))?,
        access,
        labels: row.json("labels", &model.labels)?,
        created_by: row.valid("created_by", Actor::new(&model.created_by))?,
        created_by_subject: row
            .valid("created_by_subject", model.created_by_subject.as_deref().map(Subject::new).transpose())?,
        usage: Usage {
            last_used_time: model.last_used_time.map(Timestamp::from_micros),
            use_count: row.number("use_count", model.use_count)?,
        },
        secrets: secrets.into_iter().map(to_secret).collect::<Result<_, _>>()?,
        display_name: model.display_name,
        description: model.description,
        disabled: model.disabled,
        revocation: model.revoke_time.map(|time| Revocation {
            time: Timestamp::from_micros(time),
            reason: model.revoke_reason.unwrap_or_default(),
        }),
        expire_time: model.expire_time.map(Timestamp::from_micros),
        create_time: Timestamp::from_micros(model.create_time),
        update_time: Timestamp::from_micros(model.update_time),
        create_revision: Revision(model.create_revision),
        revision: Revision(model.revision),
    })
}

fn to_secret(model: api_key_secret::Model) -> Result<Secret, StorageError> {
    let row = RowContext { table: "api_key_secret", id: &model.key_id };
    Ok(Secret {
        version: row.number("version", model.version)?,
        digest: TokenDigest(row.bytes("digest", &model.digest)?),
        scheme: Scheme::from_number(model.scheme).ok_or_else(|| row.corrupt("scheme"))?,
        secret_version: row.number("secret_version", model.secret_version)?,
        hint: model.hint,
        sealed: model.sealed,
        create_time: Timestamp::from_micros(model.create_time),
        retire_time: model.retire_time.map(Timestamp::from_micros),
        retired: model.retired,
        last_used_time: model.last_used_time.map(Timestamp::from_micros),
    })
}

/// The row of a key without its usage, which is written separately.
pub(crate) fn to_row(key: &Key) -> api_key::ActiveModel {
    let (all_projects, projects) = match &key.access.projects {
        ProjectAccess::All => (true, json_list::<&Project>([])),
        ProjectAccess::Only(projects) => (false, json_list(projects)),
    };
    api_key::ActiveModel {
        id: Set(key.id.as_str().to_owned()),
        account: Set(key.account.as_str().to_owned()),
        display_name: Set(key.display_name.clone()),
        description: Set(key.description.clone()),
        scopes: Set(json_list(&key.access.scopes)),
        all_projects: Set(all_projects),
        projects: Set(projects),
        networks: Set(json_list(&key.access.networks)),
        labels: Set(serde_json::json!(key.labels).to_string()),
        disabled: Set(key.disabled),
        revoke_time: Set(key.revocation.as_ref().map(|revocation| revocation.time.micros())),
        revoke_reason: Set(key.revocation.as_ref().map(|revocation| revocation.reason.clone())),
        expire_time: Set(key.expire_time.map(Timestamp::micros)),
        create_time: Set(key.create_time.micros()),
        update_time: Set(key.update_time.micros()),
        created_by: Set(key.created_by.as_str().to_owned()),
        create_revision: Set(key.create_revision.0),
        revision: Set(key.revision.0),
        last_used_time: NotSet,
        use_count: NotSet,
        created_by_subject: Set(key.created_by_subject.as_ref().map(|subject| subject.as_str().to_owned())),
    }
}

pub(crate) fn secret_to_row(key: &Key, secret: &Secret) -> Result<api_key_secret::ActiveModel, StorageError> {
    let row = RowContext { table: "api_key_secret", id: key.id.as_str() };
    Ok(api_key_secret::ActiveModel {
        key_id: Set(key.id.as_str().to_owned()),
        version: Set(row.number("version", secret.version)?),
        digest: Set(secret.digest.0.to_vec()),
        secret_version: Set(row.number("secret_version", secret.secret_version)?),
        hint: Set(secret.hint.clone()),
        sealed: Set(secret.sealed.clone()),
        create_time: Set(secret.create_time.micros()),
        retire_time: Set(secret.retire_time.map(Timestamp::micros)),
        last_used_time: Set(secret.last_used_time.map(Timestamp::micros)),
        scheme: Set(secret.scheme.number()),
        retired: Set(secret.retired),
    })
}
