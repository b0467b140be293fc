//! Patterns for names that are costly to compile or to match. A tenant sets them on its account and calls what uses
//! them.

use std::sync::Arc;

use anyhow::Result;
use key_authority_proto::v1;

use crate::answers::of_status;
use crate::attack::Attack;
use crate::client::{Client, TENANT, client};
use crate::stage::{Stage, TENANT_ACCOUNT};

const CALLERS: usize = 16;

const PATTERNS: [&str; 10] = [
    r"(a{1000}){1000}",
    r"((a{0,30}){0,30}){0,30}",
    r"\w{200}",
    r"(\w{30}){30}",
    r"(x+x+)+y",
    r"(a|a)*(a|a)*(a|a)*b",
    r"\p{L}{100}\p{N}{100}",
    r"(?i)[\p{L}\p{N}]{40}",
    r"((((((((((a?){2}){2}){2}){2}){2}){2}){2}){2}){2}){2}",
    r"[^\d\s]{0,60}\w{0,60}.{0,60}",
];

pub(super) const ATTACK: Attack = Attack::new(
    "regex-bombs",
    "costly patterns in display_name_pattern, then 16 × GetAccount, ListKeys and CreateKey at once",
    |stage| Box::pin(async move { run(&stage).await }),
);

async fn run(stage: &Arc<Stage>) -> Result<()> {
    let client = client(stage, &stage.tenant, TENANT)?;
    loop {
        for pattern in PATTERNS {
            if !set(stage, &client, pattern).await {
                continue;
            }
            let calls = (0..CALLERS).map(|number| call(stage, &client, number));
            futures_util::future::join_all(calls).await;
        }
    }
}

async fn set(stage: &Stage, client: &Client, pattern: &str) -> bool {
    let policy = v1::KeyPolicy { display_name_pattern: pattern.into(), ..v1::KeyPolicy::default() };
    let account = v1::Account { id: TENANT_ACCOUNT.into(), policy: Some(policy), ..v1::Account::default() };
    let request = v1::UpdateAccountRequest { account: Some(account), ..v1::UpdateAccountRequest::default() };
    let outcome = client.clone().update_account(request).await;
    let is_set = outcome.is_ok();
    stage.answers.count(match outcome {
        Ok(_) => "pattern accepted".to_owned(),
        Err(status) => of_status(&status),
    });
    is_set
}

async fn call(stage: &Stage, client: &Client, number: usize) {
    let account = TENANT_ACCOUNT.to_owned();
    let display_name = "x".repeat(64);
    let request = v1::CreateKeyRequest { account: account.clone(), display_name, ..Default::default() };
    let mut client = client.clone();
    let outcome = match number % 3 {
        0 => client.get_account(v1::GetAccountRequest { account }).await.map(drop),
        1 => client.list_keys(v1::ListKeysRequest { account, ..Default::default() }).await.map(drop),
        _ => client.create_key(request).await.map(drop),
    };
    stage.answers.count(outcome.map_or_else(|status| of_status(&status), |()| "OK".to_owned()));
}
