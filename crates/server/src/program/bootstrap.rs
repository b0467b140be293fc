//! The bootstrap of the first root key: without a key, no caller could create one.
//!
//! A root key is a key of account `system` with every permission on every account. Access to the machine is enough to
//! make one: at the first start from a token file, or by the subcommand `bootstrap` when all other keys are lost.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use key_authority_domain::access::{Access, ProjectAccess, Scope};
use key_authority_domain::account::{Account, ExpiryChoice, KeyPolicy};
use key_authority_domain::audit::{Action, AuditEvent};
use key_authority_domain::foreign::Scheme;
use key_authority_domain::id::{AccountId, Actor, KeyId};
use key_authority_domain::key::{Key, Labels, MintedSecret, NewKey};
use key_authority_domain::permission::Permission;
use key_authority_domain::policy_error::ChangeError;
use key_authority_domain::snapshot;
use key_authority_domain::text::ValidationError;
use key_authority_domain::token::{Token, TokenPrefix};
use key_authority_storage::paths::sync_folder;
use key_authority_storage::write_tx::WriteTx;
use key_authority_storage::{StorageError, Store};
use zeroize::Zeroizing;

use crate::entropy::{self, EntropyError};
use crate::text_file;

/// The prefix of the tokens of account `system`.
const SYSTEM_PREFIX: &str = "ka_sys_";

/// Why no root key was made.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The token file cannot be read or written.
    #[error("cannot use the token file {path}")]
    File {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The content of the file is no token.
    #[error("the token file {path} must contain one token as `key-authority generate-token` prints it")]
    NotAToken {
        /// The file.
        path: String,
    },
    /// The database cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The operating system gave no random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The root key violates a rule of the domain.
    #[error(transparent)]
    Rejected(#[from] ChangeError),
}

impl From<ValidationError> for BootstrapError {
    fn from(rule: ValidationError) -> Self {
        Self::Rejected(rule.in_field("root key"))
    }
}

/// Mints a token for a root key.
///
/// # Errors
/// When there are no random bytes.
pub(crate) fn mint() -> Result<Token, BootstrapError> {
    Ok(Token::mint(&TokenPrefix::new(SYSTEM_PREFIX)?, entropy::fill)?)
}

/// Makes the first root key from the token in `file`, if there is no account `system` yet. Replicas that start at once
/// with the same file make one key, and a root key that was revoked or deleted does not come back at a restart.
///
/// # Errors
/// `BootstrapError`.
pub async fn from_file(store: &Store, file: &Path) -> Result<bool, BootstrapError> {
    if store.account(&AccountId::system()).await?.is_some() {
        return Ok(false);
    }
    let token = read_token(file)?;
    let tx = store.begin().await?;
    if tx.account(&AccountId::system()).await?.is_some() {
        return Ok(false);
    }
    make_root_key(tx, store, &token).await?;
    Ok(true)
}

/// Makes another root key and returns its ID and its token.
///
/// # Errors
/// [`BootstrapError`].
pub(crate) async fn another(store: &Store) -> Result<(KeyId, Token), BootstrapError> {
    let token = mint()?;
    let key_id = make_root_key(store.begin().await?, store, &token).await?;
    Ok((key_id, token))
}

/// Writes a fresh token to `file`, readable only by its owner, if there is neither the file nor an account `system`.
///
/// The token is written before the key is made: a token without a key is harmless, and a key without a token is
/// useless.
///
/// # Errors
/// [`BootstrapError`].
pub(crate) async fn prepare_file(store: &Store, file: &Path) -> Result<(), BootstrapError> {
    if file.exists() || store.account(&AccountId::system()).await?.is_some() {
        return Ok(());
    }
    let mut text = Zeroizing::new(mint()?.reveal().to_owned());
    text.push('\n');
    make_private(file, text.as_bytes()).map_err(|source| unusable(file, source))
}

/// Makes a file that only its owner may read, unless it exists: the first process to make it wins.
///
/// The file is complete or missing, also after a power failure: the next step may depend on it.
///
/// # Errors
/// When it cannot be written.
pub fn make_private(file: &Path, content: &[u8]) -> std::io::Result<()> {
    // The temporary file has a random name: two processes that start at once must not write to the same file.
    let name: [u8; 8] = entropy::bytes().map_err(std::io::Error::other)?;
    let mut partial = file.as_os_str().to_owned();
    partial.push(format!(".{:016x}.partial", u64::from_ne_bytes(name)));
    let partial = Path::new(&partial);
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial)?;
    let written = out.write_all(content).and_then(|()| out.sync_all());
    // A hard link, unlike a rename, does not replace a file that another process has put there in the meantime.
    let linked = written.and_then(|()| std::fs::hard_link(partial, file));
    let removed = std::fs::remove_file(partial);
    match linked {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        linked => linked?,
    }
    removed?;
    sync_folder(file)
}

/// Reads the token of a root key from its file.
///
/// # Errors
/// [`BootstrapError::File`] or [`BootstrapError::NotAToken`].
pub(crate) fn read_token(file: &Path) -> Result<Token, BootstrapError> {
    let text = text_file::read(file).map_err(|source| unusable(file, source))?;
    let presented = Token::parse(text.trim());
    presented.map(|token| token.to_token()).map_err(|_| BootstrapError::NotAToken { path: file.display().to_string() })
}

fn unusable(file: &Path, source: std::io::Error) -> BootstrapError {
    BootstrapError::File { path: file.display().to_string(), source }
}

async fn make_root_key(tx: WriteTx<'_>, store: &Store, token: &Token) -> Result<KeyId, BootstrapError> {
    let account = if let Some(account) = tx.account(&AccountId::system()).await? {
        account
    } else {
        let account = system_account(&tx)?;
        tx.insert_account(&account).await?;
        account
    };
    let keyring = store.keyring();
    let minted = MintedSecret {
        digest: keyring.digest(token.presented()),
        scheme: Scheme::Own,
        secret_version: keyring.current(),
        hint: token.hint(),
        sealed: None,
    };
    // A policy that the account got later must not prevent recovery.
    let unrestricted = Account { policy: KeyPolicy::default(), suspended: false, ..account.clone() };
    let key = Key::create(&unrestricted, root_key()?, minted, tx.now(), tx.revision())?;
    tx.insert_key(&key).await?;
    let event = AuditEvent {
        actor: Actor::bootstrap(),
        subject: None,
        action: Action::Bootstrap,
        account: account.id.clone(),
        key_id: Some(key.id.clone()),
        request: None,
        before: None,
        after: Some(snapshot::of_key(&key, tx.now())),
    };
    tx.commit(event).await?;
    Ok(key.id)
}

fn system_account(tx: &WriteTx<'_>) -> Result<Account, BootstrapError> {
    Ok(Account {
        id: AccountId::system(),
        display_name: "Callers of the key authority".into(),
        suspended: false,
        policy: KeyPolicy { token_prefix: TokenPrefix::new(SYSTEM_PREFIX)?, ..KeyPolicy::default() },
        create_time: tx.now(),
        update_time: tx.now(),
        create_revision: tx.revision(),
        revision: tx.revision(),
    })
}

fn root_key() -> Result<NewKey, BootstrapError> {
    let access = Access {
        scopes: Permission::ALL.iter().map(|p| Scope::new(p.as_str())).collect::<Result<_, _>>()?,
        projects: ProjectAccess::All,
        networks: [].into(),
    };
    Ok(NewKey {
        id: KeyId::generate(entropy::fill)?,
        display_name: "root".into(),
        description: "Every permission on every account. Make narrower keys for daily use.".into(),
        scopes: access.scopes,
        projects: Some(access.projects),
        networks: access.networks,
        labels: Labels::new(),
        expiry: ExpiryChoice::Never,
        disabled: false,
        created_by: Actor::bootstrap(),
        created_by_subject: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_concurrent_writers_of_a_private_file_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let contents: Vec<String> = std::thread::scope(|scope| {
            let make = |n: u8| {
                let file = file.clone();
                scope.spawn(move || {
                    make_private(&file, &[b'a' + n; 4096]).unwrap();
                    std::fs::read_to_string(&file).unwrap()
                })
            };
            let threads: Vec<_> = (0..16).map(make).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(contents.iter().all(|content| *content == contents[0] && content.len() == 4096));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        std::os::unix::fs::symlink("missing", folder.path().join("link")).unwrap();
        make_private(&folder.path().join("link"), b"x").unwrap();
        assert!(!folder.path().join("missing").exists());
    }
}
