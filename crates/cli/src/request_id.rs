//! Request IDs. This is the only file of keyctl that reads random bytes.

#![expect(clippy::disallowed_types, reason = "the only file of keyctl that reads random bytes")]

use rand::TryRng as _;
use rand::rngs::SysRng;

use crate::errors::Error;

/// Generates the ID of a change, by which the authority recognizes a repeated request.
pub(crate) fn fresh() -> Result<String, Error> {
    let mut bytes = [0; 16];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| Error::NoRandomness(error.into()))?;
    Ok(format!("keyctl-{:032x}", u128::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::fresh;

    #[test]
    fn request_ids_are_unique() {
        assert_ne!(fresh().unwrap(), fresh().unwrap());
    }
}
