//! Page tokens that were altered, cut, lengthened, or made for another query.

use anyhow::{Context as _, Result};
use key_authority_proto::v1;
use key_authority_testkit::rng::SeededRng;
use tonic::{Code, Status};

use crate::answers::of_status;
use crate::attack::Attack;
use crate::client::{Client, TENANT, client};
use crate::stage::{Stage, TENANT_ACCOUNT, create, large_key};

const RANDOM_TOKENS: usize = 500;

pub(super) const ATTACK: Attack = Attack::new(
    "page-tokens",
    "page tokens altered in each place, cut, lengthened, random, or of another query; all must be INVALID_ARGUMENT",
    |stage| Box::pin(async move { run(&stage).await }),
);

async fn run(stage: &Stage) -> Result<()> {
    let client = client(stage, &stage.tenant, TENANT)?;
    for _ in 0..2 {
        create(client.clone(), large_key()).await?;
    }
    let token = list(&client, "", TENANT_ACCOUNT).await.context("no first page")?;
    anyhow::ensure!(!token.is_empty(), "the first page has no token of the next page");
    list(&client, &token, TENANT_ACCOUNT).await.context("the unaltered token was refused")?;
    loop {
        for altered in altered(&token) {
            expect_invalid(stage, &altered, list(&client, &altered, TENANT_ACCOUNT).await);
        }
        expect_invalid(stage, "the token of another query", list(&client, &token, "").await);
        let request = v1::ListAccountsRequest { page_size: 1, page_token: token.clone() };
        expect_invalid(stage, "the token of ListKeys", client.clone().list_accounts(request).await);
        let request = v1::ListAuditEventsRequest {
            page_size: 1,
            page_token: token.clone(),
            account: TENANT_ACCOUNT.into(),
            ..Default::default()
        };
        expect_invalid(stage, "the token of ListKeys", client.clone().list_audit_events(request).await);
    }
}

/// Reads a page of one key, and returns the token of the next page.
async fn list(client: &Client, token: &str, account: &str) -> Result<String, Status> {
    let request =
        v1::ListKeysRequest { account: account.into(), page_size: 1, page_token: token.into(), ..Default::default() };
    Ok(client.clone().list_keys(request).await?.into_inner().next_page_token)
}

fn expect_invalid<T>(stage: &Stage, token: &str, outcome: Result<T, Status>) {
    match outcome {
        Err(status) => {
            stage.answers.count(of_status(&status));
            if status.code() != Code::InvalidArgument {
                stage.broken(format!("the page token {} got {:?}", shown(token), status.code()));
            }
        }
        Ok(_) => stage.broken(format!("the page token {} was accepted", shown(token))),
    }
}

/// The beginning of a token.
fn shown(token: &str) -> String {
    token.chars().take(40).collect()
}

fn altered(token: &str) -> Vec<String> {
    let mut rng = SeededRng::new(1);
    let mut altered = Vec::new();
    let replaced = |place: usize, by: &str| format!("{}{by}{}", &token[..place], &token[place + 1..]);
    for (place, character) in token.char_indices() {
        altered.push(replaced(place, if character == 'A' { "B" } else { "A" }));
        // The bits of base64's last character that no byte uses must be zero.
        altered.push(replaced(place, if character == '_' { "-" } else { "_" }));
        altered.push(token[..place].to_owned());
    }
    // No token at all is the first page.
    altered.retain(|altered| !altered.is_empty() && altered != token);
    altered.extend([format!("{token}A"), format!("{token}="), format!("{token}{token}"), format!(" {token}")]);
    altered.extend(["\0".to_owned(), "\u{202e}".to_owned(), "A".repeat(1_024), "A".repeat(60_000)]);
    for _ in 0..RANDOM_TOKENS {
        let length = usize::try_from(rng.below(200)).unwrap_or_default() + 1;
        altered.push(rng.name().repeat(length / 16 + 1).chars().take(length).collect());
    }
    altered
}
