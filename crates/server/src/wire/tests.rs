//! Reading is total: for every message it ends with values or with violations.

use key_authority_domain::account::KeyPolicy;
use key_authority_domain::id::Revision;
use key_authority_domain::time::Timestamp;
use key_authority_proto::v1;
use proptest::prelude::*;
use prost::Message;

use super::violations::{VIOLATIONS_MAX, Violations};
use super::{account, audit, connect, idempotency_key, import, key, page, portal, revision};
use crate::verify::decode as verify;

/// Bytes that are mostly a protobuf message: fields with the numbers of our own messages, which contain numbers, short
/// and long texts, and nested messages.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let number = (1..21_u32, prop_oneof![0..20_u64, any::<u64>()]).prop_map(|(tag, value)| {
        let mut bytes = Vec::new();
        prost::encoding::uint64::encode(tag, &value, &mut bytes);
        bytes
    });
    let word = prop_oneof![
        "[a-z_*.]{0,12}",
        "(policy|key|display_name|scopes|expire_time|\\*)",
        ".{0,300}",
        "[0-9./:a-f]{0,20}"
    ];
    let text = (1..21_u32, word).prop_map(|(tag, value)| {
        let mut bytes = Vec::new();
        prost::encoding::string::encode(tag, &value, &mut bytes);
        bytes
    });
    let leaf = prop_oneof![number, text, prop::collection::vec(any::<u8>(), 0..8)];
    leaf.prop_recursive(3, 64, 8, |inner| {
        (1..21_u32, prop::collection::vec(inner, 0..8)).prop_map(|(tag, fields)| {
            let mut bytes = Vec::new();
            prost::encoding::bytes::encode(tag, &fields.concat(), &mut bytes);
            bytes
        })
    })
}

/// Decodes the message in `bytes`, as far as possible.
fn read<M: Message + Default>(bytes: &[u8]) -> M {
    let mut message = M::default();
    let _ = message.merge(bytes);
    message
}

fn check<T>(result: Result<T, Violations>) {
    if let Err(violations) = result {
        assert!((1..=VIOLATIONS_MAX).contains(&violations.iter().count()), "{violations}");
        assert!(violations.iter().all(|violation| violation.rule.starts_with("must ")), "{violations}");
    }
}

proptest! {
    #[test]
    fn reading_is_total(fields in prop::collection::vec(wire(), 0..12)) {
        let bytes = fields.concat();
        if let Ok(request) = verify::VerifyRequestRef::read(&bytes) {
            let _ = request.question().map(drop).map_err(|violations| check::<()>(Err(violations)));
        }
        if let Ok(batch) = verify::batch(&bytes) {
            let _ = verify::questions(&batch).map(drop).map_err(|violations| check::<()>(Err(violations)));
        }
        check(key::new_key(&read(&bytes)));
        check(import::import_keys(read(&bytes)).map(|spec| spec.keys.into_iter().for_each(check)));
        check(key::key_change(&read(&bytes)).and_then(|update| key::check_caller_change(&update.change)));
        check(key::renew_key(&read(&bytes)));
        check(key::revoke_key(&read(&bytes)));
        check(key::revoke_keys(&read(&bytes)));
        check(key::revoke_token(&read(&bytes)));
        check(key::renew_token(&read(&bytes)));
        check(key::disable_key(&read(&bytes)));
        check(key::enable_key(&read(&bytes)));
        check(key::delete_key(&read(&bytes)));
        check(key::list_keys(&read(&bytes)));
        check(key::get_key(&read(&bytes)));
        check(key::reveal_token(&read(&bytes)));
        check(connect::connect(&read(&bytes)));
        check(account::get_account(&read(&bytes)));
        check(account::suspend_account(&read(&bytes)));
        check(account::resume_account(&read(&bytes)));
        check(account::delete_account(&read(&bytes)));
        check(audit::list_events(&read(&bytes)));
        check(portal::create_portal_session(&read(&bytes)));
        check(revision::awaited(read(&bytes)));
        check(idempotency_key::from_request(&read::<v1::CreateKeyRequest>(&bytes)));
        check(page::list_accounts(&read(&bytes)));
        let _ = page::Listing::query_digest(&read::<v1::ListKeysRequest>(&bytes), "key_1");

        let created = account::new_account(&read(&bytes));
        if let Ok(spec) = &created {
            let _ = account::account_to_proto(&spec.clone().into_account(Timestamp::from_micros(0), Revision(1)));
        }
        check(created);
        check(account::account_change(&read(&bytes)).and_then(|change| {
            let given = v1::Account { id: "acme".into(), ..Default::default() };
            let spec = account::new_account(&v1::CreateAccountRequest { account: Some(given), ..Default::default() })?;
            assert_eq!(spec.policy, KeyPolicy::default());
            change.change.apply(&mut spec.into_account(Timestamp::from_micros(0), Revision(1)))
        }));
    }
}
