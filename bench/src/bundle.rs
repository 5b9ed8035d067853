//! How soon a bundle starts, beside the same program and model in files of their own.

use crate::measure::Effort;
use crate::process::{CHAT, program};
use crate::table::{Table, Target};
use anyhow::{Result, ensure};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

pub(crate) fn table(effort: &Effort, model: &Path) -> Result<Table> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let program = program()?;
    std::fs::write(path("chat.wasm"), CHAT)?;
    run(Command::new(&program)
        .arg("componentize")
        .arg(path("chat.wasm"))
        .args(["--exit-codes", "-o"])
        .arg(path("component.wasm")))?;
    let making = run(Command::new(&program)
        .arg("bundle")
        .arg(path("chat.wasm"))
        .arg("--model")
        .arg(model)
        .arg("-o")
        .arg(path("bundle.wasm")))?;
    let start = |file: &str, preload: bool| {
        let mut command = Command::new(&program);
        command.env("LLM_WASI_BUNDLES", path("unpacked"));
        command.args(["run", "--env", "temp=0", "--env", "n_predict=1"]);
        if preload {
            let preload = format!("default:GGML:AUTO:{}", model.display());
            command.args(["--nn-preload", &preload]);
        }
        run(command.arg(path(file)).args(["default", "Hello"]))
    };
    // The first one of each also compiles the component.
    start("component.wasm", true)?;
    let first = start("bundle.wasm", false)?;
    let (mut beside, mut bundled) = (Vec::new(), Vec::new());
    for _ in 0..if effort.quick { 3 } else { 30 } {
        beside.push(start("component.wasm", true)?);
        bundled.push(start("bundle.wasm", false)?);
    }
    let (beside, bundled) = (Times::of(beside), Times::of(bundled));
    Ok(Table {
        title: "llm-wasi run, up to the first token and the end".into(),
        columns: vec!["", "best", "median"],
        rows: vec![
            beside.row("(a) component and model in files of their own"),
            bundled.row("(b) the same in a bundle, unpacked before"),
            once(
                "(c) the bundle's first start: unpacking and checking",
                first,
            ),
            once("    llm-wasi bundle, which makes it", making),
        ],
        targets: vec![Target {
            what: "median of (b) / (a)".into(),
            limit: 1.10,
            found: bundled.median / beside.median,
            unit: "×",
        }],
    })
}

/// Milliseconds that a command takes.
fn run(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

struct Times {
    best: f64,
    median: f64,
}

impl Times {
    fn of(mut times: Vec<f64>) -> Times {
        times.sort_by(f64::total_cmp);
        Times {
            best: times[0],
            median: times[times.len() / 2],
        }
    }

    fn row(&self, name: &str) -> Vec<String> {
        vec![
            name.into(),
            format!("{:.1} ms", self.best),
            format!("{:.1} ms", self.median),
        ]
    }
}

fn once(name: &str, time: f64) -> Vec<String> {
    vec![name.into(), format!("{time:.1} ms"), String::new()]
}
