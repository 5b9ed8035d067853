//! Jinja in the dialect of Hugging Face's transformers: blocks trimmed, loop controls, methods of
//! Python's strings, `tojson` as Python writes JSON, and the functions `raise_exception` and
//! `strftime_now`.

use super::json::tojson;
use super::source::BOUNDED;
use crate::clock::strftime_now;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, escape_formatter};
use minijinja_contrib::pycompat::unknown_method_callback;

/// How deep lists and maps may be in each other.
pub(super) const DEPTH: usize = 100;
/// How deep loops and macros may be in each other; a macro counts several times.
const RECURSION: usize = 200;

/// An environment without templates and without a limit.
pub(super) fn environment() -> Result<Environment<'static>, Error> {
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    let mut environment = Environment::new();
    environment.set_syntax(syntax);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", |format: String| strftime_now(&format));
    environment.add_filter("tojson", tojson);
    environment.add_function(BOUNDED, bounded);
    environment.set_formatter(format);
    environment.set_recursion_limit(RECURSION);
    Ok(environment)
}

/// Counts the parts of a value as fuel, and refuses one that goes deep: minijinja recurses into values.
pub(super) fn charge(state: &State, value: &Value, depth: usize) -> Result<(), Error> {
    let kind = value.kind();
    if !matches!(kind, ValueKind::Map | ValueKind::Seq | ValueKind::Iterable) {
        return Ok(());
    }
    if depth == DEPTH {
        let message = format!("expected lists and maps at most {DEPTH} deep, found more");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    for item in value.try_iter()? {
        state.consume_fuel(1)?;
        match kind {
            ValueKind::Map => charge(state, &value.get_item(&item)?, depth + 1)?,
            _ => charge(state, &item, depth + 1)?,
        }
    }
    Ok(())
}

fn bounded(state: &State, value: Value) -> Result<Value, Error> {
    charge(state, &value, 0)?;
    Ok(value)
}

fn format(output: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    charge(state, value, 0)?;
    escape_formatter(output, state, value)
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}
