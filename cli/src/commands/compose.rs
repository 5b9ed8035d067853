//! `llm-wasi compose`

use crate::commands::configure::DefaultsArgs;
use crate::failure::Failure;
use crate::input::Input;
use crate::output::Output;
use crate::text::{note, number};
use clap::Args;
use llm_wasi_componentize::{Options, componentize};
use llm_wasi_compose::{ENGINE, Refusal, compose};
use std::process::ExitCode;

/// Make one component of an app and the engine that it asks for its texts.
///
/// The app imports `llm-wasi:llm`. The result imports `wasi:nn`, `llm-wasi:nn`, WASI and what else the app
/// imports, and runs with `llm-wasi run`. The same fields as those of `configure` give its defaults.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Opts {
    /// App, a component or a module that can become one; `-` is standard input.
    #[arg(value_name = "APP")]
    app: Input,

    /// Engine component in place of the one that comes with this program.
    #[arg(long, value_name = "FILE")]
    engine: Option<Input>,

    /// Configuration component, as `configure` makes it.
    #[arg(long, value_name = "FILE")]
    configuration: Option<Input>,

    #[command(flatten)]
    output: Output,

    /// Tell nothing but errors.
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    defaults: DefaultsArgs,
}

const EXAMPLES: &str = "\
Examples:

    # One component, which runs with any model that it finds under the name `default`.
    $ llm-wasi compose app.wasm --model default -o whole.wasm
    $ llm-wasi run --nn-preload default:GGML:AUTO:model.gguf whole.wasm

    # With a configuration that others can exchange.
    $ llm-wasi configure --temperature 0 -o config.wasm
    $ llm-wasi compose app.wasm --configuration config.wasm -o whole.wasm";

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if self.configuration.is_some() && !self.defaults.is_empty() {
            return Err(
                Failure::new("--configuration FILE and fields of a configuration")
                    .expected("one of the two")
                    .next_step("put the fields into the file: `llm-wasi configure`"),
            );
        }
        let app = self.app.read()?;
        let app = componentize(&app, &Options::default())
            .map_err(|refusal| Failure::refusal(Some(&self.app), refusal))?
            .bytes;
        let engine = match &self.engine {
            Some(file) => file.read()?,
            None => ENGINE.to_vec(),
        };
        let configuration = match &self.configuration {
            Some(file) => file.read()?,
            None => self.defaults.component()?,
        };
        let whole = compose(&app, &engine, &configuration).map_err(failure)?;
        let written = self.output.write(&whole, "composed")?;
        if !self.quiet {
            let to = written.map_or("standard output".to_string(), |p| p.display().to_string());
            note("wrote", &format!("{to} ({} bytes)", number(whole.len())));
        }
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn failure(refusal: Refusal) -> Failure {
    let next_step = match &refusal {
        Refusal::NoComponent { .. } => "see `llm-wasi inspect FILE`",
        Refusal::NothingToConnect { role: "app", .. } => {
            "only apps that import the interface of wit/llm.wit need an engine; run others as they are"
        }
        Refusal::NothingToConnect { .. } => "see `llm-wasi inspect FILE`",
        Refusal::Mismatch { .. } => "build app and engine with the same version of wit/llm.wit",
    };
    Failure::new(refusal.to_string()).next_step(next_step)
}
