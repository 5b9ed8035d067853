//! What makes two files the same: a model that is in memory is that of a file, and of no later one in its place.

use crate::Error;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file as it is now.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct FileIdentity {
    path: PathBuf,
    /// Device and inode, where there are such: another file of this name and size may be as new to the clock.
    inode: (u64, u64),
    size: u64,
    modified: Option<SystemTime>,
}

impl FileIdentity {
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let describe =
            |error: std::io::Error| Error::invalid(format!("{}: {error}", path.display()));
        let metadata = path.metadata().map_err(describe)?;
        Ok(Self {
            path: path.canonicalize().map_err(describe)?,
            inode: inode(&metadata),
            size: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> (u64, u64) {
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_the_place_of_another_one_is_not_that() {
        let folder = tempfile::tempdir().unwrap();
        let (path, new) = (folder.path().join("model"), folder.path().join("new"));
        std::fs::write(&path, "1").unwrap();
        let first = FileIdentity::of(&path).unwrap();
        assert!(first == FileIdentity::of(&folder.path().join(".").join("model")).unwrap());
        std::fs::write(&new, "2").unwrap();
        let modified = path.metadata().unwrap().modified().unwrap();
        let file = std::fs::File::options().write(true).open(&new).unwrap();
        file.set_modified(modified).unwrap();
        std::fs::rename(&new, &path).unwrap();
        assert!(cfg!(not(unix)) || first != FileIdentity::of(&path).unwrap());
        assert!(FileIdentity::of(&new).is_err());
    }
}
