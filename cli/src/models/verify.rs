//! Whether a stored model is what was added: the digests of its files, computed anew.

use crate::models::manifest::{Manifest, StoredFile};
use crate::models::meter::Meter;
use crate::models::store::Store;
use llm_wasi_bundle::of_file_with;

/// The size of a model whose files are what they were, or what is wrong with it.
pub(crate) fn verify(store: &Store, manifest: &Manifest) -> Result<u64, String> {
    let paths = store.files(manifest);
    for (index, (path, file)) in paths.iter().zip(&manifest.files).enumerate() {
        let mut meter = Meter::of_file(&manifest.name, index, paths.len());
        let StoredFile {
            name, size, sha256, ..
        } = file;
        meter.start(0, Some(*size));
        let found = of_file_with(path, |bytes| meter.advance(bytes as u64))
            .map_err(|error| format!("its file {name} cannot be read: {error}"))?;
        if found != *sha256 {
            return Err(format!(
                "its file {name} should have the sha256 {sha256} and has {found}"
            ));
        }
    }
    Ok(manifest.size())
}
