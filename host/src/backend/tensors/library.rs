//! Finds a library at run time.
//!
//! | order | place |
//! |---|---|
//! | 1 | the first environment variable that is set: a file, or a folder that holds it |
//! | 2 | the folders of `LD_LIBRARY_PATH`, or what the platform calls it |
//! | 3 | wherever the system's loader looks |
//! | 4 | the usual folders of Linux, for packages that install a name with a version only |
//!
//! A variable is a decision: if what it names cannot be loaded, nothing else is tried.

use crate::{Error, ErrorCode};
use std::env::consts::{ARCH, DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The folders that the loader looks into first.
const LOADER_PATH: &str = if cfg!(windows) {
    "PATH"
} else if cfg!(target_vendor = "apple") {
    "DYLD_LIBRARY_PATH"
} else {
    "LD_LIBRARY_PATH"
};

/// A library to look for.
pub(in crate::backend) struct Library {
    /// Its name for people.
    pub(in crate::backend) title: &'static str,
    /// Its file's name, without what the platform puts before and behind.
    pub(in crate::backend) stem: &'static str,
    /// The version behind the file's name that a system without its development files has.
    pub(in crate::backend) version: Option<&'static str>,
    /// Environment variables that name its file or folder; the first one is ours.
    pub(in crate::backend) variables: &'static [&'static str],
    /// Folders below a named one that may hold it.
    pub(in crate::backend) folders: &'static [&'static str],
    /// How to get it.
    pub(in crate::backend) advice: &'static str,
}

impl Library {
    /// Opens the library with `open`, at the first place where that succeeds.
    pub(in crate::backend) fn open<V>(
        &self,
        open: impl Fn(&Path) -> Result<V, String>,
    ) -> Result<(V, PathBuf), Error> {
        self.open_in(|variable| std::env::var_os(variable), open)
    }

    fn open_in<V>(
        &self,
        variable: impl Fn(&str) -> Option<OsString>,
        open: impl Fn(&Path) -> Result<V, String>,
    ) -> Result<(V, PathBuf), Error> {
        let set = |name: &&&str| variable(name).filter(|value| !value.is_empty());
        if let Some(name) = self.variables.iter().find(|name| set(name).is_some()) {
            let place = PathBuf::from(variable(name).unwrap_or_default());
            let path = self
                .at(&place)
                .map_err(|reason| self.missing(&format!("{name} names {reason}")))?;
            return match open(&path) {
                Ok(value) => Ok((value, path)),
                Err(reason) => Err(self.missing(&format!(
                    "{name} names {}, which cannot be loaded: {reason}",
                    path.display()
                ))),
            };
        }
        let mut reasons = Vec::new();
        for path in self.candidates(variable(LOADER_PATH)) {
            match open(&path) {
                Ok(value) => return Ok((value, path)),
                // A bare name that leads nowhere is no news.
                Err(reason) if path.is_absolute() => {
                    reasons.push(format!("{} cannot be loaded: {reason}", path.display()));
                }
                Err(reason) => tracing::debug!("{}: {reason}", path.display()),
            }
        }
        if reasons.is_empty() {
            let (first, others) = self.variables.split_first().unwrap_or((&"", &[]));
            let others: Vec<_> = others.iter().map(|name| format!("{name}, ")).collect();
            reasons.push(format!(
                "{first} is not set, and {} is neither in {}{LOADER_PATH} nor in the system's folders",
                self.file_name(""),
                others.concat()
            ));
        }
        Err(self.missing(&reasons.join("; ")))
    }

    fn missing(&self, reason: &str) -> Error {
        Error::new(
            ErrorCode::InvalidEncoding,
            format!(
                "this host computes with {}, which is not here: {reason}. {}",
                self.title, self.advice
            ),
        )
    }

    /// The library's file at a place that someone named.
    fn at(&self, place: &Path) -> Result<PathBuf, String> {
        if place.is_file() {
            let name = place.file_name().unwrap_or_default().to_string_lossy();
            return if self.version_in(&name).is_some() {
                Ok(absolute(place))
            } else {
                Err(format!(
                    "{}, whose name is not that of {}",
                    place.display(),
                    self.file_name("")
                ))
            };
        }
        if !place.is_dir() {
            return Err(format!("{}, where there is nothing", place.display()));
        }
        std::iter::once("")
            .chain(self.folders.iter().copied())
            .find_map(|folder| self.newest(&place.join(folder)))
            .ok_or_else(|| format!("{}, which has no {}", place.display(), self.file_name("")))
    }

    /// Where the library may be if no variable says so.
    fn candidates(&self, loader_path: Option<OsString>) -> Vec<PathBuf> {
        let loader_path = loader_path.unwrap_or_default();
        let mut found: Vec<PathBuf> = std::env::split_paths(&loader_path)
            .filter_map(|folder| self.newest(&folder))
            .collect();
        found.push(self.file_name("").into());
        if let Some(version) = self.version.filter(|_| cfg!(target_os = "linux")) {
            found.push(self.file_name(version).into());
        }
        if cfg!(target_os = "linux") {
            let folders = [
                "/usr/local/lib",
                &format!("/usr/lib/{ARCH}-linux-gnu"),
                "/usr/lib64",
                "/usr/lib",
            ];
            found.extend(
                folders
                    .iter()
                    .filter_map(|folder| self.newest(Path::new(folder))),
            );
        }
        found
    }

    /// The library's file in a folder: the plain name, else the one with the highest version.
    fn newest(&self, folder: &Path) -> Option<PathBuf> {
        let plain = folder.join(self.file_name(""));
        if plain.is_file() {
            return Some(absolute(&plain));
        }
        let files = folder.read_dir().ok()?.filter_map(Result::ok);
        files
            .filter_map(|file| {
                let version = self.version_in(file.file_name().to_str()?)?;
                file.path().is_file().then_some((version, file.path()))
            })
            .max()
            .map(|(_, path)| absolute(&path))
    }

    fn file_name(&self, version: &str) -> String {
        format!("{DLL_PREFIX}{}{DLL_SUFFIX}{version}", self.stem)
    }

    /// The version in a file's name, empty for a plain one, if it is this library's.
    fn version_in(&self, name: &str) -> Option<Vec<u64>> {
        let rest = name.strip_prefix(&format!("{DLL_PREFIX}{}", self.stem))?;
        // The version is behind the suffix on Linux, before it on macOS.
        let version = match rest.strip_prefix(DLL_SUFFIX) {
            Some(version) => version,
            None => rest.strip_suffix(DLL_SUFFIX)?,
        };
        match version {
            "" => Some(Vec::new()),
            _ => version
                .strip_prefix('.')?
                .split('.')
                .map(|part| part.parse().ok())
                .collect(),
        }
    }
}

/// The loader looks elsewhere for what has no folder, and a process may change its own.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs;

    const LIBRARY: Library = Library {
        title: "Numbers",
        stem: "numbers",
        version: Some(".1"),
        variables: &["LLM_WASI_NUMBERS", "NUMBERS_PATH"],
        folders: &["lib", "capi"],
        advice: "Install it.",
    };

    /// Looks for the library with these variables, where every file but those called `bad` can be loaded.
    fn found(variables: &[(&str, &Path)]) -> Result<PathBuf, String> {
        let variable = |name: &str| {
            let value = variables.iter().find(|(known, _)| *known == name);
            value.map(|(_, path)| path.as_os_str().to_owned())
        };
        let open = |path: &Path| {
            if !path.is_file() {
                return Err("no such file".to_owned());
            }
            match fs::read_to_string(path) {
                Ok(text) if text == "bad" => Err("it is bad".to_owned()),
                _ => Ok(()),
            }
        };
        let found = LIBRARY.open_in(variable, open);
        found.map(|((), path)| path).map_err(|error| error.message)
    }

    #[test]
    fn a_variable_names_a_file_or_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("package/capi")).unwrap();
        fs::create_dir_all(at("empty")).unwrap();
        for name in [
            "package/capi/libnumbers.so.1.9.0",
            "package/capi/libnumbers.so.1.10.0",
            "package/capi/libnumbers.so.1.10.0-old",
            "package/capi/libnumbers_shared.so.2",
            "libother.so",
        ] {
            fs::write(at(name), "").unwrap();
        }
        let newest = at("package/capi/libnumbers.so.1.10.0");
        for place in [
            "package",
            "package/capi",
            "package/capi/libnumbers.so.1.10.0",
        ] {
            for name in LIBRARY.variables {
                assert_eq!(found(&[(name, &at(place))]), Ok(newest.clone()), "{place}");
            }
        }
        fs::write(at("package/capi/libnumbers.so"), "").unwrap();
        let plain = found(&[("LLM_WASI_NUMBERS", &at("package"))]);
        assert_eq!(plain, Ok(at("package/capi/libnumbers.so")));

        // It decides, even if another place has the library.
        fs::write(at("package/capi/libnumbers.so"), "bad").unwrap();
        for (place, reason) in [
            ("missing", "where there is nothing"),
            ("empty", "which has no libnumbers.so"),
            ("libother.so", "whose name is not that of libnumbers.so"),
            ("package", "which cannot be loaded: it is bad"),
        ] {
            let error = found(&[
                ("LLM_WASI_NUMBERS", &at(place)),
                ("NUMBERS_PATH", &newest),
                ("LD_LIBRARY_PATH", &at("package/capi")),
            ])
            .unwrap_err();
            assert!(error.contains("LLM_WASI_NUMBERS names"), "{error}");
            assert!(error.contains(reason), "{error}");
            assert!(error.ends_with("Install it."), "{error}");
        }
    }

    #[test]
    fn the_loaders_folders_are_searched_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a", "b", "c"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("b/libnumbers.so.1.2"), "bad").unwrap();
        let path = std::env::join_paths([at("missing"), at("a"), at("b"), at("c")]).unwrap();
        let path = Path::new(&path);
        let error = found(&[("LD_LIBRARY_PATH", path)]).unwrap_err();
        assert!(
            error.contains("libnumbers.so.1.2 cannot be loaded: it is bad"),
            "{error}"
        );
        fs::write(at("c/libnumbers.so.1"), "").unwrap();
        assert_eq!(
            found(&[("LD_LIBRARY_PATH", path), ("NUMBERS_PATH", Path::new(""))]),
            Ok(at("c/libnumbers.so.1"))
        );
        let error = found(&[]).unwrap_err();
        let expected = "this host computes with Numbers, which is not here: LLM_WASI_NUMBERS is not set, \
                        and libnumbers.so is neither in NUMBERS_PATH, LD_LIBRARY_PATH nor in the system's \
                        folders. Install it.";
        assert_eq!(error, expected);
    }
}
