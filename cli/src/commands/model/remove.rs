//! `llm-wasi model remove`

use crate::failure::Failure;
use crate::models::store::Store;
use crate::text::note;
use clap::Args;
use std::process::ExitCode;

/// Remove models from the store, also unfinished ones.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Opts {
    /// Names of the models.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:

    # Remove two models.
    $ llm-wasi model remove smollm2 classifier";

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let store = Store::open()?;
        // All or none.
        for name in store.known(&self.names)? {
            if store.remove(&name)? {
                note("removed", name.as_str());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
