//! Files that are for their owner alone: those with a secret in them.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use crate::program::config::Config;

/// Warns of each file with a secret that others than its owner may use. What cannot be looked at is told where it is read.
pub(crate) fn warn_of_open_files(config: &Config) {
    let me = rustix::process::geteuid().as_raw();
    for path in config.secret_files() {
        if let Some(mode) = std::fs::metadata(&path).ok().and_then(|file| mode_for_others(&file, me)) {
            let (file, mode) = (path.display(), format!("{mode:03o}"));
            tracing::warn!(%file, mode, "others than its owner may use this file, which holds a secret: chmod 600");
        }
    }
}

/// The mode of a file that more may use than need to. By the right of its group `me` reads what another owns: so Kubernetes
/// mounts a secret for a user of the pod.
fn mode_for_others(file: &Metadata, me: u32) -> Option<u32> {
    let needless = if file.uid() == me { 0o077 } else { 0o007 };
    let mode = file.mode() & 0o777;
    (mode & needless != 0).then_some(mode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_owner_has_a_right_and_the_group_where_another_owns() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "").unwrap();
        let owner = std::fs::metadata(&file).unwrap().uid();
        for (mode, as_owner, as_another) in
            [(0o600, None, None), (0o400, None, None), (0o640, Some(0o640), None), (0o604, Some(0o604), Some(0o604))]
        {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let metadata = std::fs::metadata(&file).unwrap();
            assert_eq!(mode_for_others(&metadata, owner), as_owner, "{mode:o}");
            assert_eq!(mode_for_others(&metadata, owner + 1), as_another, "{mode:o}");
        }
    }
}
