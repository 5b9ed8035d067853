//! The files of the host that a guest may name.
//!
//! Some options of a model are paths. A guest means a path as it sees it, so each is looked for in the
//! folders that the guest was given, and nowhere else: neither `..` nor a symbolic link leads out of them.

use crate::backend::shorten;
use crate::{Error, ErrorCode};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The folders of a guest, under the guest's names for them. Without any, no file opens.
///
/// ```
/// let files = llm_wasi_host::Files::default().dir(".", "/srv/app").dir("/models", "/srv/models");
/// // Those of /srv/app and of /srv/models, and no others:
/// # let _ =
/// files.open("/models/projector.gguf");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Files {
    folders: Vec<(String, PathBuf)>,
    /// Why none opens.
    refusal: Option<&'static str>,
}

impl Files {
    /// Adds the host's folder `host`, which the guest sees as `guest`.
    #[must_use]
    pub fn dir(mut self, guest: impl Into<String>, host: impl Into<PathBuf>) -> Self {
        self.folders.push((guest.into(), host.into()));
        self
    }

    /// Those of a guest whose files cannot be opened here, for this reason.
    pub(crate) fn refused(reason: &'static str) -> Self {
        Self {
            folders: Vec::new(),
            refusal: Some(reason),
        }
    }

    /// Opens a file by the guest's path for it, to read it.
    pub fn open(&self, path: &str) -> Result<File, Error> {
        let (host, inner) = self.find(path)?;
        let open = || {
            let folder = Dir::open_ambient_dir(host, ambient_authority())?;
            // Checked first, since opening a pipe waits for someone who writes to it.
            if !folder.metadata(inner)?.is_file() {
                return Err(std::io::Error::other("it is not a file"));
            }
            folder.open(inner)
        };
        open().map(cap_std::fs::File::into_std).map_err(|error| {
            Error::invalid(format!(
                "expected a file at `{}` in the folders that the program was given, found none to read \
                 ({error}): check the path, and that no symbolic link leads out of its folder",
                shorten(path)
            ))
        })
    }

    /// A path that names an open file to code that takes only paths. It is valid as long as the file is
    /// open.
    #[cfg(all(feature = "images", target_os = "linux"))]
    pub(crate) fn path_of(&self, _path: &str, file: &File) -> Result<PathBuf, Error> {
        use std::os::fd::AsRawFd;
        // The very file that was opened, whatever its path leads to by now.
        Ok(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())))
    }

    /// A path that names an open file to code that takes only paths.
    ///
    /// Only Linux has paths of open files. Elsewhere this is the file's canonical path, checked to lie in
    /// the guest's folder; whoever replaces the file between this and its use wins that race.
    #[cfg(all(feature = "images", not(target_os = "linux")))]
    pub(crate) fn path_of(&self, path: &str, _file: &File) -> Result<PathBuf, Error> {
        let (host, inner) = self.find(path)?;
        let lies_inside = || {
            let host = host.canonicalize()?;
            let file = host.join(inner).canonicalize()?;
            std::io::Result::Ok(Some(file).filter(|file| file.starts_with(&host)))
        };
        lies_inside().ok().flatten().ok_or_else(|| {
            Error::invalid(format!(
                "expected `{}` to stay where it was opened: try again",
                shorten(path)
            ))
        })
    }

    /// The folder with the longest name that a path begins with, and the rest of the path.
    fn find<'a>(&'a self, path: &'a str) -> Result<(&'a Path, &'a str), Error> {
        if let Some(reason) = self.refusal {
            return Err(Error::new(ErrorCode::UnsupportedOperation, reason));
        }
        let relative = trim(path);
        self.folders
            .iter()
            .filter_map(|(guest, host)| {
                let guest = trim(guest);
                let inner = match relative.strip_prefix(guest)? {
                    inner if guest.is_empty() => inner,
                    inner => inner.strip_prefix('/')?,
                };
                Some((guest.len(), host.as_path(), trim(inner)))
            })
            .max_by_key(|(length, ..)| *length)
            .map(|(_, host, inner)| (host, inner))
            .ok_or_else(|| {
                let names: Vec<_> = self.folders.iter().map(|(guest, _)| guest.clone()).collect();
                let found = match names.as_slice() {
                    [] => "it was given none".to_owned(),
                    names => format!("these are {}", crate::backend::list(names)),
                };
                Error::invalid(format!(
                    "expected a path in the folders that the program was given, found `{}`: {found}; \
                     give it the folder, as with --dir GUEST:HOST",
                    shorten(path)
                ))
            })
    }
}

/// A path from the root, which is also where a program starts: without the `./` and `/` before it and
/// the `/` behind it.
fn trim(mut path: &str) -> &str {
    while let Some(rest) = path.strip_prefix('/').or_else(|| path.strip_prefix("./")) {
        path = rest;
    }
    match path.trim_end_matches('/') {
        "." => "",
        path => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn read(files: &Files, path: &str) -> Result<String, Error> {
        let mut text = String::new();
        files.open(path)?.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    /// Two folders and a file beside them.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("app/data")).unwrap();
        std::fs::create_dir(path("models")).unwrap();
        for name in ["app/a", "app/data/b", "models/m", "secret"] {
            std::fs::write(path(name), name).unwrap();
        }
        folder
    }

    #[test]
    fn paths_are_those_that_the_guest_sees() {
        let folder = folder();
        let files = Files::default()
            .dir(".", folder.path().join("app"))
            .dir("/models", folder.path().join("models"));
        for (path, expected) in [
            ("a", "app/a"),
            ("./a", "app/a"),
            ("/a", "app/a"),
            ("data/b", "app/data/b"),
            ("data/../a", "app/a"),
            ("/models/m", "models/m"),
            ("models//m", "models/m"),
        ] {
            assert_eq!(read(&files, path).unwrap(), expected, "{path}");
        }
        // A name that only begins like the folder's is another one.
        assert!(read(&files, "modelsm").is_err());
        for path in ["", ".", "data", "nothing", "models"] {
            let error = read(&files, path).unwrap_err();
            assert!(error.message.contains("expected a file at"), "{error}");
        }
    }

    #[test]
    fn nothing_outside_of_the_folders_opens() {
        let folder = folder();
        let secret = folder.path().join("secret");
        let files = Files::default().dir("/app", folder.path().join("app"));
        for path in [
            "app/../secret",
            "app/data/../../secret",
            secret.to_str().unwrap(),
            "/etc/passwd",
        ] {
            assert!(read(&files, path).is_err(), "{path}");
        }
        assert_eq!(read(&files, "app/a").unwrap(), "app/a");
        let error = read(&Files::default(), "a").unwrap_err();
        assert!(error.message.contains("it was given none"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn symbolic_links_do_not_lead_out() {
        use std::os::unix::fs::symlink;
        let folder = folder();
        let app = folder.path().join("app");
        symlink("a", app.join("inside")).unwrap();
        symlink("../secret", app.join("out")).unwrap();
        symlink(folder.path().join("secret"), app.join("absolute")).unwrap();
        symlink("..", app.join("up")).unwrap();
        let files = Files::default().dir(".", &app);
        assert_eq!(read(&files, "inside").unwrap(), "app/a");
        for path in ["out", "absolute", "up/secret"] {
            assert!(read(&files, path).is_err(), "{path}");
        }
    }
}
