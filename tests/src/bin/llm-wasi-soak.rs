//! Runs mixed programs for long, and watches what the process holds: `llm-wasi-soak [SECONDS]`, by default an hour.
//!
//! Each round has a text in pieces and a whole one, one by a worker process that starts and ends with it, an embedding, a
//! computation with ONNX Runtime where that is there, two programs that fail and one that a time limit ends. The first quarter of the time is to warm up. Then
//! what is allocated may grow by 2 % at most, from the least of the second quarter to that of the last one, and the memory in use
//! by a quarter; and at the end there may be no more descriptors and threads than after the first quarter, soon after everything has ended.

use anyhow::{Context, Result, ensure};
use llm_wasi_componentize::Options;
use llm_wasi_host::runner::{Ended, Runner};
use llm_wasi_host::testing::{TinyModel, TinyOnnx, onnx_type};
use llm_wasi_host::{Preload, Registry, Tensor, TensorType};
use llm_wasi_tests::process::Held;
use std::time::{Duration, Instant};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

const CHAT: &[u8] = include_bytes!("../../../fixtures/wasm/chat.wasm");
const EMBED: &[u8] = include_bytes!("../../../fixtures/wasm/embed.wasm");
/// Never ends by itself.
const LOOP: &str = r#"(module
    (import "wasi_ephemeral_nn" "compute" (func (param i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start") (loop br 0)))"#;
/// What worker processes are started with.
#[cfg(target_os = "linux")]
const WORKER: &str = "--worker";
/// How many percent more may be allocated.
const PERCENT: u64 = 2;
/// How often is looked, in all.
const SAMPLES: u32 = 40;

/// A program with its arguments, and the status with which it ends.
struct Guest {
    runner: Runner,
    component: Vec<u8>,
    status: i32,
}

fn component(module: &[u8]) -> Result<Vec<u8>> {
    Ok(llm_wasi_componentize::componentize(module, &Options::default())?.bytes)
}

/// One program after the other.
async fn round(guests: &[Guest], endless: &Guest, registry: &Registry, onnx: bool) -> Result<()> {
    for guest in guests {
        let out = MemoryOutputPipe::new(1 << 20);
        let status = guest
            .runner
            .run_with(&guest.component, |wasi| {
                wasi.stdout(out.clone())
                    .stderr(MemoryOutputPipe::new(1 << 16));
            })
            .await?;
        ensure!(
            status == guest.status,
            "expected status {}, found {status}",
            guest.status
        );
        ensure!(
            status != 0 || !out.contents().is_empty(),
            "a program that ends well has written something"
        );
    }
    let ended = endless.runner.run_with(&endless.component, |_| {}).await;
    let ended = ended.err().context("the endless program ended by itself")?;
    ensure!(
        matches!(ended.downcast_ref(), Some(Ended::TimedOut(_))),
        "{ended:#}"
    );
    if onnx {
        let graph = registry.load_by_name("twice", None)?;
        let mut context = graph.init_execution_context()?;
        context.set_input(
            0,
            Tensor {
                dimensions: vec![1],
                ty: TensorType::F32,
                data: 1.5_f32.to_le_bytes().to_vec(),
            },
        )?;
        context.compute()?;
        ensure!(
            *context.output(0)? == 3.0_f32.to_le_bytes(),
            "1.5 and 1.5 is 3"
        );
    }
    Ok(())
}

/// Preloads the model, where the system can in a worker process, which is this program again.
fn isolated(model: &Preload) -> Registry {
    let builder = Registry::with_default_backends().preload(model.clone());
    #[cfg(target_os = "linux")]
    let builder = builder.isolate(llm_wasi_host::isolate::Isolation::new([WORKER]));
    builder.build()
}

fn main() -> Result<()> {
    #[cfg(target_os = "linux")]
    if std::env::args().nth(1).as_deref() == Some(WORKER) {
        let registry = Registry::with_default_backends().build();
        return Ok(llm_wasi_host::isolate::serve(&registry)?);
    }
    let seconds = std::env::args()
        .nth(1)
        .map_or(Ok(3600), |text| text.parse());
    let seconds: u64 = seconds.context("usage: llm-wasi-soak [SECONDS]")?;
    let folder = tempfile::tempdir()?;
    TinyModel::new().write(folder.path().join("tiny.gguf"))?;
    let twice = TinyOnnx::new()
        .input("x", onnx_type::F32, &[-1])
        .node("Add", &["x", "x"], &["y"])
        .output("y", onnx_type::F32, &[-1]);
    std::fs::write(folder.path().join("twice.onnx"), twice.to_bytes())?;
    let at = |file: &str| folder.path().join(file).display().to_string();
    let tiny: Preload = format!("tiny:GGML:CPU:{}", at("tiny.gguf")).parse()?;
    let isolated = isolated(&tiny);
    let registry = Registry::with_default_backends()
        .preload(tiny)
        .preload(format!("twice:ONNX:CPU:{}", at("twice.onnx")).parse()?)
        .build();
    let onnx = match registry.load_by_name("twice", None) {
        Ok(_) => true,
        Err(error) => {
            ensure!(std::env::var_os("CI").is_none(), "{error}");
            println!("without ONNX Runtime: {error}");
            false
        }
    };
    let guest = |module: &[u8],
                 arguments: &[&str],
                 registry: &Registry,
                 limit: Option<u64>,
                 status|
     -> Result<Guest> {
        let mut runner = Runner::builder()
            .cache(false)
            .args(arguments.iter().copied())
            .env("n_predict", "20")
            .env("ctx_size", "128")
            .env("threads", "1")
            .env("temp", "0")
            .shared_registry(registry.clone());
        if let Some(limit) = limit {
            runner = runner.time_limit(Duration::from_millis(limit));
        }
        Ok(Guest {
            runner: runner.build()?,
            component: component(module)?,
            status,
        })
    };
    let guests = [
        guest(CHAT, &["chat", "tiny", "Hello"], &registry, None, 0)?,
        guest(
            CHAT,
            &["chat", "--no-stream", "tiny", "Hello"],
            &registry,
            None,
            0,
        )?,
        guest(CHAT, &["chat", "tiny", "Hello"], &isolated, None, 0)?,
        guest(EMBED, &["embed", "tiny", "Hello"], &registry, None, 0)?,
        guest(CHAT, &["chat", "nobody", "Hello"], &registry, None, 1)?,
        guest(CHAT, &["chat"], &registry, None, 1)?,
    ];
    let endless = guest(&wat::parse_str(LOOP)?, &["endless"], &registry, Some(50), 0)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let whole = Duration::from_secs(seconds);
    let started = Instant::now();
    let mut rounds = 0_u64;
    let mut samples: Vec<Held> = Vec::new();
    while started.elapsed() < whole {
        runtime.block_on(round(&guests, &endless, &registry, onnx))?;
        rounds += 1;
        let due = whole * (samples.len() as u32 + 1) / SAMPLES;
        if started.elapsed() >= due {
            let held = Held::now();
            println!(
                "{:>5} s, {rounds:>6} rounds: {held}",
                started.elapsed().as_secs()
            );
            samples.push(held);
        }
    }
    let quarter = samples.len() / 4;
    ensure!(
        quarter > 0,
        "expected more than {rounds} rounds in {seconds} s: give it longer"
    );
    // What is ending just then counts more or less; the least of a quarter is what stays.
    let least = |of: &[Held], held: Held| Held {
        resident: of
            .iter()
            .map(|held| held.resident)
            .min()
            .unwrap_or_default(),
        allocated: of.iter().map(|held| held.allocated).min().flatten(),
        ..held
    };
    let first = least(&samples[quarter..2 * quarter], samples[quarter]);
    let last = least(&samples[samples.len() - quarter..], first);
    println!("{rounds} rounds of 8 programs: {first}; then {last}");
    last.check(first, PERCENT).map_err(anyhow::Error::msg)?;
    // Whatever memory there is now.
    let first = Held {
        resident: u64::MAX,
        allocated: None,
        ..first
    };
    Held::check_soon(first, 0).map_err(anyhow::Error::msg)
}
