//! What the store knows of a model: a JSON file beside the model's own.

use crate::models::http::Validator;
use crate::models::name::Name;
use llm_wasi_bundle::Digest;
use llm_wasi_host::backend::Encoding;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The name of that file.
pub(crate) const FILE: &str = "manifest.json";
/// The most bytes of it that are read.
const LIMIT: u64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) name: Name,
    /// The name of an [`Encoding`].
    pub(crate) encoding: String,
    /// Where the model came from.
    pub(crate) source: String,
    pub(crate) architecture: Option<String>,
    pub(crate) quantization: Option<String>,
    pub(crate) files: Vec<StoredFile>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredFile {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) sha256: Digest,
    /// By what the server tells versions of it apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) validator: Option<Validator>,
}

impl Manifest {
    /// Reads the manifest in a model's folder, and looks whether the files are there.
    pub(crate) fn read(folder: &Path, name: &Name) -> Result<Manifest, String> {
        let path = folder.join(FILE);
        let unreadable = |error| format!("its {FILE} cannot be read: {error}");
        // To open a pipe would wait for somebody who writes.
        if !path.metadata().map_err(unreadable)?.is_file() {
            return Err(format!("its {FILE} is no file"));
        }
        let mut text = String::new();
        File::open(&path)
            .and_then(|file| file.take(LIMIT).read_to_string(&mut text))
            .map_err(unreadable)?;
        let manifest: Manifest = serde_json::from_str(&text)
            .map_err(|error| format!("its {FILE} is damaged: {error}"))?;
        if manifest.name != *name {
            return Err(format!("its {FILE} is that of `{}`", manifest.name));
        }
        if let Err(error) = manifest.encoding.parse::<Encoding>() {
            return Err(format!("its {FILE} is damaged: {error}"));
        }
        if manifest.files.is_empty() {
            return Err(format!("its {FILE} is damaged: it names no file"));
        }
        for file in &manifest.files {
            file.check(folder)?;
        }
        Ok(manifest)
    }

    /// The size of all files together.
    pub(crate) fn size(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum, file| file.size.saturating_add(sum))
    }
}

impl StoredFile {
    fn check(&self, folder: &Path) -> Result<(), String> {
        let StoredFile { name, size, .. } = self;
        let plain = Path::new(name).file_name().and_then(|plain| plain.to_str());
        if plain != Some(name) {
            return Err(format!(
                "its {FILE} is damaged: `{}` is no file's name",
                name.escape_debug()
            ));
        }
        match folder.join(name).metadata() {
            Ok(found) if found.is_file() && found.len() == *size => Ok(()),
            Ok(found) => Err(format!(
                "its file {name} should have {size} bytes and has {}",
                found.len()
            )),
            Err(error) => Err(format!("its file {name} is not there: {error}")),
        }
    }
}
