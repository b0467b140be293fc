//! Files that are for their owner alone: those with a secret in them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::config::Config;

/// Group and all others.
const OTHERS: u32 = 0o077;

/// Warns of each file with a secret that others than its owner may use. What cannot be looked at is told where it is read.
pub fn warn_of_open_files(config: &Config) {
    for path in config.secret_files() {
        if let Some(mode) = mode_for_others(&path) {
            let (file, mode) = (path.display(), format!("{mode:03o}"));
            tracing::warn!(%file, mode, "others than its owner may use this file, which holds a secret: chmod 600");
        }
    }
}

/// The mode of a file that others than its owner may use.
fn mode_for_others(path: &Path) -> Option<u32> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & OTHERS != 0).then_some(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_may_have_a_right() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        assert_eq!(mode_for_others(&file), None);
        std::fs::write(&file, "").unwrap();
        for (mode, told) in [(0o600, None), (0o400, None), (0o640, Some(0o640)), (0o604, Some(0o604))] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(mode_for_others(&file), told, "{mode:o}");
        }
    }
}
