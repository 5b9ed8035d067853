//! A model's way into the store, up to its manifest.

use crate::failure::Failure;
use crate::models::copy::{copy, open};
use crate::models::download::Download;
use crate::models::fetched::{Fetched, cannot};
use crate::models::format::start_of;
use crate::models::http::Http;
use crate::models::manifest::{Manifest, StoredFile};
use crate::models::meter::Meter;
use crate::models::plan::{Plan, PlannedFile};
use crate::models::source::Source;
use crate::models::store::Store;
use llm_wasi_bundle::{Digest, of_file};
use std::path::{Path, PathBuf};

/// Brings a model's files to where [`Store::publish`] takes them from. `expected` has a digest for each
/// file, or none. After a failure only what a further attempt can go on with is left.
pub(crate) fn import(store: &Store, plan: &Plan, expected: &[Digest]) -> Result<Manifest, Failure> {
    let stage = store.stage(&plan.name, |name| {
        plan.files
            .iter()
            .any(|file| name == part_name(file).as_str() || name == remote_name(file).as_str())
    })?;
    let fetched = fetch_all(plan, &stage, expected).inspect_err(|_| {
        if !can_go_on(plan, &stage) {
            store.discard(&plan.name);
        }
    })?;
    finish(plan, &stage, fetched).inspect_err(|_| store.discard(&plan.name))
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
                Some(validator) if manifest.source == plan.source.origin() => {
                    Http::new(url).is_unchanged(url, validator)?
                }
                _ => false,
            },
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn fetch_all(plan: &Plan, stage: &Path, expected: &[Digest]) -> Result<Vec<Fetched>, Failure> {
    let count = plan.files.len();
    let mut fetched = Vec::new();
    for (index, file) in plan.files.iter().enumerate() {
        let path = stage.join(part_name(file));
        let mut meter = Meter::of_file(&plan.name, index, count);
        let got = fetch(plan, index, &path, &mut meter)?;
        if let Some(expected) = expected.get(index)
            && got.sha256 != *expected
        {
            // It would only be fetched to its end again.
            std::fs::remove_file(&path).map_err(|error| cannot("remove", &path, &error))?;
            return Err(Failure::new(format!(
                "{} has the sha256 {}",
                file.source, got.sha256
            ))
            .expected(format!("{expected}, which --sha256 names"))
            .next_step(
                "check the source and the digest: the file is another one or damaged; it was not kept",
            ));
        }
        fetched.push(got);
    }
    Ok(fetched)
}

fn fetch(plan: &Plan, index: usize, path: &Path, meter: &mut Meter) -> Result<Fetched, Failure> {
    let source = &plan.files[index].source;
    match source {
        Source::File(from) => copy(from, path, meter),
        Source::Url(url) => {
            let check = |part: &Path| {
                let start = start_of(part).map_err(|error| cannot("read", part, &error))?;
                plan.format
                    .check_start(index, &start)
                    .map_err(|wrong| wrong.of(source))
            };
            let http = Http::new(url);
            Download::open(&http, url, path.to_path_buf(), meter)?.run(&check)
        }
    }
}

/// Checks the files, gives them their names and describes them.
fn finish(plan: &Plan, stage: &Path, fetched: Vec<Fetched>) -> Result<Manifest, Failure> {
    let parts: Vec<PathBuf> = plan
        .files
        .iter()
        .map(|file| stage.join(part_name(file)))
        .collect();
    let header = plan
        .format
        .check(&parts)
        .map_err(|wrong| wrong.of(&plan.source))?;
    for (file, part) in plan.files.iter().zip(&parts) {
        let name = stage.join(&file.name);
        std::fs::rename(part, &name).map_err(|error| cannot("make", &name, &error))?;
        let remote = stage.join(remote_name(file));
        if remote.exists() {
            std::fs::remove_file(&remote).map_err(|error| cannot("remove", &remote, &error))?;
        }
    }
    let files = plan
        .files
        .iter()
        .zip(fetched)
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
            .and_then(|header| header.architecture())
            .map(str::to_string),
        quantization: header
            .as_ref()
            .and_then(|header| header.quantization())
            .map(str::to_string),
        files: files.collect(),
    })
}

/// Whether something has come from a server that need not come again.
fn can_go_on(plan: &Plan, stage: &Path) -> bool {
    let has_bytes = |file: &PlannedFile| {
        let part = stage.join(part_name(file));
        part.metadata().is_ok_and(|part| part.len() > 0)
    };
    matches!(plan.source, Source::Url(_)) && plan.files.iter().any(has_bytes)
}

/// What a file is called until it is whole.
fn part_name(file: &PlannedFile) -> String {
    format!("{}.part", file.name)
}

/// Beside it, what is known of the server's file.
fn remote_name(file: &PlannedFile) -> String {
    format!("{}.json", file.name)
}
