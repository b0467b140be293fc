//! Questions that arrived together, in a batch or in one chunk of a stream.
//!
//! They are decided in steps, each over all questions: digests, lookups, key facts, decisions. Lookups wait for memory,
//! and a processor overlaps the waits of many lookups if little other work is between them.

use key_authority_domain::verdict::Question;
use key_authority_replica::index::{IndexGuard, SecretMissing};

use super::engine::{Decision, Hit, TokenLookup, Verifier, evaluate};
use crate::auth::permit::Permit;

impl Verifier {
    /// Decides many questions, in order; [`SecretMissing`] for those that this replica cannot decide.
    pub(super) fn decide_all<'a, 'q>(
        &self,
        index: &'a IndexGuard<'_>,
        permit: &Permit,
        questions: impl Iterator<Item = (&'q str, &'q Question<'q>)> + Clone,
    ) -> Vec<Result<Decision<'a>, SecretMissing>> {
        let lookups: Vec<TokenLookup<'q>> = questions.clone().map(|(token, _)| self.prepare(token)).collect();
        let keys: Vec<_> = lookups.iter().map(|lookup| self.find(index, permit.lease(), lookup)).collect();
        let hits: Vec<_> = keys.into_iter().map(|key| key.map(Hit::of)).collect();
        hits.into_iter().zip(questions).map(|(hit, (_, question))| evaluate(permit, hit, question)).collect()
    }
}
