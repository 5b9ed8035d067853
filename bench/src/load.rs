//! Many guests of one model: streaming programs beside llama.cpp's own batched decoding, what a prompt that was
//! evaluated before saves, and what an instance costs.

use crate::device::{Device, THREADS};
use crate::language::{Times, prompt};
use crate::measure::{Effort, median_ratio};
use crate::table::{Table, Target};
use anyhow::{Context as _, Result, ensure};
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llm_wasi_componentize::{Options, Profile, componentize};
use llm_wasi_host::backend::ggml::llama_backend;
use llm_wasi_host::runner::{Program, Runner};
use llm_wasi_host::{Registry, Scheduling, Tensor};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime_wasi::cli::AsyncStdoutStream;

const PROGRAM: &[u8] = include_bytes!("../../fixtures/wasm/chat.wasm");

/// How many guests there are at once.
const GUESTS: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// How many tokens each of them generates.
const GENERATED: usize = 64;
/// Tokens of the context of each.
const CONTEXT: u32 = 256;
const BATCH: u32 = 512;
/// How many instances are made to see what one costs.
const INSTANCES: usize = 200;

/// None is the beginning of another one.
fn story(number: usize) -> String {
    format!("{number} stories. Once upon a time there was a small fox who lived in a forest, and")
}

/// The programs, and everything that they share.
struct Guests {
    runner: Arc<Runner>,
    program: Program,
    runtime: tokio::runtime::Runtime,
}

/// What happened to a guest: when each piece of its text came, from when all guests were started.
struct Text(Vec<Duration>);

impl Guests {
    fn new(path: &Path, device: &Device) -> Result<Self> {
        let most = GUESTS.into_iter().max().unwrap_or(1);
        let registry = Registry::with_default_backends()
            .preload(device.preload(path)?)
            .scheduling(Scheduling {
                parallel: most,
                ..Scheduling::default()
            })
            .keep_models(true)
            .build();
        let options = Options {
            profile: Some(Profile::Extended),
            exit_codes: true,
            ..Options::default()
        };
        let component = componentize(PROGRAM, &options)?.bytes;
        let runner = Runner::builder()
            .arg("chat")
            .arg("default")
            .env("temp", "0")
            .env("n_predict", GENERATED.to_string())
            .env("ctx_size", CONTEXT.to_string())
            .env("batch_size", BATCH.to_string())
            .env("threads", THREADS.to_string())
            .shared_registry(registry)
            .instances(u32::try_from(most.max(INSTANCES))?)
            .build()?;
        let program = runner.prepare(&component)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        Ok(Self {
            runner: Arc::new(runner),
            program,
            runtime,
        })
    }

    /// Runs so many at once.
    fn run(&self, count: usize) -> Result<Vec<Text>> {
        let started = Instant::now();
        let running: Vec<_> = (0..count)
            .map(|number| {
                let (runner, program) = (self.runner.clone(), self.program.clone());
                let output = Times::default();
                let times = output.clone();
                let guest = self.runtime.spawn(async move {
                    runner
                        .run_prepared(&program, |wasi| {
                            wasi.arg(story(number))
                                .stdout(AsyncStdoutStream::new(4096, output));
                        })
                        .await
                });
                (guest, times)
            })
            .collect();
        running
            .into_iter()
            .map(|(guest, times)| {
                let code = self.runtime.block_on(guest)??;
                ensure!(code == 0, "a guest has ended with {code}");
                let mut pieces: Vec<_> = times.get()?.iter().map(|(at, _)| *at - started).collect();
                // The line's end after the text is the program's own.
                pieces.pop();
                ensure!(pieces.len() > GENERATED / 2, "a text has ended too early");
                Ok(Text(pieces))
            })
            .collect()
    }
}

impl Text {
    fn first(&self) -> Duration {
        self.0.first().copied().unwrap_or_default()
    }

    fn last(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// In tokens per second.
    fn rate(&self) -> f64 {
        (self.0.len() - 1) as f64 / (self.last() - self.first()).as_secs_f64()
    }
}

/// Tokens per second of all guests together, while all of them generate.
fn together(texts: &[Text]) -> f64 {
    let from = texts.iter().map(Text::first).max().unwrap_or_default();
    let to = texts.iter().map(Text::last).min().unwrap_or_default();
    let pieces = texts.iter().flat_map(|text| &text.0);
    let within = pieces.filter(|at| **at > from && **at <= to).count();
    within as f64 / to.saturating_sub(from).as_secs_f64()
}

/// llama.cpp's own batched decoding: a token of every sequence in each batch. In tokens per second.
fn alone(model: &LlamaModel, count: usize) -> Result<f64> {
    let sequences = u32::try_from(count)?;
    let params = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(CONTEXT * sequences))
        .with_n_seq_max(sequences)
        .with_kv_unified(true)
        .with_n_batch(BATCH)
        .with_n_ubatch(BATCH)
        .with_n_threads(THREADS)
        .with_n_threads_batch(THREADS);
    let mut context = model.new_context(llama_backend()?, params)?;
    let mut batch = LlamaBatch::new(BATCH as usize, 1);
    let mut samplers: Vec<_> = (0..count).map(|_| LlamaSampler::greedy()).collect();
    let mut next: Vec<(LlamaToken, i32)> = Vec::new();
    for (number, sampler) in samplers.iter_mut().enumerate() {
        let tokens = model.vocab().tokenize(story(number).as_bytes(), true, true);
        batch.clear();
        batch.add_sequence(&tokens, i32::try_from(number)?, false)?;
        context.decode(&mut batch)?;
        next.push((sampler.sample(&context, -1), i32::try_from(tokens.len())?));
    }
    let started = Instant::now();
    for _ in 1..GENERATED {
        batch.clear();
        for (number, (token, position)) in (0..).zip(&next) {
            batch.add(*token, *position, &[number], true)?;
        }
        context.decode(&mut batch)?;
        for (index, ((token, position), sampler)) in (0..).zip(next.iter_mut().zip(&mut samplers)) {
            *token = sampler.sample(&context, index);
            *position += 1;
        }
    }
    Ok((count * (GENERATED - 1)) as f64 / started.elapsed().as_secs_f64())
}

fn percentile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((part * last as f64).round() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

/// A line of a plot.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

pub(crate) struct Load {
    pub(crate) tables: Vec<Table>,
    /// Tokens per second of all over the number of guests.
    pub(crate) guests: Vec<Line>,
    /// Milliseconds of a token over the length of the context.
    pub(crate) contexts: Vec<Line>,
}

pub(crate) fn measure(effort: &Effort, path: &Path, device: &Device) -> Result<Load> {
    let model = device.load(path)?;
    let guests = Guests::new(path, device)?;
    let numbers = if effort.quick {
        &GUESTS[..3]
    } else {
        &GUESTS[..]
    };
    // Loads the model, and lets the context grow.
    guests.run(numbers.iter().copied().max().unwrap_or(1))?;
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    let mut lines = [
        Line {
            name: "llama.cpp alone",
            points: Vec::new(),
        },
        Line {
            name: "guests",
            points: Vec::new(),
        },
    ];
    for count in numbers.iter().copied() {
        let (mut bare, mut ours) = (0.0_f64, 0.0_f64);
        let mut rates_of_all = [Vec::new(), Vec::new()];
        let mut fairness = f64::INFINITY;
        let mut first = Vec::new();
        // As much time for few guests as for many.
        let rounds = if effort.quick {
            1
        } else {
            (48 / count).clamp(3, 9)
        };
        for _ in 0..rounds {
            let beside = alone(&model, count)?;
            bare = bare.max(beside);
            let texts = guests.run(count)?;
            let found = together(&texts);
            rates_of_all[0].push(found);
            rates_of_all[1].push(beside);
            let rates: Vec<_> = texts.iter().map(Text::rate).collect();
            let mean = rates.iter().sum::<f64>() / rates.len() as f64;
            let slowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
            if found > ours {
                ours = found;
                fairness = slowest / mean;
                first = texts
                    .iter()
                    .map(|text| text.first().as_secs_f64() * 1e3)
                    .collect();
            }
        }
        first.sort_by(f64::total_cmp);
        let ratio = median_ratio(&rates_of_all[0], &rates_of_all[1]);
        rows.push(vec![
            format!("{count}"),
            format!("{bare:.1}"),
            format!("{ours:.1}"),
            format!("{ratio:.2}"),
            format!("{fairness:.2}"),
            format!("{:.0}", percentile(&first, 0.0)),
            format!("{:.0}", percentile(&first, 0.5)),
            format!("{:.0}", percentile(&first, 0.9)),
            format!("{:.0}", percentile(&first, 1.0)),
        ]);
        targets.push(Target::new(
            &format!("{count} guests, tokens/s: (a) / (b)"),
            1.0 / ratio,
            1.0 / 0.95,
            "×",
        ));
        if count > 1 {
            targets.push(Target::new(
                &format!("{count} guests: mean / slowest"),
                1.0 / fairness,
                1.0 / 0.8,
                "×",
            ));
        }
        for (line, value) in lines.iter_mut().zip([bare, ours]) {
            line.points.push((count as f64, value));
        }
    }
    let load = Table {
        title: format!(
            "streaming guests of one model, {GENERATED} tokens each, {device}: (a) llama.cpp's batched \
             decoding, (b) guests"
        ),
        columns: vec![
            "guests",
            "(a) tokens/s, best",
            "(b) tokens/s, best",
            "(b) / (a), median",
            "slowest / mean",
            "first token, ms: best",
            "median",
            "90 %",
            "worst",
        ],
        rows,
        targets,
    };
    let mut tables = vec![load, prefixes(path, device, effort)?, instances(&guests)?];
    let (table, contexts) = contexts(path, device, effort)?;
    tables.push(table);
    Ok(Load {
        tables,
        guests: lines.into(),
        contexts,
    })
}

/// The first token of the second turn of a conversation, with what the first one left and without.
fn prefixes(path: &Path, device: &Device, effort: &Effort) -> Result<Table> {
    let text = prompt().repeat(3);
    let rounds = if effort.quick { 1 } else { 3 };
    let (mut with, mut without) = (f64::INFINITY, f64::INFINITY);
    let mut counts = (0, 0);
    for _ in 0..rounds {
        for kept in [false, true] {
            let registry = Registry::with_default_backends()
                .preload(device.preload(path)?)
                .build();
            let graph = registry.load_by_name(
                "default",
                Some(r#"{"temp": 0, "threads": 1, "ctx-size": 2048, "batch-size": 512}"#),
            )?;
            let mut context = graph.init_execution_context()?;
            let mut turn = text.clone();
            // In any case something is computed before, so that the context is there.
            context.set_input(0, Tensor::bytes(if kept { turn.as_str() } else { "Hello" }))?;
            for _ in 0..4 {
                context.compute_step()?;
                if kept {
                    turn.push_str(&String::from_utf8_lossy(&context.step_output(0)?));
                }
            }
            turn.push_str(" And what did the fox say to the lazy dog then?");
            context.set_input(0, Tensor::bytes(turn))?;
            let started = Instant::now();
            context.compute_step()?;
            let time = started.elapsed().as_secs_f64() * 1e3;
            let usage = context.language().context("a language model")?.usage();
            if kept {
                with = with.min(time);
                counts = (usage.prompt, usage.cached);
            } else {
                without = without.min(time);
            }
        }
    }
    Ok(Table {
        title: format!(
            "the first token of a conversation's second turn, of {} tokens",
            counts.0
        ),
        columns: vec!["", "best"],
        rows: vec![
            vec!["all of it evaluated".into(), format!("{without:.1} ms")],
            vec![
                format!("{} tokens in the KV cache", counts.1),
                format!("{with:.1} ms"),
            ],
        ],
        targets: vec![Target::new(
            "time with what is kept, of the time without",
            with / without,
            0.1,
            "×",
        )],
    })
}

/// What an instance costs that has not begun.
fn instances(guests: &Guests) -> Result<Table> {
    let Guests {
        runner,
        program,
        runtime,
    } = guests;
    runtime.block_on(async {
        let mut best = f64::INFINITY;
        for _ in 0..INSTANCES {
            let started = Instant::now();
            let instance = runner.instantiate(program, |_| {}).await?;
            best = best.min(started.elapsed().as_secs_f64() * 1e6);
            drop(instance);
        }
        let before = resident()?;
        let mut kept = Vec::new();
        for _ in 0..INSTANCES {
            kept.push(runner.instantiate(program, |_| {}).await?);
        }
        let each = resident()?.saturating_sub(before) as f64 / INSTANCES as f64 / 1024.0;
        Ok(Table {
            title: format!("an instance of a program of {} KiB", PROGRAM.len() >> 10),
            columns: vec!["", "found"],
            rows: vec![
                vec!["time to instantiate, best".into(), format!("{best:.1} µs")],
                vec![
                    format!("memory, one of {INSTANCES} at once, its own included"),
                    format!("{each:.0} KiB"),
                ],
            ],
            targets: vec![
                Target::new("time to instantiate", best, 100.0, "µs"),
                Target::new("memory", each, 1024.0, "KiB"),
            ],
        })
    })
}

/// Bytes of memory that the process has.
fn resident() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: u64 = line
        .context("expected VmRSS in /proc/self/status")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(kilobytes * 1024)
}

/// What a token costs when so many are before it.
fn contexts(path: &Path, device: &Device, effort: &Effort) -> Result<(Table, Vec<Line>)> {
    let registry = Registry::with_default_backends()
        .preload(device.preload(path)?)
        .build();
    let graph = registry.load_by_name(
        "default",
        Some(
            r#"{"temp": 0, "threads": 1, "ctx-size": 2048, "batch-size": 512, "ignore-eos": true}"#,
        ),
    )?;
    let lengths: &[usize] = if effort.quick {
        &[64, 256]
    } else {
        &[64, 256, 512, 1024, 1920]
    };
    let mut rows = Vec::new();
    let mut lines = [("prefill", Vec::new()), ("decode", Vec::new())];
    let all = graph
        .language()
        .context("a language model")?
        .tokenize(&prompt().repeat(6), false)?;
    for length in lengths.iter().copied() {
        let mut context = graph.init_execution_context()?;
        let language = context.language().context("a language model")?;
        // Something of its own at the start, so that nothing of it is kept from before.
        let mut tokens = all[..length].to_vec();
        tokens[0] = u32::try_from(1000 + length)?;
        language.set_prompt(&tokens)?;
        let started = Instant::now();
        context.compute_step()?;
        let prefill = started.elapsed().as_secs_f64() * 1e3 / length as f64;
        let mut decode = f64::INFINITY;
        for _ in 0..32 {
            let started = Instant::now();
            context.compute_step()?;
            decode = decode.min(started.elapsed().as_secs_f64() * 1e3);
        }
        rows.push(vec![
            format!("{length}"),
            format!("{prefill:.2} ms"),
            format!("{decode:.2} ms"),
        ]);
        for ((_, points), value) in lines.iter_mut().zip([prefill, decode]) {
            points.push((length as f64, value));
        }
    }
    let table = Table {
        title: "one token, by the number of tokens in the context".into(),
        columns: vec!["tokens", "prefill, each", "decode, best"],
        rows,
        targets: Vec::new(),
    };
    let lines = lines
        .into_iter()
        .map(|(name, points)| Line { name, points });
    Ok((table, lines.collect()))
}
