//! Keys of a tenant that are as large as keys can be. They are resident on every replica, and listed by others.

use anyhow::Result;
use key_authority_proto::v1;

use crate::answers::of_status;
use crate::attack::Attack;
use crate::client::{OPERATOR, TENANT, client};
use crate::stage::{Stage, TENANT_ACCOUNT};

const KEYS: usize = 300;
const PROJECTS: usize = 1_000;
const PROJECT_CHARACTERS: usize = 253;
/// What every gRPC client reads by default.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(super) const ATTACK: Attack = Attack::new(
    "large-keys",
    "300 keys with 1,000 projects of 253 characters; then a page of them must fit 4 MiB",
    |stage| Box::pin(async move { run(&stage).await }),
)
.finite();

async fn run(stage: &Stage) -> Result<()> {
    let mut tenant = client(stage, &stage.tenant, TENANT)?;
    for key in 0..KEYS {
        let only = (0..PROJECTS).map(|project| {
            let name = format!("{key}-{project}-");
            format!("{name:p<PROJECT_CHARACTERS$}")
        });
        let projects = v1::ProjectAccess { all: false, only: only.collect() };
        let request =
            v1::CreateKeyRequest { account: TENANT_ACCOUNT.into(), projects: Some(projects), ..Default::default() };
        match tenant.create_key(request).await {
            Ok(_) => stage.answers.count("OK"),
            Err(status) => stage.answers.count(of_status(&status)),
        }
    }
    let request = v1::ListKeysRequest { account: TENANT_ACCOUNT.into(), page_size: 1_000, ..Default::default() };
    match client(stage, &stage.root, OPERATOR)?.list_keys(request).await {
        Ok(page) => {
            let bytes = prost::Message::encoded_len(page.get_ref());
            if bytes > PAGE_BYTES_MAX {
                stage.broken(format!("a page of ListKeys has {} MiB", bytes / (1024 * 1024)));
            }
        }
        Err(status) => stage.broken(format!("ListKeys by root: {}", of_status(&status))),
    }
    Ok(())
}
