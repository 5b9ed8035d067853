//! Temporary files and folders of models. A process that is ended leaves them behind, and they may be large: who uses
//! one holds a lock on it, and the first one that a process makes removes those that nobody holds.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;
use tempfile::{Builder, TempDir};

const PREFIX: &str = "llm-wasi-";

/// A file with the bytes of a model.
#[cfg(feature = "ggml")]
pub(crate) struct ScratchFile {
    path: tempfile::TempPath,
    _lock: Lock,
}

#[cfg(feature = "ggml")]
impl ScratchFile {
    /// Writes these bytes.
    pub(crate) fn new(suffix: &str, bytes: &[u8]) -> io::Result<Self> {
        remove_abandoned();
        let file = Builder::new().prefix(PREFIX).suffix(suffix).tempfile()?;
        let (mut file, path) = file.into_parts();
        let lock = Lock::of(&file)?;
        io::Write::write_all(&mut file, bytes)?;
        Ok(Self { path, _lock: lock })
    }
}

#[cfg(feature = "ggml")]
impl Deref for ScratchFile {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

/// A folder for files of a process.
#[cfg(target_os = "linux")]
pub(crate) struct ScratchFolder {
    folder: TempDir,
    _lock: Lock,
}

#[cfg(target_os = "linux")]
impl ScratchFolder {
    /// Makes an empty one.
    pub(crate) fn new() -> io::Result<Self> {
        remove_abandoned();
        let folder = Builder::new()
            .prefix(&format!("{PREFIX}worker-"))
            .tempdir()?;
        let lock = Lock::of(&File::open(folder.path())?)?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }
}

#[cfg(target_os = "linux")]
impl Deref for ScratchFolder {
    type Target = Path;

    fn deref(&self) -> &Path {
        self.folder.path()
    }
}

/// Held as long as this is: a lock of the process, which ends with it. Where locks keep others from reading there is
/// none.
struct Lock {
    #[cfg(target_os = "linux")]
    _file: File,
}

impl Lock {
    #[cfg(target_os = "linux")]
    fn of(file: &File) -> io::Result<Self> {
        let file = file.try_clone()?;
        // A file system without locks has files that stay.
        let _ = file.try_lock_shared();
        Ok(Self { _file: file })
    }

    #[cfg(not(target_os = "linux"))]
    fn of(_: &File) -> io::Result<Self> {
        Ok(Self {})
    }
}

/// Removes what processes have left that were ended, once.
fn remove_abandoned() {
    #[cfg(target_os = "linux")]
    {
        static DONE: std::sync::Once = std::sync::Once::new();
        DONE.call_once(|| {
            if let Err(error) = abandoned::remove_in(&std::env::temp_dir()) {
                tracing::debug!("temporary files are not looked through: {error}");
            }
        });
    }
}

#[cfg(target_os = "linux")]
mod abandoned {
    use super::PREFIX;
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    /// One that is younger may be about to be locked.
    const YOUNG: Duration = Duration::from_secs(60);

    pub(super) fn remove_in(folder: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(PREFIX.as_bytes())
            {
                // Somebody else may have removed it.
                let _ = remove(&entry.path());
            }
        }
        Ok(())
    }

    fn remove(path: &Path) -> io::Result<()> {
        let is_ours = |found: &std::fs::Metadata| {
            let age = SystemTime::now().duration_since(found.modified()?);
            let is_old = age.is_ok_and(|age| age > YOUNG);
            io::Result::Ok(is_old && found.uid() == rustix::process::geteuid().as_raw())
        };
        let named = path.symlink_metadata()?;
        if named.is_symlink() || !is_ours(&named)? {
            return Ok(());
        }
        let file = File::open(path)?;
        let found = file.metadata()?;
        // What is locked is in use; and it must be what was looked at.
        if found.ino() != named.ino() || file.try_lock().is_err() {
            return Ok(());
        }
        tracing::debug!("{} was left behind, and is removed", path.display());
        if found.is_dir() {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_file(path)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::fs;

        #[test]
        fn what_nobody_holds_is_removed_when_it_is_old() {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            let long_ago = SystemTime::now() - 2 * YOUNG;
            let old = |name: &str| {
                let file = File::open(at(name)).unwrap();
                file.set_modified(long_ago).unwrap();
                file
            };
            fs::create_dir(at("llm-wasi-worker-a")).unwrap();
            fs::write(at("llm-wasi-worker-a").join("model"), "").unwrap();
            for name in [
                "llm-wasi-b.gguf",
                "llm-wasi-c.gguf",
                "llm-wasi-d.gguf",
                "other",
            ] {
                fs::write(at(name), "").unwrap();
            }
            std::os::unix::fs::symlink(at("other"), at("llm-wasi-e")).unwrap();
            for name in ["llm-wasi-worker-a", "llm-wasi-b.gguf", "other"] {
                old(name);
            }
            let held = old("llm-wasi-c.gguf");
            held.try_lock_shared().unwrap();
            remove_in(folder.path()).unwrap();
            let left = fs::read_dir(folder.path()).unwrap();
            let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
            left.sort();
            let expected = ["llm-wasi-c.gguf", "llm-wasi-d.gguf", "llm-wasi-e", "other"];
            assert_eq!(left, expected);
            drop(held);
            remove_in(folder.path()).unwrap();
            assert!(!at("llm-wasi-c.gguf").exists());
        }
    }
}
