//! The sign-in of the console, as a browser without scripts does it.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};

use crate::http1::{Reply, exchange};
use crate::stage::Stage;

/// The sign-in page that somebody has opened.
pub(crate) struct SignIn {
    pub(crate) cookie: String,
    form_token: String,
}

impl SignIn {
    /// Opens the page.
    pub(crate) async fn open(stage: &Stage, from: IpAddr) -> Result<Self> {
        let page = exchange(stage.door, from, "GET /console/sign-in HTTP/1.1", "").await?;
        ensure!(page.status == 200, "the sign-in page got {}", page.status);
        let cookie = page.text.lines().find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next());
        let form_token = page.text.split("name=\"form_token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        Ok(Self {
            cookie: cookie.context("the sign-in page sets no cookie")?.to_owned(),
            form_token: form_token.context("the sign-in page has no form")?.to_owned(),
        })
    }

    /// Sends the form with a token.
    pub(crate) async fn submit(&self, stage: &Stage, from: IpAddr, token: &str) -> Result<Reply> {
        let body = format!("form_token={}&token={token}", self.form_token);
        exchange(stage.door, from, &self.head(), &body).await
    }

    /// The request line and the headers of the form.
    pub(crate) fn head(&self) -> String {
        format!("{HEAD}\r\ncookie: {}", self.cookie)
    }
}

/// The head of a form without a session.
pub(crate) const HEAD: &str = "POST /console/sign-in HTTP/1.1\r\nsec-fetch-site: same-origin\r\n\
                               content-type: application/x-www-form-urlencoded";
