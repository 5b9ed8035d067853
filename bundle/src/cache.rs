//! Unpacked models. A model's folder is called by what is in it, so bundles with the same model share it.
//!
//! It is filled elsewhere (`.part/DIGEST`) and moved to its place when it is whole. Who fills one holds its
//! lock, an empty file in `.locks`. `.whole` remembers which bundles have been checked to their last byte.

use crate::digest::{Digest, PIECE, Sum};
use crate::error::Error;
use crate::index::{Model, ModelFile};
use crate::known::{self, Identity, Known};
use crate::read::{Bundle, Located, Progress, Whole};
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

const PART: &str = ".part";
const LOCKS: &str = ".locks";
const WHOLE: &str = ".whole";
/// The record of a model's folder; no file of a model has such a name.
const RECORD: &str = ".checked.json";
/// What file systems that share content between files share at least.
const BLOCK: NonZeroU64 = NonZeroU64::new(4096).unwrap();

/// The folder with the unpacked models; it need not be there yet.
pub struct Cache {
    folder: PathBuf,
}

/// A bundle as it was when it was looked at.
pub struct Seen {
    record: PathBuf,
    now: Option<Known>,
    known: bool,
}

impl Seen {
    /// Whether it was known to be whole.
    pub fn is_known(&self) -> bool {
        self.known
    }
}

/// A model that is there as files.
#[derive(Debug)]
pub struct Unpacked {
    /// In the order of the model.
    pub files: Vec<PathBuf>,
    /// Whether they were unpacked now, and so all of the model's parts were checked.
    pub now: bool,
    /// Whether there were files that were not what they should be.
    pub repaired: bool,
}

/// What there is at a model's place.
#[derive(PartialEq, Eq)]
enum State {
    Good,
    Missing,
    Wrong,
}

impl Cache {
    /// The cache in this folder.
    pub fn new(folder: PathBuf) -> Cache {
        Cache { folder }
    }

    /// Looks whether a bundle has been checked to its last byte, and has not changed since.
    pub fn look(&self, path: &Path, bundle: &Bundle<File>) -> Seen {
        let record = self.record_of(path);
        let now = identify(bundle).ok();
        let known = now.is_some() && known::read::<Known>(&record) == now;
        Seen { record, now, known }
    }

    /// Remembers that it has been checked since it was looked at.
    ///
    /// # Errors
    /// If that cannot be written: the bundle will be checked again.
    pub fn remember(&self, seen: &Seen) -> io::Result<()> {
        std::fs::create_dir_all(self.folder.join(WHOLE))?;
        match &seen.now {
            Some(now) => known::write(&seen.record, now),
            None => Ok(()),
        }
    }

    fn record_of(&self, path: &Path) -> PathBuf {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let name = Digest::of(path.as_os_str().as_encoded_bytes());
        self.folder.join(WHOLE).join(format!("{name}.json"))
    }

    /// The files of a model, which are unpacked if they are not there. Those that are there count as what they
    /// were when they were checked last, unless something says that they have changed, or `verify` that
    /// they are to be read again. `waiting` hears when another process is at it.
    ///
    /// # Errors
    /// If the bundle is damaged, or if the files cannot be written.
    pub fn unpack(
        &self,
        bundle: &mut Bundle<File>,
        model: &Model,
        verify: bool,
        waiting: &mut dyn FnMut(),
        progress: &mut Progress<'_>,
    ) -> Result<Unpacked, Error> {
        let key = key(model);
        let place = self.folder.join(&key);
        let unpacked = |now, repaired| Unpacked {
            files: model.files.iter().map(|f| place.join(&f.name)).collect(),
            now,
            repaired,
        };
        if !verify && is_known(&place, model) {
            return Ok(unpacked(false, false));
        }
        let _lock = self.lock(&key, waiting)?;
        // Another process may have just done it.
        let state = if !verify && is_known(&place, model) {
            State::Good
        } else {
            check(&place, model).map_err(|error| cannot("read", &place, error))?
        };
        if state == State::Good {
            return Ok(unpacked(false, false));
        }
        let stage = self.folder.join(PART).join(&key);
        let done = fill(bundle, model, &stage, progress)
            .and_then(|()| self.publish(&stage, &place, state == State::Wrong));
        if let Err(error) = done {
            // What cannot be deleted is when the model is unpacked again.
            let _ = std::fs::remove_dir_all(&stage);
            return Err(error);
        }
        Ok(unpacked(true, state == State::Wrong))
    }

    /// Waits until nobody else fills this folder.
    fn lock(&self, key: &str, waiting: &mut dyn FnMut()) -> Result<File, Error> {
        let folder = self.folder.join(LOCKS);
        make(&folder)?;
        let path = folder.join(key);
        let failed = |error| cannot("lock", &path, error);
        let file = File::create(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waiting();
                file.lock().map_err(failed)?;
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        Ok(file)
    }

    fn publish(&self, stage: &Path, place: &Path, wrong: bool) -> Result<(), Error> {
        if wrong {
            let bin = tempfile::Builder::new()
                .prefix(".removed-")
                .tempdir_in(&self.folder)
                .map_err(|error| cannot("change", &self.folder, error))?;
            std::fs::rename(place, bin.path().join("model"))
                .map_err(|error| cannot("replace", place, error))?;
        }
        std::fs::rename(stage, place).map_err(|error| cannot("make", place, error))
    }
}

/// What a model's folder is called: the digest of what `sha256sum` would say of its files.
fn key(model: &Model) -> String {
    let mut sum = Sum::default();
    for file in &model.files {
        sum.add(format!("{}  {}\n", file.sha256, file.name).as_bytes());
    }
    sum.finish().to_string()
}

fn identify(bundle: &Bundle<File>) -> io::Result<Known> {
    Ok(Known {
        sha256: bundle.digest(),
        identity: Identity::of(&bundle.source.metadata()?),
    })
}

/// Whether the files are those that were checked.
fn is_known(place: &Path, model: &Model) -> bool {
    let Some(record) = known::read::<Vec<Known>>(&place.join(RECORD)) else {
        return false;
    };
    let same = |(file, known): (&ModelFile, &Known)| {
        let metadata = place.join(&file.name).symlink_metadata();
        metadata.is_ok_and(|found| found.is_file() && Identity::of(&found) == known.identity)
            && known.sha256 == file.sha256
    };
    record.len() == model.files.len() && model.files.iter().zip(&record).all(same)
}

/// Reads the files, and remembers that they are good.
fn check(place: &Path, model: &Model) -> io::Result<State> {
    if place.symlink_metadata().is_err() {
        return Ok(State::Missing);
    }
    let mut record = Vec::new();
    for file in &model.files {
        let path = place.join(&file.name);
        let metadata = match path.symlink_metadata() {
            Ok(metadata) if metadata.is_file() && metadata.len() == file.size => metadata,
            _ => return Ok(State::Wrong),
        };
        if crate::digest::of_file(&path)? != file.sha256 {
            return Ok(State::Wrong);
        }
        record.push(Known {
            sha256: file.sha256.clone(),
            identity: Identity::of(&metadata),
        });
    }
    known::write(&place.join(RECORD), &record)?;
    Ok(State::Good)
}

/// Writes a model's files and their record to a new folder.
fn fill(
    bundle: &mut Bundle<File>,
    model: &Model,
    stage: &Path,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    if stage.exists() {
        // Left by a process that was ended.
        std::fs::remove_dir_all(stage).map_err(|error| cannot("clean", stage, error))?;
    }
    make(stage)?;
    let mut record = Vec::new();
    for file in &model.files {
        let path = stage.join(&file.name);
        let failed = |error| cannot("write", &path, error);
        let target = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(failed)?;
        let mut at = 0;
        let mut whole = Whole::new(model, file);
        for part in bundle.parts_of(model, file) {
            if !share(bundle, &part, &mut whole, &target, at, progress)? {
                copy(bundle, &part, &mut whole, &target, at, progress)?;
            }
            at += part.blob.size;
        }
        // By this digest every bundle finds the file, those that somebody has signed too.
        whole.check()?;
        target.sync_all().map_err(failed)?;
        record.push(Known {
            sha256: file.sha256.clone(),
            identity: Identity::of(&target.metadata().map_err(failed)?),
        });
    }
    let path = stage.join(RECORD);
    known::write(&path, &record).map_err(|error| cannot("write", &path, error))
}

fn copy(
    bundle: &mut Bundle<File>,
    part: &Located,
    whole: &mut Whole<'_>,
    mut target: &File,
    at: u64,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    target
        .seek(SeekFrom::Start(at))
        .map_err(|error| Error::io("an unpacked file cannot be written", error))?;
    bundle.pass(part, whole, progress, |piece| target.write_all(piece))
}

/// Lets the file system use the bundle's blocks in the file as well, where it can: it takes neither time nor
/// space. Says whether it could.
fn share(
    bundle: &Bundle<File>,
    part: &Located,
    whole: &mut Whole<'_>,
    mut target: &File,
    at: u64,
    progress: &mut Progress<'_>,
) -> Result<bool, Error> {
    let size = part.blob.size;
    let shared = size - size % BLOCK;
    let Some(length) = NonZeroU64::new(shared) else {
        return Ok(false);
    };
    if !at.is_multiple_of(BLOCK.get()) {
        return Ok(false);
    }
    let mut from = &bundle.source;
    let cloned = reflink_copy::ReflinkBlockBuilder::new(from, target, length)
        .from_offset(part.at)
        .to_offset(at)
        .cluster_size(BLOCK)
        .reflink_block();
    if cloned.is_err() {
        return Ok(false);
    }
    let mut rest = || {
        from.seek(SeekFrom::Start(part.at + shared))?;
        target.seek(SeekFrom::Start(at + shared))?;
        io::copy(&mut from.take(size - shared), &mut target)?;
        // What counts is what is in the file now, whatever happens to the bundle.
        target.seek(SeekFrom::Start(at))?;
        let mut sum = Sum::default();
        let mut reader = target.take(size);
        let mut piece = vec![0; PIECE];
        loop {
            match reader.read(&mut piece)? {
                0 => return io::Result::Ok(sum.finish()),
                n => {
                    sum.add(&piece[..n]);
                    whole.add(&piece[..n]);
                    progress(n as u64);
                }
            }
        }
    };
    let found = rest().map_err(|error| Error::io(format!("cannot write {}", part.what), error))?;
    part.check(&found)?;
    Ok(true)
}

fn make(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|error| cannot("make", folder, error))
}

fn cannot(action: &str, path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot {action} {}", path.display()), error)
}
