//! A file that is being written, beside the place that it gets when it is whole.
//!
//! On Linux it has no name until then, where the file system can do that: a process that is ended leaves nothing
//! behind. Elsewhere it is a temporary file, which stays in that case.

use std::fs::File;
use std::io;
use std::path::Path;
use tempfile::NamedTempFile;

const PREFIX: &str = ".llm-wasi-";

/// A file that nobody sees yet.
pub(crate) enum Unfinished {
    #[cfg(target_os = "linux")]
    Nameless(File),
    Temporary(NamedTempFile),
}

impl Unfinished {
    /// An empty one for a folder, with the permissions that new files have there.
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if let Some(file) = nameless::create(folder) {
            return Ok(Self::Nameless(file));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        // The system takes the umask away. Temporary files are private otherwise.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        // The error would name the temporary file, which nobody knows.
        let file = builder.tempfile_in(folder);
        file.map(Self::Temporary)
            .map_err(|error| io::Error::from(error.kind()))
    }

    pub(crate) fn file(&self) -> &File {
        match self {
            #[cfg(target_os = "linux")]
            Self::Nameless(file) => file,
            Self::Temporary(file) => file.as_file(),
        }
    }

    pub(crate) fn file_mut(&mut self) -> &mut File {
        match self {
            #[cfg(target_os = "linux")]
            Self::Nameless(file) => file,
            Self::Temporary(file) => file.as_file_mut(),
        }
    }

    /// Gives it its place in the folder, in the stead of what is there.
    pub(crate) fn finish(self, folder: &Path, path: &Path) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Nameless(file) => {
                // A name can be given, but not taken from another file: that takes a second step.
                let named = tempfile::Builder::new()
                    .prefix(PREFIX)
                    .make_in(folder, |name| nameless::give(&file, name))?;
                named.into_temp_path().persist(path)?;
            }
            Self::Temporary(file) => {
                let _ = folder;
                file.persist(path)?;
            }
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
mod nameless {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;
    use std::path::Path;

    /// Nothing where that cannot be done.
    pub(super) fn create(folder: &Path) -> Option<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = open(folder, flags, Mode::from_raw_mode(0o666)).ok()?;
        let file = File::from(file);
        // Its name comes by way of this.
        Path::new(&place(&file)).exists().then_some(file)
    }

    pub(super) fn give(file: &File, name: &Path) -> io::Result<()> {
        linkat(CWD, place(file), CWD, name, AtFlags::SYMLINK_FOLLOW)?;
        Ok(())
    }

    fn place(file: &File) -> String {
        format!("/proc/self/fd/{}", file.as_raw_fd())
    }
}
