//! Page tokens: only what the authority sealed for the same query of the same caller is opened.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use key_authority_bench::fill::Authority;
use key_authority_domain::secret::Keyring;
use key_authority_proto::v1;
use key_authority_server::testing::untrusted;

use crate::Target;
use crate::input::Input;

/// The reader with its rule.
pub static TARGET: Target = Target {
    name: "page_token",
    run,
    seeds,
    dictionary: &[b"AAAAAQ", b"\n", b"=", b"-_", b"\0\0\0\0\0\0\0\x01key_"],
    memory: (65_536, 64),
};

const CALLER: &str = "key_caller";
const INVALID_ARGUMENT: i32 = 3;
const NONCE: [u8; 24] = [9; 24];

fn query(page_token: String) -> v1::ListKeysRequest {
    v1::ListKeysRequest { account: "acme".into(), page_token, ..Default::default() }
}

fn run(input: &[u8]) {
    static KEYRING: OnceLock<Option<Keyring>> = OnceLock::new();
    let Some(keyring) = KEYRING.get_or_init(|| Authority::keyring().ok()) else { return };
    check_canonical(input);
    check_foreign(keyring, &String::from_utf8_lossy(input));
    check_foreign(keyring, &URL_SAFE_NO_PAD.encode(input));
    check_round_trip(keyring, Input::new(input));
}

/// A cursor has one encoding.
fn check_canonical(bytes: &[u8]) {
    assert!(untrusted::is_canonical_cursor(bytes).into_iter().flatten().all(|is_canonical| is_canonical));
}

/// A text that opens is one that was sealed: sealing its position under its nonce gives the same text.
fn check_foreign(keyring: &Keyring, text: &str) {
    let opened = untrusted::open_page_token(keyring, CALLER, &query(text.to_owned()));
    match opened {
        Ok(None) => assert!(text.is_empty()),
        Err(code) => assert!(code == INVALID_ARGUMENT && !text.is_empty()),
        Ok(Some((revision, id))) => {
            let sealed = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
            let nonce = sealed.get(4..28).and_then(|nonce| nonce.try_into().ok()).unwrap_or_default();
            let again = untrusted::seal_page_token(keyring, CALLER, &query(String::new()), (revision, &id), nonce);
            assert_eq!(again, text);
        }
    }
}

/// A sealed position opens again, but not after a change, nor for another caller or query.
fn check_round_trip(keyring: &Keyring, mut input: Input<'_>) {
    let revision = i64::from_be_bytes(input.bytes());
    let (at, to) = (usize::from(input.byte()), input.byte());
    let id = String::from_utf8_lossy(input.take(64)).into_owned();
    let sealed = untrusted::seal_page_token(keyring, CALLER, &query(String::new()), (revision, &id), NONCE);
    let open = |token: &str| untrusted::open_page_token(keyring, CALLER, &query(token.to_owned()));
    assert_eq!(open(&sealed), Ok(Some((revision, id))));

    let mut altered = sealed.clone().into_bytes();
    let at = at % altered.len().max(1);
    altered.get_mut(at).into_iter().for_each(|byte| *byte = to);
    let altered = String::from_utf8_lossy(&altered).into_owned();
    assert_eq!(open(&altered).is_ok(), altered == sealed, "altered at {at}");

    let request = query(sealed);
    let foreign = String::from_utf8_lossy(input.rest()).into_owned();
    let other_query = v1::ListKeysRequest { project: foreign.clone(), ..request.clone() };
    assert_eq!(untrusted::open_page_token(keyring, CALLER, &other_query).is_ok(), foreign.is_empty());
    let is_opened = untrusted::open_page_token(keyring, &foreign, &request).is_ok();
    assert_eq!(is_opened, foreign == CALLER);
}

fn seeds() -> Vec<Vec<u8>> {
    let Ok(keyring) = Authority::keyring() else { return Vec::new() };
    let seal = |position| untrusted::seal_page_token(&keyring, CALLER, &query(String::new()), position, NONCE);
    let longest = "k".repeat(64);
    let tokens = [(0, ""), (1, "key_1"), (-1, "é"), (i64::MAX, longest.as_str())].map(seal);
    let mut seeds: Vec<Vec<u8>> = tokens.iter().map(|token| token.clone().into_bytes()).collect();
    seeds.extend(tokens.iter().map(|token| URL_SAFE_NO_PAD.decode(token).unwrap_or_default()));
    seeds.extend(tokens.iter().map(|token| format!("{token}=").into_bytes()));
    seeds.extend([vec![], vec![0; 8], b"\0\0\0\0\0\0\0\x07key_1".to_vec(), vec![0xff; 9], vec![b'A'; 1025]]);
    seeds.push([&[0, 0, 0, 0, 0, 0, 0, 9, 5, b'B'], "k".repeat(64).as_bytes(), CALLER.as_bytes()].concat());
    seeds
}
