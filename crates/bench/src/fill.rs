//! Writing a stock of keys into a database, and what a server needs to serve it.

use key_authority_server::testing::{EMBEDDED_FILE, SECRET_FILE, bootstrap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use key_authority_domain::audit::{Action, AuditEvent};
use key_authority_domain::id::{AccountId, Actor};
use key_authority_domain::secret::Keyring;
use key_authority_storage::Store;
use key_authority_storage::write_tx::WriteTx;

use crate::progress;
use crate::stock::Stock;
use crate::trouble::{Attempt as _, Trouble};

/// How many keys one change writes.
const BATCH: u64 = 20_000;
/// Tells that the folder holds a whole stock, and which.
const STOCK_FILE: &str = "stock.json";
const ROOT_FILE: &str = "root.token";

/// A folder with an authority secret, a root token and, unless there is another database, one of `SQLite`.
#[derive(Debug, Clone)]
pub struct Authority {
    /// The folder.
    pub folder: PathBuf,
    /// The database, if it is not in the folder.
    pub database_url: Option<String>,
    /// The keys in it.
    pub stock: Stock,
}

impl Authority {
    /// Makes one with all keys of `stock`, or takes the one that an earlier run left in `folder`.
    ///
    /// # Errors
    /// When it could not be made, or when the folder holds another one.
    pub async fn make(folder: &Path, database_url: Option<&str>, stock: Stock) -> Result<Self, Trouble> {
        let authority = Self { folder: folder.to_owned(), database_url: database_url.map(str::to_owned), stock };
        match std::fs::read(folder.join(STOCK_FILE)) {
            Ok(text) if serde_json::from_slice::<Stock>(&text).ok() == Some(stock) => return Ok(authority),
            Ok(_) => return Err(format!("{} holds another set of keys; remove it", folder.display()).into()),
            Err(_) => {}
        }
        std::fs::create_dir_all(folder).attempt(folder.display())?;
        authority.fill().await?;
        let text = serde_json::to_vec(&stock)?;
        std::fs::write(folder.join(STOCK_FILE), text).attempt(folder.display())?;
        Ok(authority)
    }

    /// The file of the authority secret.
    #[must_use]
    pub fn secret_file(&self) -> PathBuf {
        self.folder.join(SECRET_FILE)
    }

    /// The keys of the authority secret, which is as secret as everything here.
    ///
    /// # Errors
    /// None that can come up.
    pub fn keyring() -> Result<Keyring, Trouble> {
        Ok(Keyring::parse(&Keyring::file_text(&[7; 32]))?)
    }

    /// The database's URL as storage takes it.
    #[must_use]
    pub fn url(&self) -> String {
        let file = || format!("sqlite://{}", self.folder.join(EMBEDDED_FILE).display());
        self.database_url.clone().unwrap_or_else(file)
    }

    async fn fill(&self) -> Result<(), Trouble> {
        bootstrap::make_private(&self.secret_file(), Keyring::file_text(&[7; 32]).as_bytes()).attempt("the secret")?;
        let root = self.folder.join(ROOT_FILE);
        bootstrap::make_private(&root, self.stock.root()?.reveal().as_bytes()).attempt("the root token")?;
        let store = Store::connect(&self.url(), 2, Arc::new(Self::keyring()?)).await?;
        store.migrate(None).await?;
        store.check_secret().await?;
        bootstrap::from_file(&store, &root).await?;
        let bar = progress::bar(&format!("{} with keys:", store.kind()), self.stock.count);
        let mut accounts = Vec::new();
        let mut from = 0;
        while from < self.stock.count {
            let to = self.stock.count.min(from + BATCH);
            let tx = store.begin().await?;
            if accounts.is_empty() {
                accounts = Stock::accounts(tx.now(), tx.revision())?;
                for account in &accounts {
                    tx.insert_account(account).await?;
                }
                self.add_caller(&tx, store.keyring()).await?;
            }
            for number in (from..to).step_by(1_000) {
                let key = |number| self.stock.key(number, &accounts, store.keyring(), tx.now(), tx.revision());
                let keys = (number..to.min(number + 1_000)).map(key).collect::<Result<Vec<_>, _>>()?;
                tx.insert_keys(&keys).await?;
                bar.inc(keys.len() as u64);
            }
            tx.commit(filled(from, to)?).await?;
            from = to;
        }
        bar.finish_and_clear();
        store.close().await;
        Ok(())
    }

    async fn add_caller(&self, tx: &WriteTx<'_>, keyring: &Keyring) -> Result<(), Trouble> {
        let system = tx.account(&AccountId::system()).await?.ok_or("the account `system` was just made")?;
        let caller = self.stock.caller_key(&system, keyring, tx.now(), tx.revision())?;
        Ok(tx.insert_key(&caller).await?)
    }
}

fn filled(from: u64, to: u64) -> Result<AuditEvent, Trouble> {
    Ok(AuditEvent {
        actor: Actor::bootstrap(),
        action: Action::CreateKey,
        account: AccountId::new("account-000").attempt("an ID")?,
        key_id: None,
        request: None,
        before: None,
        after: Some(format!("{{\"keys\":\"{from} to {to}\"}}")),
    })
}
