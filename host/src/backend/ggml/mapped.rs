//! Files that are mapped into memory, and whether they are still what they were.
//!
//! The system ends a process that reads a page of a mapped file which is not there any more, and what somebody
//! writes into the file are the model's weights from then on. So each batch begins with a look at the files that were
//! opened, and fails if one has changed: a file that is made shorter, or written anew in its place, as `cp` and many
//! downloads do it. A file that is replaced by another one of its name stays what it was. What happens during a batch
//! is not seen; the option `use-mmap` set to `false` is proof against that, too.

use crate::{Error, ErrorCode};
use std::fs::File;
use std::path::PathBuf;
use std::time::SystemTime;

/// The mapped files of a model.
pub(super) struct Mapped {
    files: Vec<MappedFile>,
}

struct MappedFile {
    path: PathBuf,
    file: File,
    size: u64,
    modified: Option<SystemTime>,
}

impl Mapped {
    /// The files as they are now; none of them if they are not mapped.
    pub(super) fn open(paths: &[PathBuf], mapped: bool) -> Result<Self, Error> {
        let paths = if mapped { paths } else { &[] };
        let files = paths
            .iter()
            .map(|path| {
                let file = File::open(path)?;
                let metadata = file.metadata()?;
                Ok(MappedFile {
                    path: path.clone(),
                    file,
                    size: metadata.len(),
                    modified: metadata.modified().ok(),
                })
            })
            .collect::<std::io::Result<_>>()
            .map_err(|error| Error::invalid(format!("the model's file cannot be read: {error}")))?;
        Ok(Self { files })
    }

    /// Fails if one has changed.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.files.iter().find(|file| !file.is_unchanged()) {
            None => Ok(()),
            Some(file) => Err(Error::new(
                ErrorCode::RuntimeError,
                format!(
                    "{} has changed since the model was loaded, and its weights are not those of the model any more: \
                     load it again, and write new versions beside it before they take its name",
                    file.path.display()
                ),
            )),
        }
    }
}

impl MappedFile {
    fn is_unchanged(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| {
            metadata.len() == self.size && metadata.modified().ok() == self.modified
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_shows_and_what_is_replaced_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        std::fs::write(&path, "weights").unwrap();
        let paths = [path.clone()];
        let mapped = Mapped::open(&paths, true).unwrap();
        let read = Mapped::open(&paths, false).unwrap();
        mapped.check().unwrap();
        let other = folder.path().join("other");
        std::fs::write(&other, "others").unwrap();
        std::fs::rename(&other, &path).unwrap();
        mapped.check().unwrap();
        let mapped = Mapped::open(&paths, true).unwrap();
        std::fs::write(&path, "short").unwrap();
        let error = mapped.check().unwrap_err();
        assert!(error.message.contains("has changed"), "{error}");
        read.check().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(Mapped::open(&paths, true).is_err());
    }
}
