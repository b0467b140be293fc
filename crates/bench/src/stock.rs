//! Sets of keys: key and token of a number are made from the number alone, so that a generator knows ten million tokens
//! without keeping one.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use key_authority_domain::access::{ProjectAccess, Scope};
use key_authority_domain::account::{Account, ExpiryChoice, KeyPolicy};
use key_authority_domain::foreign::Scheme;
use key_authority_domain::id::{AccountId, Actor, KeyId, Revision};
use key_authority_domain::key::{Key, Labels, MintedSecret, NewKey};
use key_authority_domain::permission::Permission;
use key_authority_domain::secret::Keyring;
use key_authority_domain::time::Timestamp;
use key_authority_domain::token::{Token, TokenPrefix};

use crate::chance::Chance;
use crate::trouble::{Attempt as _, Trouble};

/// How many accounts the keys belong to.
pub const ACCOUNTS: u64 = 100;
/// The scopes of every key, and what is asked of it.
pub const SCOPES: [&str; 2] = ["orders:read", "orders:write"];
/// What key IDs begin with; the number follows.
const ID_PREFIX: &str = "bench_";
const TOKEN_PREFIX: &str = "bench_";
/// What the tokens of callers begin with.
const CALLER_PREFIX: &str = "ka_sys_";
/// From which place on a forged token differs from the one it imitates.
const FORGED_FROM: usize = 36;
const LIFETIME: Duration = Duration::from_hours(365 * 24);

/// A set of keys, with numbers from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stock {
    /// What its tokens are made from.
    pub seed: u64,
    /// How many there are.
    pub count: u64,
}

/// What is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Presented {
    /// The token of a key.
    Valid,
    /// A well-formed token that begins like that of a key and ends otherwise.
    Forged,
    /// A well-formed token that was never issued.
    Unknown,
    /// The token of a key with a typing error.
    Malformed,
}

impl Stock {
    /// A set of `count` keys.
    #[must_use]
    pub fn new(count: u64) -> Self {
        Self { seed: 0x0B5E_55ED, count }
    }

    /// The token of the key of this number.
    ///
    /// # Errors
    /// None that can come up: the prefix is a constant.
    pub fn token(self, number: u64) -> Result<Token, Trouble> {
        self.mint(TOKEN_PREFIX, number, |_| ())
    }

    /// The token of the caller who asks: a key of account `system` that may verify and no more.
    ///
    /// # Errors
    /// None that can come up.
    pub fn caller(self) -> Result<Token, Trouble> {
        self.mint(CALLER_PREFIX, u64::MAX, |_| ())
    }

    /// The root token, for changes.
    ///
    /// # Errors
    /// None that can come up.
    pub fn root(self) -> Result<Token, Trouble> {
        self.mint(CALLER_PREFIX, u64::MAX - 1, |_| ())
    }

    /// The text that is presented for the key of this number.
    ///
    /// # Errors
    /// None that can come up.
    pub fn presented(self, number: u64, what: Presented) -> Result<String, Trouble> {
        let token = match what {
            Presented::Valid | Presented::Malformed => self.token(number)?,
            Presented::Unknown => self.token(number.wrapping_add(self.count).wrapping_add(1 << 40))?,
            Presented::Forged => self.mint(TOKEN_PREFIX, number, |bytes| {
                // A letter becomes its neighbour, and what is passed over stays so.
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

    fn mint(self, prefix: &str, number: u64, alter: impl Fn(&mut [u8])) -> Result<Token, Trouble> {
        let mut chance = Chance::of(self.seed, number);
        let prefix = TokenPrefix::new(prefix).attempt("a prefix")?;
        let fill = |bytes: &mut [u8]| {
            chance.fill(bytes);
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

    /// The accounts that the keys belong to.
    ///
    /// # Errors
    /// None that can come up.
    pub fn accounts(now: Timestamp, revision: Revision) -> Result<Vec<Account>, Trouble> {
        let policy =
            KeyPolicy { token_prefix: TokenPrefix::new(TOKEN_PREFIX).attempt("a prefix")?, ..KeyPolicy::default() };
        let account = |number| {
            Ok(Account {
                id: AccountId::new(&format!("account-{number:03}")).attempt("an ID")?,
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

    /// The key of this number, in the account that it belongs to: two scopes, two labels, all projects, a year to live.
    ///
    /// # Errors
    /// None that can come up.
    pub fn key(
        self,
        number: u64,
        accounts: &[Account],
        keyring: &Keyring,
        now: Timestamp,
        revision: Revision,
    ) -> Result<Key, Trouble> {
        let account = usize::try_from(number % ACCOUNTS).ok().and_then(|index| accounts.get(index));
        let account = account.ok_or("no such account")?;
        let new = NewKey {
            id: KeyId::new(&Self::id_of(number)).attempt("an ID")?,
            display_name: format!("Key {number}"),
            scopes: SCOPES.iter().map(|scope| Scope::new(scope)).collect::<Result<_, _>>().attempt("a scope")?,
            labels: labels(number),
            expiry: ExpiryChoice::Lifetime(LIFETIME),
            ..bare_key("key")?
        };
        Ok(Key::create(account, new, secret(&self.token(number)?, keyring), now, revision)?)
    }

    /// The key of the caller who asks.
    ///
    /// # Errors
    /// None that can come up.
    pub fn caller_key(
        self,
        system: &Account,
        keyring: &Keyring,
        now: Timestamp,
        revision: Revision,
    ) -> Result<Key, Trouble> {
        let scopes = BTreeSet::from([Scope::new(Permission::Verify.as_str()).attempt("a scope")?]);
        let new = NewKey { scopes, projects: Some(ProjectAccess::All), ..bare_key("caller")? };
        Ok(Key::create(system, new, secret(&self.caller()?, keyring), now, revision)?)
    }
}

fn bare_key(id: &str) -> Result<NewKey, Trouble> {
    Ok(NewKey {
        id: KeyId::new(id).attempt("an ID")?,
        display_name: id.to_owned(),
        description: String::new(),
        scopes: BTreeSet::new(),
        projects: None,
        networks: BTreeSet::new(),
        labels: Labels::new(),
        expiry: ExpiryChoice::Never,
        disabled: false,
        created_by: Actor::bootstrap(),
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
    fn what_is_presented_is_what_it_is_called() {
        let stock = Stock::new(1_000);
        for number in 0..1_000 {
            let [valid, forged, unknown, malformed] =
                [Presented::Valid, Presented::Forged, Presented::Unknown, Presented::Malformed]
                    .map(|what| stock.presented(number, what).unwrap());
            assert_eq!(valid, stock.presented(number, Presented::Valid).unwrap(), "made again");
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
