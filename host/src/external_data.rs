//! The files beside a model's own that hold its data.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// By their names: the data of `model.onnx` are in `model.onnx_data`, `model.onnx.data` or `model.data`, say, and those of
/// `model.xml` in `model.bin`. In the order of the names.
pub(crate) fn external_data(model: &Path) -> Vec<PathBuf> {
    let Some(name) = model.file_name().and_then(OsStr::to_str) else {
        return Vec::new();
    };
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let belongs = |other: &str| {
        let with_point = other
            .strip_prefix(stem)
            .is_some_and(|rest| rest.starts_with('.'));
        other != name && (with_point || other.starts_with(name))
    };
    let folder = match model.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut files: Vec<_> = folder
        .read_dir()
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|file| file.file_name().to_str().is_some_and(belongs))
        .map(|file| file.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}
