//! What these tests share.

use llm_wasi_adapter::Profile;
use llm_wasi_host::testing::TinyModel;
use llm_wasi_host::{Preload, Registry};
use llm_wasi_tests::guest::{Guest, dialect};
use llm_wasi_tests::machine::{Adapted, AdaptedProgram, Host, Machine, Way};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One test at a time, since some count what the process holds.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A tiny language model called `tiny`, written into the folder.
pub(crate) fn tiny(folder: &Path, options: &str) -> Preload {
    let path = folder.join("tiny.gguf");
    TinyModel::new().write(&path).expect("a model");
    let preload: Result<Preload, _> = format!("tiny:GGML:CPU:{}", path.display()).parse();
    Preload {
        configuration: Some(options.to_owned()),
        ..preload.expect("a model's name")
    }
}

/// A guest with every function of a dialect, on this project's host.
pub(crate) fn program(name: &'static str, profile: Profile) -> AdaptedProgram {
    let way = Way {
        profile,
        ..Way::portable(name)
    };
    AdaptedProgram::on(Host::Ours, &way.componentize(&Guest::all(dialect(name))))
}

pub(crate) fn start(program: &AdaptedProgram, registry: &Registry) -> Adapted {
    program.start_on(
        registry.clone(),
        Arc::default(),
        wasmtime_wasi::WasiCtx::builder().build(),
    )
}

pub(crate) fn words(machine: &mut dyn Machine, at: u32, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    machine.write(at, &bytes);
}
