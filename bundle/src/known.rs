//! Files that have been checked, and how to see that one may have changed since.

use crate::digest::Digest;
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// The most bytes of a record that are read.
const LIMIT: u64 = 1 << 20;

/// What changes with a file's content. Who can set a clock back can forge it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    size: u64,
    /// Nanoseconds since 1970.
    modified: Option<u64>,
    /// The same for the last change of anything, and the number of the file: where systems have them.
    changed: Option<u64>,
    inode: Option<u64>,
}

impl Identity {
    pub(crate) fn of(metadata: &Metadata) -> Identity {
        let modified = metadata.modified().ok();
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let (changed, inode) = of_unix(metadata);
        Identity {
            size: metadata.len(),
            modified: since.and_then(|since| u64::try_from(since.as_nanos()).ok()),
            changed,
            inode,
        }
    }
}

#[cfg(unix)]
fn of_unix(metadata: &Metadata) -> (Option<u64>, Option<u64>) {
    use std::os::unix::fs::MetadataExt;
    let nanoseconds = metadata.ctime().checked_mul(1_000_000_000);
    let changed = nanoseconds.and_then(|n| n.checked_add(metadata.ctime_nsec()));
    let changed = changed.and_then(|n| u64::try_from(n).ok());
    (changed, Some(metadata.ino()))
}

#[cfg(not(unix))]
fn of_unix(_: &Metadata) -> (Option<u64>, Option<u64>) {
    (None, None)
}

/// A file that had this digest when it was this one.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) sha256: Digest,
    pub(crate) identity: Identity,
}

/// Reads a record; nothing if there is none, or none that can be read: then everything is checked again.
pub(crate) fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Option<T> {
    let mut json = Vec::new();
    let file = File::open(path).ok()?;
    file.take(LIMIT).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

/// Writes a record in one step.
pub(crate) fn write(path: &Path, record: &impl Serialize) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
