//! `llm-wasi check`

use crate::args::AdapterArgs;
use crate::commands::inspect::json;
use crate::failure::Failure;
use crate::input::Input;
use crate::text::{print, tame_line};
use clap::Args;
use llm_wasi_componentize::{Componentized, Options, Refusal, componentize, profile_name};
use serde::Serialize;
use std::process::ExitCode;

/// Say of each module whether it can become a component; for CI.
///
/// Each is really made into one, and the result is thrown away. There is one line for each file.
/// The exit status is 0 if all can, else 1.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Opts {
    /// Modules or components, binary or text; `-` is standard input.
    #[arg(value_name = "IN", required = true)]
    inputs: Vec<Input>,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:

    # Check everything that was built.
    $ llm-wasi check target/wasm32-wasip1/release/*.wasm

    # Those that cannot be adapted, for a script.
    $ llm-wasi check --json *.wasm | jq -r '.[] | select(.ok | not) | .file'";

/// The outcome for one file.
#[derive(Serialize)]
struct Outcome {
    file: String,
    ok: bool,
    /// All there is to say, on one line.
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dialect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Refusal>,
}

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let options = self.adapter.options()?;
        let mut outcomes = Vec::new();
        for input in &self.inputs {
            let outcome = check(input, &options);
            if !self.json {
                // At once: there may be many, and each takes a moment.
                print(&outcome.line())?;
            }
            outcomes.push(outcome);
        }
        if self.json {
            print(&json(&outcomes)?)?;
        }
        let all = outcomes.iter().all(|outcome| outcome.ok);
        Ok(if all {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(1)
        })
    }
}

fn check(input: &Input, options: &Options) -> Outcome {
    let file = input.to_string();
    let bytes = match input.read() {
        Ok(bytes) => bytes,
        Err(failure) => return Outcome::failed(file, &failure, None),
    };
    match componentize(&bytes, options) {
        Ok(done) => Outcome::passed(file, done),
        Err(refusal) => {
            let failure = Failure::refusal(None, refusal.clone());
            Outcome::failed(file, &failure, Some(refusal))
        }
    }
}

impl Outcome {
    fn passed(file: String, done: Componentized) -> Outcome {
        let report = done.report;
        let message = match &report.choice {
            _ if report.passed_through => "is a component already".to_string(),
            Some(choice) => format!(
                "can be adapted: dialect {}, profile {}",
                choice.dialect,
                profile_name(choice.profile)
            ),
            None if report.input.nn.is_none() => {
                "can be made a component; it does not use wasi-nn".to_string()
            }
            None => "can be adapted".to_string(),
        };
        Outcome {
            file,
            ok: true,
            message,
            profile: report.choice.as_ref().map(|c| profile_name(c.profile)),
            dialect: report.choice.map(|c| c.dialect),
            refusal: None,
        }
    }

    fn failed(file: String, failure: &Failure, refusal: Option<Refusal>) -> Outcome {
        Outcome {
            file,
            ok: false,
            message: failure.line(),
            dialect: None,
            profile: None,
            refusal,
        }
    }

    fn line(&self) -> String {
        let verdict = if self.ok { "ok" } else { "error" };
        format!("{}: {verdict}: {}\n", tame_line(&self.file), self.message)
    }
}
