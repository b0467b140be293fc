//! `Debug` of the messages that carry a token in the clear: everything but the token.

use std::fmt;

use crate::ext_authz::HeaderValue;
use crate::ext_authz::attribute_context::HttpRequest;
use crate::v1::imported_key::Secret;
use crate::v1::{
    ConnectInstruction, CreateKeyResponse, CreatePortalSessionResponse, ImportedKey, RenewKeyResponse,
    RenewTokenRequest, RenewTokenResponse, RevealTokenResponse, RevokeTokenRequest, VerifyRequest,
};

/// Stands for a token: whether there is one is shown, its text is not.
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

impl fmt::Debug for RenewTokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenewTokenRequest")
            .field("token", &redacted(&self.token))
            .field("overlap", &self.overlap)
            .field("request_id", &self.request_id)
            .finish()
    }
}

impl fmt::Debug for RenewTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenewTokenResponse")
            .field("key", &self.key)
            .field("token", &redacted(&self.token))
            .field("propagation", &self.propagation)
            .finish()
    }
}

impl fmt::Debug for RevokeTokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevokeTokenRequest")
            .field("token", &redacted(&self.token))
            .field("reason", &self.reason)
            .field("request_id", &self.request_id)
            .finish()
    }
}

impl fmt::Debug for RevealTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevealTokenResponse").field("token", &redacted(&self.token)).finish()
    }
}

impl fmt::Debug for CreatePortalSessionResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatePortalSessionResponse")
            .field("url", &redacted(&self.url))
            .field("url_expire_time", &self.url_expire_time)
            .field("expire_time", &self.expire_time)
            .finish()
    }
}

impl fmt::Debug for ConnectInstruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectInstruction")
            .field("client", &self.client)
            .field("posix_command", &redacted(&self.posix_command))
            .field("powershell_command", &redacted(&self.powershell_command))
            .field("cmd_command", &redacted(&self.cmd_command))
            .field("link", &redacted(&self.link))
            .field("connector_url", &redacted(&self.connector_url))
            .field("warning", &self.warning)
            .field("settings_json", &redacted(&self.settings_json))
            .finish()
    }
}

/// The names of its headers alone: a token can be in any header, and in the path.
impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest")
            .field("headers", &self.headers.keys())
            .field("path", &if self.path.is_empty() { "" } else { "…" })
            .field("header_map", &self.header_map)
            .finish()
    }
}

impl fmt::Debug for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_empty = self.value.is_empty() && self.raw_value.is_empty();
        f.debug_struct("HeaderValue").field("key", &self.key).field("value", &if is_empty { "" } else { "…" }).finish()
    }
}

impl fmt::Debug for ImportedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportedKey")
            .field("key_id", &self.key_id)
            .field("display_name", &self.display_name)
            .field("scopes", &self.scopes)
            .field("secret", &self.secret)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(…)",
            Self::Blake3(_) => "Blake3(…)",
            Self::Sha256(_) => "Sha256(…)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext_authz::HeaderMap;

    #[test]
    fn no_debug_shows_a_token() {
        let token = String::from("canary");
        let imported = |secret| format!("{:?}", ImportedKey { secret: Some(secret), ..Default::default() });
        let shown = [
            format!("{:?}", VerifyRequest { token: token.clone(), ..Default::default() }),
            format!("{:?}", CreateKeyResponse { token: token.clone(), ..Default::default() }),
            format!("{:?}", RenewKeyResponse { token: token.clone(), ..Default::default() }),
            format!("{:?}", RenewTokenRequest { token: token.clone(), ..Default::default() }),
            format!("{:?}", RenewTokenResponse { token: token.clone(), ..Default::default() }),
            format!("{:?}", RevokeTokenRequest { token: token.clone(), ..Default::default() }),
            format!("{:?}", RevealTokenResponse { token: token.clone() }),
            format!("{:?}", CreatePortalSessionResponse { url: token.clone(), ..Default::default() }),
            format!("{:?}", ConnectInstruction { posix_command: token.clone(), ..Default::default() }),
            format!("{:?}", ConnectInstruction { powershell_command: token.clone(), ..Default::default() }),
            format!("{:?}", ConnectInstruction { cmd_command: token.clone(), ..Default::default() }),
            format!("{:?}", ConnectInstruction { link: token.clone(), ..Default::default() }),
            format!("{:?}", ConnectInstruction { connector_url: token.clone(), ..Default::default() }),
            format!("{:?}", ConnectInstruction { settings_json: token.clone(), ..Default::default() }),
            format!("{:?}", HttpRequest { path: token.clone().into(), ..Default::default() }),
            format!("{:?}", in_headers(&token)),
            format!("{:?}", HeaderValue { value: token.clone(), ..Default::default() }),
            imported(Secret::Token(token)),
            imported(Secret::Blake3(b"c".to_vec())).replace("99", "canary"),
        ];
        assert!(shown.iter().all(|text| !text.contains("canary") && text.contains('…')), "{shown:?}");
    }

    /// A request with the token in its headers, in both of their forms.
    fn in_headers(token: &str) -> HttpRequest {
        let header = HeaderValue { key: "x-api-key".into(), raw_value: token.into(), ..Default::default() };
        HttpRequest {
            headers: [("x-api-key".into(), token.into())].into(),
            header_map: Some(HeaderMap { headers: vec![header] }),
            ..Default::default()
        }
    }
}
