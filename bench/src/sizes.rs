//! What adapters weigh, as files and in a component.

use crate::table::{Table, Target};
use anyhow::{Context, Result};
use llm_wasi_adapter::{Profile, Target as Wit, dialects, find};
use llm_wasi_componentize::{Options, componentize, profile_name, target_name};
use wasmparser::{Parser, Payload};

/// Imports the specification's six functions and nothing else.
const SPECIFICATION: &str = include_str!("../../fixtures/wat/spec_functions.wat");

const WHOLE_DIALECT: f64 = 8.0 * 1024.0;
const SIX_FUNCTIONS: f64 = 3.0 * 1024.0;

pub(crate) fn tables() -> Result<Vec<Table>> {
    Ok(vec![files()?, in_a_component()?])
}

fn files() -> Result<Table> {
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    for dialect in dialects() {
        for profile in [Profile::Portable, Profile::Extended] {
            for wit in [Wit::Rc20241028, Wit::Rc20240819] {
                let Some(adapter) = find(dialect.name, profile, wit) else {
                    continue;
                };
                let parts = Parts::of(adapter)?;
                let profile = profile_name(profile);
                let wit = target_name(wit).trim_start_matches("wasi:nn@0.2.0-");
                rows.push(vec![
                    format!("{}, {profile}, {wit}", dialect.name),
                    adapter.len().to_string(),
                    parts.code.to_string(),
                    parts.component_type.to_string(),
                    parts.names.to_string(),
                ]);
                if dialect.name == "wasmedge" {
                    targets.push(Target {
                        what: format!("wasmedge, {profile}, {wit}"),
                        limit: WHOLE_DIALECT,
                        found: adapter.len() as f64,
                        unit: "bytes",
                    });
                }
            }
        }
    }
    Ok(Table {
        title: "adapters as files, bytes".into(),
        columns: vec!["dialect", "file", "code", "component-type", "names"],
        rows,
        targets,
    })
}

fn in_a_component() -> Result<Table> {
    let module = wat::parse_str(SPECIFICATION)?;
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    for (profile, wit) in [
        (Profile::Portable, Wit::Rc20241028),
        (Profile::Portable, Wit::Rc20240819),
        (Profile::Extended, Wit::Rc20241028),
    ] {
        let options = Options {
            profile: Some(profile),
            target: wit,
            ..Options::default()
        };
        let component = componentize(&module, &options)?.bytes;
        let adapter = adapter_inside(&component)?;
        let parts = Parts::of(adapter)?;
        let wit = target_name(wit).trim_start_matches("wasi:nn@0.2.0-");
        let name = format!("{}, {wit}", profile_name(profile));
        rows.push(vec![
            name.clone(),
            parts.code.to_string(),
            adapter.len().to_string(),
            (component.len() - module.len()).to_string(),
        ]);
        targets.push(Target {
            what: format!("code added, {name}"),
            limit: SIX_FUNCTIONS,
            found: parts.code as f64,
            unit: "bytes",
        });
    }
    Ok(Table {
        title: "what a component gets that uses the specification's six functions, bytes".into(),
        columns: vec!["profile", "adapter's code", "adapter", "component - module"],
        rows,
        targets,
    })
}

/// Sizes of a module's sections.
#[derive(Default)]
struct Parts {
    code: usize,
    component_type: usize,
    names: usize,
}

impl Parts {
    fn of(module: &[u8]) -> Result<Parts> {
        let mut parts = Parts::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::CodeSectionStart { size, .. } => parts.code = size as usize,
                Payload::CustomSection(section) if section.name() == "name" => {
                    parts.names = section.data().len();
                }
                Payload::CustomSection(section) if section.name().starts_with("component-type") => {
                    parts.component_type += section.data().len();
                }
                _ => {}
            }
        }
        Ok(parts)
    }
}

/// The core module in a component that imports from WIT packages of nn: the adapter without its unused parts.
fn adapter_inside(component: &[u8]) -> Result<&[u8]> {
    for payload in Parser::new(0).parse_all(component) {
        if let Payload::ModuleSection {
            unchecked_range: range,
            ..
        } = payload?
        {
            let module = &component[usize::try_from(range.start)?..usize::try_from(range.end)?];
            if imports_nn(module)? {
                return Ok(module);
            }
        }
    }
    None.context("the component has no adapter for nn")
}

fn imports_nn(module: &[u8]) -> Result<bool> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(section) = payload? {
            for import in section.into_imports() {
                let module = import?.module;
                if module.starts_with("wasi:nn/") || module.starts_with("llm-wasi:nn/") {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}
