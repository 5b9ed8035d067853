//! Fuzz targets for everything that reads foreign bytes: witx files, mappings, modules,
//! bundles.
//!
//! A target takes bytes, and a panic is a bug. [`campaign`] runs one over mutations of a corpus with a
//! seed that it prints; `tests/short.rs` does that briefly with every `cargo test`:
//!
//! ```text
//! LLM_WASI_FUZZ_CASES=1000000 LLM_WASI_SEED=7 cargo test --release --workspace --test short
//! ```
//!
//! What was found is run again, alone, by naming its file with `LLM_WASI_FUZZ_INPUT` and the test.
//!
//! The targets are plain functions, so any other fuzzer can call them too.

pub mod calls;
pub mod models;
mod mutate;

pub use mutate::mutate;

use llm_wasi_componentize::{Analysis, Options, Profile, Target, analyze, componentize};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

const WITX: &str = include_str!("../../witx/wasmedge.witx");
const MAPPING: &str = include_str!("../../witx/wasmedge.toml");
const WIT: &str = include_str!("../../wit/wasi-nn-2024-10-28.wit");
const EXTENSION: &str = include_str!("../../wit/llm-wasi-nn.wit");

fn generate(witx: &str, mapping: &str, input_names: Vec<(u32, String)>) {
    let file = |name: &str, text: &str| (name.to_string(), text.to_string());
    let wit = vec![file("wasi-nn.wit", WIT), file("llm-wasi-nn.wit", EXTENSION)];
    let sources = llm_wasi_generator::Sources {
        witx: file("fuzz.witx", witx),
        mapping: file("fuzz.toml", mapping),
        wit: wit.clone(),
        other_wit: wit,
    };
    for profile in [
        llm_wasi_generator::Profile::Portable,
        llm_wasi_generator::Profile::Extended,
    ] {
        let options = llm_wasi_generator::Options {
            profile,
            input_names: input_names.clone(),
            zero_max_is_unlimited: false,
        };
        // What it makes has been validated.
        let _ = llm_wasi_generator::generate(&sources, &options);
    }
}

/// A witx file of somebody else's.
pub fn witx(bytes: &[u8]) {
    generate(&String::from_utf8_lossy(bytes), MAPPING, Vec::new());
}

/// A mapping of somebody else's.
pub fn mapping(bytes: &[u8]) {
    generate(WITX, &String::from_utf8_lossy(bytes), Vec::new());
}

/// A module of somebody else's, through everything that looks at one.
pub fn module(bytes: &[u8]) {
    let _: Result<Analysis, _> = analyze(bytes);
    for profile in [None, Some(Profile::Portable)] {
        let options = Options {
            profile,
            target: Target::Rc20241028,
            ..Options::default()
        };
        let _ = componentize(bytes, &options);
    }
}

/// A bundle of somebody else's, to its last byte.
pub fn bundle(bytes: &[u8]) {
    if let Ok(Some(mut bundle)) = llm_wasi_bundle::Bundle::read(std::io::Cursor::new(bytes)) {
        let _ = bundle.verify(&mut |_| {});
    }
}

/// Runs a target over mutations of a corpus: `LLM_WASI_FUZZ_CASES` times, else `cases`, from
/// `LLM_WASI_SEED`, else another seed each time.
///
/// # Panics
/// If the target does; the bytes are written to a file, whose name is printed.
pub fn campaign(name: &str, cases: u64, corpus: &[Vec<u8>], target: fn(&[u8])) {
    campaign_with(name, cases, corpus, target, |rng| {
        let chosen = rng.next_u32() as usize % corpus.len();
        mutate(&corpus[chosen], corpus, rng)
    });
}

/// As [`campaign`], with inputs that `make` makes.
///
/// # Panics
/// As [`campaign`] does.
pub fn campaign_with(
    name: &str,
    cases: u64,
    corpus: &[Vec<u8>],
    target: fn(&[u8]),
    mut make: impl FnMut(&mut TestRng) -> Vec<u8>,
) {
    if let Some(file) = std::env::var_os("LLM_WASI_FUZZ_INPUT") {
        let input = std::fs::read(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        return run(name, &input, target);
    }
    let cases = number("LLM_WASI_FUZZ_CASES").unwrap_or(cases);
    let seed = number("LLM_WASI_SEED").unwrap_or_else(fresh_seed);
    println!("{name}: LLM_WASI_FUZZ_CASES={cases} LLM_WASI_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    for original in corpus {
        run(name, original, target);
    }
    for _ in 0..cases {
        let input = make(&mut rng);
        run(name, &input, target);
    }
}

fn run(name: &str, input: &[u8], target: fn(&[u8])) {
    let result = catch_unwind(AssertUnwindSafe(|| target(input)));
    if let Err(panic) = result {
        let file = std::env::temp_dir().join(format!("llm-wasi-fuzz-{name}"));
        match std::fs::write(&file, input) {
            Ok(()) => eprintln!("the input is in {}", file.display()),
            Err(error) => eprintln!("the input cannot be kept: {error}: {input:?}"),
        }
        resume_unwind(panic);
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}
