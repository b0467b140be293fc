//! The fuzz targets: every reader of bytes that a peer, a proxy or a file chooses, with the rule that its result must
//! keep.
//!
//! A target is a function of bytes that panics when a rule is broken. libFuzzer calls it (`fuzz/`, `scripts/fuzz`), and
//! a test of this crate replays the corpora with seeded mutations of them.
//!
//! To add a target, add a file in `targets`, a line in [`TARGETS`] and in the test `replay`, and a program of a few
//! lines in `fuzz/fuzz_targets`, which `fuzz/Cargo.toml` names. Then write its seeds and its dictionary to `fuzz/`:
//! `cargo run -p key-authority-fuzz-targets --example write_seeds`.
//!
//! A program names its target alone, so that it contains no other code: after each input, libFuzzer looks at the
//! coverage of the whole program.

mod input;
mod mutator;
pub mod targets;

pub use mutator::Mutator;

/// A target: the reader and its rule, inputs to begin with, and texts that a mutation inserts.
pub struct Target {
    /// The name: of the program in `fuzz/fuzz_targets`, and of the folder in `fuzz/corpus`.
    pub name: &'static str,
    run: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
    /// Texts that the grammar of the input gives a meaning.
    pub dictionary: &'static [&'static [u8]],
    /// The memory that a run may hold at once: this many bytes, and as many as this for each byte of input.
    memory: (u64, u64),
}

impl Target {
    /// Runs the target on one input.
    ///
    /// # Panics
    /// When a rule is broken, or the run held too much memory.
    pub fn run(&self, input: &[u8]) {
        let held = || allocation_counter::measure(|| (self.run)(input)).bytes_max;
        let (fixed, for_each_byte) = self.memory;
        let allowed = fixed + for_each_byte * input.len() as u64;
        // The first run of a process also makes what all runs share, so a second one decides.
        let is_bounded = held() <= allowed || held() <= allowed;
        assert!(is_bounded, "more than {allowed} bytes held at once for an input of {}", input.len());
    }

    /// Returns the dictionary as a file of libFuzzer.
    #[must_use]
    pub fn dictionary_file(&self) -> String {
        let hex = |word: &&[u8]| word.iter().map(|byte| format!("\\x{byte:02x}")).collect::<Vec<_>>().concat();
        self.dictionary.iter().map(|word| format!("\"{}\"\n", hex(word))).collect::<Vec<_>>().concat()
    }

    /// Returns the inputs to begin with: real encodings, and regressions. They are the same at each call.
    #[must_use]
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }
}

/// All targets.
pub static TARGETS: [&Target; 12] = [
    &targets::token::TARGET,
    &targets::question::VERIFY,
    &targets::question::BATCH,
    &targets::question::STREAM,
    &targets::verify::TARGET,
    &targets::frames::TARGET,
    &targets::check::TARGET,
    &targets::import_file::TARGET,
    &targets::import_keys::TARGET,
    &targets::page_token::TARGET,
    &targets::database_url::TARGET,
    &targets::authorization::TARGET,
];
