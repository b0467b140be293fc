//! The expiry of a key: the `oneof expiry` of the requests that create or renew one.

use key_authority_domain::account::ExpiryChoice;
use key_authority_proto::v1::{create_key_request, renew_key_request};

use crate::wire::check::Check;
use crate::wire::time;

/// The value of the `oneof expiry` in a request.
#[derive(Clone, Copy)]
pub(super) enum ExpiryField<'a> {
    Lifetime(&'a prost_types::Duration),
    ExpireTime(&'a prost_types::Timestamp),
    NeverExpires(bool),
}

macro_rules! expiry_fields {
    ($($request:ident)*) => {$(
        impl<'a> From<&'a $request::Expiry> for ExpiryField<'a> {
            fn from(expiry: &'a $request::Expiry) -> Self {
                match expiry {
                    $request::Expiry::Lifetime(lifetime) => Self::Lifetime(lifetime),
                    $request::Expiry::ExpireTime(end) => Self::ExpireTime(end),
                    $request::Expiry::NeverExpires(never) => Self::NeverExpires(*never),
                }
            }
        }
    )*};
}

expiry_fields!(create_key_request renew_key_request);

/// Returns the requested expiry. The domain limits how far in the future it may be, where the current time is known.
pub(super) fn expiry(check: &mut Check, field: Option<ExpiryField<'_>>) -> ExpiryChoice {
    let choice = match field {
        None | Some(ExpiryField::NeverExpires(false)) => None,
        Some(ExpiryField::NeverExpires(true)) => Some(ExpiryChoice::Never),
        Some(ExpiryField::Lifetime(lifetime)) => {
            check.field("lifetime", time::lifetime(lifetime)).map(ExpiryChoice::Lifetime)
        }
        Some(ExpiryField::ExpireTime(end)) => check.field("expire_time", time::timestamp(end)).map(ExpiryChoice::At),
    };
    choice.unwrap_or(ExpiryChoice::Unspecified)
}
