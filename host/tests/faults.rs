//! A model's file that changes while it is mapped.

#![cfg(feature = "ggml")]

use llm_wasi_host::backend::{ExecutionContext, Graph};
use llm_wasi_host::testing::TinyModel;
use llm_wasi_host::{Error, ErrorCode, Preload, Registry, Tensor};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const OPTIONS: &str = r#"{"temp": 0, "threads": 1, "ctx-size": 64, "n-predict": 8}"#;

/// A model's file, and a host that knows it.
struct Model {
    folder: TempDir,
    path: PathBuf,
    registry: Registry,
}

impl Model {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.gguf");
        TinyModel::new().write(&path).unwrap();
        let preload: Preload = format!("m:GGML:CPU:{}", path.display()).parse().unwrap();
        Self {
            registry: Registry::with_default_backends().preload(preload).build(),
            folder,
            path,
        }
    }

    fn load(&self) -> Result<Arc<dyn Graph>, Error> {
        self.registry.load_by_name("m", Some(OPTIONS))
    }

    /// A context of the model that the file has now.
    fn open(&self) -> Box<dyn ExecutionContext> {
        open(&*self.load().unwrap())
    }

    fn file(&self) -> File {
        File::options().write(true).open(&self.path).unwrap()
    }
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
    let model = Model::new();
    let expected = TinyModel::new().continuation(b'o', 8);
    let graph = model.load().unwrap();
    let mut steps = open(&*graph);
    steps.compute_step().unwrap();
    // The next step's token is evaluated ahead: not any more when this has ended, which waits behind it.
    let mut context = open(&*graph);
    assert_eq!(text(&mut *context).unwrap(), expected);

    model.file().set_len(4096).unwrap();
    for _ in 0..2 {
        let error = text(&mut *context).unwrap_err();
        assert_eq!(error.code, ErrorCode::RuntimeError);
        assert!(error.message.contains("has changed"), "{error}");
        assert!(steps.compute_step().is_err());
        assert!(text(&mut *open(&*graph)).is_err());
    }
    // What is there now is no model.
    assert!(model.load().is_err());
    TinyModel::new().write(&model.path).unwrap();
    assert_eq!(text(&mut *model.open()).unwrap(), expected);
}

#[test]
fn a_file_written_anew_in_its_place_is_an_error() {
    let model = Model::new();
    let mut context = model.open();
    text(&mut *context).unwrap();
    // Of the same size, and not within the same tick of the file system's clock.
    let other = TinyModel::new().ending_after(b'!');
    other.write(&model.path).unwrap();
    let later = SystemTime::now() + Duration::from_secs(2);
    model.file().set_modified(later).unwrap();
    let error = text(&mut *context).unwrap_err();
    assert!(error.message.contains("load it again"), "{error}");
    text(&mut *model.open()).unwrap();
}

#[test]
fn a_file_that_another_one_replaces_goes_on_as_it_was() {
    let model = Model::new();
    let expected = TinyModel::new().continuation(b'o', 8);
    let mut context = model.open();
    let other = TinyModel::new().ending_after(expected[2]);
    let beside = model.folder.path().join("new.gguf");
    other.write(&beside).unwrap();
    std::fs::rename(&beside, &model.path).unwrap();
    assert_eq!(text(&mut *context).unwrap(), expected);
    // Who loads it now gets the new one.
    let mut new = model.open();
    assert_ne!(text(&mut *new).unwrap(), expected);
    std::fs::remove_file(&model.path).unwrap();
    assert_eq!(text(&mut *context).unwrap(), expected);
}

#[test]
fn a_file_that_is_read_may_change() {
    let model = Model::new();
    let options = OPTIONS.replace('{', r#"{"use-mmap": false, "#);
    let graph = model.registry.load_by_name("m", Some(&options)).unwrap();
    let mut context = open(&*graph);
    File::create(&model.path).unwrap();
    let expected = TinyModel::new().continuation(b'o', 8);
    assert_eq!(text(&mut *context).unwrap(), expected);
}
