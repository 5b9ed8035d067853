//! `llm-wasi componentize`

use crate::args::{AdaptArgs, AdapterArgs};
use crate::failure::Failure;
use crate::input::Input;
use crate::output::Output;
use crate::text::{note, number};
use clap::Args;
use llm_wasi_componentize::{Entry, Report, componentize, profile_name};
use std::process::ExitCode;

/// Make a component of a module that imports wasi-nn.
///
/// Dialect and profile are found from the module's imports and told with the reason. A module that
/// imports WASI preview 1 also gets the adapter for that, for commands or reactors. A component
/// passes through unchanged.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Opts {
    /// Module, binary or text; `-` is standard input.
    #[arg(value_name = "IN")]
    input: Input,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    adapter: AdapterArgs,

    #[command(flatten)]
    adapt: AdaptArgs,

    /// Keep exit codes apart; without it, the program ends with 0 or 1 only.
    ///
    /// The component then needs a host of WASI 0.2.12, such as Wasmtime 48.
    #[arg(long)]
    exit_codes: bool,

    /// Tell nothing but errors.
    #[arg(short, long)]
    quiet: bool,
}

const EXAMPLES: &str = "\
Examples:

    # Make a component.
    $ llm-wasi componentize program.wasm -o program.component.wasm

    # One that runs on every host of wasi:nn, for a model whose input is called `data`.
    $ llm-wasi componentize --profile portable --input-name 0=data program.wasm -o .

    # Look at it as text.
    $ llm-wasi componentize program.wasm -t | less";

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let mut options = self.adapter.options()?;
        options.exit_codes = self.exit_codes;
        options.adapters = self.adapt.read()?;
        let bytes = self.input.read()?;
        let done = componentize(&bytes, &options)
            .map_err(|refusal| Failure::refusal(Some(&self.input), refusal))?;
        let written = self.output.write(&done.bytes, &self.file_name())?;
        if !self.quiet {
            tell(&done.report);
            let to = written.map_or("standard output".to_string(), |p| p.display().to_string());
            note(
                "wrote",
                &format!(
                    "{to} ({} bytes, from {})",
                    number(done.report.bytes),
                    number(done.report.input.bytes)
                ),
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    fn file_name(&self) -> String {
        let stem = self.input.path().file_stem().and_then(|s| s.to_str());
        match stem {
            Some(stem) if !self.input.is_stdin() => format!("{stem}.component"),
            _ => "component".to_string(),
        }
    }
}

/// Says on standard error what was chosen and why.
pub(crate) fn tell(report: &Report) {
    if report.passed_through {
        note("unchanged:", "it is a component already");
        return;
    }
    match &report.choice {
        Some(choice) => note(
            "dialect",
            &format!(
                "{}, profile {}: {}",
                choice.dialect,
                profile_name(choice.profile),
                choice.reason
            ),
        ),
        None if report.input.nn.is_none() => {
            note("dialect", "none: it imports no function of wasi-nn");
        }
        None => {}
    }
    for used in &report.adapters {
        note(
            "adapter",
            &format!(
                "{}: {} ({} bytes before unused parts are left out)",
                used.module,
                used.what,
                number(used.bytes)
            ),
        );
    }
    if report.input.entry != Entry::Command && !report.input.component_types {
        let lost = report.input.exports.iter().filter(|name| callable(name));
        let lost: Vec<&str> = lost.map(String::as_str).collect();
        if !lost.is_empty() {
            note(
                "note:",
                &format!(
                    "a component exports what its WIT names, and this module has none: {} cannot be called",
                    lost.join(", ")
                ),
            );
        }
    }
}

/// Whether a program would miss this export.
fn callable(name: &str) -> bool {
    !name.starts_with('_') && !name.starts_with("cabi_") && !name.starts_with("canonical_abi_")
}
