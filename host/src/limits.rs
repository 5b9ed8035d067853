//! What guests may take of a host.

use crate::units::{GIB, MIB, bytes_text, parse_bytes, parse_time};
use std::time::Duration;

/// Limits of each guest. Whoever exceeds one gets an error, or an answer that memory does not grow, and the log
/// one line; no other guest notices.
///
/// ```
/// let mut limits = llm_wasi_host::Limits::default();
/// limits.set("contexts", "4").unwrap();
/// limits.set("compute-time", "30s").unwrap();
/// assert_eq!(limits.contexts, 4);
/// assert!(limits.set("contexts", "many").unwrap_err().contains("expected a number"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of each memory of a program.
    pub memory: usize,
    /// Elements of each table of a program.
    pub table_elements: usize,
    /// Core instances that a program may consist of.
    pub instances: usize,
    /// Resources that a guest holds at once, those of WASI included.
    pub resources: usize,
    /// Graphs that a guest holds at once.
    pub graphs: usize,
    /// Contexts that a guest holds at once.
    pub contexts: usize,
    /// Bytes of one tensor.
    pub tensor: usize,
    /// Bytes of all tensors that a guest holds at once; those of contexts are not among them.
    pub tensors: usize,
    /// Bytes of the name of a model, an input or an output.
    pub name: usize,
    /// Bytes of a JSON document of options.
    pub options: usize,
    /// Tokens of a prompt.
    pub prompt_tokens: usize,
    /// Time of one computation; of one step, where those are counted.
    pub compute_time: Option<Duration>,
    /// Time of a program as a whole.
    pub time: Option<Duration>,
    /// Instructions of a program, as Wasmtime's fuel.
    pub fuel: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // What 32 bits reach.
            memory: 4 * GIB,
            table_elements: 1_000_000,
            instances: 1000,
            resources: 100_000,
            // Programs of the old interface cannot give them back.
            graphs: 10_000,
            contexts: 10_000,
            tensor: GIB,
            tensors: 4 * GIB,
            // Programs of the old interface pass any memory as a name, and are told that no model has it.
            name: MIB,
            options: MIB,
            prompt_tokens: MIB,
            compute_time: None,
            time: None,
            fuel: None,
        }
    }
}

/// A value of a limit.
enum Value<'a> {
    Count(&'a mut usize),
    Bytes(&'a mut usize),
    Time(&'a mut Option<Duration>),
    Fuel(&'a mut Option<u64>),
}

/// The name of each limit, and what it limits.
const NAMES: [(&str, &str); 14] = [
    ("memory", "bytes of each memory of a program"),
    ("table-elements", "elements of each table of a program"),
    ("instances", "core instances that a program may consist of"),
    (
        "resources",
        "resources that a guest holds at once, those of WASI included",
    ),
    ("graphs", "models that a guest holds at once"),
    ("contexts", "contexts that a guest holds at once"),
    ("tensor", "bytes of one tensor"),
    (
        "tensors",
        "bytes of all tensors that a guest holds at once, besides the inputs and outputs of its contexts",
    ),
    (
        "name",
        "bytes of the name of a model, an input or an output",
    ),
    ("options", "bytes of a JSON document of options"),
    (
        "prompt-tokens",
        "tokens of a prompt, and of what is turned into text; 8 bytes for each of a text that becomes tokens, at least 1 MiB",
    ),
    (
        "compute-time",
        "time of one computation, or of one step of it",
    ),
    ("time", "time of a program as a whole"),
    ("fuel", "instructions of a program, about"),
];

/// What stands in the place of a limit for computations that find no place and nowhere to wait.
pub(crate) const QUEUE: &str = "queue";

/// The names of what guests can exceed: every limit, and the queue.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name).chain([QUEUE])
}

/// The place of a name among them.
pub(crate) fn position(name: &str) -> Option<usize> {
    names().position(|known| known == name)
}

impl Limits {
    /// Every limit: its name, its value as text, and what it limits.
    pub fn describe(&self) -> impl Iterator<Item = (&'static str, String, &'static str)> {
        let mut limits = self.clone();
        NAMES.into_iter().map(move |(name, what)| {
            let value = limits
                .value(name)
                .map_or_else(String::new, |value| value.text());
            (name, value, what)
        })
    }

    /// Sets a limit by its name. A size may have a unit (`64KiB`, `2GiB`), a time needs one (`500ms`, `30s`,
    /// `5m`); `none` takes a limit away where that is possible. The error says what was expected.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let Some(value) = self.value(name) else {
            let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "expected one of {}, found `{name}`",
                names.join(", ")
            ));
        };
        value
            .parse(text)
            .map_err(|expected| format!("{name}: expected {expected}, found `{text}`"))
    }

    fn value(&mut self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "memory" => Value::Bytes(&mut self.memory),
            "table-elements" => Value::Count(&mut self.table_elements),
            "instances" => Value::Count(&mut self.instances),
            "resources" => Value::Count(&mut self.resources),
            "graphs" => Value::Count(&mut self.graphs),
            "contexts" => Value::Count(&mut self.contexts),
            "tensor" => Value::Bytes(&mut self.tensor),
            "tensors" => Value::Bytes(&mut self.tensors),
            "name" => Value::Bytes(&mut self.name),
            "options" => Value::Bytes(&mut self.options),
            "prompt-tokens" => Value::Count(&mut self.prompt_tokens),
            "compute-time" => Value::Time(&mut self.compute_time),
            "time" => Value::Time(&mut self.time),
            "fuel" => Value::Fuel(&mut self.fuel),
            _ => return None,
        })
    }
}

impl Value<'_> {
    fn text(&self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::Bytes(bytes) => bytes_text(**bytes),
            Self::Time(time) => time.map_or("none".to_owned(), |time| format!("{time:?}")),
            Self::Fuel(fuel) => fuel.map_or("none".to_owned(), |fuel| fuel.to_string()),
        }
    }

    /// Fails with what was expected.
    fn parse(self, text: &str) -> Result<(), &'static str> {
        match self {
            Self::Count(count) => *count = text.parse().map_err(|_| "a number")?,
            Self::Bytes(bytes) => {
                *bytes =
                    parse_bytes(text).ok_or("a size in bytes, KiB, MiB or GiB, such as 512MiB")?;
            }
            Self::Time(time) if text == "none" => *time = None,
            Self::Time(time) => {
                let parsed =
                    parse_time(text).ok_or("a time such as 500ms, 30s or 5m, or `none`")?;
                *time = Some(parsed);
            }
            Self::Fuel(fuel) if text == "none" => *fuel = None,
            Self::Fuel(fuel) => *fuel = Some(text.parse().map_err(|_| "a number, or `none`")?),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_name_that_sets_it_to_what_it_says() {
        let limits = Limits::default();
        for (name, value, what) in limits.describe() {
            assert!(!value.is_empty() && !what.is_empty(), "{name}");
            let mut set = limits.clone();
            set.set(name, &value).unwrap();
            assert_eq!(set, limits, "{name} = {value}");
            set.set(name, "7s")
                .unwrap_or_else(|_| set.set(name, "7").unwrap());
            assert_ne!(set, limits, "{name}");
        }
    }

    #[test]
    fn the_document_has_every_limit() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/serving.md");
        let document = std::fs::read_to_string(path).unwrap();
        let (before, rest) = document
            .split_once("<!-- limits: written by BLESS=1 -->\n")
            .unwrap();
        let (_, after) = rest.split_once("<!-- end of limits -->").unwrap();
        let rows: String = Limits::default()
            .describe()
            .map(|(name, value, what)| format!("| `{name}` | {value} | {what} |\n"))
            .collect();
        let expected = format!(
            "{before}<!-- limits: written by BLESS=1 -->\n\n| limit | default | what it limits |\n|---|---|---|\n{rows}\n<!-- \
             end of limits -->{after}"
        );
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, expected).unwrap();
        } else {
            assert!(
                document == expected,
                "docs/serving.md is not what the code says: BLESS=1 writes it"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut limits = Limits::default();
        let wrong = |result: Result<(), String>| result.unwrap_err();
        assert!(wrong(limits.set("speed", "1")).contains("memory, table-elements"));
        assert_eq!(
            wrong(limits.set("compute-time", "3")),
            "compute-time: expected a time such as 500ms, 30s or 5m, or `none`, found `3`"
        );
        assert_eq!(limits, Limits::default());
    }
}
