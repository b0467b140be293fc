//! A search of more keys than a page looks at.

use key_authority_proto::v1::imported_key::Secret;
use key_authority_proto::v1::*;

use super::Visitor;
use crate::support::{Authority, Client, on_sqlite};

/// Messages of an import, and keys in each. A page looks at 20,000 keys, and the first keys of the first message, which
/// are the oldest ones, are more than that from the newest key.
const MESSAGES: u32 = 5;
const KEYS: u32 = 4_100;

async fn import(root: &Client) {
    for message in 0..MESSAGES {
        let key = |number: u32| ImportedKey {
            display_name: if (message, number) == (0, 0) { "the needle".into() } else { String::new() },
            secret: Some(Secret::Blake3(blake3::hash(&(message * KEYS + number).to_be_bytes()).as_bytes().to_vec())),
            ..ImportedKey::default()
        };
        let keys = (0..KEYS).map(key).collect();
        let request = ImportKeysRequest { account: "acme".into(), keys, ..ImportKeysRequest::default() };
        assert_eq!(root.import(request).await.unwrap().imported, KEYS);
    }
}

async fn a_search_goes_on_where_a_page_ended(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    import(&root).await;
    let mut visitor = Visitor::signed_in(&authority, &authority.root_token()).await;
    for (page, link) in [
        ("/console/accounts/acme?q=needle", "Search the next ones"),
        ("/console/keys?q=needle", "Search the next keys"),
    ] {
        visitor.open(page).await;
        visitor.does_not_see("<bdi>the needle</bdi>");
        let next = visitor.link(link);
        // The link of a list has no path of its own.
        let (path, _) = page.split_once('?').unwrap();
        let next = if next.starts_with('?') { format!("{path}{next}") } else { next };
        visitor.open(&next).await;
        assert_eq!(visitor.status, 200, "{next}");
        visitor.sees("<bdi>the needle</bdi>");
        visitor.does_not_see(link);
    }
    visitor.open("/console/accounts/acme?q=haystack").await;
    let next = visitor.link("Search the next ones");
    let next = if next.starts_with('?') { format!("/console/accounts/acme{next}") } else { next };
    visitor.open(&next).await;
    visitor.sees("No key matches.");
}

on_sqlite! {
    a_search_goes_on_where_a_page_ended,
}
