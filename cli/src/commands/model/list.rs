//! `llm-wasi model list`

use crate::commands::inspect::json;
use crate::failure::Failure;
use crate::models::store::{Entry, Store};
use crate::text::{note, plain, print, size, table as table_of};
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Show the models in the store.
///
/// A model that is damaged or unfinished is shown with what is wrong with it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Opts {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:

    # What is there?
    $ llm-wasi model list

    # The names of all language models, for a script.
    $ llm-wasi model list --json | jq -r '.models[] | select(.encoding == \"GGML\") | .name'";

const HEADER: [&str; 5] = ["NAME", "ENCODING", "SIZE", "MODEL", "SOURCE"];

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let store = Store::open()?;
        let entries = store.list()?;
        let folder = store.folder().to_string_lossy();
        if self.json {
            let models: Vec<Value> = entries.iter().map(to_json).collect();
            print(&json(&json!({ "folder": folder, "models": models }))?)?;
        } else if entries.is_empty() {
            note(
                "no models",
                &format!("in {folder}; `llm-wasi model add SOURCE` adds one"),
            );
        } else {
            print(&table(&entries))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn to_json(entry: &Entry) -> Value {
    match &entry.state {
        Ok(manifest) => {
            let files: Vec<Value> = manifest
                .files
                .iter()
                .map(|file| json!({ "name": file.name, "size": file.size, "sha256": file.sha256 }))
                .collect();
            json!({
                "name": entry.name,
                "encoding": manifest.encoding,
                "size": manifest.size(),
                "architecture": manifest.architecture,
                "quantization": manifest.quantization,
                "source": manifest.source,
                "files": files,
            })
        }
        Err(problem) => json!({ "name": entry.name, "problem": problem }),
    }
}

fn table(entries: &[Entry]) -> String {
    let mut rows = vec![HEADER.map(str::to_string).to_vec()];
    rows.extend(entries.iter().map(row));
    table_of(&rows)
}

fn row(entry: &Entry) -> Vec<String> {
    let name = entry.name.to_string();
    match &entry.state {
        Ok(manifest) => {
            let model: Vec<&str> = [&manifest.architecture, &manifest.quantization]
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect();
            vec![
                name,
                plain(&manifest.encoding),
                size(manifest.size()),
                match model.as_slice() {
                    [] => "-".to_string(),
                    model => plain(&model.join(" ")),
                },
                plain(&manifest.source),
            ]
        }
        Err(problem) => vec![name, format!("problem: {}", plain(problem))],
    }
}
