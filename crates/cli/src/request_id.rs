//! Chance: the one file of keyctl that draws random bytes.

#![expect(clippy::disallowed_types, reason = "the one file of keyctl that asks for random bytes")]

use rand::TryRng as _;
use rand::rngs::SysRng;

use crate::errors::Error;

/// A name for one change, by which the authority knows it again when it is asked for twice.
pub(crate) fn fresh() -> Result<String, Error> {
    let mut bytes = [0; 16];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| Error::NoRandomness(error.into()))?;
    Ok(format!("keyctl-{:032x}", u128::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::fresh;

    #[test]
    fn no_two_changes_share_a_name() {
        assert_ne!(fresh().unwrap(), fresh().unwrap());
    }
}
