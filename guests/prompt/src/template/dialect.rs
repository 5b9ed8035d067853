//! Jinja in the dialect of Hugging Face's transformers: blocks trimmed, loop controls, methods of
//! Python's strings, `tojson` as Python writes JSON, and the functions `raise_exception` and
//! `strftime_now`.

use super::bound::{bound_namespaces, bounded, bounded_member, charge};
use super::json::tojson;
use super::source::{BOUNDED, BOUNDED_MEMBER};
use crate::clock::strftime_now;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, Output, State, escape_formatter};
use minijinja_contrib::pycompat::unknown_method_callback;

/// How deep loops and macros may be in each other; a macro counts several times.
const RECURSION: usize = 200;
/// How wide the fields of a text that is formatted may be together.
const WIDEST: u64 = 100_000;

/// An environment without templates and without a limit.
pub(super) fn environment() -> Result<Environment<'static>, Error> {
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    let mut environment = Environment::new();
    environment.set_syntax(syntax);
    environment.set_unknown_method_callback(method);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", |format: String| strftime_now(&format));
    environment.add_filter("tojson", tojson);
    environment.add_function(BOUNDED, bounded);
    environment.add_function(BOUNDED_MEMBER, bounded_member);
    bound_namespaces(&mut environment)?;
    environment.set_formatter(format);
    environment.set_recursion_limit(RECURSION);
    Ok(environment)
}

/// The methods of Python's values.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if name == "format"
        && let Some(text) = value.as_str()
    {
        let width = numbers_in(text);
        if width > WIDEST {
            let message = format!("expected fields of at most {WIDEST} characters, found {width}");
            return Err(Error::new(ErrorKind::InvalidOperation, message));
        }
        state.consume_fuel(width / 64)?;
    }
    unknown_method_callback(state, value, name, args)
}

/// The sum of the numbers in a text from its first field on, among which are the widths of all.
fn numbers_in(text: &str) -> u64 {
    let fields = text.find('{').map_or("", |at| &text[at..]);
    fields
        .split(|character: char| !character.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().unwrap_or(u64::MAX))
        .fold(0, u64::saturating_add)
}

fn format(output: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    charge(state, value, 0)?;
    escape_formatter(output, state, value)
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

#[cfg(test)]
mod tests {
    use super::numbers_in;

    #[test]
    fn numbers_of_a_text() {
        assert_eq!(numbers_in("7 {:20} and {0:}<.3f}, 100 %"), 123);
        assert_eq!(numbers_in("none 100"), 0);
        assert_eq!(numbers_in(&format!("{{{}", "9".repeat(30))), u64::MAX);
    }
}
