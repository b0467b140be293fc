//! The validation of `ImportKeys`: no violation repeats a value, and no output has more of a token than its hint.

use key_authority_proto::v1;
use key_authority_server::testing::untrusted;
use prost::Message;
use v1::imported_key::{Expiry, Secret};

use crate::Target;
use crate::input::{CANARY, assert_hidden};

/// The reader with its rule.
pub static TARGET: Target = Target {
    name: "import_keys",
    run,
    seeds,
    dictionary: &[b"CANARY7Q", b"acme", b"10.0.0.0/8", b"\x0a\x00", b"\x12\x00", b"\x1a\x00", b"team", b"key_"],
    memory: (65_536, 1024),
};

fn run(input: &[u8]) {
    let Ok(request) = v1::ImportKeysRequest::decode(input) else { return };
    let read = untrusted::import_keys(request.clone());
    let Ok((keys, debug)) = read else { return read.err().iter().for_each(|violations| assert_hidden(violations)) };
    assert_eq!(keys.len(), request.keys.len());
    let mut others = request.clone();
    others.keys.iter_mut().for_each(|key| key.secret = None);
    for (key, outcome) in request.keys.iter().zip(&keys) {
        match (outcome, &key.secret) {
            (Err(violations), _) => assert_hidden(violations),
            (Ok(hint), Some(Secret::Token(token))) => {
                // The prefix and four characters, or four characters and an ellipsis.
                let shown = hint.strip_suffix('…').unwrap_or(hint);
                assert!(token.starts_with(shown) && token.len() - shown.len() >= 12, "{hint:?}");
            }
            (Ok(hint), _) => assert_eq!(*hint, key.token_hint),
        }
    }
    if !contains(&others.encode_to_vec(), CANARY.as_bytes()) {
        assert_hidden(&debug);
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn seeds() -> Vec<Vec<u8>> {
    let secrets = [
        None,
        Some(Secret::Token("sk-live-0123456789-ABCDEF".into())),
        Some(Secret::Token(format!("{CANARY}{CANARY}{CANARY}"))),
        Some(Secret::Token(CANARY.into())),
        Some(Secret::Sha256(vec![7; 32])),
        Some(Secret::Blake3(vec![7; 31])),
    ];
    let expiries = [
        Expiry::NeverExpires(true),
        Expiry::Lifetime(prost_types::Duration { seconds: 3600, nanos: -1 }),
        Expiry::Lifetime(prost_types::Duration { seconds: i64::MAX, nanos: 999_999_999 }),
        Expiry::ExpireTime(prost_types::Timestamp { seconds: 1_801_396_800, nanos: 0 }),
        Expiry::ExpireTime(prost_types::Timestamp { seconds: i64::MIN, nanos: i32::MIN }),
    ];
    let whole = |secret: &Option<Secret>, expiry: Option<Expiry>| v1::ImportedKey {
        key_id: "key_a".into(),
        display_name: "A".into(),
        scopes: vec!["orders:read".into()],
        projects: Some(v1::ProjectAccess { all: false, only: vec!["p".into()] }),
        labels: [("team".to_owned(), "blue".to_owned())].into(),
        allowed_networks: vec!["10.0.0.0/8".into(), "2001:db8::/32".into()],
        secret: secret.clone(),
        expiry,
        ..Default::default()
    };
    let canary = || CANARY.to_owned();
    let wrong = v1::ImportedKey {
        key_id: format!("{} ", canary()),
        scopes: vec![format!("{} ", canary())],
        labels: [(format!("{}\n", canary()), format!("{}\n", canary()))].into(),
        allowed_networks: vec![canary()],
        token_hint: format!("{}\n", canary()),
        ..Default::default()
    };
    let request = |keys| v1::ImportKeysRequest { account: "acme".into(), keys, ..Default::default() };
    let mut seeds: Vec<_> = secrets.iter().map(|secret| request(vec![whole(secret, None)])).collect();
    seeds.extend(
        expiries.into_iter().map(|expiry| request(vec![whole(&Some(Secret::Sha256(vec![7; 32])), Some(expiry))])),
    );
    seeds.push(request(vec![wrong]));
    seeds.push(request(secrets.iter().map(|secret| whole(secret, None)).collect()));
    seeds.push(v1::ImportKeysRequest { account: canary(), request_id: format!("{} ", canary()), ..Default::default() });
    seeds.push(v1::ImportKeysRequest { dry_run: true, ..request(vec![v1::ImportedKey::default()]) });
    seeds.iter().map(Message::encode_to_vec).collect()
}
