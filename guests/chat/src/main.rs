//! The guest of `llm-wasi chat`: a conversation with a language model over `llm-wasi:nn`.
//!
//! It runs in a sandbox with one model and its standard streams: no files, no network. How a line
//! travels:
//!
//! 1. `input` reads it, and `command` tells a command from a prompt.
//! 2. `session` keeps the `history`, which the model's chat template (crate `prompt`) renders.
//! 3. `nn` is the model: it gives one token after the other.
//! 4. `prompt::Text` makes characters of them, and `output` shows these.
//!
//! `settings` come from the host.

mod bindings;
mod command;
mod history;
mod input;
mod model;
mod nn;
mod output;
mod session;
mod settings;
mod stats;

use nn::Nn;
use output::Output;
use session::{Failure, Flow, Session};
use settings::Settings;
use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(message) => {
            // It may have a model's own words.
            eprintln!("error: {}", output::plain(&message).replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let mut settings = Settings::read()?;
    let options = serde_json::Value::Object(settings.options.clone()).to_string();
    let model = Nn::load(&settings.model, &options)?;
    let notes = (!settings.framed).then(|| Box::new(io::stderr()) as Box<dyn io::Write>);
    let output = Output::new(Box::new(io::stdout()), notes, settings.plain);
    let mut session = Session::new(model, &mut settings, output).map_err(words)?;
    if let Some(prompt) = &settings.prompt {
        session.answer(prompt).map_err(words)?;
        return Ok(ExitCode::SUCCESS);
    }
    converse(&mut session)
}

/// Answers standard input to its end. In a pipe the first error is the end; people can try again.
fn converse(session: &mut Session<Nn>) -> Result<ExitCode, String> {
    let mut input = io::stdin().lock();
    loop {
        session.output.ready().map_err(unwritable)?;
        let Some(line) = input::next(&mut input)? else {
            return Ok(ExitCode::SUCCESS);
        };
        match session.line(&line) {
            Ok(Flow::Continue) => {}
            Ok(Flow::Exit) => return Ok(ExitCode::SUCCESS),
            Err(Failure::Line(message)) if session.output.framed() => session
                .output
                .note(&format!("error: {message}"))
                .map_err(unwritable)?,
            Err(failure) => return Err(words(failure)),
        }
    }
}

fn words(failure: Failure) -> String {
    match failure {
        Failure::Line(message) => message,
        Failure::Output(error) => unwritable(error),
    }
}

fn unwritable(error: io::Error) -> String {
    format!("standard output cannot be written: {error}")
}
