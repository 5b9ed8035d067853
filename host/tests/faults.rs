//! A model's file that changes while it is mapped.

#![cfg(feature = "ggml")]

use llm_wasi_host::backend::{ExecutionContext, Graph};
use llm_wasi_host::testing::TinyModel;
use llm_wasi_host::{Error, ErrorCode, Preload, Registry, Tensor};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const OPTIONS: &str = r#"{"temp": 0, "threads": 1, "ctx-size": 64, "n-predict": 8}"#;

fn registry(path: &Path) -> Registry {
    let preload: Preload = format!("m:GGML:CPU:{}", path.display()).parse().unwrap();
    Registry::with_default_backends().preload(preload).build()
}

fn load(registry: &Registry, options: &str) -> Arc<dyn Graph> {
    registry.load_by_name("m", Some(options)).unwrap()
}

fn open(graph: &dyn Graph) -> Box<dyn ExecutionContext> {
    let mut context = graph.init_execution_context().unwrap();
    context.set_input(0, Tensor::bytes("Hello")).unwrap();
    context
}

fn text(context: &mut dyn ExecutionContext) -> Result<Vec<u8>, Error> {
    context.compute()?;
    Ok(context.output(0)?.to_vec())
}

/// Without a look at the file the system would end this process.
#[test]
fn a_file_made_shorter_is_an_error_and_a_new_load_works() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let model = TinyModel::new();
    model.write(&path).unwrap();
    let expected = model.continuation(b'o', 8);
    let registry = registry(&path);
    let graph = load(&registry, OPTIONS);
    let mut context = open(&*graph);
    assert_eq!(text(&mut *context).unwrap(), expected);
    let mut steps = open(&*graph);
    steps.compute_step().unwrap();

    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(4096)
        .unwrap();
    for _ in 0..2 {
        let error = text(&mut *context).unwrap_err();
        assert_eq!(error.code, ErrorCode::RuntimeError);
        assert!(error.message.contains("has changed"), "{error}");
        assert!(steps.compute_step().is_err());
        assert!(text(&mut *open(&*graph)).is_err());
    }
    // What is there now is no model.
    assert!(registry.load_by_name("m", Some(OPTIONS)).is_err());
    model.write(&path).unwrap();
    assert_eq!(
        text(&mut *open(&*load(&registry, OPTIONS))).unwrap(),
        expected
    );
}

#[test]
fn a_file_written_anew_in_its_place_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    TinyModel::new().write(&path).unwrap();
    let registry = registry(&path);
    let mut context = open(&*load(&registry, OPTIONS));
    text(&mut *context).unwrap();
    // Of the same size, and not within the same tick of the file system's clock.
    let other = TinyModel::new().ending_after(b'!');
    other.write(&path).unwrap();
    let later = SystemTime::now() + Duration::from_secs(2);
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(later).unwrap();
    let error = text(&mut *context).unwrap_err();
    assert!(error.message.contains("load it again"), "{error}");
    text(&mut *open(&*load(&registry, OPTIONS))).unwrap();
}

#[test]
fn a_file_that_another_one_replaces_goes_on_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let model = TinyModel::new();
    model.write(&path).unwrap();
    let expected = model.continuation(b'o', 8);
    let registry = registry(&path);
    let mut context = open(&*load(&registry, OPTIONS));
    let other = TinyModel::new().ending_after(expected[2]);
    let beside = folder.path().join("new.gguf");
    other.write(&beside).unwrap();
    std::fs::rename(&beside, &path).unwrap();
    assert_eq!(text(&mut *context).unwrap(), expected);
    // Who loads it now gets the new one.
    let mut new = open(&*load(&registry, OPTIONS));
    assert_ne!(text(&mut *new).unwrap(), expected);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(text(&mut *context).unwrap(), expected);
}

#[test]
fn a_file_that_is_read_may_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let model = TinyModel::new();
    model.write(&path).unwrap();
    let options = OPTIONS.replace('{', r#"{"use-mmap": false, "#);
    let mut context = open(&*load(&registry(&path), &options));
    File::create(&path).unwrap();
    assert_eq!(text(&mut *context).unwrap(), model.continuation(b'o', 8));
}
