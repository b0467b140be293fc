//! The decision about a token, from memory: shape and checksum, digest, one lookup under the lease, `decide`.
//!
//! This code never awaits, takes no lock that a writer holds, and formats no text that is not sent.

use std::sync::Arc;

use key_authority_domain::foreign::Scheme;
use key_authority_domain::secret::Keyring;
use key_authority_domain::token::{Malformed, Presented, Token, TokenDigest};
use key_authority_domain::verdict::{KeyFacts, Question, Verdict, decide};
use key_authority_replica::index::{IndexGuard, SecretMissing, SharedKeyRecord};
use key_authority_replica::{LeaseProof, ReplicaState};

use crate::auth::permit::{Permit, Rights as _};
use crate::observability::metrics::SharedMetrics;

/// Decides about tokens from memory.
pub struct Verifier {
    replica: Arc<ReplicaState>,
    keyring: Arc<Keyring>,
    metrics: SharedMetrics,
}

/// A decision about a token that is not counted yet.
pub struct Decision<'a> {
    /// The verdict.
    pub verdict: Verdict,
    /// The key whose secret matched, if the caller may see it.
    pub key: Option<&'a SharedKeyRecord>,
}

/// A token that is ready for a lookup.
pub(super) struct TokenLookup<'t> {
    text: &'t str,
    parsed: Result<Presented<'t>, Malformed>,
    /// The digest under the newest authority secret, if the token has the authority's own format.
    digest: Option<TokenDigest>,
}

/// The key of a token, with the facts that `decide` evaluates.
pub(super) struct Hit<'a> {
    key: &'a SharedKeyRecord,
    facts: KeyFacts<'a>,
}

impl<'a> Hit<'a> {
    pub(super) fn of(key: Option<&'a SharedKeyRecord>) -> Option<Self> {
        key.map(|key| Self { key, facts: key.facts() })
    }
}

/// Why a lookup has no result.
#[derive(Debug, Clone, Copy)]
pub(super) enum LookupError {
    /// The text is no token.
    Malformed,
    /// The token was not found, and tokens exist that this replica cannot find.
    SecretMissing(SecretMissing),
}

/// Decides a question about the result of a lookup.
///
/// # Errors
/// [`SecretMissing`].
pub(super) fn evaluate<'a>(
    permit: &Permit,
    found: Result<Option<Hit<'a>>, LookupError>,
    question: &Question<'_>,
) -> Result<Decision<'a>, SecretMissing> {
    let hit = match found {
        Ok(hit) => hit,
        Err(LookupError::Malformed) => return Ok(Decision { verdict: Verdict::Malformed, key: None }),
        Err(LookupError::SecretMissing(missing)) => return Err(missing),
    };
    let hit = hit.filter(|hit| permit.covers(hit.key.account()));
    let verdict = decide(hit.as_ref().map(|hit| &hit.facts), question, permit.lease().now());
    Ok(Decision { verdict, key: hit.map(|hit| hit.key) })
}

impl Verifier {
    /// Makes a verifier that decides by the state of `replica`.
    #[must_use]
    pub fn new(replica: Arc<ReplicaState>, keyring: Arc<Keyring>, metrics: SharedMetrics) -> Self {
        Self { replica, keyring, metrics }
    }

    /// Opens the index for the questions of one step.
    #[must_use]
    pub fn read(&self) -> IndexGuard<'_> {
        self.replica.index().read()
    }

    /// Decides a question.
    ///
    /// # Errors
    /// [`SecretMissing`].
    pub fn decide<'a>(
        &self,
        index: &'a IndexGuard<'_>,
        permit: &Permit,
        token: &str,
        question: &Question<'_>,
    ) -> Result<Decision<'a>, SecretMissing> {
        let found = self.find(index, permit.lease(), &self.prepare(token));
        evaluate(permit, found.map(Hit::of), question)
    }

    /// Parses a token and computes the digest of its first lookup.
    pub(super) fn prepare<'t>(&self, text: &'t str) -> TokenLookup<'t> {
        let parsed = Token::parse(text);
        TokenLookup { text, parsed, digest: parsed.ok().map(|token| self.keyring.digest(token)) }
    }

    /// Looks a token up: by one digest, which is enough for nearly every token; then under other versions of the
    /// authority secret; and then, if such keys are resident, as a token that another system issued.
    ///
    /// A token that is not found is unknown only if this replica has every version of the secret that tokens have.
    pub(super) fn find<'a>(
        &self,
        index: &'a IndexGuard<'_>,
        lease: LeaseProof,
        &TokenLookup { text, parsed, digest }: &TokenLookup<'_>,
    ) -> Result<Option<&'a SharedKeyRecord>, LookupError> {
        if let Some(key) = index.find(lease, digest) {
            return Ok(Some(key));
        }
        if let Ok(token) = parsed
            && let Some(key) = index.find(lease, self.keyring.other_digests(token))
        {
            return Ok(Some(key));
        }
        // A token in the authority's own format was already looked up as a whole.
        let may_match =
            |scheme: &Scheme| self.replica.index().has_any(*scheme) && (*scheme != Scheme::Whole || parsed.is_err());
        let mut schemes = Scheme::FOREIGN.into_iter().filter(may_match).peekable();
        let token = if schemes.peek().is_some() { Token::parse_any(text) } else { parsed };
        let token = token.map_err(|Malformed| LookupError::Malformed)?;
        match schemes.find_map(|scheme| index.find(lease, self.keyring.digests_for_scheme(scheme, token))) {
            Some(key) => Ok(Some(key)),
            None => self
                .replica
                .index()
                .missing_secret()
                .map_or(Ok(None), |missing| Err(LookupError::SecretMissing(missing))),
        }
    }

    /// Counts a decision that is about to be sent.
    pub fn count(&self, permit: &Permit, Decision { verdict, key }: &Decision<'_>) {
        self.metrics.verified(*verdict as usize, 1);
        if let (Verdict::Valid, Some(key)) = (verdict, key) {
            self.replica.note_use(key, permit.lease().now());
        }
    }
}
