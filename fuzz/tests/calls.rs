//! Calls of legacy programs, any and in any order, on this project's host.

use llm_wasi_fuzz::calls::{calls, calls_of_llama, count, every_function, random_program};
use llm_wasi_fuzz::{campaign_with, mutate};
use proptest::prelude::Rng;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The programs that are kept, and each function of each dialect.
fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/calls");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    // So that a seed means the same everywhere.
    paths.sort();
    assert!(!paths.is_empty(), "{folder:?} is empty");
    let kept = paths
        .iter()
        .map(|path| std::fs::read(path).expect("the file can be read"));
    every_function().into_iter().chain(kept).collect()
}

/// Runs a campaign in which at least each `share`th call works.
fn run(name: &str, cases: u64, share: u64, target: fn(&[u8])) {
    // One after the other: calls are counted for the process.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let corpus = corpus();
    let before = count();
    campaign_with(name, cases, &corpus, target, |rng| {
        // A changed program of the corpus each third time.
        if rng.next_u32().is_multiple_of(3) {
            let chosen = rng.next_u32() as usize % corpus.len();
            mutate(&corpus[chosen], &corpus, rng)
        } else {
            random_program(rng)
        }
    });
    let after = count();
    let (calls, worked) = (after.calls - before.calls, after.worked - before.worked);
    println!(
        "{name}: {calls} calls, {worked} worked, {} trapped",
        after.traps - before.traps
    );
    if std::env::var_os("LLM_WASI_FUZZ_INPUT").is_some() {
        return;
    }
    // Calls that never get anywhere would pass as well.
    assert!(calls > cases * 10, "{calls} calls");
    assert!(worked > calls / share, "{worked} calls of {calls}");
}

#[test]
fn models_that_misbehave() {
    run("calls", 2_000, 4, calls);
}

#[test]
fn a_language_model() {
    run("calls-llama", 100, 8, calls_of_llama);
}
