//! Writes a set of keys to a database, with the files that a server needs to serve it.

use key_authority_server::testing::{EMBEDDED_FILE, SECRET_FILE, bootstrap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use key_authority_domain::audit::{Action, AuditEvent};
use key_authority_domain::id::{AccountId, Actor};
use key_authority_domain::secret::Keyring;
use key_authority_storage::Store;
use key_authority_storage::write_tx::WriteTx;

use crate::key_set::KeySet;

/// Keys per transaction.
const BATCH: u64 = 20_000;
/// Marks a folder as complete, and names its set of keys.
const STOCK_FILE: &str = "stock.json";
const ROOT_FILE: &str = "root.token";

/// A folder with an authority secret and a root token. It also holds a `SQLite` database unless there is another one.
#[derive(Debug, Clone)]
pub struct Authority {
    /// The folder.
    pub folder: PathBuf,
    /// The database, if it is not in the folder.
    pub database_url: Option<String>,
    /// The keys in it.
    pub key_set: KeySet,
}

impl Authority {
    /// Creates one with all keys of `key_set`, or opens the one that an earlier run left in `folder`.
    ///
    /// # Errors
    /// When it cannot be created, or when the folder holds another set of keys.
    pub async fn make(folder: &Path, database_url: Option<&str>, key_set: KeySet) -> Result<Self> {
        let authority = Self { folder: folder.to_owned(), database_url: database_url.map(str::to_owned), key_set };
        match std::fs::read(folder.join(STOCK_FILE)) {
            Ok(text) if serde_json::from_slice::<KeySet>(&text).ok() == Some(key_set) => return Ok(authority),
            Ok(_) => return Err(anyhow!("{} holds another set of keys; remove it", folder.display())),
            Err(_) => {}
        }
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        authority.fill().await?;
        let text = serde_json::to_vec(&key_set)?;
        std::fs::write(folder.join(STOCK_FILE), text).with_context(|| folder.display().to_string())?;
        Ok(authority)
    }

    /// The file of the authority secret.
    #[must_use]
    pub fn secret_file(&self) -> PathBuf {
        self.folder.join(SECRET_FILE)
    }

    /// The keys of the authority secret. It is a constant, since nothing here is secret.
    ///
    /// # Errors
    /// Never: the secret is a valid constant.
    pub fn keyring() -> Result<Keyring> {
        Ok(Keyring::parse(&Keyring::file_text(&[7; 32]))?)
    }

    /// The database's URL as storage takes it.
    #[must_use]
    pub fn url(&self) -> String {
        let file = || format!("sqlite://{}", self.folder.join(EMBEDDED_FILE).display());
        self.database_url.clone().unwrap_or_else(file)
    }

    async fn fill(&self) -> Result<()> {
        bootstrap::make_private(&self.secret_file(), Keyring::file_text(&[7; 32]).as_bytes())
            .context("cannot write the secret")?;
        let root = self.folder.join(ROOT_FILE);
        bootstrap::make_private(&root, self.key_set.root()?.reveal().as_bytes())
            .context("cannot write the root token")?;
        let store = Store::connect(&self.url(), 2, Arc::new(Self::keyring()?)).await?;
        store.migrate(None).await?;
        store.check_secret().await?;
        bootstrap::from_file(&store, &root).await?;
        let bar = progress_bar(&format!("{} with keys:", store.kind()), self.key_set.count);
        let mut accounts = Vec::new();
        let mut from = 0;
        while from < self.key_set.count {
            let to = self.key_set.count.min(from + BATCH);
            let tx = store.begin().await?;
            if accounts.is_empty() {
                accounts = KeySet::accounts(tx.now(), tx.revision())?;
                for account in &accounts {
                    tx.insert_account(account).await?;
                }
                self.add_caller(&tx, store.keyring()).await?;
            }
            for number in (from..to).step_by(1_000) {
                let key = |number| self.key_set.key(number, &accounts, store.keyring(), tx.now(), tx.revision());
                let keys = (number..to.min(number + 1_000)).map(key).collect::<Result<Vec<_>, _>>()?;
                tx.insert_keys(&keys).await?;
                bar.inc(keys.len() as u64);
            }
            tx.commit(fill_event(from, to)?).await?;
            from = to;
        }
        bar.finish_and_clear();
        store.close().await;
        Ok(())
    }

    async fn add_caller(&self, tx: &WriteTx<'_>, keyring: &Keyring) -> Result<()> {
        let system = tx.account(&AccountId::system()).await?.context("account `system` is missing")?;
        let caller = self.key_set.caller_key(&system, keyring, tx.now(), tx.revision())?;
        Ok(tx.insert_key(&caller).await?)
    }
}

fn fill_event(from: u64, to: u64) -> Result<AuditEvent> {
    Ok(AuditEvent {
        actor: Actor::bootstrap(),
        subject: None,
        action: Action::CreateKey,
        account: AccountId::new("account-000").context("invalid ID")?,
        key_id: None,
        request: None,
        before: None,
        after: Some(format!("{{\"keys\":\"{from} to {to}\"}}")),
    })
}

/// A progress bar on standard error; hidden if that is no terminal.
fn progress_bar(message: &str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("bench: {msg} {wide_bar} {human_pos}/{human_len} {eta}");
    let bar = ProgressBar::new(length).with_message(message.to_owned());
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
