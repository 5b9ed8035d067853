//! Each target for a few seconds.

use llm_wasi_bundle::{Digest, Model, ModelFile, Writer};
use llm_wasi_fuzz::{bundle, campaign, mapping, module, witx};
use std::io::{Cursor, Write};
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

#[test]
fn bundles() {
    let component = wat::parse_str("(component (core module))").expect("it parses");
    let file = |name: &str| ModelFile {
        name: name.to_string(),
        size: 10,
        sha256: Digest::of(b""),
        parts: Vec::new(),
    };
    let model = |name: &str| Model {
        name: name.to_string(),
        encoding: "GGML".to_string(),
        target: "AUTO".to_string(),
        files: vec![file("a.xml"), file("a.bin")],
    };
    let corpus: Vec<Vec<u8>> = [&["a"][..], &["a", "b"]]
        .iter()
        .map(|names| {
            let models: Vec<Model> = names.iter().map(|name| model(name)).collect();
            let target = Cursor::new(Vec::new());
            let mut writer = Writer::new(target, &component, models, 4, None).expect("a bundle");
            writer
                .write_all(&vec![1; names.len() * 20])
                .expect("written");
            writer.finish().expect("a bundle").0.into_inner()
        })
        .collect();
    campaign("bundle", 2_000, &corpus, bundle);
}
