#![no_main]

use key_authority_fuzz_targets::targets::question::VERIFY;

libfuzzer_sys::fuzz_target!(|input: &[u8]| VERIFY.run(input));
