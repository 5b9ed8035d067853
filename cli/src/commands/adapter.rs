//! `llm-wasi adapter`

use crate::args::AdapterArgs;
use crate::failure::Failure;
use crate::output::Output;
use crate::text::{note, number, print};
use clap::Args;
use llm_wasi_adapter::dialects;
use llm_wasi_componentize::{Options, Profile, Target, adapter_bytes, profile_name, target_name};
use std::fmt::Write;
use std::process::ExitCode;

/// Write an adapter for `wasm-tools component new --adapt`.
///
/// The dialect is the specification's current one and the profile is portable, unless told
/// otherwise.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Opts {
    #[command(flatten)]
    adapter: AdapterArgs,

    #[command(flatten)]
    output: Output,

    /// Print what each function does instead: what it reads and calls, and the errno of each failure.
    #[arg(long)]
    explain: bool,

    /// Print the dialects with their functions instead.
    #[arg(long, conflicts_with = "explain")]
    list: bool,
}

const EXAMPLES: &str = "\
Examples:

    # All dialects.
    $ llm-wasi adapter --list

    # Write wasi_ephemeral_nn.wasmedge.extended.wasm into this folder and use it.
    $ llm-wasi adapter --dialect wasmedge --profile extended -o .
    $ wasm-tools component new program.wasm --adapt wasi_ephemeral_nn.wasmedge.extended.wasm \\
        --adapt wasi_snapshot_preview1.command.wasm -o program.component.wasm

    # What it does, and its text.
    $ llm-wasi adapter --dialect wasmedge --explain
    $ llm-wasi adapter --dialect wasmedge -t";

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if self.list {
            print(&list())?;
            return Ok(ExitCode::SUCCESS);
        }
        let options = self.adapter.options()?;
        let dialect = options.dialect.as_deref().unwrap_or("wasi-nn");
        let profile = options.profile.unwrap_or(Profile::Portable);
        // Also finds out whether dialect and profile exist.
        let bytes = adapter_bytes(dialect, profile, &options)
            .map_err(|refusal| Failure::refusal(None, refusal))?;
        if self.explain {
            print(&explain(dialect, profile, &options)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let written = self
            .output
            .write(&bytes, &file_name(dialect, profile, options.target))?;
        if let Some(path) = written {
            note(
                "wrote",
                &format!("{} ({} bytes)", path.display(), number(bytes.len())),
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn explain(dialect: &str, profile: Profile, options: &Options) -> Result<String, Failure> {
    let options = llm_wasi_adapter::Options {
        dialect: dialect.to_string(),
        profile,
        target: options.target,
        input_names: options.input_names.clone(),
        zero_max_is_unlimited: options.zero_max_is_unlimited,
    };
    llm_wasi_adapter::explain(&options).map_err(|error| {
        Failure::new(format!("the adapter for {dialect} cannot be explained"))
            .causes(&error)
            .next_step("change the option that is named above")
    })
}

/// Without an extension. It begins with the adapted module, so that `--adapt FILE` needs no name.
fn file_name(dialect: &str, profile: Profile, target: Target) -> String {
    let module = dialects()
        .iter()
        .find(|d| d.name == dialect)
        .map_or("wasi_ephemeral_nn", |d| d.module.as_str());
    let mut name = format!("{module}.{dialect}");
    if profile == Profile::Extended {
        name.push_str(".extended");
    }
    if target == Target::Rc20240819 {
        name.push_str(".2024-08-19");
    }
    name
}

fn list() -> String {
    let mut text = String::new();
    for dialect in dialects() {
        let functions: Vec<&str> = dialect.functions.iter().map(|f| f.name.as_str()).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}\n  {}\n  module     {}\n  functions  {}",
            dialect.name,
            dialect.summary,
            dialect.module,
            functions.join(" "),
        );
        for profile in [Profile::Portable, Profile::Extended] {
            let targets: Vec<&str> = [Target::Rc20241028, Target::Rc20240819]
                .into_iter()
                .filter(|t| llm_wasi_adapter::find(dialect.name, profile, *t).is_some())
                .map(target_name)
                .collect();
            if !targets.is_empty() {
                let profile = profile_name(profile);
                let _ = writeln!(text, "  {profile:<9}  {}", targets.join(" "));
            }
        }
    }
    text
}
