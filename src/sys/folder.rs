//! Folders of ours alone.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use nix::unistd::geteuid;

/// Makes a folder, in one that is there, where it is missing. It is for our user alone.
///
/// # Errors
///
/// [`io::ErrorKind::PermissionDenied`] where what is there is not a folder of ours that is closed to
/// everybody else; whatever the system says.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    check_private_folder(path)
}

/// Checks that what is there is a folder of our user's, closed to everybody else. A link to one is
/// none: whoever made it can have it lead elsewhere.
///
/// # Errors
///
/// [`io::ErrorKind::PermissionDenied`] where it is not; [`io::ErrorKind::NotFound`] where nothing is
/// there.
pub fn check_private_folder(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    let ours = found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0;
    if ours {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        "it must be a folder that is ours and closed to everybody else",
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn refused(path: &Path) -> io::ErrorKind {
        let checked = check_private_folder(path).unwrap_err().kind();
        let made = make_private_folder(path).unwrap_err().kind();
        assert_eq!(made, checked);
        made
    }

    #[test]
    fn a_folder_is_made_for_our_user_alone_and_found_again() {
        let inside = tempfile::tempdir().unwrap();
        let folder = inside.path().join("records");
        assert_eq!(check_private_folder(&folder).unwrap_err().kind(), io::ErrorKind::NotFound);
        for _ in 0..2 {
            make_private_folder(&folder).unwrap();
            check_private_folder(&folder).unwrap();
        }
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_others_can_read_or_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o770, 0o750, 0o707, 0o701, 0o777] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(refused(folder.path()), io::ErrorKind::PermissionDenied, "{mode:o}");
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        make_private_folder(folder.path()).unwrap();
    }

    #[test]
    fn what_is_a_file_or_a_link_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(folder.path(), &link).unwrap();
        assert_eq!(refused(&file), io::ErrorKind::PermissionDenied);
        assert_eq!(refused(&link), io::ErrorKind::PermissionDenied);
    }
}
