//! `llm-wasi model remove`

use crate::failure::Failure;
use crate::models::name::Name;
use crate::models::store::{Store, unknown};
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
        let stored = store.names()?;
        let find = |text: &String| -> Result<Name, Failure> {
            let name = stored.iter().find(|name| name.as_str() == text);
            name.cloned().ok_or_else(|| {
                let what = format!("no model is called `{}`", text.escape_debug());
                unknown(what, text, &stored)
            })
        };
        // All or none.
        let names = self.names.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        for name in names {
            if store.remove(&name)? {
                note("removed", name.as_str());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
