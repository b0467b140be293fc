#![no_main]

use key_authority_fuzz_targets::targets::token::TARGET;

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET.run(input));
