#![no_main]

use key_authority_fuzz_targets::targets::question::STREAM;

libfuzzer_sys::fuzz_target!(|input: &[u8]| STREAM.run(input));
