//! Property tests whose seeds are printed and can be given.

use proptest::strategy::Strategy;
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestRng, TestRunner,
};
use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher};

/// How many cases to run: `LLM_WASI_CASES`, else 1,024.
pub fn cases() -> u32 {
    number("LLM_WASI_CASES").map_or(1024, |cases| cases as u32)
}

/// The seed: `LLM_WASI_SEED`, else another one each time. It is printed.
pub fn seed() -> u64 {
    let fresh = || {
        std::collections::hash_map::RandomState::new()
            .build_hasher()
            .finish()
    };
    let seed = number("LLM_WASI_SEED").unwrap_or_else(fresh);
    println!("LLM_WASI_SEED={seed}");
    seed
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// Runs a property. Failures are kept in `regressions/NAME.txt` and tried first the next time.
pub fn check<S>(
    name: &'static str,
    cases: u32,
    strategy: &S,
    property: impl Fn(S::Value) -> Result<(), TestCaseError>,
) where
    S: Strategy,
    S::Value: Debug,
{
    let path: &'static str = Box::leak(format!("regressions/{name}.txt").into_boxed_str());
    let config = Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(path))),
        source_file: Some(file!()),
        max_shrink_iters: 4000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed().to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    if let Err(failure) = runner.run(strategy, property) {
        panic!("{failure}");
    }
}
