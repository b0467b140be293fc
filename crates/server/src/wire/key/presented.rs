//! Requests about the key of a token that the caller presents.

use std::net::IpAddr;
use std::time::Duration;

use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::text::{self, ValidationError};
use key_authority_domain::token::TOKEN_LEN_MAX;
use key_authority_proto::v1;
use zeroize::Zeroizing;

use crate::wire::access::client_ip;
use crate::wire::check::Check;
use crate::wire::idempotency_key::idempotency_key;
use crate::wire::time;
use crate::wire::violations::Violations;

/// The key of a token to revoke.
pub(crate) struct RevokeTokenSpec {
    /// The token.
    pub token: Zeroizing<String>,
    /// The reason; may be empty.
    pub reason: String,
    /// The idempotency key of the request.
    pub request: Option<IdempotencyKey>,
}

/// The key of a token to renew.
pub(crate) struct RenewTokenSpec {
    /// The token.
    pub token: Zeroizing<String>,
    /// How long the earlier tokens stay valid.
    pub overlap: Duration,
    /// The address of the holder.
    pub client_ip: Option<IpAddr>,
    /// The idempotency key of the request.
    pub request: Option<IdempotencyKey>,
}

/// Reads the token whose key to revoke, and the reason.
///
/// # Errors
/// The violations of the request.
pub(crate) fn revoke_token(request: &v1::RevokeTokenRequest) -> Result<RevokeTokenSpec, Violations> {
    let mut check = Check::new();
    let token = check.required("token", &request.token, token);
    let reason = check.text("reason", &request.reason, text::REASON);
    let request = idempotency_key(&mut check, request);
    check.finish(|| Some(RevokeTokenSpec { token: token?, reason, request }))
}

/// Reads the token whose key to renew.
///
/// # Errors
/// The violations of the request.
pub(crate) fn renew_token(request: &v1::RenewTokenRequest) -> Result<RenewTokenSpec, Violations> {
    let mut check = Check::new();
    let token = check.required("token", &request.token, token);
    let overlap = request.overlap.as_ref().and_then(|overlap| check.field("overlap", time::duration(overlap)));
    let client_ip = client_ip(&mut check, &request.client_ip);
    let request = idempotency_key(&mut check, request);
    check.finish(|| Some(RenewTokenSpec { token: token?, overlap: overlap.unwrap_or_default(), client_ip, request }))
}

fn token(text: &str) -> Result<Zeroizing<String>, ValidationError> {
    if text.len() > TOKEN_LEN_MAX {
        return Err(ValidationError::new(format!("must be at most {TOKEN_LEN_MAX} bytes")));
    }
    Ok(Zeroizing::new(text.to_owned()))
}
