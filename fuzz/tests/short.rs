//! Each target for a few seconds.

use llm_wasi_fuzz::{campaign, mapping, module, witx};
use std::path::Path;

/// Files of a folder of this repository with this extension.
fn files(folder: &str, extension: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    // So that a seed means the same everywhere.
    paths.sort();
    assert!(!paths.is_empty(), "{folder:?} has no {extension} files");
    paths
        .iter()
        .map(|path| std::fs::read(path).expect("the file can be read"))
        .collect()
}

#[test]
fn witx_files() {
    campaign("witx", 10_000, &files("witx", "witx"), witx);
}

#[test]
fn mappings() {
    campaign("mapping", 2_000, &files("witx", "toml"), mapping);
}

#[test]
fn modules_as_text() {
    campaign("wat", 2_000, &files("fixtures/wat", "wat"), module);
}

#[test]
fn small_modules() {
    let corpus: Vec<Vec<u8>> = files("fixtures/wat", "wat")
        .iter()
        .map(|text| wat::parse_bytes(text).expect("it parses").into_owned())
        .collect();
    campaign("wasm", 4_000, &corpus, module);
}

#[test]
fn real_modules() {
    let corpus: Vec<Vec<u8>> = files("fixtures/wasm", "wasm")
        .into_iter()
        .filter(|module| module.len() < 300_000)
        .collect();
    campaign("real", 100, &corpus, module);
}
