//! What was done, for people and programs.

use crate::analysis::Analysis;
use crate::detect::Choice;
use serde::Serialize;

/// What [`componentize`](crate::componentize) did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was known of the input.
    pub input: Analysis,
    /// Dialect and profile that were used, and why.
    pub choice: Option<Choice>,
    /// The adapters that went in.
    pub adapters: Vec<Used>,
    /// The input was a component and is unchanged.
    pub passed_through: bool,
    /// Size of the component in bytes.
    pub bytes: usize,
}

/// An adapter that went in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Used {
    /// The import module that it implements.
    pub module: String,
    /// Which of its kind it is.
    pub what: String,
    /// Its size before unused parts are removed.
    pub bytes: usize,
}
