//! The suite's file: cases of steps, run on any subject.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use wasmtime::component::ResourceAny;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/cases.json");
/// How far a number with a fraction may be from the expected one: processors add in different orders.
const TOLERANCE: f64 = 0.02;
/// What no two runs have in common.
const TIMES: [&str; 2] = ["firstTokenTime", "totalTime"];

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cases {
    /// What the file is and how it is read.
    about: Vec<String>,
    /// The engine's configuration: options of `llm-wasi configure`, each with its value.
    pub(super) configuration: Vec<String>,
    pub(super) cases: Vec<Case>,
}

/// Steps that share an engine.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    /// What is preloaded as `default`.
    pub(super) model: String,
    steps: Vec<Step>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Step {
    Call {
        /// An interface and a function of `wit/llm.wit`, under its name in the component.
        call: String,
        args: Vec<Value>,
        /// What it gives is called this in later steps, `$` before it, and is not compared.
        #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Call it until it gives none; the result is the list of the values before.
        #[serde(default, skip_serializing_if = "is_false")]
        all: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Value>,
    },
    Drop {
        drop: String,
    },
}

fn is_false(value: &bool) -> bool {
    !value
}

/// An argument of a call.
#[derive(Clone)]
pub(super) enum Argument {
    Value(Value),
    Resource(ResourceAny),
}

/// What a call gives.
pub(super) enum Outcome {
    Value(Value),
    Resource(ResourceAny),
}

/// A way to the engine.
pub(super) trait Subject {
    fn call(&mut self, function: &str, arguments: &[Argument]) -> Result<Outcome>;
    fn drop(&mut self, resource: ResourceAny) -> Result<()>;
}

impl Cases {
    pub(super) fn read() -> Self {
        let text = std::fs::read_to_string(FILE).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{FILE}: {error}"))
    }

    pub(super) fn write(&self) {
        let mut text = serde_json::to_string_pretty(self).unwrap();
        text.push('\n');
        std::fs::write(FILE, text).unwrap();
    }
}

impl Case {
    /// What differs from the expected results, or those are replaced if `bless`.
    pub(super) fn run(&mut self, subject: &mut impl Subject, bless: bool) -> Vec<String> {
        let mut known: HashMap<String, Argument> = HashMap::new();
        let mut wrong = Vec::new();
        for (index, step) in self.steps.iter_mut().enumerate() {
            let place = format!("{}, step {index}", self.name);
            match step {
                Step::Drop { drop } => {
                    let Some(Argument::Resource(resource)) = known.remove(drop.as_str()) else {
                        panic!("{place}: no resource {drop}");
                    };
                    subject.drop(resource).unwrap();
                }
                Step::Call {
                    call,
                    args,
                    name,
                    all,
                    result,
                } => {
                    let arguments: Vec<Argument> = args
                        .iter()
                        .map(|value| match value.as_str() {
                            Some(name) if name.starts_with('$') => known
                                .get(name)
                                .unwrap_or_else(|| panic!("{place}: no {name}"))
                                .clone(),
                            _ => Argument::Value(value.clone()),
                        })
                        .collect();
                    let found = if *all {
                        collect(subject, call, &arguments)
                    } else {
                        subject.call(call, &arguments)
                    };
                    let found = found.unwrap_or_else(|error| panic!("{place}: {call}: {error:#}"));
                    match (found, name) {
                        (Outcome::Resource(resource), Some(name)) => {
                            known.insert(format!("${name}"), Argument::Resource(resource));
                        }
                        (Outcome::Resource(_), None) => {
                            panic!("{place}: {call} gave a resource that has no name");
                        }
                        (Outcome::Value(value), Some(name)) => {
                            known.insert(format!("${name}"), Argument::Value(value));
                        }
                        (Outcome::Value(mut found), None) => {
                            forget_times(&mut found);
                            if bless {
                                shorten(&mut found);
                                *result = Some(found);
                                continue;
                            }
                            // A function without a result gives null.
                            let expected = result.as_ref().unwrap_or(&Value::Null);
                            if !equal(expected, &found) {
                                wrong.push(format!(
                                    "{place}: {call}\n  expected: {expected}\n  found: {found}"
                                ));
                            }
                        }
                    }
                }
            }
        }
        wrong
    }
}

/// Calls a function that gives `result<option<_>, _>` until it gives none. An error ends it as well.
fn collect(subject: &mut impl Subject, call: &str, arguments: &[Argument]) -> Result<Outcome> {
    let mut all = Vec::new();
    loop {
        let Outcome::Value(mut found) = subject.call(call, arguments)? else {
            anyhow::bail!("expected a value, found a resource");
        };
        if found["tag"] != "ok" {
            all.push(found);
            break;
        }
        match found["val"].take() {
            Value::Null => break,
            value => all.push(value),
        }
    }
    Ok(Outcome::Value(Value::Array(all)))
}

fn forget_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !TIMES.contains(&name.as_str()));
            fields.values_mut().for_each(forget_times);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_times),
        _ => {}
    }
}

/// Four places of a fraction are more than is compared.
fn shorten(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Number(number) if number.is_f64() => {
            let short = number.as_f64().map(|number| (number * 1e4).round() / 1e4);
            *value = json!(short);
        }
        _ => {}
    }
}

fn equal(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Object(one), Value::Object(other)) => equal_fields(one, other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            match (one.as_f64(), other.as_f64()) {
                (Some(one), Some(other)) => (one - other).abs() <= TOLERANCE,
                _ => false,
            }
        }
        _ => expected == found,
    }
}

fn equal_fields(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .all(|(name, value)| other.get(name).is_some_and(|found| equal(value, found)))
}
