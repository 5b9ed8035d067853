//! `llm-wasi model verify`

use crate::commands::inspect::json;
use crate::failure::Failure;
use crate::models::name::Name;
use crate::models::store::{Entry, Store};
use crate::models::verify::verify;
use crate::text::{note, plain, print, size, table};
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Check that models are what they were when they were added.
///
/// Computes the digests of their files anew. Ends with 1 if a model is damaged or unfinished.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Opts {
    /// Names of the models [default: all].
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:

    # Is everything as it was?
    $ llm-wasi model verify

    # One model, for a script.
    $ llm-wasi model verify smollm2 && ./start.sh";

const HEADER: [&str; 3] = ["NAME", "SIZE", "STATE"];

/// A model, and its size or what is wrong with it.
type Verified = (Name, Result<u64, String>);

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let store = Store::open()?;
        let entries = match self.names.as_slice() {
            [] => store.list()?,
            names => store.entries(names)?,
        };
        let verified: Vec<Verified> = entries
            .into_iter()
            .map(|Entry { name, state }| (name, state.and_then(|model| verify(&store, &model))))
            .collect();
        if self.json {
            let models: Vec<Value> = verified.iter().map(to_json).collect();
            print(&json(&json!({ "models": models }))?)?;
        } else if verified.is_empty() {
            note("no models", &format!("in {}", store.folder().display()));
        } else {
            let mut rows = vec![HEADER.map(str::to_string).to_vec()];
            rows.extend(verified.iter().map(row));
            print(&table(&rows))?;
        }
        match verified.iter().filter(|(_, state)| state.is_err()).count() {
            0 => Ok(ExitCode::SUCCESS),
            bad => Err(
                Failure::new(format!("{bad} of {} models cannot be used", verified.len()))
                    .next_step(
                        "add again what is unfinished; remove what is damaged \
                         (`llm-wasi model remove NAME`), and add it again",
                    ),
            ),
        }
    }
}

fn to_json((name, state): &Verified) -> Value {
    match state {
        Ok(size) => json!({ "name": name, "size": size }),
        Err(problem) => json!({ "name": name, "problem": problem }),
    }
}

fn row((name, state): &Verified) -> Vec<String> {
    match state {
        Ok(bytes) => vec![name.to_string(), size(*bytes), "good".to_string()],
        Err(problem) => vec![
            name.to_string(),
            "-".to_string(),
            format!("problem: {}", plain(problem)),
        ],
    }
}
