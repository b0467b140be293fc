//! A small deterministic mutator: the gate has no time for a fuzzer that is guided by coverage.

use key_authority_testkit::rng::SeededRng;

/// Makes inputs from those of a corpus. One seed gives the same inputs on every machine.
pub struct Mutator<'a> {
    rng: SeededRng,
    corpus: &'a [Vec<u8>],
    dictionary: &'a [&'a [u8]],
}

/// The longest input.
const LEN_MAX: usize = 4096;

impl<'a> Mutator<'a> {
    /// A mutator of the inputs in `corpus`.
    #[must_use]
    pub fn new(seed: u64, corpus: &'a [Vec<u8>], dictionary: &'a [&'a [u8]]) -> Self {
        Self { rng: SeededRng::new(seed), corpus, dictionary }
    }

    /// Returns the next input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.pick(self.corpus).cloned().unwrap_or_default();
        for _ in 0..=self.below(4) {
            self.mutate(&mut input);
        }
        input.truncate(LEN_MAX);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let end = (at + 1 + self.below(16)).min(input.len());
        match self.below(8) {
            0 => {
                let bit = 1 << self.below(8);
                input.get_mut(at).into_iter().for_each(|byte| *byte ^= bit);
            }
            1 => {
                let boundary = self.pick(&[0, 1, 0x7f, 0x80, 0xff, b'\n', b' ', b',']).copied().unwrap_or_default();
                input.get_mut(at).into_iter().for_each(|byte| *byte = boundary);
            }
            2 => {
                let byte = self.byte();
                input.insert(at, byte);
            }
            3 => drop(input.drain(at..end)),
            4 => {
                let copy = input.get(at..end).unwrap_or_default().to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            5 => {
                let word = self.pick(self.dictionary).copied().unwrap_or_default();
                input.splice(at..at, word.iter().copied());
            }
            6 => {
                let other = self.pick(self.corpus).cloned().unwrap_or_default();
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend(other.get(from..).unwrap_or_default());
            }
            _ => input.truncate(at),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.rng.below(bound as u64)).unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.rng.below(256)).unwrap_or_default()
    }

    fn pick<'b, T>(&mut self, from: &'b [T]) -> Option<&'b T> {
        let index = self.below(from.len());
        from.get(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_inputs_again_and_few_of_them_twice() {
        let corpus = [b"one input".to_vec(), b"another, longer input".to_vec()];
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed, &corpus, &[b"word"]);
            (0..1_000).map(|_| mutator.next_input()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        let distinct: std::collections::BTreeSet<_> = inputs(1).into_iter().collect();
        assert!(distinct.len() > 700, "{}", distinct.len());
    }
}
