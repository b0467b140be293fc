#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| key_authority_fuzz_targets::run("verify_request", input));
