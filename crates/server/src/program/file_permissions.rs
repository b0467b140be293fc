//! Checks the permissions of files that contain a secret.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use crate::program::config::Config;

/// Warns of each file with a secret that others than its owner may access. A file that cannot be examined is reported
/// when it is read.
pub(crate) fn warn_of_open_files(config: &Config) {
    let me = rustix::process::geteuid().as_raw();
    for path in config.secret_files() {
        if let Some(mode) = std::fs::metadata(&path).ok().and_then(|file| mode_for_others(&file, me)) {
            let (file, mode) = (path.display(), format!("{mode:03o}"));
            tracing::warn!(%file, mode, "secret file is accessible to others than its owner; run chmod 600");
        }
        if let Some(owner) = std::fs::metadata(&path).ok().and_then(|file| foreign_owner(&file, me)) {
            tracing::warn!(file = %path.display(), owner, "secret file belongs to another user, who can replace it");
        }
    }
}

/// Returns the owner of a file that is neither `me` nor root.
fn foreign_owner(file: &Metadata, me: u32) -> Option<u32> {
    Some(file.uid()).filter(|owner| *owner != me && *owner != 0)
}

/// Returns the mode of a file that has more permissions than necessary. If another user owns the file, `me` reads it by
/// its group's permission: Kubernetes mounts secrets that way for a user of the pod.
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
    fn the_group_may_read_a_file_that_another_user_owns() {
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
