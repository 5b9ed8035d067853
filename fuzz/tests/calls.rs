//! Calls of legacy programs, any and in any order, on this project's host.

use llm_wasi_fuzz::calls::{calls, calls_of_llama, count, every_function, random_program};
use llm_wasi_fuzz::{campaign_with, mutate};
use proptest::prelude::Rng;
use std::path::Path;

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

fn run(name: &str, cases: u64, target: fn(&[u8])) {
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
    let calls = after.calls - before.calls;
    println!(
        "{name}: {calls} calls, {} worked, {} trapped",
        after.worked - before.worked,
        after.traps - before.traps
    );
    // Calls that never get anywhere would pass as well.
    assert!(calls > cases * 10, "{calls} calls");
    assert!(after.worked - before.worked > calls / 4);
}

/// One after the other, since they count calls.
#[test]
fn calls_in_any_order() {
    run("calls", 1_000, calls);
    run("calls-llama", 50, calls_of_llama);
}
