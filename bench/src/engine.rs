//! The engine component beside the host alone.
//!
//! Both continue the same texts, in turns: the host through its own trait in this process, the engine through
//! the typed functions of `examples/hosts/rust`, on whose thread its loop runs. Each has one context, which it
//! keeps; every text begins with another number, so that nothing of it is in the KV cache. What the engine adds to a
//! token is measured on a model so small that it is not lost in the noise of computing.

use crate::language::prompt;
use crate::measure::{Effort, median_ratio};
use crate::table::{Table, Target};
use anyhow::{Result, bail, ensure};
use llm_wasi_compose::{Defaults, ENGINE, configure};
use llm_wasi_example_host::Llm;
use llm_wasi_example_host::generation::{Event, Message, Options, Part, Role};
use llm_wasi_example_host::models::ModelOptions;
use llm_wasi_example_host::types::{Limits, Usage};
use llm_wasi_host::backend::ExecutionContext;
use llm_wasi_host::testing::TinyModel;
use llm_wasi_host::{Preload, Registry, Tensor};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wasmtime::component::{Component, ResourceAny};

/// How many tokens are generated.
const GENERATED: u32 = 64;
/// What comes behind the number that a text begins with: it goes on for long.
const STORY: &str =
    " stories are told. The longest one begins: Once upon a time there was a girl who";
/// For both. The engine sets all but the threads itself, to the same values.
const OPTIONS: &str = r#"{"threads": 1, "ctx-size": 2048, "temp": 0, "n-predict": -1}"#;

/// When each token was there.
struct Run(Vec<Duration>);

impl Run {
    fn first(&self) -> f64 {
        self.0.first().copied().unwrap_or_default().as_secs_f64()
    }

    fn per_token(&self) -> f64 {
        let last = self.0.last().copied().unwrap_or_default().as_secs_f64();
        (last - self.first()) / self.0.len().saturating_sub(1) as f64
    }
}

/// The host alone.
struct Host {
    context: Box<dyn ExecutionContext>,
}

impl Host {
    fn open(registry: &Registry) -> Result<Self> {
        let graph = registry.load_by_name("default", None)?;
        Ok(Self {
            context: graph.init_execution_context()?,
        })
    }

    fn run(&mut self, prompt: &str, tokens: u32) -> Result<Run> {
        let started = Instant::now();
        self.context.set_input(0, Tensor::bytes(prompt))?;
        let mut times = Vec::new();
        for _ in 0..tokens {
            self.context.compute_step()?;
            ensure!(!self.context.step_output(0)?.is_empty(), "an empty token");
            times.push(started.elapsed());
        }
        self.context.finish()?;
        Ok(Run(times))
    }
}

/// The engine.
struct Engine {
    runtime: Runtime,
    llm: Llm,
    model: ResourceAny,
}

impl Engine {
    fn start(registry: &Registry) -> Result<Self> {
        let defaults = Defaults {
            temperature: Some(0.0),
            context_length: Some(2048),
            ..Defaults::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let engine = configure(ENGINE, &defaults.component()?)?;
        let component = Component::new(&wasmtime::Engine::default(), engine)?;
        let llm = Llm::start(&component, registry.clone())?;
        let model = runtime.block_on(llm.call(|host, store| {
            let options = ModelOptions {
                context_length: None,
            };
            let models = host.llm_wasi_llm_models().model();
            Ok(models.call_open(store, None, options)??)
        }))?;
        Ok(Self {
            runtime,
            llm,
            model,
        })
    }

    fn run(&self, prompt: String, tokens: u32) -> Result<Run> {
        let model = self.model;
        self.runtime.block_on(self.llm.call(move |host, store| {
            let generation = host.llm_wasi_llm_generation();
            let streams = generation.answer_stream();
            let started = Instant::now();
            let stream = generation.call_stream_completion(
                &mut *store,
                model,
                &prompt,
                &options(tokens),
            )??;
            let mut times = Vec::new();
            while let Some(event) = streams.call_next(&mut *store, stream)?? {
                match event {
                    Event::Text(_) => times.push(started.elapsed()),
                    Event::ToolCall(_) => bail!("a call of a tool"),
                    Event::Finish(_) => {}
                }
            }
            stream.resource_drop(store)?;
            ensure!(times.len() == tokens as usize, "the text ends too early");
            Ok(Run(times))
        }))
    }

    /// What two turns of a conversation have cost.
    fn turns(&self) -> Result<[Usage; 2]> {
        let model = self.model;
        self.runtime.block_on(self.llm.call(move |host, store| {
            let conversations = host.llm_wasi_llm_generation().conversation();
            let conversation =
                conversations.call_begin(&mut *store, model, &[], &options(GENERATED))??;
            let mut usages = Vec::new();
            for text in [prompt(), "And what does the fox do?".to_owned()] {
                let message = Message {
                    role: Role::User,
                    content: vec![Part::Text(text)],
                    tool_calls: Vec::new(),
                    tool_call_id: None,
                };
                let answer = conversations.call_say(&mut *store, conversation, &message)??;
                usages.push(answer.finish.usage);
            }
            conversation.resource_drop(store)?;
            <[Usage; 2]>::try_from(usages)
                .map_err(|found| anyhow::anyhow!("expected two turns, found {}", found.len()))
        }))
    }
}

fn options(tokens: u32) -> Options {
    Options {
        sampling: None,
        limits: Some(Limits {
            max_tokens: Some(tokens),
            stop: None,
            time_limit: None,
        }),
        format: None,
        logprobs: None,
        tools: None,
        tool_choice: None,
    }
}

fn registry(path: &Path) -> Result<Registry> {
    let mut preload: Preload = format!("default:GGML:CPU:{}", path.display()).parse()?;
    preload.configuration = Some(OPTIONS.to_owned());
    Ok(Registry::with_default_backends().preload(preload).build())
}

/// Runs of the host and of the engine, in turns, of so many tokens each.
fn runs(registry: &Registry, rounds: u32, text: &str, tokens: u32) -> Result<[Vec<Run>; 2]> {
    // The engine's loads find the model in memory while this lives.
    let mut host = Host::open(registry)?;
    let engine = Engine::start(registry)?;
    let mut runs: [Vec<Run>; 2] = Default::default();
    for round in 0..rounds {
        // Another first token each time.
        runs[0].push(host.run(&format!("{}{text}", 2 * round), tokens)?);
        runs[1].push(engine.run(format!("{}{text}", 2 * round + 1), tokens)?);
    }
    Ok(runs)
}

fn best(runs: &[Run], figure: fn(&Run) -> f64) -> f64 {
    runs.iter().map(figure).fold(f64::INFINITY, f64::min)
}

pub(crate) fn tables(effort: &Effort, path: &Path) -> Result<Vec<Table>> {
    let large = registry(path)?;
    let rounds = if effort.quick { 1 } else { 10 };
    let [host, engine] = runs(&large, rounds, STORY, GENERATED)?;
    // What comes before the first token is short beside the noise: many runs are made of it alone.
    let [soon_host, soon_engine] = runs(&large, 8 * rounds, STORY, 1)?;

    let folder = tempfile::tempdir()?;
    let tiny = folder.path().join("tiny.gguf");
    TinyModel::new().write(&tiny)?;
    let [small_host, small_engine] = runs(&registry(&tiny)?, 10 * rounds, STORY, GENERATED)?;

    let decode = |runs: &[Run]| 1.0 / best(runs, Run::per_token);
    let times = |runs: &[Run]| runs.iter().map(Run::per_token).collect::<Vec<_>>();
    let first = |runs: &[Run]| best(runs, Run::first) * 1e3;
    let token = |runs: &[Run]| best(runs, Run::per_token) * 1e6;
    let row = |name: &str, soon: &[Run], large: &[Run], small: &[Run]| {
        vec![
            name.to_owned(),
            format!("{:.2} ms", first(soon)),
            format!("{:.1}", decode(large)),
            format!("{:.1} µs", token(small)),
        ]
    };
    let [one, two] = Engine::start(&large)?.turns()?;
    let turn = |name: &str, usage: &Usage| {
        vec![
            name.to_owned(),
            usage.prompt_tokens.to_string(),
            usage.cached_tokens.to_string(),
            (usage.prompt_tokens - usage.cached_tokens).to_string(),
            format!("{:.1} ms", usage.first_token_time as f64 / 1e3),
        ]
    };
    // The last token of an answer was chosen and not evaluated.
    let new = two.prompt_tokens - (one.prompt_tokens + one.generated_tokens) + 1;
    let evaluated = two.prompt_tokens - two.cached_tokens;
    Ok(vec![
        Table {
            title: format!("the engine, streaming {GENERATED} tokens, 1 thread"),
            columns: vec![
                "",
                "first token",
                "decode, tokens/s",
                "a token of the tiny model",
            ],
            rows: vec![
                row("(a) the host alone", &soon_host, &host, &small_host),
                row("(b) the engine on it", &soon_engine, &engine, &small_engine),
            ],
            targets: vec![
                Target::new(
                    "decode: (a) / (b), median",
                    median_ratio(&times(&engine), &times(&host)),
                    1.0 / 0.97,
                    "×",
                ),
                Target::new(
                    "first token: (b) - (a)",
                    first(&soon_engine) - first(&soon_host),
                    5.0,
                    "ms",
                ),
                Target::new(
                    "a token: (b) - (a)",
                    token(&small_engine) - token(&small_host),
                    30.0,
                    "µs",
                ),
            ],
        },
        Table {
            title: "two turns of a conversation".into(),
            columns: vec![
                "",
                "prompt, tokens",
                "in the KV cache",
                "evaluated",
                "first token",
            ],
            rows: vec![turn("first", &one), turn("second", &two)],
            targets: vec![Target::new(
                "evaluated in the second turn, beyond what is new",
                f64::from(evaluated) - f64::from(new),
                0.0,
                "tokens",
            )],
        },
    ])
}
