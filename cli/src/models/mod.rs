//! The models that the user keeps under names of their own.
//!
//! 1. [`plan`]: a source (a path or a URL) says which files the model has and in which format it is.
//! 2. [`copy`] and [`download`] bring each file into the store, beside the models that are there, and
//!    compute its digest. [`http`] asks servers, [`redirect`] says where they lead, and [`retry`] when they
//!    are asked again; [`space`] is what the disk has left.
//! 3. [`format`](mod@format) checks that each is a model's; [`import`] is these steps together.
//! 4. [`store`] gives them their name in one step, with a [`manifest`] that says what they are.
//!
//! [`resolve`] is for commands that take a model: what is no file may be a name. [`facts`] is what
//! there is to say of one, and [`verify`] whether a stored one is what was added.

pub(crate) mod copy;
pub(crate) mod download;
pub(crate) mod facts;
pub(crate) mod fetched;
pub(crate) mod format;
pub(crate) mod http;
pub(crate) mod import;
pub(crate) mod manifest;
pub(crate) mod meter;
pub(crate) mod name;
mod onnx;
pub(crate) mod plan;
mod redirect;
mod retry;
pub(crate) mod source;
mod space;
pub(crate) mod store;
pub(crate) mod verify;

use crate::failure::Failure;
use format::Format;
use llm_wasi_host::Preload;
use manifest::Manifest;
use name::Name;
use source::Source;
use std::path::{Path, PathBuf};
use store::Store;

/// A model that is there.
pub(crate) struct Located {
    pub(crate) format: Format,
    /// At least one.
    pub(crate) files: Vec<PathBuf>,
    /// What the store says, if the model is stored.
    pub(crate) manifest: Option<Manifest>,
}

/// The model that `text` names, or whose file's path it is. A path comes first.
pub(crate) fn locate(text: &str) -> Result<Located, Failure> {
    let path = Path::new(text);
    match path.try_exists() {
        Ok(true) => return locate_file(path),
        Ok(false) => {}
        Err(error) => return Err(copy::unreadable(path, &error)),
    }
    let store = Store::open()?;
    let found = match text.parse() {
        Ok(name) => store.find(&name)?,
        Err(_) => None,
    };
    let Some(entry) = found else {
        let what = format!(
            "`{}` is neither a file nor a stored model",
            text.escape_debug()
        );
        return Err(store::unknown(what, text, &store.finished()?));
    };
    let manifest = entry.manifest()?;
    Ok(Located {
        format: Format::of_name(&manifest.files[0].name),
        files: store.files(&manifest),
        manifest: Some(manifest),
    })
}

fn locate_file(path: &Path) -> Result<Located, Failure> {
    let source = Source::File(path.to_path_buf());
    let file = source.file_name().unwrap_or_default();
    let (format, sources) = plan::files(&source, &file)?;
    let mut files = Vec::new();
    for source in sources {
        if let Source::File(path) = source {
            copy::open(&path)?;
            files.push(path);
        }
    }
    Ok(Located {
        format,
        files,
        manifest: None,
    })
}

/// The files of the stored model that `text` names. Nothing if `text` is the path of something that is
/// there, or if no model is called so.
pub(crate) fn resolve(text: &str) -> Result<Option<Vec<PathBuf>>, Failure> {
    let path = Path::new(text);
    // A folder is a model if it holds one; any other may stand in the way of a name.
    let holds_model = || {
        ["model.onnx", "model.xml"]
            .iter()
            .any(|file| path.join(file).is_file())
    };
    if path.exists() && (!path.is_dir() || holds_model()) {
        return Ok(None);
    }
    let Ok(name) = text.parse::<Name>() else {
        return Ok(None);
    };
    // Who has no store has no names either.
    let Ok(store) = Store::open() else {
        return Ok(None);
    };
    match store.find(&name)? {
        Some(entry) => Ok(Some(store.files(&entry.manifest()?))),
        None => Ok(None),
    }
}

/// The same model with the files of stored models in the place of their names.
pub(crate) fn resolve_preload(preload: &Preload) -> Result<Preload, Failure> {
    let mut paths = Vec::new();
    for path in &preload.paths {
        match path.to_str().map(resolve).transpose()?.flatten() {
            Some(files) => paths.extend(files),
            None => {
                tell_names(path);
                paths.push(path.clone());
            }
        }
    }
    Ok(Preload {
        paths,
        ..preload.clone()
    })
}

/// Says which models are stored, if what is not there looks like the name of one.
fn tell_names(path: &Path) {
    let text = path.to_string_lossy();
    if path.exists() || text.parse::<Name>().is_err() {
        return;
    }
    let names = Store::open().and_then(|store| store.finished());
    if let Ok(names) = names
        && !names.is_empty()
    {
        tracing::warn!(
            "`{text}` is neither a file nor a stored model; stored are {} (`llm-wasi model list`)",
            store::quoted(&names)
        );
    }
}
