//! What is asked, and what must be answered.

use key_authority_proto::v1;

use super::Plan;
use crate::chance::Chance;
use crate::stock::{Presented, SCOPES, Stock};
use crate::trouble::Trouble;

/// A source of questions, in an order of its own.
#[derive(Debug, Clone)]
pub(super) struct Questions {
    pub(super) plan: Plan,
    is_real: bool,
    chance: Chance,
}

/// The answer that is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    verdict: v1::Verdict,
    /// The key that must be named.
    number: Option<u64>,
}

impl Questions {
    pub(super) fn new(plan: Plan, is_real: bool, worker: u64) -> Self {
        Self { plan, is_real, chance: Chance::of(plan.stock.seed, worker) }
    }

    /// A source for one call more, whose questions are others.
    pub(super) fn fork(&mut self) -> Self {
        Self { chance: Chance::of(self.plan.stock.seed, self.chance.next()), ..self.clone() }
    }

    /// A question about any key of the stock.
    pub(super) fn next(&mut self) -> Result<(v1::VerifyRequest, Expected), Trouble> {
        let Plan { stock, presented, .. } = self.plan;
        let number = self.chance.below(stock.count);
        let request = about(stock.presented(number, presented)?);
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

/// Whether the holder of a token may do what every key may.
pub(super) fn about(token: String) -> v1::VerifyRequest {
    let [scope, ..] = SCOPES;
    v1::VerifyRequest { token, scopes: vec![scope.to_owned()], ..Default::default() }
}

impl Expected {
    /// Whether this is the right answer.
    pub(super) fn check(self, response: &v1::VerifyResponse) -> Result<(), Trouble> {
        let is_right = response.verdict == i32::from(self.verdict)
            && self.number.is_none_or(|number| Stock::number_of(&response.key_id) == Some(number));
        if is_right { Ok(()) } else { Err(format!("a wrong answer: {response:?} to a question for {self:?}").into()) }
    }
}
