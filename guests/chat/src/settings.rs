//! What `llm-wasi chat` tells its guest at the start, as JSON in an environment variable.

use crate::bindings::wasi::cli::environment::get_environment;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The environment variable.
pub(crate) const VARIABLE: &str = "LLM_WASI_CHAT";

/// The model and how to talk with it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// The host's name of the model.
    pub(crate) model: String,
    /// The model's chat template.
    pub(crate) template: Option<String>,
    /// The text of the token that begins a prompt.
    pub(crate) bos: String,
    /// The text of the token that ends an answer.
    pub(crate) eos: String,
    /// The system prompt.
    pub(crate) system: Option<String>,
    /// The backend's options.
    pub(crate) options: Map<String, Value>,
    /// The options that `/set` takes.
    pub(crate) known_options: Vec<KnownOption>,
    /// The only prompt, in place of standard input.
    pub(crate) prompt: Option<String>,
    /// Everything goes to standard output, and a NUL asks for the next line.
    pub(crate) framed: bool,
    /// Control characters are left out of answers: they would command a terminal.
    pub(crate) plain: bool,
}

/// An option of the backend.
#[derive(Debug, Deserialize)]
pub(crate) struct KnownOption {
    /// Its name.
    pub(crate) name: String,
    /// Its default as JSON.
    pub(crate) default: String,
    /// What it does.
    pub(crate) meaning: String,
}

impl Settings {
    /// Reads the environment variable.
    pub(crate) fn read() -> Result<Self, String> {
        let variable = get_environment()
            .into_iter()
            .find(|(name, _)| name == VARIABLE);
        let (_, text) = variable.ok_or_else(|| {
            format!("expected settings in {VARIABLE}: this program is started by `llm-wasi chat`")
        })?;
        serde_json::from_str(&text)
            .map_err(|error| format!("expected settings as JSON in {VARIABLE}: {error}"))
    }
}
