//! What the conversation wants of a language model.

/// A model with one computation at a time.
pub(crate) trait Model {
    /// Sets the backend's options, a JSON object.
    fn configure(&mut self, options: &str) -> Result<(), String>;

    /// Sets the prompt of the next computation. Gives its length in tokens, if the host tells.
    fn prompt(&mut self, text: &str) -> Result<Option<u64>, String>;

    /// The bytes of the next token, and why none will follow it.
    fn step(&mut self) -> (Vec<u8>, Option<Stop>);

    /// Ends a computation that could go on.
    fn finish(&mut self);
}

/// Why no token follows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The text has ended.
    Ended,
    /// The context has no room for more.
    ContextFull,
    /// The prompt alone is too long for the context; the host's words.
    PromptTooLong(String),
    /// Anything else; the host's words.
    Failed(String),
}
