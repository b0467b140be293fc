//! `Debug` of the messages that carry a token in the clear: everything but the token.

use std::fmt;

use crate::v1::{CreateKeyResponse, RenewKeyResponse, RevealTokenResponse, VerifyRequest};

/// Stands for a token: whether there is one may be told, what it is may not.
fn redacted(token: &str) -> &'static str {
    if token.is_empty() { "" } else { "…" }
}

impl fmt::Debug for VerifyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyRequest")
            .field("token", &redacted(&self.token))
            .field("key_id", &self.key_id)
            .field("account", &self.account)
            .field("project", &self.project)
            .field("scopes", &self.scopes)
            .field("client_ip", &self.client_ip)
            .finish()
    }
}

impl fmt::Debug for CreateKeyResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateKeyResponse")
            .field("key", &self.key)
            .field("token", &redacted(&self.token))
            .field("propagation", &self.propagation)
            .finish()
    }
}

impl fmt::Debug for RenewKeyResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenewKeyResponse")
            .field("key", &self.key)
            .field("token", &redacted(&self.token))
            .field("propagation", &self.propagation)
            .finish()
    }
}

impl fmt::Debug for RevealTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevealTokenResponse").field("token", &redacted(&self.token)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_debug_shows_a_token() {
        let token = String::from("canary");
        let shown = [
            format!("{:?}", VerifyRequest { token: token.clone(), ..Default::default() }),
            format!("{:?}", CreateKeyResponse { token: token.clone(), ..Default::default() }),
            format!("{:?}", RenewKeyResponse { token: token.clone(), ..Default::default() }),
            format!("{:?}", RevealTokenResponse { token }),
        ];
        assert!(shown.iter().all(|text| !text.contains("canary") && text.contains('…')), "{shown:?}");
    }
}
