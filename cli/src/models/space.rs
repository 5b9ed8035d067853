//! Whether a disk has room for a file.

use crate::failure::Failure;
use crate::models::fetched::cannot;
use crate::text::size;
use std::io::{Error, ErrorKind};
use std::path::Path;

/// Fails if the file at `path`, of which a part may be there, cannot have so many bytes. Where it is not
/// known what is free, the disk itself says so later.
pub(crate) fn check(path: &Path, bytes: u64) -> Result<(), Failure> {
    match room(path) {
        Some(room) if room < bytes => {
            let full = cannot("write", path, &Error::from(ErrorKind::StorageFull));
            Err(full.expected(format!(
                "room for {}; the disk has {}",
                size(bytes),
                size(room)
            )))
        }
        _ => Ok(()),
    }
}

/// What is free, and what the file takes already.
#[cfg(unix)]
fn room(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    let disk = rustix::fs::statvfs(path.parent()?).ok()?;
    // File systems without blocks count nothing.
    if disk.f_blocks == 0 {
        return None;
    }
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let taken = path
        .symlink_metadata()
        .map_or(0, |file| file.blocks().saturating_mul(512));
    Some(free.saturating_add(taken))
}

#[cfg(not(unix))]
fn room(_: &Path) -> Option<u64> {
    None
}
