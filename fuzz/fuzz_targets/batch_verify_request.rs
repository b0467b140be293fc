#![no_main]

use key_authority_fuzz_targets::targets::question::BATCH;

libfuzzer_sys::fuzz_target!(|input: &[u8]| BATCH.run(input));
