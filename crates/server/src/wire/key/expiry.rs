//! Until when a key shall live: the `oneof expiry` of the requests that create or renew one.

use key_authority_domain::account::ExpiryChoice;
use key_authority_proto::v1::{create_key_request, renew_key_request};

use crate::wire::check::Check;
use crate::wire::time;

/// What the `oneof expiry` of a request says.
#[derive(Clone, Copy)]
pub(super) enum Said<'a> {
    Lifetime(&'a prost_types::Duration),
    ExpireTime(&'a prost_types::Timestamp),
    NeverExpires(bool),
}

macro_rules! said {
    ($($request:ident)*) => {$(
        impl<'a> From<&'a $request::Expiry> for Said<'a> {
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

said!(create_key_request renew_key_request);

/// The expiry that is asked for. How far ahead it may lie is judged where the time is known.
pub(super) fn expiry(check: &mut Check, said: Option<Said<'_>>) -> ExpiryChoice {
    let choice = match said {
        None | Some(Said::NeverExpires(false)) => None,
        Some(Said::NeverExpires(true)) => Some(ExpiryChoice::Never),
        Some(Said::Lifetime(lifetime)) => check.field("lifetime", time::lifetime(lifetime)).map(ExpiryChoice::Lifetime),
        Some(Said::ExpireTime(end)) => check.field("expire_time", time::timestamp(end)).map(ExpiryChoice::At),
    };
    choice.unwrap_or(ExpiryChoice::Unspecified)
}
