//! Models in processes of their own: what a call, a token and a load cost more than in this process.
//!
//! Both sides are this host, without a program. For tokens they take turns at each text, and what counts is the
//! ratio of neighbours, since the speed of a machine changes within seconds. Workers are this program again.

use crate::language::prompt;
use crate::measure::{Effort, Repeat, in_turns, median_ratio};
use crate::table::{Table, Target};
use anyhow::{Result, ensure};
use llm_wasi_host::backend::{Encoding, ExecutionContext, Graph, Target as Device};
use llm_wasi_host::isolate::{Isolation, serve};
use llm_wasi_host::testing::{NULL_OUTPUT, NullBackend, TinyModel};
use llm_wasi_host::{Preload, Registry, RegistryBuilder, Tensor};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many tokens are generated.
const GENERATED: usize = 128;
const OPTIONS: &str =
    r#"{"temp": 0, "threads": 1, "ctx-size": 2048, "batch-size": 2048, "n-predict": 128}"#;
/// The options for the tiny model, which writes one token.
const TINY: &str = r#"{"temp": 0, "threads": 1, "ctx-size": 256, "n-predict": 1}"#;

/// What a worker does: serves.
pub(crate) fn work(null: bool) -> Result<()> {
    let registry = if null {
        Registry::builder().backend(NullBackend)
    } else {
        backends()
    };
    Ok(serve(&registry.build())?)
}

fn backends() -> RegistryBuilder {
    Registry::with_default_backends()
}

pub(crate) fn tables(effort: &Effort, model: Option<&Path>) -> Result<Vec<Table>> {
    let mut tables = vec![calls(effort)?, loads(effort)?];
    if let Some(model) = model {
        tables.push(tokens(effort, model)?);
    }
    Ok(tables)
}

/// `set_input`, `compute` and `output` over a backend without a model.
fn calls(effort: &Effort) -> Result<Table> {
    let load = |registry: RegistryBuilder| -> Result<Box<dyn ExecutionContext>> {
        let registry = registry.build();
        let graph = registry.load(vec![vec![0]], Encoding::Onnx, Device::Cpu, None)?;
        Ok(graph.init_execution_context()?)
    };
    let null = || Registry::builder().backend(NullBackend);
    let mut rows = Vec::new();
    for size in [16, 600 << 10] {
        let mut contexts = [
            load(null())?,
            load(null().isolate(Isolation::new(["--worker=null"])))?,
        ];
        let mut things: Vec<Repeat<'_>> = Vec::new();
        for context in &mut contexts {
            things.push(Box::new(move |count| {
                for _ in 0..count {
                    let mut input = context.take_input(0).unwrap_or_else(Tensor::empty);
                    input.data.resize(size, 1);
                    context.set_input(0, input)?;
                    context.compute()?;
                    ensure!(context.output(0)?.len() == NULL_OUTPUT);
                }
                Ok(())
            }));
        }
        let times = in_turns(effort, &mut things)?;
        for (name, time) in ["here", "in a worker"].iter().zip(times) {
            rows.push(vec![
                format!("{size} bytes, {name}"),
                format!("{:.2} µs", time.best),
                format!("{:.2} µs", time.median),
            ]);
        }
    }
    Ok(Table {
        title: format!("isolation: a tensor in, compute, {NULL_OUTPUT} bytes out, without a model"),
        columns: vec!["", "best", "median"],
        rows,
        targets: Vec::new(),
    })
}

/// The first load of a tiny model, until its first token is there.
fn loads(effort: &Effort) -> Result<Table> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tiny.gguf");
    TinyModel::new().write(&path)?;
    let preload: Preload = format!("m:GGML:CPU:{}", path.display()).parse()?;
    let registries = [
        backends().preload(preload.clone()).build(),
        backends().preload(preload).isolate(isolation()).build(),
    ];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..if effort.quick { 3 } else { 30 } {
        for (registry, times) in registries.iter().zip(&mut times) {
            let started = Instant::now();
            let graph = registry.load_by_name("m", Some(TINY))?;
            let mut context = graph.init_execution_context()?;
            context.set_input(0, Tensor::bytes("Hello"))?;
            context.compute()?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    let rows = ["here", "in a worker"].iter().zip(&mut times);
    let rows = rows.map(|(name, times)| {
        times.sort_by(f64::total_cmp);
        vec![
            (*name).to_owned(),
            format!("{:.1} ms", times[0]),
            format!("{:.1} ms", times[times.len() / 2]),
        ]
    });
    Ok(Table {
        title: "isolation: a tiny model is loaded and writes one token".into(),
        columns: vec!["", "best", "median"],
        rows: rows.collect(),
        targets: Vec::new(),
    })
}

fn isolation() -> Isolation {
    Isolation::new(["--worker=all"])
}

fn tokens(effort: &Effort, path: &Path) -> Result<Table> {
    let preload: Preload = format!("m:GGML:CPU:{}", path.display()).parse()?;
    let graphs: [Arc<dyn Graph>; 2] = [
        backends()
            .preload(preload.clone())
            .build()
            .load_by_name("m", Some(OPTIONS))?,
        backends()
            .preload(preload)
            .isolate(isolation())
            .build()
            .load_by_name("m", Some(OPTIONS))?,
    ];
    let mut contexts = Vec::new();
    for graph in &graphs {
        let mut context = graph.init_execution_context()?;
        context.set_input(0, Tensor::bytes(prompt()))?;
        contexts.push(context);
    }
    // Tokens per second of decode, and seconds of a whole text that is not streamed.
    let mut rates = [Vec::new(), Vec::new()];
    let mut whole = [Duration::MAX; 2];
    let rounds = if effort.quick { 1 } else { 15 };
    for round in 0..rounds {
        let mut texts = [Vec::new(), Vec::new()];
        for turn in 0..2 {
            // Who is first takes turns, too.
            let side = (round + turn) % 2;
            let context = &mut contexts[side];
            let mut started = Instant::now();
            for step in 0..GENERATED {
                context.compute_step()?;
                texts[side].extend_from_slice(&context.step_output(0)?);
                // The first one reads the prompt.
                if step == 0 {
                    started = Instant::now();
                }
            }
            rates[side].push((GENERATED - 1) as f64 / started.elapsed().as_secs_f64());
            context.finish()?;
        }
        ensure!(texts[0] == texts[1], "the texts differ");
        for turn in 0..2 {
            let side = (round + turn) % 2;
            let context = &mut contexts[side];
            let started = Instant::now();
            context.compute()?;
            ensure!(*context.output(0)? == texts[side]);
            whole[side] = whole[side].min(started.elapsed());
            context.finish()?;
        }
    }
    let row = |name: &str, side: usize| {
        let rates = &mut rates[side].clone();
        rates.sort_by(f64::total_cmp);
        vec![
            name.to_owned(),
            format!("{:.1}", rates[rates.len() - 1]),
            format!("{:.1}", rates[rates.len() / 2]),
            format!("{:.2} s", whole[side].as_secs_f64()),
        ]
    };
    Ok(Table {
        title: format!(
            "isolation: SmolLM2 writes {GENERATED} tokens, 1 thread, in turns at each text"
        ),
        columns: vec!["", "decode, tokens/s, best", "median", "best whole text"],
        rows: vec![row("(a) here", 0), row("(b) in a worker", 1)],
        targets: vec![Target::new(
            "decode: (a) / (b), median",
            median_ratio(&rates[0], &rates[1]),
            1.02,
            "×",
        )],
    })
}
