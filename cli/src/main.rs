//! `llm-wasi`: legacy wasi-nn modules become components, and run with real models.

mod args;
mod bundles;
mod commands;
mod failure;
mod folder;
mod input;
mod isolation;
mod models;
mod output;
mod progress;
mod serving;
#[cfg(unix)]
mod signals;
mod text;
mod unfinished;
mod wasmedge;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use failure::Failure;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Turn modules that import `wasi_ephemeral_nn` into components of `wasi:nn`, and run them.
///
/// Inputs are WebAssembly binaries or text; `-` is standard input or output. RUST_LOG sets what is
/// logged to standard error, for example RUST_LOG=debug.
#[derive(Parser)]
#[command(name = "llm-wasi", version, after_help = EXAMPLES)]
struct Cli {
    /// Log more: -v information, -vv debugging, -vvv everything.
    #[arg(short, long, global = true, display_order = 900, action = clap::ArgAction::Count)]
    verbose: u8,

    /// When to use colours.
    #[arg(
        long,
        global = true,
        display_order = 901,
        value_name = "WHEN",
        default_value = "auto"
    )]
    color: clap::ColorChoice,

    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:

    # Can these programs become components?
    $ llm-wasi check a.wasm b.wasm

    # Make a component of one, and run it with a model.
    $ llm-wasi componentize a.wasm -o a.component.wasm
    $ llm-wasi run --nn-preload default:GGML:AUTO:model.gguf a.component.wasm

    # One file with program and model.
    $ llm-wasi bundle a.wasm --model model.gguf -o a-with-model.wasm
    $ llm-wasi run a-with-model.wasm

Exit status: 0 for success, 1 for an error, 2 for wrong usage; `run` gives the program's own.";

#[derive(Subcommand)]
enum Command {
    Adapter(commands::adapter::Opts),
    Componentize(commands::componentize::Opts),
    Compose(Box<commands::compose::Opts>),
    Configure(Box<commands::configure::Opts>),
    Inspect(commands::inspect::Opts),
    Check(commands::check::Opts),
    Run(commands::run::Opts),
    Bundle(commands::bundle::Opts),
    Chat(commands::chat::Opts),
    Model(commands::model::Opts),
    Devices(commands::devices::Opts),
    /// Serve a host as the process of a model.
    #[command(hide = true)]
    Worker,
}

fn main() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, with status 0.
            let code = error.exit_code();
            // There is nobody left to tell if this fails.
            let _ = error.print();
            return ExitCode::from(u8::try_from(code).unwrap_or(2));
        }
    };
    use_color(cli.color);
    log(cli.verbose, &cli.command);
    #[cfg(unix)]
    signals::ignore_file_size();
    let result = match cli.command {
        Command::Adapter(opts) => opts.run(),
        Command::Componentize(opts) => opts.run(),
        Command::Compose(opts) => opts.run(),
        Command::Configure(opts) => opts.run(),
        Command::Inspect(opts) => opts.run(),
        Command::Check(opts) => opts.run(),
        Command::Run(opts) => opts.run(),
        Command::Bundle(opts) => opts.run(),
        Command::Chat(opts) => opts.run(),
        Command::Model(opts) => opts.run(),
        Command::Devices(opts) => opts.run(),
        Command::Worker => isolation::work(),
    };
    result.unwrap_or_else(|failure: Failure| failure.report())
}

fn parse() -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&Cli::command().try_get_matches()?)
}

fn use_color(when: clap::ColorChoice) {
    match when {
        clap::ColorChoice::Auto => anstream::ColorChoice::Auto,
        clap::ColorChoice::Always => anstream::ColorChoice::Always,
        clap::ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// RUST_LOG wins over -v; without either only warnings are shown, or less where a conversation is.
fn log(verbose: u8, command: &Command) {
    let default = match verbose {
        0 if matches!(command, Command::Chat(_)) => "error",
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = match asked.trim() {
        "" => Ok(EnvFilter::new(default)),
        asked => EnvFilter::try_new(asked),
    };
    let wrong = filter.as_ref().err().map(ToString::to_string);
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(default));
    let color = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(progress::log)
        .with_ansi(color)
        .without_time()
        .log_internal_errors(false)
        .init();
    if let Some(wrong) = wrong {
        tracing::warn!("RUST_LOG: expected TARGET=LEVEL or a level, found `{asked}` ({wrong})");
    }
}
