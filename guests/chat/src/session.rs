//! The conversation: prompts become answers, commands are obeyed.
//!
//! An answer in steps:
//!
//! 1. The template renders the history with the new prompt.
//! 2. The model generates until its text ends, a stop text comes, `n-predict` is reached, or it is
//!    interrupted, which looks like an end.
//! 3. Where the context is full, the oldest turns are forgotten and the answer goes on from what there
//!    is of it; with nothing left to forget it ends there.
//! 4. Prompt and answer become the history's newest turn.

use crate::command::{COMMANDS, Command, Line, parse};
use crate::history::{History, Turn};
use crate::model::{Model, Stop};
use crate::output::Output;
use crate::settings::{KnownOption, Settings};
use crate::stats::{Measure, Stats};
use prompt::{CHATML, Options, Template, Text};
use serde_json::{Map, Value};
use std::io;
use std::time::Instant;

/// A conversation with a model.
pub(crate) struct Session<M> {
    model: M,
    template: Template,
    /// What the model's own tokenizer puts before each prompt.
    tokenizer_bos: Option<String>,
    /// What ends an answer, beside the `reverse-prompt` of the options.
    stops: Vec<String>,
    history: History,
    options: Map<String, Value>,
    known_options: Vec<KnownOption>,
    stats: Stats,
    told_of_forgetting: bool,
    pub(crate) output: Output,
}

/// Whether the conversation goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Continue,
    Exit,
}

/// What went wrong.
#[derive(Debug)]
pub(crate) enum Failure {
    /// With this line; the next one may do.
    Line(String),
    /// There is nobody to tell anything.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Line(message)
    }
}

impl<M: Model> Session<M> {
    pub(crate) fn new(
        mut model: M,
        settings: &mut Settings,
        mut output: Output,
    ) -> Result<Self, Failure> {
        let (bos, eos) = (&*settings.bos, &*settings.eos);
        let source = match &settings.template {
            Some(source) => source,
            None => {
                output.note("note: the model has no chat template and gets ChatML")?;
                CHATML
            }
        };
        let template = Template::new(source, bos, eos)
            .map_err(|error| format!("the chat template cannot be read: {error}"))?;
        let mut stops: Vec<String> = template.end_of_answer().into_iter().collect();
        stops.push(eos.to_owned());
        // Templates begin with the token that many tokenizers add as well.
        let doubles = !bos.is_empty() && model.prompt(bos)?.is_some_and(|tokens| tokens > 1);
        Ok(Self {
            tokenizer_bos: doubles.then(|| bos.to_owned()),
            model,
            template,
            stops,
            history: History {
                system: settings.system.take(),
                turns: Vec::new(),
            },
            options: std::mem::take(&mut settings.options),
            known_options: std::mem::take(&mut settings.known_options),
            stats: Stats::default(),
            told_of_forgetting: false,
            output,
        })
    }

    /// Answers a prompt or obeys a command.
    pub(crate) fn line(&mut self, line: &str) -> Result<Flow, Failure> {
        match parse(line)? {
            Line::Nothing => {}
            Line::Prompt(prompt) => self.answer(prompt)?,
            Line::Command(Command::Exit) => return Ok(Flow::Exit),
            Line::Command(command) => self.obey(&command)?,
        }
        Ok(Flow::Continue)
    }

    fn obey(&mut self, command: &Command<'_>) -> Result<(), Failure> {
        match command {
            Command::Help => self.help()?,
            Command::Clear => self.history.turns.clear(),
            Command::System(text) => self.history.system = text.map(str::to_owned),
            Command::Regenerate => self.regenerate()?,
            Command::History => self.show_history()?,
            Command::Stats => self.output.note(&self.stats.to_string())?,
            Command::Set(Some((name, value))) => self.set(name, value)?,
            Command::Set(None) => self.show_options()?,
            Command::Exit => {}
        }
        Ok(())
    }

    /// Answers a prompt, whatever it begins with. What cannot be answered leaves the history as it was.
    pub(crate) fn answer(&mut self, prompt: &str) -> Result<(), Failure> {
        let before = self.history.turns.clone();
        let result = self.try_answer(prompt);
        if result.is_err() {
            self.history.turns = before;
        }
        result
    }

    fn try_answer(&mut self, prompt: &str) -> Result<(), Failure> {
        let mut stops: Vec<&str> = self.stops.iter().map(String::as_str).collect();
        stops.extend(self.options.get("reverse-prompt").and_then(Value::as_str));
        let mut text = Text::new(&stops);
        let mut measure = Measure::default();
        let (mut forgotten, mut cut) = (0, false);
        loop {
            let rendered = self.render(prompt)? + &text.so_far();
            let tokens = self.model.prompt(&rendered)?;
            measure.prompt = measure.prompt.or(tokens);
            let stop = self.generate(&mut text, &mut measure);
            self.model.finish();
            let turns = match stop? {
                Stop::Ended => break,
                // Half of them: to evaluate the rest again takes long.
                Stop::ContextFull => self.history.forget(self.history.turns.len().div_ceil(2)),
                Stop::PromptTooLong(message) => match self.history.forget(1) {
                    0 if measure.tokens == 0 => return Err(message.into()),
                    turns => turns,
                },
                Stop::Failed(message) => return Err(message.into()),
            };
            forgotten += turns;
            if turns == 0 {
                cut = true;
                break;
            }
        }
        self.output.answer(text.end())?;
        self.output.end_answer()?;
        if forgotten > 0 && !self.told_of_forgetting {
            self.told_of_forgetting = true;
            self.output
                .note("note: the context is full: the oldest turns are forgotten from now on")?;
        }
        if cut {
            self.output
                .note("note: the context is full, and the answer ends here")?;
        }
        self.stats.add(measure);
        self.history.turns.push(Turn {
            prompt: prompt.to_owned(),
            answer: text.given().to_owned(),
        });
        Ok(())
    }

    fn render(&self, prompt: &str) -> Result<String, String> {
        let rendered = self
            .template
            .prompt(&self.history.messages(prompt), &[], &Options::default())
            .map_err(|error| format!("the chat template cannot be used: {error}"))?;
        let without = self
            .tokenizer_bos
            .as_ref()
            .and_then(|bos| rendered.strip_prefix(&**bos));
        Ok(without.map(str::to_owned).unwrap_or(rendered))
    }

    /// Generates until something stops it.
    fn generate(&mut self, text: &mut Text, measure: &mut Measure) -> io::Result<Stop> {
        let limit = self.options.get("n-predict").and_then(Value::as_u64);
        let mut first = true;
        let mut stop = None;
        while !text.stopped() && limit.is_none_or(|limit| measure.tokens < limit) {
            if let Some(stop) = stop {
                return Ok(stop);
            }
            let from = Instant::now();
            let (piece, reason) = self.model.step();
            if reason.is_none() || !piece.is_empty() {
                measure.token(from, first);
                first = false;
                self.output.answer(text.push(&piece))?;
            }
            stop = reason;
        }
        Ok(Stop::Ended)
    }

    fn regenerate(&mut self) -> Result<(), Failure> {
        let turn = self
            .history
            .turns
            .pop()
            .ok_or_else(|| "expected a prompt before `/regenerate`, found none".to_owned())?;
        let result = self.answer(&turn.prompt);
        if result.is_err() {
            self.history.turns.push(turn);
        }
        result
    }

    fn help(&mut self) -> io::Result<()> {
        for (name, rest, meaning) in COMMANDS {
            self.output
                .note(&format!("{:<21} {meaning}", format!("{name} {rest}")))?;
        }
        self.output.note(
            "A line that ends in \\ goes on in the next; a prompt that begins with / is written with two.",
        )
    }

    fn show_history(&mut self) -> io::Result<()> {
        if self.history.system.is_none() && self.history.turns.is_empty() {
            return self.output.note("nothing was said");
        }
        if let Some(system) = &self.history.system {
            self.output.note(&format!("system: {system}"))?;
        }
        for turn in &self.history.turns {
            self.output.note(&format!("user: {}", turn.prompt))?;
            self.output.note(&format!("assistant: {}", turn.answer))?;
        }
        Ok(())
    }

    fn show_options(&mut self) -> io::Result<()> {
        for option in &self.known_options {
            let KnownOption {
                name,
                default,
                meaning,
            } = option;
            let value = match self.options.get(name) {
                Some(value) => value.to_string(),
                None => default.clone(),
            };
            self.output
                .note(&format!("{:<28} {meaning}", format!("{name} {value}")))?;
        }
        Ok(())
    }

    /// Sets an option. The host checks the value.
    fn set(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        let known: Vec<&str> = self
            .known_options
            .iter()
            .map(|option| option.name.as_str())
            .collect();
        if !known.contains(&name) {
            let known = known.join(", ");
            return Err(format!("there is no option `{name}`: there are {known}").into());
        }
        let value = match serde_json::from_str(value) {
            Ok(value @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => value,
            _ => Value::from(value),
        };
        let mut options = self.options.clone();
        // Of options that exclude each other the last one counts.
        options.shift_remove(name);
        options.insert(name.to_owned(), value);
        self.model
            .configure(&Value::Object(options.clone()).to_string())?;
        self.options = options;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
