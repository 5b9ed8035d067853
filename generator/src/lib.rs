//! Generates adapters from the old `wasi_ephemeral_nn` interface to WIT `wasi:nn`.
//!
//! An adapter is a small core module: `wasm-tools component new app.wasm --adapt FILE` links it with a
//! program that imports the old interface, so that the component imports the new one.
//!
//! 1. [`interface`] reads the witx file: functions, layouts, enum tags.
//! 2. [`world`] reads the WIT packages: core import names, signatures, layouts, discriminants.
//! 3. [`mapping`] reads how the one maps onto the other, and checks that it covers both.
//! 4. `strategy` makes the [`plan`]: what each function does, one level above bytes, printable.
//! 5. `emit` encodes the plan as a core module with its `component-type` section.
//! 6. `check` validates it and checks what wit-component demands of an adapter.
//!
//! The same sources and options give the same bytes.

mod check;
mod emit;
pub mod interface;
pub mod mapping;
pub mod place;
pub mod plan;
mod strategy;
pub mod world;

use anyhow::{Context, Result, ensure};
use interface::Interface;
use mapping::Mapping;
use plan::Plan;
use world::World;

/// What an adapter is made of. Each source is a file name, for errors, and its text.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The old interface.
    pub witx: (String, String),
    /// How it maps onto the new one.
    pub mapping: (String, String),
    /// The WIT packages, dependencies first: a release of `wasi:nn`, and `llm-wasi:nn` for the extended
    /// profile.
    pub wit: Vec<(String, String)>,
    /// The WIT packages of another target, dependencies first: a mapping serves all targets, so it may
    /// name error codes that only this one has.
    pub other_wit: Vec<(String, String)>,
}

/// How an adapter is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it imports.
    pub profile: Profile,
    /// Names of model inputs by index; the others are named by their index in decimal.
    pub input_names: Vec<(u32, String)>,
    /// Treat a maximum of 0 as none when an output is read.
    pub zero_max_is_unlimited: bool,
}

/// What an adapted component imports besides WASI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Profile {
    /// Only `wasi:nn`: runs on every host of it.
    Portable,
    /// Also `llm-wasi:nn`: what WasmEdge's guests rely on and `wasi:nn` cannot say.
    Extended,
}

impl Profile {
    /// Every profile, the default first.
    pub const ALL: [Profile; 2] = [Profile::Portable, Profile::Extended];
}

/// An adapter.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// The core module, with the metadata that wit-component reads.
    pub module: Vec<u8>,
    /// What its functions do.
    pub plan: Plan,
}

/// Names of inputs longer than this are an error: they become code.
const MAX_INPUT_NAME: usize = 1024;

/// Generates an adapter.
pub fn generate(sources: &Sources, options: &Options) -> Result<Adapter> {
    for (index, name) in &options.input_names {
        ensure!(
            !name.is_empty() && name.len() <= MAX_INPUT_NAME,
            "the name of input {index} has {} bytes: expected 1 to {MAX_INPUT_NAME}",
            name.len()
        );
    }
    let interface = Interface::parse(&sources.witx.0, &sources.witx.1)?;
    let world = World::parse(&sources.wit)?;
    let other_codes = World::parse(&sources.other_wit)?.cases_anywhere("error-code");
    let mapping = Mapping::parse(
        &sources.mapping.0,
        &sources.mapping.1,
        &interface,
        &world,
        &other_codes,
    )?;
    ensure!(
        options.profile == Profile::Portable || world.has_package("llm-wasi:nn"),
        "the extended profile needs the WIT package llm-wasi:nn, which builds on \
         wasi:nn@0.2.0-rc-2024-10-28"
    );
    let plan = strategy::plan(&interface, &mapping, &world, options)
        .with_context(|| format!("{} cannot be lowered", sources.mapping.0))?;
    let module = emit::emit(&plan, &world.component_type(&plan.imports)?)?;
    let functions: Vec<String> = plan.functions.iter().map(|f| f.name.clone()).collect();
    check::check(&module, &world, &functions)?;
    Ok(Adapter { module, plan })
}
