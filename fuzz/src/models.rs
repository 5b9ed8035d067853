//! Files of models that are damaged or made up: GGUF, ONNX and OpenVINO's IR; and options of language models.
//!
//! What reads them in the end is C++, where a failed assertion ends the process. So a campaign works in
//! children, a hundred files each, which note the file that they are at: whatever ends a child is put down
//! to its file, which is kept, and the campaign goes on behind it.
//!
//! Each file follows from the seed and its number alone. The first ones are the good file cut off at every
//! boundary between two fields; the others have fields changed, left out, doubled and exchanged.

mod gguf;
mod ir;
mod onnx;
mod options;
mod values;

use crate::{fresh_seed, number};
use llm_wasi_host::backend::{Encoding, Target};
use llm_wasi_host::testing::TinyModel;
use llm_wasi_host::{Registry, Tensor, TensorType};
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How many files a child tries.
const BATCH: u64 = 100;
/// How long one file may take; they take milliseconds.
const LIMIT: Duration = Duration::from_secs(60);
/// The address space of a child in KiB: what asks for more gets an error, not the machine's memory.
const ADDRESS_SPACE: u64 = 24 << 20;
/// After so many findings a campaign ends.
const MOST_FINDINGS: usize = 50;
/// What tells a child which files it tries, and where it notes how far it is.
const RANGE: &str = "LLM_WASI_FUZZ_RANGE";
const NOTES: &str = "LLM_WASI_FUZZ_NOTES";

/// A format of models.
#[derive(Clone, Copy, Debug)]
pub enum Format {
    /// GGUF, by llama.cpp.
    Gguf,
    /// ONNX, by ONNX Runtime.
    Onnx,
    /// OpenVINO's intermediate representation.
    Ir,
    /// Options for a good GGUF file.
    Options,
}

/// What became of some files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// How many they were.
    pub files: u64,
    /// How many became a model.
    pub loaded: u64,
    /// How many of those computed.
    pub computed: u64,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Format::Gguf => "gguf",
            Format::Onnx => "onnx",
            Format::Ir => "ir",
            Format::Options => "options",
        }
    }

    fn encoding(self) -> Encoding {
        match self {
            Format::Gguf | Format::Options => Encoding::Ggml,
            Format::Onnx => Encoding::Onnx,
            Format::Ir => Encoding::OpenVino,
        }
    }

    /// Whether the library for it is there; where it has to be, its absence is a failure.
    pub fn is_here(self) -> bool {
        let registry = Registry::with_default_backends().build();
        let backend = registry
            .backends()
            .find(|backend| backend.encodings().contains(&self.encoding()))
            .unwrap_or_else(|| panic!("this build has no backend for {self:?}"));
        match backend.devices() {
            Ok(_) => true,
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "{error}");
                eprintln!("skipped: {error}");
                false
            }
        }
    }

    /// File `index` of a campaign.
    pub fn file(self, seed: u64, index: u64) -> Vec<u8> {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&index.to_le_bytes());
        let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        match self {
            Format::Gguf => gguf::file(index, &mut rng),
            Format::Onnx => onnx::file(index, &mut rng),
            Format::Ir => ir::file(index, &mut rng),
            Format::Options => options::file(index, &mut rng),
        }
    }

    /// Loads a file as a program's own model, and computes if it is one: whatever comes of it, an error
    /// or a result, is right. Says whether it loaded and computed.
    pub fn try_file(self, registry: &Registry, file: &[u8]) -> (bool, bool) {
        let (builders, configuration) = match self {
            Format::Gguf => (
                vec![file.to_vec()],
                r#"{"threads": 1, "ctx-size": 64, "n-predict": 4, "temp": 0}"#,
            ),
            Format::Onnx => (vec![file.to_vec()], r#"{"threads": 1}"#),
            Format::Ir => (vec![file.to_vec(), ir::weights()], r#"{"threads": 1}"#),
            Format::Options => (vec![TinyModel::new().to_gguf(), file.to_vec()], ""),
        };
        let loaded = registry.load(builders, self.encoding(), Target::Cpu, Some(configuration));
        let Ok(graph) = loaded else {
            return (false, false);
        };
        if let Some(model) = graph.language() {
            let _ = model.describe();
            if let Ok(tokens) = model.tokenize("Hello, <|eos|>\u{e9}", true) {
                let _ = model.detokenize(&tokens);
            }
        }
        let Ok(mut context) = graph.init_execution_context() else {
            return (true, false);
        };
        let floats = |values: &[f32]| Tensor {
            dimensions: vec![values.len() as u32],
            ty: TensorType::F32,
            data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        match self {
            Format::Gguf | Format::Options => {
                let _ = context.set_input(0, Tensor::bytes("abc"));
            }
            Format::Onnx | Format::Ir => {
                let _ = context.set_input(0, floats(&[1.0, 2.0]));
                let whole = Tensor {
                    dimensions: vec![2],
                    ty: TensorType::I64,
                    data: vec![1; 16],
                };
                let _ = context.set_input(1, whole);
            }
        }
        let mut computed = context.compute().is_ok();
        if let Format::Options = self {
            // The same as input of a context that was made with others.
            let _ = context.set_input(1, Tensor::bytes(file));
            let _ = context.compute_step();
            let _ = context.finish();
            computed |= context.compute().is_ok();
        }
        for index in 0..context.outputs().min(8) {
            let _ = context.describe_output(index);
            let _ = context.output(index);
        }
        (true, computed)
    }
}

/// Tries `LLM_WASI_FUZZ_CASES` files, else `cases`, from `LLM_WASI_SEED`, else another seed each time.
/// `test` is the name of the test that calls this, which a child runs alone.
///
/// # Panics
/// If a file ends a child or holds it up; the files are kept, and their names printed.
pub fn campaign(test: &str, format: Format, cases: u64) {
    let name = format.name();
    if let Some(file) = std::env::var_os("LLM_WASI_FUZZ_INPUT") {
        let file = std::fs::read(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let registry = Registry::with_default_backends().build();
        println!("{name}: {:?}", format.try_file(&registry, &file));
        return;
    }
    let seed = number("LLM_WASI_SEED").unwrap_or_else(fresh_seed);
    if let Ok(range) = std::env::var(RANGE) {
        return child(format, seed, &range);
    }
    let cases = number("LLM_WASI_FUZZ_CASES").unwrap_or(cases);
    println!("{name}: LLM_WASI_FUZZ_CASES={cases} LLM_WASI_SEED={seed}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut sum = Tried::default();
    let mut findings = Vec::new();
    let mut at = 0;
    while at < cases && findings.len() < MOST_FINDINGS {
        let end = cases.min(at + BATCH);
        let notes = folder.path().join("notes");
        let ended = run_child(test, seed, at..end, &notes);
        let noted = read_notes(&notes);
        sum.loaded += noted.loaded;
        sum.computed += noted.computed;
        let Some(how) = ended else {
            sum.files += end - at;
            at = end;
            continue;
        };
        let index = at + noted.files;
        sum.files += noted.files + 1;
        let kept = std::env::temp_dir().join(format!("llm-wasi-fuzz-{name}-{seed}-{index}"));
        let written = std::fs::write(&kept, format.file(seed, index));
        eprintln!("{name} {index}: {how}: {}", kept.display());
        findings.push((index, written.map(|()| kept)));
        at = index + 1;
    }
    println!(
        "{name}: {} files, {} loaded, {} computed, {} ended the process",
        sum.files,
        sum.loaded,
        sum.computed,
        findings.len()
    );
    assert!(findings.is_empty(), "{name}: {findings:?}");
    // Files of which none ever loads would pass as well.
    assert!(sum.computed > 0, "{name}: no file computed");
}

/// Runs a child. How it ended, if not well.
fn run_child(test: &str, seed: u64, range: std::ops::Range<u64>, notes: &Path) -> Option<String> {
    write_notes(notes, Tried::default());
    let log = notes.with_extension("log");
    let output = File::create(&log).expect("a file for what a child says");
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "ulimit -v {ADDRESS_SPACE}; ulimit -c 0; exec \"$0\" \"$@\""
        ))
        .arg(std::env::current_exe().expect("the path of this program"))
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(RANGE, format!("{}..{}", range.start, range.end))
        .env(NOTES, notes)
        .env("LLM_WASI_SEED", seed.to_string())
        // llama.cpp would start a debugger for a backtrace.
        .env("GGML_NO_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("the same file"))
        .stderr(output)
        .spawn()
        .expect("a child starts");
    let mut last = (read_notes(notes), Instant::now());
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break Some(status);
        }
        std::thread::sleep(Duration::from_millis(2));
        if last.1.elapsed() > LIMIT {
            let noted = read_notes(notes);
            if noted == last.0 {
                child.kill().expect("a child can be killed");
                child.wait().expect("a child can be waited for");
                break None;
            }
            last = (noted, Instant::now());
        }
    };
    match status {
        None => Some(format!("no end within {} s", LIMIT.as_secs())),
        Some(status) if status.success() => None,
        Some(status) => {
            let said = std::fs::read(&log).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            let reason = said
                .lines()
                .find(|line| {
                    line.contains("ASSERT")
                        || line.contains("panicked")
                        || line.contains("terminate")
                })
                .or(said.lines().last())
                .unwrap_or_default();
            Some(format!("{status}: {reason}"))
        }
    }
}

fn child(format: Format, seed: u64, range: &str) {
    let (start, end) = range
        .split_once("..")
        .and_then(|(start, end)| Some((start.parse().ok()?, end.parse().ok()?)))
        .unwrap_or_else(|| panic!("{RANGE}={range} is no range"));
    let notes = PathBuf::from(std::env::var_os(NOTES).expect("the notes' file"));
    let registry = Registry::with_default_backends().build();
    let mut tried = Tried::default();
    for index in start..end {
        let (loaded, computed) = format.try_file(&registry, &format.file(seed, index));
        tried.files += 1;
        tried.loaded += u64::from(loaded);
        tried.computed += u64::from(computed);
        write_notes(&notes, tried);
    }
}

fn write_notes(path: &Path, tried: Tried) {
    let bytes: Vec<u8> = [tried.files, tried.loaded, tried.computed]
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    // In place, so that a reader finds whole notes.
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .expect("the notes can be opened");
    file.seek(SeekFrom::Start(0)).expect("the notes' start");
    file.write_all(&bytes).expect("the notes can be written");
}

fn read_notes(path: &Path) -> Tried {
    let mut bytes = [0; 24];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    read.expect("the notes can be read");
    let (numbers, _) = bytes.as_chunks();
    let numbers: Vec<u64> = numbers.iter().map(|n| u64::from_le_bytes(*n)).collect();
    Tried {
        files: numbers[0],
        loaded: numbers[1],
        computed: numbers[2],
    }
}
