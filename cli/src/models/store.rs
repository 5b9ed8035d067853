//! The folder with the models.
//!
//! Each model is a folder that is called as the model is, with the files and a manifest. It is filled
//! elsewhere (`.part/NAME`) and moved to its place when it is whole, so nobody ever sees half a model.
//! Who changes a model holds its lock, an empty file in `.locks`; those stay, since a lock that is
//! deleted no longer keeps anybody out. What is removed is `.removed-NAME` until all of it is deleted.

use crate::failure::Failure;
use crate::folder;
use crate::models::fetched::cannot;
use crate::models::manifest::{self, Manifest};
use crate::models::name::Name;
use crate::text::note;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// The variable that names another folder.
const VARIABLE: &str = "LLM_WASI_MODELS";
const PART: &str = ".part";
const LOCKS: &str = ".locks";
const REMOVED: &str = ".removed-";

/// The folder with the models; it need not be there yet.
pub(crate) struct Store {
    folder: PathBuf,
}

/// A model of the store, or what is wrong with it.
pub(crate) struct Entry {
    pub(crate) name: Name,
    pub(crate) state: Result<Manifest, String>,
}

/// Keeps others from changing a model.
pub(crate) struct Lock(#[expect(dead_code, reason = "it is held, and let go when dropped")] File);

impl Store {
    pub(crate) fn open() -> Result<Store, Failure> {
        let folder = folder::cache("models", VARIABLE)?;
        Ok(Store { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// All models, also damaged and unfinished ones, by name.
    pub(crate) fn list(&self) -> Result<Vec<Entry>, Failure> {
        let names = self.names()?;
        names.into_iter().map(|name| self.entry(name)).collect()
    }

    /// The names of all models, the unfinished ones among them.
    pub(crate) fn names(&self) -> Result<Vec<Name>, Failure> {
        let mut names = folders(&self.folder)?;
        names.extend(folders(&self.folder.join(PART))?);
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// These names, if the store has a model of each, be it damaged or unfinished.
    pub(crate) fn known(&self, names: &[String]) -> Result<Vec<Name>, Failure> {
        let stored = self.names()?;
        let find = |text: &String| {
            let name = stored.iter().find(|name| name.as_str() == text);
            name.cloned().ok_or_else(|| {
                let what = format!("no model is called `{}`", text.escape_debug());
                unknown(what, text, &stored)
            })
        };
        names.iter().map(find).collect()
    }

    /// The models of these names, also damaged and unfinished ones.
    pub(crate) fn entries(&self, names: &[String]) -> Result<Vec<Entry>, Failure> {
        let names = self.known(names)?;
        names.into_iter().map(|name| self.entry(name)).collect()
    }

    /// The names of the models that are there.
    pub(crate) fn finished(&self) -> Result<Vec<Name>, Failure> {
        let mut names = folders(&self.folder)?;
        names.sort();
        Ok(names)
    }

    /// The model of this name, if it is there, be it damaged. An unfinished one is not there.
    pub(crate) fn find(&self, name: &Name) -> Result<Option<Entry>, Failure> {
        if !is_there(&self.model(name))? {
            return Ok(None);
        }
        self.entry(name.clone()).map(Some)
    }

    fn entry(&self, name: Name) -> Result<Entry, Failure> {
        let state = if is_there(&self.model(&name))? {
            Manifest::read(&self.model(&name), &name)
        } else if self.is_locked(&name) {
            Err("it is being added just now".to_string())
        } else {
            Err("it is unfinished: add it again to go on".to_string())
        };
        Ok(Entry { name, state })
    }

    /// The paths of a model's files.
    pub(crate) fn files(&self, manifest: &Manifest) -> Vec<PathBuf> {
        let folder = self.model(&manifest.name);
        manifest
            .files
            .iter()
            .map(|file| folder.join(&file.name))
            .collect()
    }

    /// Waits until nobody else changes the model.
    pub(crate) fn lock(&self, name: &Name) -> Result<Lock, Failure> {
        let folder = self.folder.join(LOCKS);
        make(&folder)?;
        let path = folder.join(name.as_str());
        let failed = |error| cannot("lock", &path, &error);
        let file = open_lock(&path, true).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                note(
                    "waiting",
                    &format!("for another llm-wasi that changes {name}"),
                );
                file.lock().map_err(failed)?;
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let lock = Lock(file);
        self.delete_removed(name);
        Ok(lock)
    }

    /// The lock of a model that was changed before, unless somebody else has it.
    fn try_lock(&self, name: &Name) -> Option<Lock> {
        let file = open_lock(&self.folder.join(LOCKS).join(name.as_str()), false).ok()?;
        file.try_lock().ok()?;
        Some(Lock(file))
    }

    /// Whether somebody else changes the model just now.
    fn is_locked(&self, name: &Name) -> bool {
        // A lock that cannot be opened is nobody's whose files can be seen.
        open_lock(&self.folder.join(LOCKS).join(name.as_str()), false)
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Deletes what was removed by processes that ended meanwhile; the lock of `own` is held.
    fn delete_removed(&self, own: &Name) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            let file = entry.file_name();
            let name = file.to_str().and_then(|file| file.strip_prefix(REMOVED));
            let Some(name) = name.and_then(|name| name.parse::<Name>().ok()) else {
                continue;
            };
            let lock = match name == *own {
                true => None,
                false => match self.try_lock(&name) {
                    Some(lock) => Some(lock),
                    None => continue,
                },
            };
            if let Err(error) = delete(&entry.path()) {
                tracing::warn!("{} cannot be deleted: {error}", entry.path().display());
            }
            drop(lock);
        }
    }

    /// The folder in which a model is put together, with nothing in it but the files for which `keep`
    /// says so.
    pub(crate) fn stage(
        &self,
        name: &Name,
        keep: impl Fn(&OsStr) -> bool,
    ) -> Result<PathBuf, Failure> {
        let stage = self.stage_of(name);
        make(&stage)?;
        let clean = || {
            // What is behind a link is not the store's.
            if !stage.symlink_metadata()?.is_dir() {
                return Err(Error::new(ErrorKind::NotADirectory, "it is a link"));
            }
            for entry in std::fs::read_dir(&stage)? {
                let entry = entry?;
                if !entry.file_type()?.is_file() || !keep(&entry.file_name()) {
                    delete(&entry.path())?;
                }
            }
            Ok(())
        };
        clean().map_err(|error| cannot("clean", &stage, &error))?;
        Ok(stage)
    }

    /// Throws away what was put together.
    pub(crate) fn discard(&self, name: &Name) {
        let stage = self.stage_of(name);
        if let Err(error) = delete(&stage) {
            tracing::warn!("{} cannot be deleted: {error}", stage.display());
        }
    }

    /// Gives what was put together its place.
    pub(crate) fn publish(&self, manifest: &Manifest) -> Result<(), Failure> {
        let stage = self.stage_of(&manifest.name);
        let path = stage.join(manifest::FILE);
        let write = || {
            let mut json = serde_json::to_vec_pretty(manifest)?;
            json.push(b'\n');
            std::fs::write(&path, json)?;
            File::open(&path)?.sync_all()
        };
        write().map_err(|error| cannot("write", &path, &error))?;
        let place = self.model(&manifest.name);
        std::fs::rename(&stage, &place).map_err(|error| cannot("make", &place, &error))
    }

    /// Removes a model, or what there is of it. Says whether there was anything.
    pub(crate) fn remove(&self, name: &Name) -> Result<bool, Failure> {
        let _lock = self.lock(name)?;
        // Half a model is never seen: it is moved away first, then deleted file by file.
        let removed = self.folder.join(format!("{REMOVED}{name}"));
        let mut found = false;
        for path in [self.model(name), self.stage_of(name)] {
            if is_there(&path)? {
                found = true;
                std::fs::rename(&path, &removed)
                    .and_then(|()| delete(&removed))
                    .map_err(|error| cannot("remove", &path, &error))?;
            }
        }
        Ok(found)
    }

    fn model(&self, name: &Name) -> PathBuf {
        self.folder.join(name.as_str())
    }

    fn stage_of(&self, name: &Name) -> PathBuf {
        self.folder.join(PART).join(name.as_str())
    }
}

impl Entry {
    /// The manifest of a model that is to be used.
    pub(crate) fn manifest(self) -> Result<Manifest, Failure> {
        let Entry { name, state } = self;
        state.map_err(|problem| unusable(&name, &problem))
    }
}

/// The failure of a model that is damaged.
pub(crate) fn unusable(name: &Name, problem: &str) -> Failure {
    Failure::new(format!(
        "the stored model `{name}` cannot be used: {problem}"
    ))
    .next_step(format!("`llm-wasi model remove {name}`, then add it again"))
}

/// The failure of a name that no model has, with the names that could be meant.
pub(crate) fn unknown(what: String, name: &str, names: &[Name]) -> Failure {
    let failure = Failure::new(what).expected(match names {
        [] => "the name of a stored model; there is none yet".to_string(),
        names => format!("the name of a stored model: {}", quoted(names)),
    });
    let nearest = names
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known.as_str()), known))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    failure.next_step(match nearest {
        Some((_, nearest)) => format!("is `{nearest}` meant?"),
        None => "`llm-wasi model list` shows the models, `llm-wasi model add` adds one".to_string(),
    })
}

/// Names for a sentence.
pub(crate) fn quoted(names: &[Name]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// The names of a folder's folders that are models' names. A folder that is not there has none.
fn folders(folder: &Path) -> Result<Vec<Name>, Failure> {
    let names = || {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if let Some(name) = name
                && entry.path().is_dir()
            {
                names.push(name);
            }
        }
        Ok(names)
    };
    match names() {
        Err(error) if std::io::Error::kind(&error) == ErrorKind::NotFound => Ok(Vec::new()),
        names => names.map_err(|error| cannot("read", folder, &error)),
    }
}

fn is_there(path: &Path) -> Result<bool, Failure> {
    path.try_exists()
        .map_err(|error| cannot("read", path, &error))
}

fn make(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| cannot("make", folder, &error))
}

/// Deletes a file or a folder; of a link the link.
fn delete(path: &Path) -> std::io::Result<()> {
    if path.symlink_metadata()?.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    }
}

/// The file of a lock, in which nothing is changed. It is never a link: what that leads to is not the
/// store's, and not the same for everybody.
fn open_lock(path: &Path, create: bool) -> std::io::Result<File> {
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() => {
            return Err(Error::new(ErrorKind::InvalidInput, "it is no plain file"));
        }
        _ => {}
    }
    OpenOptions::new()
        .read(true)
        .write(create)
        .create(create)
        .truncate(false)
        .open(path)
}
