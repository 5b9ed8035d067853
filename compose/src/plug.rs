//! Composition: exports of one component become the imports of another.

use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, PlugError};
use wasmparser::{ComponentExternalKind, Parser, Payload};

const CONFIGURATION: &str = "llm-wasi:llm/configuration@";
const GENERATION: &str = "llm-wasi:llm/generation@";
const MODELS: &str = "llm-wasi:llm/models@";

/// Why components do not go together.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A file is no component.
    #[error("the {role} is no component: {reason}")]
    NoComponent {
        /// `app`, `engine` or `configuration`.
        role: &'static str,
        /// What it is.
        reason: String,
    },
    /// Nothing of the one is imported by the other.
    #[error("expected the {role} to {verb} {what}, found that it {verb}s {found}")]
    NothingToConnect {
        /// `app`, `engine` or `configuration`.
        role: &'static str,
        /// `import` or `export`.
        verb: &'static str,
        /// The interfaces, one of which would do.
        what: String,
        /// What it imports or exports.
        found: String,
    },
    /// Both know the interface, in different shapes.
    #[error("the {role} and what it needs do not fit together: {reason}")]
    Mismatch {
        /// `app` or `engine`.
        role: &'static str,
        /// The difference.
        reason: String,
    },
}

/// The engine with a configuration: what hosts run that use the engine themselves.
pub fn configure(engine: &[u8], configuration: &[u8]) -> Result<Vec<u8>, Refusal> {
    expect("engine", engine, Side::Imports, &[CONFIGURATION])?;
    expect("engine", engine, Side::Exports, &[GENERATION])?;
    expect(
        "configuration",
        configuration,
        Side::Exports,
        &[CONFIGURATION],
    )?;
    plug("engine", engine, "configuration", configuration)
}

/// One component of an app, an engine and a configuration.
pub fn compose(app: &[u8], engine: &[u8], configuration: &[u8]) -> Result<Vec<u8>, Refusal> {
    expect("app", app, Side::Imports, &[MODELS, GENERATION])?;
    let configured = configure(engine, configuration)?;
    let composed = plug("app", app, "engine", &configured)?;
    let left = names("app", &composed)?;
    match left.imports.iter().find(|name| {
        [MODELS, GENERATION, CONFIGURATION]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    }) {
        None => Ok(composed),
        Some(name) => Err(Refusal::Mismatch {
            role: "app",
            reason: format!("the engine's `{name}` has other types than the app expects"),
        }),
    }
}

#[derive(Clone, Copy)]
enum Side {
    Imports,
    Exports,
}

/// Fails if a component has none of the interfaces on that side.
fn expect(
    role: &'static str,
    bytes: &[u8],
    side: Side,
    interfaces: &[&str],
) -> Result<(), Refusal> {
    let names = names(role, bytes)?;
    let (verb, found) = match side {
        Side::Imports => ("import", names.imports),
        Side::Exports => ("export", names.exports),
    };
    let is_there = |name: &String| interfaces.iter().any(|prefix| name.starts_with(prefix));
    if found.iter().any(is_there) {
        return Ok(());
    }
    let wanted: Vec<_> = interfaces
        .iter()
        .map(|interface| interface.trim_end_matches('@'))
        .collect();
    Err(Refusal::NothingToConnect {
        role,
        verb,
        what: wanted.join(" or "),
        found: match found.as_slice() {
            [] => "nothing".to_owned(),
            found => found.join(", "),
        },
    })
}

/// The socket with the plug's exports in the place of its imports.
fn plug(
    socket_role: &'static str,
    socket: &[u8],
    plug_role: &'static str,
    plug: &[u8],
) -> Result<Vec<u8>, Refusal> {
    let mut graph = CompositionGraph::new();
    let mut register = |role: &'static str, bytes: &[u8]| {
        let package =
            Package::from_bytes(&format!("llm-wasi:{role}"), None, bytes, graph.types_mut())
                .map_err(|error| Refusal::NoComponent {
                    role,
                    reason: format!("{error:#}"),
                })?;
        graph
            .register_package(package)
            .map_err(|error| Refusal::Mismatch {
                role,
                reason: error.to_string(),
            })
    };
    let socket_package = register(socket_role, socket)?;
    let plug_package = register(plug_role, plug)?;
    let mismatch = |reason: String| Refusal::Mismatch {
        role: socket_role,
        reason,
    };
    wac_graph::plug(&mut graph, vec![plug_package], socket_package).map_err(|error| {
        mismatch(match error {
            PlugError::NoPlugHappened => format!(
                "what the {plug_role} exports has other types than the {socket_role} imports"
            ),
            PlugError::GraphError { source } => format!("{source:#}"),
        })
    })?;
    graph
        .encode(EncodeOptions::default())
        .map_err(|error| mismatch(error.to_string()))
}

struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
}

/// What a component imports and exports, if it is a valid one.
fn names(role: &'static str, bytes: &[u8]) -> Result<Names, Refusal> {
    let refuse = |reason: String| Refusal::NoComponent { role, reason };
    if !Parser::is_component(bytes) {
        return Err(refuse(
            if Parser::is_core_wasm(bytes) {
                "it is a core module: make it one with `llm-wasi componentize`"
            } else {
                "it does not start like one"
            }
            .to_owned(),
        ));
    }
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
        .validate_all(bytes)
        .map_err(|error| refuse(error.to_string()))?;
    let mut found = Names {
        imports: Vec::new(),
        exports: Vec::new(),
    };
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| refuse(error.to_string()))? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(|error| refuse(error.to_string()))?;
                    found.imports.push(import.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export.map_err(|error| refuse(error.to_string()))?;
                    if export.kind == ComponentExternalKind::Instance {
                        found.exports.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}
