//! `llm-wasi inspect`

use crate::args::AdapterArgs;
use crate::failure::Failure;
use crate::input::Input;
use crate::text::{number, one_line, print, tame_json, tame_line};
use clap::Args;
use llm_wasi_componentize::{
    Analysis, Entry, ImportKind, Kind, Memory, Options, Refusal, Report, World, analyze,
    componentize, profile_name, world,
};
use serde::Serialize;
use std::fmt::Write;
use std::process::ExitCode;

/// Show what a module imports and what its component would import.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Opts {
    /// Module or component, binary or text; `-` is standard input.
    #[arg(value_name = "IN")]
    input: Input,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:

    # What is it, and what would become of it?
    $ llm-wasi inspect program.wasm

    # Its dialect, for a script.
    $ llm-wasi inspect --json program.wasm | jq -r .detected.dialect";

/// What is printed.
#[derive(Serialize)]
struct Inspection {
    file: String,
    #[serde(flatten)]
    analysis: Analysis,
    /// What would become of it.
    component: Option<Made>,
    /// Why nothing would.
    refusal: Option<Refusal>,
}

#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    report: Outcome,
    world: World,
}

/// A report without the analysis, which is there already.
#[derive(Serialize)]
struct Outcome {
    choice: Option<llm_wasi_componentize::Choice>,
    adapters: Vec<llm_wasi_componentize::Used>,
    passed_through: bool,
    bytes: usize,
}

impl From<Report> for Outcome {
    fn from(report: Report) -> Outcome {
        Outcome {
            choice: report.choice,
            adapters: report.adapters,
            passed_through: report.passed_through,
            bytes: report.bytes,
        }
    }
}

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let options = self.adapter.options()?;
        let bytes = self.input.read()?;
        let refused = |refusal| Failure::refusal(Some(&self.input), refusal);
        let analysis = analyze(&bytes).map_err(refused)?;
        let (component, refusal) = match made(&bytes, &options) {
            Ok(made) => (Some(made), None),
            Err(refusal) => (None, Some(refusal)),
        };
        let inspection = Inspection {
            file: self.input.to_string(),
            analysis,
            component,
            refusal,
        };
        print(&if self.json {
            json(&inspection)?
        } else {
            inspection.text()
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn made(bytes: &[u8], options: &Options) -> Result<Made, Refusal> {
    let done = componentize(bytes, options)?;
    Ok(Made {
        world: world(&done.bytes)?,
        report: done.report.into(),
    })
}

/// JSON with a line break at its end.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Failure> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => Ok(tame_json(&text).into_owned() + "\n"),
        Err(error) => Err(Failure::new("cannot print JSON").cause(&error)),
    }
}

impl Inspection {
    fn text(&self) -> String {
        let mut lines = Lines::default();
        lines.row("file", &self.file);
        self.analysis_text(&mut lines);
        if let Some(made) = &self.component {
            made.text(&mut lines);
        }
        if let Some(refusal) = &self.refusal {
            lines.row("component", "none");
            lines.row("  because", &one_line(&refusal.found));
            lines.row("  expected", &one_line(&refusal.expected));
            lines.row("  next step", &one_line(&refusal.next_step));
        }
        lines.0
    }

    fn analysis_text(&self, lines: &mut Lines) {
        let analysis = &self.analysis;
        let kind = match analysis.kind {
            Kind::Module => "module",
            Kind::Component => "component",
        };
        lines.row("kind", &format!("{kind}, {} bytes", number(analysis.bytes)));
        if analysis.kind == Kind::Component {
            return;
        }
        lines.row("entry", entry(analysis.entry));
        lines.row("memory", memory(&analysis.memory));
        lines.row("realloc", analysis.realloc.as_deref().unwrap_or("none"));
        if let Some(choice) = &analysis.detected {
            lines.row("dialect", &choice.dialect);
            lines.row("profile", profile_name(choice.profile));
            lines.row("because", &choice.reason);
        }
        lines.row("imports", &count(analysis.imports.len()));
        for import in &analysis.imports {
            let kind = match &import.kind {
                ImportKind::Function(signature) => signature.to_string(),
                other => other.word().to_string(),
            };
            lines.row(&format!("  {}.{}", import.module, import.name), &kind);
        }
    }
}

impl Made {
    fn text(&self, lines: &mut Lines) {
        let bytes = number(self.report.bytes);
        let how = if self.report.passed_through {
            "as it is"
        } else {
            "can be made"
        };
        lines.row("component", &format!("{how}, {bytes} bytes"));
        for used in &self.report.adapters {
            lines.row("  adapter", &format!("{}: {}", used.module, used.what));
        }
        for import in &self.world.imports {
            lines.row("  imports", import);
        }
        for export in &self.world.exports {
            lines.row("  exports", export);
        }
    }
}

fn entry(entry: Entry) -> &'static str {
    match entry {
        Entry::Command => "command (exports _start)",
        Entry::Reactor => "reactor (exports _initialize)",
        Entry::Library => "library (exports neither _start nor _initialize)",
    }
}

fn memory(memory: &Memory) -> &'static str {
    match memory {
        Memory::None => "none",
        Memory::Exported => "its own, exported",
        Memory::Hidden => "its own, not exported as `memory`",
        Memory::Imported => "imported",
        Memory::Shared => "shared between threads",
        Memory::Memory64 => "64-bit",
        Memory::Many => "more than one",
    }
}

fn count(n: usize) -> String {
    if n == 0 {
        "none".to_string()
    } else {
        n.to_string()
    }
}

/// Lines of a label and a text.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn row(&mut self, label: &str, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{:<11} {}", tame_line(label), tame_line(text));
    }
}
