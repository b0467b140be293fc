//! Sets of keys. Key and token follow from the seed and a number, so a generator knows ten million tokens without
//! storing any.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context as _, Result};
use key_authority_domain::access::{ProjectAccess, Scope};
use key_authority_domain::account::{Account, ExpiryChoice, KeyPolicy};
use key_authority_domain::foreign::Scheme;
use key_authority_domain::id::{AccountId, Actor, KeyId, Revision};
use key_authority_domain::key::{Key, Labels, MintedSecret, NewKey};
use key_authority_domain::permission::Permission;
use key_authority_domain::secret::Keyring;
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::{Token, TokenPrefix};
use key_authority_testkit::rng::SeededRng;
use rand::Rng as _;

/// The number of accounts that own the keys.
pub const ACCOUNTS: u64 = 100;
/// The scopes of every key. Requests ask for the first.
pub const SCOPES: [&str; 2] = ["orders:read", "orders:write"];
/// The prefix of key IDs; the number follows.
const ID_PREFIX: &str = "bench_";
const TOKEN_PREFIX: &str = "bench_";
/// The prefix of callers' tokens.
const CALLER_PREFIX: &str = "ka_sys_";
/// The offset from which a forged token differs from the token that it imitates.
const FORGED_FROM: usize = 36;
const LIFETIME: Duration = Duration::from_hours(365 * 24);

/// A set of keys, numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeySet {
    /// The seed of its tokens.
    pub seed: u64,
    /// The number of keys.
    pub count: u64,
}

/// The kind of token that a request presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Presented {
    /// The token of a key.
    Valid,
    /// A well-formed token that differs from a key's token at the end only.
    Forged,
    /// A well-formed token that was never issued.
    Unknown,
    /// The token of a key with a wrong checksum.
    Malformed,
}

impl KeySet {
    /// A set of `count` keys.
    #[must_use]
    pub fn new(count: u64) -> Self {
        Self { seed: 0x0B5E_55EE, count }
    }

    /// The token of the key of this number.
    ///
    /// # Errors
    /// Never: the prefix is a valid constant.
    pub fn token(self, number: u64) -> Result<Token> {
        self.mint(TOKEN_PREFIX, number, |_| ())
    }

    /// The token of the caller: a key of account `system` with the scope `verify` only.
    ///
    /// # Errors
    /// Never: all values are valid constants.
    pub fn caller(self) -> Result<Token> {
        self.mint(CALLER_PREFIX, u64::MAX, |_| ())
    }

    /// The root token, for changes.
    ///
    /// # Errors
    /// Never: all values are valid constants.
    pub fn root(self) -> Result<Token> {
        self.mint(CALLER_PREFIX, u64::MAX - 1, |_| ())
    }

    /// The token of kind `what` for the key of this number.
    ///
    /// # Errors
    /// Never: all values are valid constants.
    pub fn presented(self, number: u64, what: Presented) -> Result<String> {
        let token = match what {
            Presented::Valid | Presented::Malformed => self.token(number)?,
            Presented::Unknown => self.token(number.wrapping_add(self.count).wrapping_add(1 << 40))?,
            Presented::Forged => self.mint(TOKEN_PREFIX, number, |bytes| {
                // Flipping the lowest bit keeps rejected bytes rejected, so both tokens have the same length.
                bytes.iter_mut().skip(FORGED_FROM).for_each(|byte| *byte ^= 1);
            })?,
        };
        let mut text = token.reveal().to_owned();
        if what == Presented::Malformed {
            let last = text.pop();
            text.push(if last == Some('0') { '1' } else { '0' });
        }
        Ok(text)
    }

    fn mint(self, prefix: &str, number: u64, alter: impl Fn(&mut [u8])) -> Result<Token> {
        let mut rng = SeededRng::stream(self.seed, number);
        let prefix = TokenPrefix::new(prefix).context("invalid token prefix")?;
        let fill = |bytes: &mut [u8]| {
            rng.fill_bytes(bytes);
            alter(bytes);
            Ok::<(), Infallible>(())
        };
        Ok(Token::mint(&prefix, fill)?)
    }

    /// The ID of the key of this number.
    #[must_use]
    pub fn id_of(number: u64) -> String {
        format!("{ID_PREFIX}{number:08}")
    }

    /// The number of the key of this ID.
    #[must_use]
    pub fn number_of(id: &str) -> Option<u64> {
        id.strip_prefix(ID_PREFIX)?.parse().ok()
    }

    /// The accounts that own the keys.
    ///
    /// # Errors
    /// Never: all values are valid constants.
    pub fn accounts(now: Timestamp, revision: Revision) -> Result<Vec<Account>> {
        let policy = KeyPolicy {
            token_prefix: TokenPrefix::new(TOKEN_PREFIX).context("invalid token prefix")?,
            ..KeyPolicy::default()
        };
        let account = |number| {
            Ok(Account {
                id: AccountId::new(&format!("account-{number:03}")).context("invalid ID")?,
                display_name: format!("Account {number}"),
                suspended: false,
                policy: policy.clone(),
                create_time: now,
                update_time: now,
                create_revision: revision,
                revision,
            })
        };
        (0..ACCOUNTS).map(account).collect()
    }

    /// The key of this number, in its account: two scopes, two labels, all projects, expiring after a year.
    ///
    /// # Errors
    /// Never: all values are valid constants.
    pub fn key(
        self,
        number: u64,
        accounts: &[Account],
        keyring: &Keyring,
        now: Timestamp,
        revision: Revision,
    ) -> Result<Key> {
        let account = usize::try_from(number % ACCOUNTS).ok().and_then(|index| accounts.get(index));
        let account = account.context("no such account")?;
        let new = NewKey {
            id: KeyId::new(&Self::id_of(number)).context("invalid ID")?,
            display_name: format!("Key {number}"),
            scopes: SCOPES.iter().map(|scope| Scope::new(scope)).collect::<Result<_, _>>().context("invalid scope")?,
            labels: labels(number),
            expiry: ExpiryChoice::Lifetime(LIFETIME),
            ..bare_key("key")?
        };
        Ok(Key::create(account, new, secret(&self.token(number)?, keyring), now, revision)?)
    }

    /// The key of the caller.
    ///
    /// # Errors
    /// Never: all values are valid constants.
    pub fn caller_key(self, system: &Account, keyring: &Keyring, now: Timestamp, revision: Revision) -> Result<Key> {
        let scopes = BTreeSet::from([Scope::new(Permission::Verify.as_str()).context("invalid scope")?]);
        let new = NewKey { scopes, projects: Some(ProjectAccess::All), ..bare_key("caller")? };
        Ok(Key::create(system, new, secret(&self.caller()?, keyring), now, revision)?)
    }
}

fn bare_key(id: &str) -> Result<NewKey> {
    Ok(NewKey {
        id: KeyId::new(id).context("invalid ID")?,
        display_name: id.to_owned(),
        description: String::new(),
        scopes: BTreeSet::new(),
        projects: None,
        networks: BTreeSet::new(),
        labels: Labels::new(),
        expiry: ExpiryChoice::Never,
        disabled: false,
        created_by: Actor::bootstrap(),
        created_by_subject: None,
    })
}

fn labels(number: u64) -> Labels {
    let plan = if number.is_multiple_of(3) { "pro" } else { "basic" };
    [("plan".to_owned(), plan.to_owned()), ("team".to_owned(), format!("team-{:02}", number % 50))].into()
}

fn secret(token: &Token, keyring: &Keyring) -> MintedSecret {
    MintedSecret {
        digest: keyring.digest(token.presented()),
        scheme: Scheme::Own,
        secret_version: keyring.current(),
        hint: token.hint(),
        sealed: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_token_is_what_its_name_says() {
        let key_set = KeySet::new(1_000);
        for number in 0..1_000 {
            let [valid, forged, unknown, malformed] =
                [Presented::Valid, Presented::Forged, Presented::Unknown, Presented::Malformed]
                    .map(|what| key_set.presented(number, what).unwrap());
            assert_eq!(valid, key_set.presented(number, Presented::Valid).unwrap(), "reproducible");
            let texts = BTreeSet::from([&valid, &forged, &unknown, &malformed]);
            assert_eq!(texts.len(), 4);
            for well_formed in [&valid, &forged, &unknown] {
                assert!(Token::parse(well_formed).is_ok());
            }
            assert!(Token::parse(&malformed).is_err());
            let begins_alike = TOKEN_PREFIX.len() + FORGED_FROM - 10;
            assert_eq!(valid[..begins_alike], forged[..begins_alike]);
        }
    }
}
