//! A language model: the host with a legacy program beside llama.cpp alone.
//!
//! Both use one model and the same settings, in turns. llama.cpp alone is a loop over its own functions in
//! this process. The program is `fixtures/wasm/chat.wasm`, componentized in the extended profile; its
//! clock starts when it has set its prompt, which it tells on standard error, and each piece of its text is
//! timed as it comes out. Every prompt begins with another letter: nothing is in the KV cache before.

use crate::device::{Device, THREADS};
use crate::measure::{Effort, median_ratio};
use crate::table::{Table, Target};
use anyhow::{Context, Result, ensure};
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llm_wasi_componentize::{Options, Profile, componentize};
use llm_wasi_host::Registry;
use llm_wasi_host::backend::ggml::llama_backend;
use llm_wasi_host::runner::Runner;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::AsyncStdoutStream;

const PROGRAM: &[u8] = include_bytes!("../../fixtures/wasm/chat.wasm");

/// How many tokens are generated.
const GENERATED: usize = 128;
const CONTEXT: u32 = 2048;
const BATCH: u32 = 2048;
const UBATCH: u32 = 512;

/// The model, where there is one.
pub(crate) fn model() -> Option<PathBuf> {
    std::env::var_os("LLM_WASI_SMOLLM2").map(PathBuf::from)
}

/// About 400 tokens.
pub(crate) fn prompt() -> String {
    let sentence =
        "The quick brown fox jumps over the lazy dog while the sun sets behind the hills. ";
    format!("{}In short,", sentence.repeat(22))
}

/// About 10 tokens: what comes on top of llama.cpp is not lost in the noise of a long prefill.
const SHORT_PROMPT: &str = "The capital of France, a country in Europe, is";

/// When something happened.
#[derive(Clone, Copy)]
struct Run {
    first: Duration,
    last: Duration,
}

impl Run {
    /// In tokens per second.
    fn decode_rate(&self) -> f64 {
        (GENERATED - 1) as f64 / (self.last - self.first).as_secs_f64()
    }
}

pub(crate) fn tables(effort: &Effort, path: &Path, device: &Device) -> Result<Vec<Table>> {
    let model = device.load(path)?;
    let prompt = prompt();
    let count = |text: &str| {
        let text = format!("A. {text}");
        model.vocab().tokenize(text.as_bytes(), true, true).len()
    };
    let tokens = count(&prompt);

    let registry = Registry::with_default_backends()
        .preload(device.preload(path)?)
        .build();
    // The program's loads find the model in memory while this lives.
    let _loaded = registry.load_by_name("default", None)?;
    let options = Options {
        profile: Some(Profile::Extended),
        exit_codes: true,
        ..Options::default()
    };
    let component = componentize(PROGRAM, &options)?.bytes;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let program = |flags: &[&str], prompt: &str, generated: usize| -> Result<Run> {
        let runner = Runner::builder()
            .arg("chat")
            .args(flags.iter().copied())
            .arg("default")
            .arg(prompt)
            .env("temp", "0")
            .env("n_predict", generated.to_string())
            .env("ctx_size", CONTEXT.to_string())
            .env("batch_size", BATCH.to_string())
            .env("threads", THREADS.to_string())
            .shared_registry(registry.clone())
            .build()?;
        run(&runtime, &runner, &component, generated)
    };
    let rounds = if effort.quick { 1 } else { 5 };
    let mut runs: [Vec<Run>; 3] = Default::default();
    let mut letters = 'A'..='J';
    let mut next = || {
        let letter = letters.next().unwrap_or_default();
        format!("{letter}. {prompt}")
    };
    for _ in 0..rounds {
        let (streamed, whole) = (next(), next());
        runs[0].push(alone(&model, &streamed, GENERATED)?);
        runs[1].push(program(&[], &streamed, GENERATED)?);
        runs[2].push(program(&["--no-stream"], &whole, GENERATED)?);
    }
    let mut short: [Vec<Run>; 2] = Default::default();
    for letter in ('a'..='z').take(4 * rounds) {
        let prompt = format!("{letter}. {SHORT_PROMPT}");
        short[0].push(alone(&model, &prompt, 2)?);
        short[1].push(program(&[], &prompt, 2)?);
    }
    let shortest = |runs: &[Run], time: fn(&Run) -> Duration| {
        runs.iter()
            .map(time)
            .min()
            .unwrap_or_default()
            .as_secs_f64()
    };
    let first = |index: usize| shortest(&runs[index], |run| run.first);
    let soon = |index: usize| shortest(&short[index], |run| run.first) * 1e3;
    let whole = |index: usize| shortest(&runs[index], |run| run.last);
    let decode = |index: usize| {
        let rates = runs[index].iter().map(Run::decode_rate);
        rates.fold(0.0, f64::max)
    };
    let ratio = |index: usize, figure: fn(&Run) -> f64| {
        let of = |index: usize| runs[index].iter().map(figure).collect::<Vec<_>>();
        median_ratio(&of(index), &of(0))
    };
    let row = |name: &str, index: usize, streams: bool| {
        let shown = |text: String| if streams { text } else { "–".to_owned() };
        vec![
            name.to_owned(),
            shown(format!("{:.1}", tokens as f64 / first(index))),
            shown(format!("{:.2} ms", first(index) * 1e3)),
            shown(format!("{:.1}", decode(index))),
            format!("{:.2} s", whole(index)),
        ]
    };
    let language = Table {
        title: format!(
            "a language model: a prompt of {tokens} tokens, {GENERATED} generated, {device}"
        ),
        columns: vec![
            "",
            "prefill, tokens/s",
            "first token",
            "decode, tokens/s",
            "all",
        ],
        rows: vec![
            row("(a) llama.cpp alone", 0, true),
            row("(b) legacy program, token by token", 1, true),
            row("(b) legacy program, whole text", 2, false),
        ],
        targets: vec![
            Target::new(
                "prefill: (a) / (b), median",
                ratio(1, |run| run.first.as_secs_f64()),
                1.0 / 0.98,
                "×",
            ),
            Target::new(
                "decode: (a) / (b), median",
                1.0 / ratio(1, Run::decode_rate),
                1.0 / 0.98,
                "×",
            ),
            Target::new(
                "whole text: (b) / (a), median",
                ratio(2, |run| run.last.as_secs_f64()),
                1.0 / 0.98,
                "×",
            ),
        ],
    };
    let first_token = Table {
        title: format!(
            "the first token after a prompt of {} tokens, {device}",
            count(SHORT_PROMPT)
        ),
        columns: vec!["", "best"],
        rows: vec![
            vec!["(a) llama.cpp alone".into(), format!("{:.2} ms", soon(0))],
            vec![
                "(b) legacy program, token by token".into(),
                format!("{:.2} ms", soon(1)),
            ],
        ],
        targets: vec![Target::new("(b) - (a)", soon(1) - soon(0), 5.0, "ms")],
    };
    Ok(vec![language, first_token, again(&registry)?])
}

/// Loading a model that is loaded.
fn again(registry: &Registry) -> Result<Table> {
    let mut best = f64::INFINITY;
    for _ in 0..100 {
        let started = Instant::now();
        let graph = registry.load_by_name("default", None)?;
        best = best.min(started.elapsed().as_secs_f64() * 1e3);
        drop(graph);
    }
    Ok(Table {
        title: "loading a model that is loaded".into(),
        columns: vec!["", "best"],
        rows: vec![vec!["load_by_name".into(), format!("{best:.3} ms")]],
        targets: vec![Target {
            what: "second load_by_name".into(),
            limit: 1.0,
            found: best,
            unit: "ms",
        }],
    })
}

/// Loads a model and computes, for a process whose memory is measured.
pub(crate) fn compute_alone(path: &Path) -> Result<()> {
    let model = Device::Cpu.load(path)?;
    alone(&model, &prompt(), GENERATED).map(|_| ())
}

/// llama.cpp without this project.
fn alone(model: &LlamaModel, prompt: &str, generated: usize) -> Result<Run> {
    let backend = llama_backend()?;
    let tokens = model.vocab().tokenize(prompt.as_bytes(), true, true);
    ensure!(tokens.len() <= BATCH as usize, "the prompt is one batch");
    let params = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(CONTEXT))
        .with_n_batch(BATCH)
        .with_n_ubatch(UBATCH)
        .with_n_threads(THREADS)
        .with_n_threads_batch(THREADS);
    let started = Instant::now();
    let mut context = model.new_context(backend, params)?;
    let mut sampler = LlamaSampler::greedy();
    let mut batch = LlamaBatch::new(BATCH as usize, 1);
    batch.add_sequence(&tokens, 0, false)?;
    context.decode(&mut batch)?;
    let mut token = sampler.sample(&context, -1);
    let first = started.elapsed();
    let start = i32::try_from(tokens.len())?;
    for position in (start..).take(generated - 1) {
        batch.clear();
        batch.add(token, position, &[0], true)?;
        context.decode(&mut batch)?;
        token = sampler.sample(&context, -1);
        ensure!(!model.vocab().is_eog(token), "the text ends too early");
    }
    Ok(Run {
        first,
        last: started.elapsed(),
    })
}

/// The program; its times count from its note that the prompt is set.
fn run(
    runtime: &tokio::runtime::Runtime,
    runner: &Runner,
    component: &[u8],
    generated: usize,
) -> Result<Run> {
    let (output, notes) = (Times::default(), Times::default());
    let code = runtime.block_on(runner.run_with(component, |wasi| {
        wasi.stdout(AsyncStdoutStream::new(4096, output.clone()));
        wasi.stderr(AsyncStdoutStream::new(4096, notes.clone()));
    }))?;
    let notes = notes.get()?;
    let said = notes
        .iter()
        .map(|(_, text)| text.as_str())
        .collect::<String>();
    ensure!(code == 0, "the program ended with {code}: {said}");
    let expected = format!("\"output_tokens\": {generated}");
    ensure!(
        said.contains(&expected),
        "the text has another length: {said}"
    );
    let output = output.get()?;
    let started = notes.first().context("the program told nothing")?.0;
    let first = output.first().context("the program wrote nothing")?.0;
    // The last piece is the line's end after the text.
    let last = output[output.len().saturating_sub(2)].0;
    Ok(Run {
        first: first - started,
        last: last - started,
    })
}

/// What was written, and when.
#[derive(Clone, Default)]
pub(crate) struct Times(Arc<Mutex<Vec<(Instant, String)>>>);

impl Times {
    pub(crate) fn get(&self) -> Result<Vec<(Instant, String)>> {
        let times = self.0.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
        Ok(times.clone())
    }
}

impl AsyncWrite for Times {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if let Ok(mut times) = self.0.lock() {
            times.push((Instant::now(), String::from_utf8_lossy(bytes).into_owned()));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
