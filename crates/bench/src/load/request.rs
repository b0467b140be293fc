//! Requests, and the answers that they must get.

use anyhow::{Result, anyhow};
use key_authority_proto::v1;
use key_authority_testkit::rng::SeededRng;

use super::Plan;
use crate::key_set::{KeySet, Presented, SCOPES};

/// A random sequence of requests.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    pub(super) plan: Plan,
    is_real: bool,
    rng: SeededRng,
}

/// The expected answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    verdict: v1::Verdict,
    /// The number of the key that the answer must name.
    number: Option<u64>,
}

impl Requests {
    pub(super) fn new(plan: Plan, is_real: bool, worker: u64) -> Self {
        Self { plan, is_real, rng: SeededRng::stream(plan.key_set.seed, worker) }
    }

    /// An independent sequence for one more call.
    pub(super) fn fork(&mut self) -> Self {
        Self { rng: self.rng.fork(), ..self.clone() }
    }

    /// A request about a random key of the set, and its expected answer.
    pub(super) fn next(&mut self) -> Result<(v1::VerifyRequest, Expected)> {
        let Plan { key_set, presented, .. } = self.plan;
        let number = self.rng.below(key_set.count);
        let request = about(key_set.presented(number, presented)?);
        let verdict = match presented {
            _ if !self.is_real => v1::Verdict::Valid,
            Presented::Valid => v1::Verdict::Valid,
            Presented::Forged | Presented::Unknown => v1::Verdict::Unknown,
            Presented::Malformed => v1::Verdict::Malformed,
        };
        let number = (self.is_real && presented == Presented::Valid).then_some(number);
        Ok((request, Expected { verdict, number }))
    }
}

/// A request about a token, for the first scope.
pub(super) fn about(token: String) -> v1::VerifyRequest {
    let [scope, ..] = SCOPES;
    v1::VerifyRequest { token, scopes: vec![scope.to_owned()], ..Default::default() }
}

impl Expected {
    /// Fails if this is not the expected answer.
    pub(super) fn check(self, response: &v1::VerifyResponse) -> Result<()> {
        let is_right = response.verdict == i32::from(self.verdict)
            && self.number.is_none_or(|number| KeySet::number_of(&response.key_id) == Some(number));
        if is_right { Ok(()) } else { Err(anyhow!("wrong answer: {response:?}, expected {self:?}")) }
    }
}
