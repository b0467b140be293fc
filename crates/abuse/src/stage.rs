//! The stage of an attack: the server's addresses, and the accounts, keys and callers that it holds.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};
use key_authority_proto::v1;

use crate::answers::Answers;
use crate::client::{Client, OPERATOR, client};
use crate::effort::Effort;
use crate::server::Subject;

/// The account of the tenant.
pub(crate) const TENANT_ACCOUNT: &str = "tenant";
/// The account of the good client's key and of the keys that are revoked.
const GOOD_ACCOUNT: &str = "good";
/// The number of keys to revoke: one each half second, for longer than any attack.
pub(crate) const VICTIMS: usize = 300;
/// The same if latency has no bound: each key takes time to create, and a few show that revocations still hold.
pub(crate) const VICTIMS_MEMORY_ONLY: usize = 16;

/// What a resident key of usual size may cost, in KiB.
const KEY_KIB: f64 = 1.0;

/// A key with its token.
#[derive(Debug, Clone)]
pub(crate) struct IssuedKey {
    pub(crate) id: String,
    pub(crate) token: String,
}

/// What attackers and observers know.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) grpc: SocketAddr,
    /// The HTTP door, with the console.
    pub(crate) door: SocketAddr,
    /// The operations port.
    pub(crate) http: SocketAddr,
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) log: PathBuf,
    /// The token of the operator.
    pub(crate) root: String,
    /// The token of a caller with `verify`.
    pub(crate) verifier: String,
    /// The token of a caller that may do everything in the account of the tenant.
    pub(crate) tenant: String,
    /// The token that the good client verifies.
    pub(crate) good: String,
    /// The token of a key of the tenant with as many scopes and labels as a key can have.
    pub(crate) large: String,
    /// Keys to revoke.
    pub(crate) victims: Vec<IssuedKey>,
    pub(crate) answers: Answers,
    broken: Mutex<Vec<String>>,
    notes: Mutex<Vec<String>>,
    pub(crate) effort: Effort,
    imported: AtomicU32,
}

impl Stage {
    /// Creates accounts, callers and keys, with this number of keys to revoke.
    pub(crate) async fn set(subject: &Subject, victims: usize) -> Result<Self> {
        let mut stage = Self {
            grpc: subject.server.grpc,
            door: subject.server.api.context("the server announced no HTTP door")?,
            http: subject.server.http.context("the server announced no operations port")?,
            ca: subject.ca.clone(),
            log: subject.log.clone(),
            root: subject.root.clone(),
            verifier: String::new(),
            tenant: String::new(),
            good: String::new(),
            large: String::new(),
            victims: Vec::new(),
            answers: Answers::default(),
            broken: Mutex::default(),
            notes: Mutex::default(),
            effort: Effort::default(),
            imported: AtomicU32::new(0),
        };
        let mut root = client(&stage, &stage.root, OPERATOR)?;
        for account in [TENANT_ACCOUNT, GOOD_ACCOUNT] {
            let account = v1::Account { id: account.into(), ..v1::Account::default() };
            root.create_account(v1::CreateAccountRequest { account: Some(account), ..Default::default() }).await?;
        }
        stage.verifier = create(root.clone(), caller(&["verify"], None)).await?.token;
        let scopes = ["keys.read", "keys.write", "keys.revoke", "accounts.read", "accounts.write", "audit.read"];
        stage.tenant = create(root.clone(), caller(&scopes, Some(TENANT_ACCOUNT))).await?.token;
        stage.good = create(root.clone(), key_of(GOOD_ACCOUNT)).await?.token;
        stage.large = create(root.clone(), large_key()).await?.token;
        let victims = iter(0..victims).map(|_| create(root.clone(), key_of(GOOD_ACCOUNT)));
        stage.victims = victims.buffer_unordered(8).try_collect().await?;
        Ok(stage)
    }

    /// Records that something happened that must not.
    pub(crate) fn broken(&self, what: impl Into<String>) {
        let (what, mut all) = (what.into(), self.broken.lock().unwrap_or_else(PoisonError::into_inner));
        // Attacks go in rounds; each problem is reported once.
        if !all.contains(&what) {
            all.push(what);
        }
    }

    /// Records something that a reader of the report must know.
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
    }

    /// Records keys that were imported. They are resident rightly, so their memory is no growth.
    pub(crate) fn imported(&self, keys: u32) {
        self.imported.fetch_add(keys, Ordering::Relaxed);
    }

    /// The memory that the imported keys may cost.
    pub(crate) fn data_mib(&self) -> f64 {
        f64::from(self.imported.load(Ordering::Relaxed)) * KEY_KIB / 1024.0
    }

    pub(crate) fn all_broken(&self) -> Vec<String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn all_notes(&self) -> Vec<String> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        [self.effort.notes(), notes].concat()
    }
}

fn key_of(account: &str) -> v1::CreateKeyRequest {
    v1::CreateKeyRequest { account: account.into(), ..Default::default() }
}

fn caller(scopes: &[&str], account: Option<&str>) -> v1::CreateKeyRequest {
    let projects = account.map(|account| v1::ProjectAccess { all: false, only: vec![account.into()] });
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    v1::CreateKeyRequest { scopes, projects, ..key_of("system") }
}

/// A key of the tenant with 100 scopes of 128 characters and 64 labels of 63 and 256 characters.
pub(crate) fn large_key() -> v1::CreateKeyRequest {
    let scopes = (0..100).map(|number| format!("{number:s>128}")).collect();
    let labels = (0..64).map(|number| (format!("{number:l>63}"), "v".repeat(256))).collect();
    v1::CreateKeyRequest { scopes, labels, ..key_of(TENANT_ACCOUNT) }
}

/// Creates a key.
pub(crate) async fn create(mut client: Client, request: v1::CreateKeyRequest) -> Result<IssuedKey> {
    let created = client.create_key(request).await.context("CreateKey failed")?.into_inner();
    Ok(IssuedKey { id: created.key.context("the response has no key")?.id, token: created.token })
}
