//! A model's way into the store, up to its manifest.

use crate::failure::Failure;
use crate::models::copy::{copy, open};
use crate::models::download::{Download, REMOTE};
use crate::models::fetched::{Fetched, cannot};
use crate::models::http::Http;
use crate::models::manifest::{Manifest, StoredFile};
use crate::models::meter::Meter;
use crate::models::plan::{Plan, PlannedFile};
use crate::models::retry::End;
use crate::models::source::Source;
use crate::models::store::Store;
use llm_wasi_bundle::{Digest, of_file};
use llm_wasi_host::gguf::Gguf;
use std::ffi::OsStr;
use std::path::Path;

/// The extension of a download.
const PART: &str = "part";
/// The extension of a copy.
const COPY: &str = "copy";

/// Brings a model's files to where [`Store::publish`] takes them from. `expected` has a digest for each
/// file, or none. After a failure only what a further attempt can go on with is left, be it of this source
/// or of another one.
pub(crate) fn import(store: &Store, plan: &Plan, expected: &[Digest]) -> Result<Manifest, Failure> {
    let stage = store.stage(&plan.name, is_of_download)?;
    fetch_all(plan, &stage, expected)
        .and_then(|arrived| finish(store, plan, &stage, arrived))
        .inspect_err(|_| {
            if store.stage(&plan.name, is_of_download).is_ok() && !has_parts(&stage) {
                store.discard(&plan.name);
            }
        })
}

/// Whether a model of the store is what the plan leads to.
pub(crate) fn is_same(
    plan: &Plan,
    manifest: &Manifest,
    expected: &[Digest],
) -> Result<bool, Failure> {
    if plan.files.len() != manifest.files.len() {
        return Ok(false);
    }
    if !expected.is_empty() {
        let stored = manifest.files.iter().map(|file| &file.sha256);
        return Ok(stored.eq(expected));
    }
    for (file, stored) in plan.files.iter().zip(&manifest.files) {
        let same = match &file.source {
            Source::File(path) => {
                open(path)?.1 == stored.size
                    && of_file(path).map_err(|error| cannot("read", path, &error))? == stored.sha256
            }
            Source::Url(url) => match &stored.validator {
                Some(validator) if manifest.source == plan.source.origin() => Http::new(url)
                    .is_unchanged(url, validator)
                    .map_err(End::failure)?,
                _ => false,
            },
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The files of a model when all of them are there and good.
struct Arrived {
    files: Vec<Fetched>,
    /// Of the first, if files of the format have one.
    header: Option<Gguf>,
}

fn fetch_all(plan: &Plan, stage: &Path, expected: &[Digest]) -> Result<Arrived, Failure> {
    let mut files = Vec::new();
    let mut header = None;
    for (index, file) in plan.files.iter().enumerate() {
        let path = stage.join(part_name(file));
        let mut meter = Meter::of_file(&plan.name, index, plan.files.len());
        let fetched = fetch(plan, index, &path, &mut meter)?;
        // At once: without this file the others are not worth fetching.
        match check(plan, index, &path, &fetched, expected.get(index)) {
            Ok(found) => header = header.or(found),
            Err(failure) => {
                // It would only be fetched to its end again.
                std::fs::remove_file(&path).map_err(|error| cannot("remove", &path, &error))?;
                return Err(failure);
            }
        }
        files.push(fetched);
    }
    Ok(Arrived { files, header })
}

fn fetch(plan: &Plan, index: usize, path: &Path, meter: &mut Meter) -> Result<Fetched, Failure> {
    let source = &plan.files[index].source;
    match source {
        Source::File(from) => copy(from, path, meter),
        Source::Url(url) => {
            let accept = |start: &[u8]| {
                plan.format
                    .check_start(index, start)
                    .map_err(|wrong| wrong.of(source))
            };
            let http = Http::new(url);
            Download::open(&http, url, path.to_path_buf(), meter)?.run(&accept)
        }
    }
}

/// Whether a file that has arrived is what it should be.
fn check(
    plan: &Plan,
    index: usize,
    path: &Path,
    fetched: &Fetched,
    expected: Option<&Digest>,
) -> Result<Option<Gguf>, Failure> {
    let source = &plan.files[index].source;
    if let Some(expected) = expected
        && fetched.sha256 != *expected
    {
        return Err(
            Failure::new(format!("{source} has the sha256 {}", fetched.sha256))
                .expected(format!("{expected}, which --sha256 names"))
                .next_step(
                    "check the source and the digest: the file is another one or damaged; it was not kept",
                ),
        );
    }
    plan.format
        .check_file(path, index, plan.files.len())
        .map_err(|wrong| wrong.of(source))
}

/// Gives the files their names, with nothing beside them, and describes them.
fn finish(
    store: &Store,
    plan: &Plan,
    stage: &Path,
    Arrived { files, header }: Arrived,
) -> Result<Manifest, Failure> {
    for file in &plan.files {
        let name = stage.join(&file.name);
        std::fs::rename(stage.join(part_name(file)), &name)
            .map_err(|error| cannot("make", &name, &error))?;
    }
    store.stage(&plan.name, |name| {
        plan.files.iter().any(|file| name == file.name.as_str())
    })?;
    let files = plan
        .files
        .iter()
        .zip(files)
        .map(|(file, fetched)| StoredFile {
            name: file.name.clone(),
            size: fetched.size,
            sha256: fetched.sha256,
            validator: fetched.validator,
        });
    Ok(Manifest {
        name: plan.name.clone(),
        encoding: plan.format.encoding().name().to_string(),
        source: plan.source.origin(),
        architecture: header
            .as_ref()
            .and_then(Gguf::architecture)
            .map(str::to_string),
        quantization: header
            .as_ref()
            .and_then(Gguf::quantization)
            .map(str::to_string),
        files: files.collect(),
    })
}

/// Whether something has come from a server that need not come again.
fn has_parts(stage: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(stage) else {
        return false;
    };
    entries.flatten().any(|entry| {
        Path::new(&entry.file_name()).extension() == Some(OsStr::new(PART))
            && entry.metadata().is_ok_and(|part| part.len() > 0)
    })
}

/// Whether a file in a stage is one of a download.
fn is_of_download(name: &OsStr) -> bool {
    let extension = Path::new(name).extension();
    [PART, REMOTE]
        .map(OsStr::new)
        .map(Some)
        .contains(&extension)
}

/// What a file is called until it is whole. A copy is in no download's place, which may be gone on with if
/// the copy fails.
fn part_name(file: &PlannedFile) -> String {
    let extension = match file.source {
        Source::File(_) => COPY,
        Source::Url(_) => PART,
    };
    format!("{}.{extension}", file.name)
}
