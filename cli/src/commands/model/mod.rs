//! `llm-wasi model`

mod add;
mod info;
mod list;
mod remove;
mod verify;

use crate::failure::Failure;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Keep models under names, and look into them.
///
/// Models are kept in the user's cache folder; LLM_WASI_MODELS names another one. A name stands where
/// a path can: `llm-wasi run --nn-preload default:GGML:AUTO:NAME program.wasm`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Opts {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:

    # Store a model, and run a program with it.
    $ llm-wasi model add https://example.com/smollm2.gguf
    $ llm-wasi run --nn-preload default:GGML:AUTO:smollm2 chat.wasm default";

#[derive(Subcommand)]
enum Command {
    List(list::Opts),
    Info(info::Opts),
    Add(add::Opts),
    Verify(verify::Opts),
    Remove(remove::Opts),
}

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            Command::List(opts) => opts.run(),
            Command::Info(opts) => opts.run(),
            Command::Add(opts) => opts.run(),
            Command::Verify(opts) => opts.run(),
            Command::Remove(opts) => opts.run(),
        }
    }
}
