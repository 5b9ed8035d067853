//! `llm-wasi configure`

use crate::commands::compose;
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use llm_wasi_compose::{Defaults, ENGINE, configure};
use std::process::ExitCode;

/// Make a configuration component: the defaults of apps that use the LLM interface.
///
/// `compose` puts it between app and engine. What is left out has the engine's own default.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Opts {
    #[command(flatten)]
    defaults: DefaultsArgs,

    /// Write the engine with this configuration, for hosts that use the engine themselves.
    #[arg(long)]
    with_engine: bool,

    #[command(flatten)]
    output: Output,
}

/// The fields of the configuration.
#[derive(Args)]
pub(crate) struct DefaultsArgs {
    /// Model to open where an app names none.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// Tokens that a context holds; the shorter of 4096 and the model's own without it.
    #[arg(long, value_name = "TOKENS", allow_negative_numbers = true)]
    context_length: Option<u32>,

    /// What a conversation begins with if the app brings no system prompt.
    #[arg(long, value_name = "TEXT")]
    system_prompt: Option<String>,

    /// 0 takes the likeliest token, larger is more random: 0 to 2.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    temperature: Option<f32>,

    /// Only the likeliest tokens whose probabilities add up to this: 0 to 1.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    top_p: Option<f32>,

    /// Only so many of the likeliest tokens; 0 is off.
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    top_k: Option<u32>,

    /// Only tokens at least this likely beside the likeliest: 0 to 1.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    min_p: Option<f32>,

    /// Divides the logits of recent tokens: 0.01 to 10.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    repeat_penalty: Option<f32>,

    /// Subtracted from the logits of tokens that have occurred: -2 to 2.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    presence_penalty: Option<f32>,

    /// Subtracted for each time that a token has occurred: -2 to 2.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    frequency_penalty: Option<f32>,

    /// Equal seeds give equal texts on one host.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    seed: Option<u32>,

    /// The most tokens to generate.
    #[arg(long, value_name = "TOKENS", allow_negative_numbers = true)]
    max_tokens: Option<u32>,

    /// Text that ends a generation; may be repeated.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,

    /// The longest time for an answer, in milliseconds.
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    time_limit: Option<u32>,
}

const EXAMPLES: &str = "\
Examples:

    # Short, factual answers.
    $ llm-wasi configure --model default --system-prompt 'Answer in one sentence.' --temperature 0 -o config.wasm

    # Use it.
    $ llm-wasi compose app.wasm --configuration config.wasm -o whole.wasm

    # For a program that runs the engine by itself.
    $ llm-wasi configure --temperature 0 --with-engine -o engine.wasm";

impl DefaultsArgs {
    /// Whether no field is given.
    pub(crate) fn is_empty(&self) -> bool {
        self.defaults() == Defaults::default()
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            model: self.model.clone(),
            context_length: self.context_length,
            system_prompt: self.system_prompt.clone(),
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            seed: self.seed,
            max_tokens: self.max_tokens,
            stop: self.stop.clone(),
            time_limit: self.time_limit,
        }
    }

    /// The component that says so.
    pub(crate) fn component(&self) -> Result<Vec<u8>, Failure> {
        let defaults = self.defaults();
        defaults.check().map_err(|bad| {
            Failure::new(format!("--{}: {}", bad.field, bad.found))
                .expected(bad.expected)
                .next_step("see `llm-wasi configure --help`")
        })?;
        defaults
            .component()
            .map_err(|error| Failure::new("the configuration cannot be written").causes(&error))
    }
}

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let configuration = self.defaults.component()?;
        if self.with_engine {
            let engine = configure(ENGINE, &configuration).map_err(compose::failure)?;
            self.output.write(&engine, "engine")?;
        } else {
            self.output.write(&configuration, "configuration")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
