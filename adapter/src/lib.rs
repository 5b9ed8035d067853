//! The adapters from `wasi_ephemeral_nn` to WIT `wasi:nn`, generated when this crate is built.
//!
//! [`find`] gives the bytes of a stock adapter; [`generate`] makes one with other options, such as
//! the names of a model's inputs.

use anyhow::{Context, Result, bail};
pub use llm_wasi_generator::Profile;
use std::sync::OnceLock;

include!("sources.rs");

/// One dialect of the old interface, as its witx file describes it.
#[derive(Clone, Debug)]
pub struct Dialect {
    /// Name, as in `--dialect`: the stem of the witx file.
    pub name: &'static str,
    /// The module that guests import: `wasi_ephemeral_nn` or `wasi_nn`.
    pub module: String,
    /// One line for people.
    pub summary: String,
    /// Every function, in the witx file's order.
    pub functions: Vec<Function>,
}

/// A function of a dialect with its core signature: every parameter and the result is an `i32`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Name of the import.
    pub name: String,
    /// How many `i32` parameters it takes. It always gives one `i32`, the errno.
    pub params: usize,
}

/// What [`generate`] makes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of a dialect of [`dialects`].
    pub dialect: String,
    /// What the component will import.
    pub profile: Profile,
    /// Which `wasi:nn` it will import.
    pub target: Target,
    /// Names of model inputs by index; the others are named by their decimal index.
    pub input_names: Vec<(u32, String)>,
    /// Treat a `get_output` whose maximum is 0 as one without a maximum, for guests that pass the
    /// length of an empty vector instead of its capacity.
    pub zero_max_is_unlimited: bool,
}

/// An adapter made when this crate was built.
struct Stock {
    dialect: &'static str,
    profile: Profile,
    target: Target,
    module: &'static [u8],
}

static STOCK: &[Stock] = include!(concat!(env!("OUT_DIR"), "/stock.rs"));

/// Every dialect, oldest first.
pub fn dialects() -> &'static [Dialect] {
    static DESCRIBED: OnceLock<Vec<Dialect>> = OnceLock::new();
    DESCRIBED.get_or_init(|| {
        // The build script has generated adapters from the same files, so none fails here.
        DIALECTS
            .iter()
            .filter_map(|dialect| describe(dialect).ok())
            .collect()
    })
}

fn describe(dialect: &DialectSource) -> Result<Dialect> {
    let interface = llm_wasi_generator::interface::Interface::parse(dialect.name, dialect.witx)?;
    let world =
        llm_wasi_generator::world::World::parse(&Target::Rc20241028.wit(Profile::Extended))?;
    let mapping = llm_wasi_generator::mapping::Mapping::parse(
        dialect.name,
        dialect.mapping,
        &interface,
        &world,
        &[],
    )?;
    Ok(Dialect {
        name: dialect.name,
        module: interface.module.clone(),
        summary: mapping.summary,
        functions: interface
            .functions
            .iter()
            .map(|function| Function {
                name: function.name.clone(),
                params: function.flat_params(),
            })
            .collect(),
    })
}

/// The stock adapter for a dialect: no input names, no quirks. `None` if the combination does not exist.
pub fn find(dialect: &str, profile: Profile, target: Target) -> Option<&'static [u8]> {
    STOCK
        .iter()
        .find(|stock| {
            stock.dialect == dialect && stock.profile == profile && stock.target == target
        })
        .map(|stock| stock.module)
}

/// Generates an adapter; the same options give the same bytes.
pub fn generate(options: &Options) -> Result<Vec<u8>> {
    Ok(adapter(options)?.module)
}

/// What each function of an adapter does, for people: what it reads, which WIT functions it calls,
/// which errno each failure gives.
pub fn explain(options: &Options) -> Result<String> {
    Ok(adapter(options)?.plan.to_string())
}

fn adapter(options: &Options) -> Result<llm_wasi_generator::Adapter> {
    let dialect = DIALECTS
        .iter()
        .find(|dialect| dialect.name == options.dialect)
        .with_context(|| {
            let names: Vec<&str> = DIALECTS.iter().map(|dialect| dialect.name).collect();
            format!(
                "there is no dialect {:?}: expected one of {}",
                options.dialect,
                names.join(", ")
            )
        })?;
    if !options.target.has(options.profile) {
        bail!(
            "the extended profile builds on wasi:nn@0.2.0-rc-2024-10-28 and does not exist for \
             0.2.0-rc-2024-08-19: use the portable profile"
        );
    }
    make(
        dialect,
        options.profile,
        options.target,
        options.input_names.clone(),
        options.zero_max_is_unlimited,
    )
}
