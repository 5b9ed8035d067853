//! What the caller asks for, and the adapter that meets it.

use crate::refusal::{Reason, Refusal, list};
use llm_wasi_adapter::{Profile, Target};
use std::borrow::Cow;

/// How to componentize; the default detects everything.
#[derive(Clone, Debug)]
pub struct Options {
    /// Dialect to use instead of the detected one.
    pub dialect: Option<String>,
    /// Profile to use instead of the detected one.
    pub profile: Option<Profile>,
    /// Take the extended profile for every module in WasmEdge's dialect, where none is asked for.
    ///
    /// For a host that has it: inputs stay on the host's side there. A module that imports only the
    /// specification's functions gets the portable profile otherwise.
    pub prefer_extended: bool,
    /// Which `wasi:nn` the component imports.
    pub target: Target,
    /// Names of model inputs by index; the others are named by their decimal index.
    pub input_names: Vec<(u32, String)>,
    /// Treat a `get_output` whose maximum is 0 as one without a maximum.
    pub zero_max_is_unlimited: bool,
    /// Keep a program's exit codes apart, which needs a host of WASI 0.2.12. Without it, every code but
    /// 0 becomes 1.
    pub exit_codes: bool,
    /// How many pages the program's memory can have where it runs, if there are fewer than 65,536: programs whose heap is
    /// one piece start with up to 2,048 more than they ask for.
    pub most_pages: Option<u32>,
    /// Further adapters. One for a module that this crate would adapt takes the place of its own.
    pub adapters: Vec<Adapter>,
}

/// A core module that adapts an import module, as for `wasm-tools component new --adapt`.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// Import module that it implements.
    pub name: String,
    /// Its bytes, wasm or text.
    pub bytes: Vec<u8>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            dialect: None,
            profile: None,
            prefer_extended: false,
            target: Target::Rc20241028,
            input_names: Vec::new(),
            zero_max_is_unlimited: false,
            exit_codes: false,
            most_pages: None,
            adapters: Vec::new(),
        }
    }
}

/// The name of a profile, as on the command line.
pub fn profile_name(profile: Profile) -> &'static str {
    match profile {
        Profile::Portable => "portable",
        Profile::Extended => "extended",
    }
}

/// The WIT package that a target stands for.
pub fn target_name(target: Target) -> &'static str {
    match target {
        Target::Rc20241028 => "wasi:nn@0.2.0-rc-2024-10-28",
        Target::Rc20240819 => "wasi:nn@0.2.0-rc-2024-08-19",
    }
}

/// The adapter for a dialect: a stock one, or one made for these options.
///
/// # Errors
/// An unknown dialect, a combination that does not exist, and options that the generator refuses.
pub fn adapter_bytes(
    dialect: &str,
    profile: Profile,
    options: &Options,
) -> Result<Cow<'static, [u8]>, Refusal> {
    if options.input_names.is_empty() && !options.zero_max_is_unlimited {
        return match llm_wasi_adapter::find(dialect, profile, options.target) {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => Err(known_dialect(dialect).map_or_else(
                |unknown| unknown,
                |_| no_such_adapter(dialect, profile, options.target),
            )),
        };
    }
    known_dialect(dialect)?;
    let generated = llm_wasi_adapter::generate(&generator_options(dialect, profile, options));
    generated.map(Cow::Owned).map_err(|error| {
        Refusal::new(
            Reason::NoSuchAdapter,
            format!("the adapter cannot be made: {error:#}"),
            "options that the generator takes",
            "look at `llm-wasi adapter --help` and change the option that it names",
        )
    })
}

/// The same options as the adapter crate wants them.
pub(crate) fn generator_options(
    dialect: &str,
    profile: Profile,
    options: &Options,
) -> llm_wasi_adapter::Options {
    llm_wasi_adapter::Options {
        dialect: dialect.to_string(),
        profile,
        target: options.target,
        input_names: options.input_names.clone(),
        zero_max_is_unlimited: options.zero_max_is_unlimited,
    }
}

/// Finds a dialect by name.
pub(crate) fn known_dialect(name: &str) -> Result<&'static llm_wasi_adapter::Dialect, Refusal> {
    let all = llm_wasi_adapter::dialects();
    all.iter().find(|d| d.name == name).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|d| d.name).collect();
        Refusal::new(
            Reason::UnknownDialect,
            format!("there is no dialect `{name}`"),
            format!("one of {}", list(&names)),
            "`llm-wasi adapter --list` says what each is for",
        )
    })
}

fn no_such_adapter(dialect: &str, profile: Profile, target: Target) -> Refusal {
    let mut there = Vec::new();
    for profile in [Profile::Portable, Profile::Extended] {
        for target in [Target::Rc20241028, Target::Rc20240819] {
            if llm_wasi_adapter::find(dialect, profile, target).is_some() {
                there.push(format!(
                    "{} on {}",
                    profile_name(profile),
                    target_name(target)
                ));
            }
        }
    }
    Refusal::new(
        Reason::NoSuchAdapter,
        format!(
            "dialect {dialect} has no {} adapter for {}",
            profile_name(profile),
            target_name(target)
        ),
        format!("one of: {}", there.join("; ")),
        "choose another --profile or --wit",
    )
}
