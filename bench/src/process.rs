//! Whole processes: how soon `llm-wasi run` starts, and how much memory a model takes in it.

use crate::language;
use crate::measure::Effort;
use crate::table::{Table, Target};
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program that does nothing.
const NOTHING: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
pub(crate) const CHAT: &[u8] = include_bytes!("../../fixtures/wasm/chat.wasm");
const MIB: f64 = 1024.0;

/// The program `llm-wasi` beside this one.
pub(crate) fn program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("llm-wasi");
    ensure!(
        program.exists(),
        "{} is missing: cargo build --release --package llm-wasi",
        program.display()
    );
    Ok(program)
}

pub(crate) fn start(effort: &Effort) -> Result<Table> {
    let folder = tempfile::tempdir()?;
    let module = folder.path().join("nothing.wasm");
    std::fs::write(&module, wat::parse_str(NOTHING)?)?;
    let program = program()?;
    let mut times = Vec::new();
    for _ in 0..if effort.quick { 3 } else { 30 } {
        let started = Instant::now();
        let status = Command::new(&program).arg("run").arg(&module).status()?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        ensure!(status.success(), "llm-wasi run ended with {status}");
    }
    // The first one fills the cache.
    times.remove(0);
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    Ok(Table {
        title: "llm-wasi run without a model, compiled before".into(),
        columns: vec!["", "best", "median"],
        rows: vec![vec![
            "a program that does nothing".into(),
            format!("{:.1} ms", times[0]),
            format!("{median:.1} ms"),
        ]],
        targets: vec![Target {
            what: "median".into(),
            limit: 50.0,
            found: median,
            unit: "ms",
        }],
    })
}

/// Peak memory with a model and of the process that it computes in, beside llama.cpp alone in a process of its own.
pub(crate) fn memory(model: &Path) -> Result<Table> {
    let folder = tempfile::tempdir()?;
    let nothing = folder.path().join("nothing.wasm");
    std::fs::write(&nothing, wat::parse_str(NOTHING)?)?;
    let chat = folder.path().join("chat.wasm");
    std::fs::write(&chat, CHAT)?;

    let alone = peak(
        Command::new(std::env::current_exe()?)
            .arg("--alone")
            .arg(model),
    )?;
    let program = program()?;
    let base = peak(Command::new(&program).arg("run").arg(&nothing))?;
    let preload = format!("default:GGML:CPU:{}", model.display());
    let mut command = Command::new(&program);
    command.args([
        "run",
        "--env",
        "temp=0",
        "--env",
        "ctx_size=2048",
        "--env",
        "threads=1",
    ]);
    command.args(["--env", "n_predict=128", "--nn-preload", &preload]);
    command.arg(&chat).arg("default").arg(language::prompt());
    let with_program = peak(&mut command)?;
    let row = |name: &str, peak: f64| vec![name.to_owned(), format!("{peak:.0} MiB")];
    Ok(Table {
        title: "peak memory".into(),
        columns: vec!["", "resident, shared pages once"],
        rows: vec![
            row("(a) llama.cpp alone", alone),
            row("(b) llm-wasi run, a program that does nothing", base),
            row("(c) llm-wasi run, a program and the model", with_program),
        ],
        targets: vec![Target {
            what: "((c) - (b)) / (a)".into(),
            limit: 1.05,
            found: (with_program - base) / alone,
            unit: "×",
        }],
    })
}

/// The most memory, in MiB, that a process and those that it has started had together. What they share counts once, which
/// is why it is not the sum of their peaks.
fn peak(command: &mut Command) -> Result<f64> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut most: f64 = 0.0;
    while child.try_wait()?.is_none() {
        let memory = with_children(child.id()).into_iter().map(proportional);
        most = most.max(memory.sum());
        std::thread::sleep(Duration::from_millis(1));
    }
    let status = child.wait()?;
    ensure!(status.success(), "{command:?} ended with {status}");
    ensure!(
        most > 0.0,
        "this system does not tell the memory of processes"
    );
    Ok(most)
}

/// The memory of a process in MiB, of what it shares its part; 0 of one that has ended.
fn proportional(process: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"));
    let text = text.unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
    kilobytes.unwrap_or(0.0) / MIB
}

/// A process, and those that its threads have started.
fn with_children(process: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| {
        let children = std::fs::read_to_string(thread.path().join("children")).ok()?;
        let numbers = children.split_whitespace();
        Some(numbers.filter_map(|number| number.parse().ok()).collect())
    });
    let mut all: Vec<u32> = children.flat_map(|children: Vec<u32>| children).collect();
    all.push(process);
    all
}
