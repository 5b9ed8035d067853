//! Configuration components: a function that gives a record, and the record in memory.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, ExportKind, ExportSection, Function, FunctionSection,
    MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SizeAlign, Type, TypeDefKind};

/// The packages, in the order of their dependencies.
const WIT: [(&str, &str); 2] = [
    ("wasi-io.wit", include_str!("../../wit/wasi-io.wit")),
    ("llm.wit", include_str!("../../wit/llm.wit")),
];
const WORLD: &str = "configured";
const INTERFACE: &str = "configuration";
/// Where the record lies: address 0 would look like none.
const START: usize = 16;
/// A page of memory.
const PAGE: usize = 1 << 16;

/// What holds where a request says nothing, under the names of the record `defaults` in `wit/llm.wit`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Defaults {
    /// The model to open.
    pub model: Option<String>,
    /// How many tokens its contexts hold.
    pub context_length: Option<u32>,
    /// What messages begin with if they bring no system prompt.
    pub system_prompt: Option<String>,
    /// From 0 to 2.
    pub temperature: Option<f32>,
    /// From 0 to 1.
    pub top_p: Option<f32>,
    /// 0 is off.
    pub top_k: Option<u32>,
    /// From 0 to 1.
    pub min_p: Option<f32>,
    /// From 0.01 to 10.
    pub repeat_penalty: Option<f32>,
    /// From -2 to 2.
    pub presence_penalty: Option<f32>,
    /// From -2 to 2.
    pub frequency_penalty: Option<f32>,
    /// Equal seeds give equal texts.
    pub seed: Option<u32>,
    /// The most tokens to generate.
    pub max_tokens: Option<u32>,
    /// Texts that end the generation.
    pub stop: Vec<String>,
    /// In milliseconds.
    pub time_limit: Option<u32>,
}

/// A default that the engine would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: expected {expected}, found {found}")]
pub struct BadDefault {
    /// The field.
    pub field: &'static str,
    /// What it may be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

/// A field's value.
enum Value<'a> {
    Text(Option<&'a str>),
    Whole(Option<u32>),
    Number(Option<f32>),
    Texts(&'a [String]),
}

impl Defaults {
    /// Fails if the engine would refuse a value.
    pub fn check(&self) -> Result<(), BadDefault> {
        for (field, value, least, most) in [
            ("temperature", self.temperature, 0.0, 2.0),
            ("top-p", self.top_p, 0.0, 1.0),
            ("min-p", self.min_p, 0.0, 1.0),
            ("repeat-penalty", self.repeat_penalty, 0.01, 10.0),
            ("presence-penalty", self.presence_penalty, -2.0, 2.0),
            ("frequency-penalty", self.frequency_penalty, -2.0, 2.0),
        ] {
            if let Some(found) = value
                && !(least..=most).contains(&found)
            {
                return Err(BadDefault {
                    field,
                    expected: format!("a number from {least} to {most}"),
                    found: found.to_string(),
                });
            }
        }
        for (field, value, least, most) in [
            ("context-length", self.context_length, 1, 1 << 24),
            ("top-k", self.top_k, 0, 1_000_000),
        ] {
            if let Some(found) = value
                && !(least..=most).contains(&found)
            {
                return Err(BadDefault {
                    field,
                    expected: format!("a number from {least} to {most}"),
                    found: found.to_string(),
                });
            }
        }
        if self.stop.len() > 16 || self.stop.iter().any(String::is_empty) {
            return Err(BadDefault {
                field: "stop",
                expected: "at most 16 texts that are not empty".to_owned(),
                found: format!("{:?}", self.stop),
            });
        }
        Ok(())
    }

    fn value(&self, field: &str) -> Option<Value<'_>> {
        Some(match field {
            "model" => Value::Text(self.model.as_deref()),
            "context-length" => Value::Whole(self.context_length),
            "system-prompt" => Value::Text(self.system_prompt.as_deref()),
            "temperature" => Value::Number(self.temperature),
            "top-p" => Value::Number(self.top_p),
            "top-k" => Value::Whole(self.top_k),
            "min-p" => Value::Number(self.min_p),
            "repeat-penalty" => Value::Number(self.repeat_penalty),
            "presence-penalty" => Value::Number(self.presence_penalty),
            "frequency-penalty" => Value::Number(self.frequency_penalty),
            "seed" => Value::Whole(self.seed),
            "max-tokens" => Value::Whole(self.max_tokens),
            "stop" => Value::Texts(&self.stop),
            "time-limit" => Value::Whole(self.time_limit),
            _ => return None,
        })
    }

    /// The component. Its bytes depend on the values alone.
    pub fn component(&self) -> Result<Vec<u8>> {
        self.check()?;
        let mut resolve = Resolve::default();
        for (name, text) in WIT {
            resolve.push_source(name, text)?;
        }
        let (package, _) = resolve
            .packages
            .iter()
            .find(|(_, package)| package.name.name == "llm")
            .context("no package `llm`")?;
        let world = resolve.select_world(&[package], Some(WORLD))?;
        let interface = resolve.packages[package].interfaces[INTERFACE];
        let (memory, record) = self.lay_out(&resolve, interface)?;
        let name = resolve
            .id_of(interface)
            .context("an interface without a name")?;
        let mut module = module(&format!("{name}#get"), &memory, record);
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
        ComponentEncoder::default()
            .module(&module)?
            .validate(true)
            .encode()
    }

    /// The memory with the record and its texts, and the record's address.
    fn lay_out(
        &self,
        resolve: &Resolve,
        interface: wit_parser::InterfaceId,
    ) -> Result<(Vec<u8>, usize)> {
        let id = resolve.interfaces[interface].types["defaults"];
        let TypeDefKind::Record(record) = &resolve.types[id].kind else {
            anyhow::bail!("`defaults` is no record");
        };
        let mut sizes = SizeAlign::default();
        sizes.fill(resolve).context("the types have no size")?;
        let size = sizes.size(&Type::Id(id)).size_wasm32();
        let mut memory = vec![0; START + size];
        let types: Vec<Type> = record.fields.iter().map(|field| field.ty).collect();
        for (field, (offset, _)) in record.fields.iter().zip(sizes.field_offsets(&types)) {
            let value = self
                .value(&field.name)
                .with_context(|| format!("no field `{}`", field.name))?;
            let at = START + offset.size_wasm32();
            match value {
                Value::Text(None) | Value::Whole(None) | Value::Number(None) => {}
                // The payload of these options is aligned to 4 bytes.
                Value::Text(Some(text)) => {
                    memory[at] = 1;
                    write_text(&mut memory, at + 4, text);
                }
                Value::Whole(Some(number)) => {
                    memory[at] = 1;
                    memory[at + 4..at + 8].copy_from_slice(&number.to_le_bytes());
                }
                Value::Number(Some(number)) => {
                    memory[at] = 1;
                    memory[at + 4..at + 8].copy_from_slice(&number.to_le_bytes());
                }
                Value::Texts(texts) => {
                    let list = memory.len().next_multiple_of(4);
                    memory.resize(list + 8 * texts.len(), 0);
                    write_pair(&mut memory, at, list, texts.len());
                    for (index, text) in texts.iter().enumerate() {
                        write_text(&mut memory, list + 8 * index, text);
                    }
                }
            }
        }
        Ok((memory, START))
    }
}

/// Appends a text, and writes its address and length.
fn write_text(memory: &mut Vec<u8>, at: usize, text: &str) {
    let address = memory.len();
    memory.extend_from_slice(text.as_bytes());
    write_pair(memory, at, address, text.len());
}

fn write_pair(memory: &mut [u8], at: usize, address: usize, length: usize) {
    for (at, number) in [(at, address), (at + 4, length)] {
        // Command lines and files that make such texts are far smaller than 4 GiB.
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        memory[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
}

/// A module whose function gives an address.
fn module(function: &str, memory: &[u8], address: usize) -> Vec<u8> {
    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    module.section(&types);
    let mut functions = FunctionSection::new();
    functions.function(0);
    module.section(&functions);
    let mut memories = MemorySection::new();
    let pages = memory.len().div_ceil(PAGE) as u64;
    memories.memory(MemoryType {
        minimum: pages,
        maximum: Some(pages),
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    module.section(&memories);
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export(function, ExportKind::Func, 0);
    module.section(&exports);
    let mut code = CodeSection::new();
    let mut body = Function::new([]);
    body.instructions().i32_const(address as i32).end();
    code.function(&body);
    module.section(&code);
    let mut data = DataSection::new();
    data.active(0, &ConstExpr::i32_const(0), memory.iter().copied());
    module.section(&data);
    module.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_give_equal_bytes_and_others_do_not() {
        let one = Defaults {
            model: Some("m".into()),
            stop: vec!["a".into(), "bc".into()],
            ..Defaults::default()
        };
        let two = Defaults {
            stop: vec!["ab".into(), "c".into()],
            ..one.clone()
        };
        assert_eq!(one.component().unwrap(), one.component().unwrap());
        assert_ne!(one.component().unwrap(), two.component().unwrap());
        wasmparser::Validator::new()
            .validate_all(&one.component().unwrap())
            .unwrap();
    }

    #[test]
    fn what_the_engine_would_refuse_is_refused() {
        for (defaults, expected) in [
            (
                Defaults {
                    temperature: Some(3.0),
                    ..Defaults::default()
                },
                "`temperature`: expected a number from 0 to 2, found 3",
            ),
            (
                Defaults {
                    context_length: Some(0),
                    ..Defaults::default()
                },
                "`context-length`: expected a number from 1 to 16777216, found 0",
            ),
            (
                Defaults {
                    stop: vec![String::new()],
                    ..Defaults::default()
                },
                "`stop`: expected at most 16 texts that are not empty, found [\"\"]",
            ),
        ] {
            assert_eq!(defaults.check().unwrap_err().to_string(), expected);
            assert!(defaults.component().is_err());
        }
    }
}
