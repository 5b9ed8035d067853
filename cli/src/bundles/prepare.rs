//! What `run` takes out of a bundle: the component, and the models as files.
//!
//! 1. The component is read, and its digest checked, each time.
//! 2. A model is unpacked once. From then on its files count as what they were, as long as nothing says that
//!    they have changed.
//! 3. The parts are checked when the bundle is new here or has changed.

use crate::bundles::failure;
use crate::failure::Failure;
use crate::folder;
use crate::models::meter::Meter;
use crate::text::note;
use llm_wasi_bundle::{Bundle, Cache, Error, Model};
use llm_wasi_host::Preload;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

/// The variable that names another folder for unpacked models.
const VARIABLE: &str = "LLM_WASI_BUNDLES";

/// A component and its models.
pub(crate) struct Prepared {
    pub(crate) component: Vec<u8>,
    pub(crate) preloads: Vec<Preload>,
}

/// Takes all out of a bundle but the models for which there is one in `given`. With `verify` everything is read
/// and checked, whatever is known of it.
pub(crate) fn prepare(
    path: &Path,
    mut bundle: Bundle<File>,
    given: &[Preload],
    verify: bool,
) -> Result<Prepared, Failure> {
    let component = bundle.component().map_err(|error| failure(path, error))?;
    let cache = Cache::new(folder::cache("bundles", VARIABLE)?);
    // Before the parts are read: what changes later is not remembered as good.
    let seen = cache.look(path, &bundle);
    let known = seen.is_known() && !verify;
    let mut preloads = Vec::new();
    for model in bundle.index().models.clone() {
        let replaced = given.iter().any(|preload| preload.name == model.name);
        let read = !replaced && {
            let (preload, read) = unpack(path, &mut bundle, &cache, &model, verify)?;
            preloads.push(preload);
            read
        };
        if !known && !read {
            let mut meter = meter("checking", &model);
            bundle
                .verify_model(&model, &mut |bytes| meter.advance(bytes))
                .map_err(|error| failure(path, error))?;
        }
    }
    if !known && let Err(error) = cache.remember(&seen) {
        tracing::debug!("the bundle will be checked again next time: {error}");
    }
    Ok(Prepared {
        component,
        preloads,
    })
}

/// The model as files, and whether its parts have been read for that.
fn unpack(
    path: &Path,
    bundle: &mut Bundle<File>,
    cache: &Cache,
    model: &Model,
    verify: bool,
) -> Result<(Preload, bool), Failure> {
    let name = &model.name;
    let unknown = |error: &dyn std::error::Error| {
        Failure::new(format!("{}: the model `{name}`", path.display()))
            .cause(error)
            .next_step("use a release of llm-wasi that knows it")
    };
    let encoding = model.encoding.parse().map_err(|error| unknown(&error))?;
    let target = model.target.parse().map_err(|error| unknown(&error))?;
    let mut bar = None;
    let unpacked = cache
        .unpack(
            bundle,
            model,
            verify,
            &mut || {
                note(
                    "waiting",
                    &format!("for another llm-wasi that unpacks `{name}`"),
                )
            },
            &mut |bytes| {
                let bar = bar.get_or_insert_with(|| meter("unpacking", model));
                bar.advance(bytes);
            },
        )
        .map_err(|error| cannot_unpack(path, error))?;
    drop(bar);
    if unpacked.repaired {
        tracing::warn!(
            "the unpacked files of the model `{name}` had changed: they are unpacked again"
        );
    }
    let preload = Preload {
        name: name.clone(),
        encoding,
        target,
        paths: unpacked.files,
        configuration: None,
    };
    Ok((preload, unpacked.now))
}

fn meter(what: &str, model: &Model) -> Meter {
    let size = model.files.iter().map(|file| file.size).sum();
    let mut meter = Meter::new(format!("{what} {}", model.name));
    meter.start(0, Some(size));
    meter
}

fn cannot_unpack(path: &Path, error: Error) -> Failure {
    let kind = error.source.as_ref().map(std::io::Error::kind);
    let failure = failure(path, error);
    match kind {
        None => failure,
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) => {
            failure
                .expected("enough space for the model beside the bundle")
                .next_step(format!(
                    "make room, or set {VARIABLE} to a folder of another disk; then run it again"
                ))
        }
        Some(_) => failure.next_step(format!(
            "check the folder and its permissions; {VARIABLE} names another one"
        )),
    }
}
