//! Options that several commands share.

use crate::failure::Failure;
use crate::input::Input;
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use llm_wasi_adapter::dialects;
use llm_wasi_componentize::{Adapter, Options, Profile, Target, target_name};
use std::path::{Path, PathBuf};

fn names() -> Vec<&'static str> {
    dialects().iter().map(|dialect| dialect.name).collect()
}

/// Which adapter is used or written.
#[derive(Args)]
pub(crate) struct AdapterArgs {
    /// Dialect of wasi-nn; `llm-wasi adapter --list` names them all.
    #[arg(long, value_name = "DIALECT", value_parser = PossibleValuesParser::new(names()))]
    #[arg(hide_possible_values = true)]
    pub(crate) dialect: Option<String>,

    /// What the component may import besides WASI.
    #[arg(long)]
    pub(crate) profile: Option<ProfileArg>,

    /// Release of `wasi:nn` to import: 2024-10-28 (Wasmtime 35 and later) or 2024-08-19 (25 to 34).
    #[arg(long, value_name = "RELEASE", default_value = "2024-10-28", value_parser = target)]
    wit: Target,

    /// Name of a model's input, such as 0=data; may be repeated.
    ///
    /// The old interface has numbers only. An input without a name here is called by its number,
    /// which some hosts do not accept.
    #[arg(long = "input-name", value_name = "INDEX=NAME", value_parser = input_name)]
    input_names: Vec<(u32, String)>,

    /// Treat a `get_output` with room for 0 bytes as one with enough room.
    ///
    /// For programs that pass the length of an empty vector instead of its capacity.
    #[arg(long)]
    zero_max_is_unlimited: bool,
}

/// `--profile`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ProfileArg {
    /// Only `wasi:nn`.
    Portable,
    /// Also `llm-wasi:nn`, for what WasmEdge's programs rely on.
    Extended,
}

impl From<ProfileArg> for Profile {
    fn from(profile: ProfileArg) -> Profile {
        match profile {
            ProfileArg::Portable => Profile::Portable,
            ProfileArg::Extended => Profile::Extended,
        }
    }
}

impl AdapterArgs {
    pub(crate) fn options(&self) -> Result<Options, Failure> {
        for (at, (index, name)) in self.input_names.iter().enumerate() {
            let before = self.input_names.iter().take(at).find(|(i, _)| i == index);
            if let Some((_, other)) = before {
                return Err(Failure::new(format!(
                    "--input-name gives input {index} two names, `{other}` and `{name}`"
                ))
                .expected("one name for each input")
                .next_step("leave one of them out"));
            }
        }
        Ok(Options {
            dialect: self.dialect.clone(),
            profile: self.profile.map(Profile::from),
            prefer_extended: false,
            target: self.wit,
            input_names: self.input_names.clone(),
            zero_max_is_unlimited: self.zero_max_is_unlimited,
            exit_codes: false,
            most_pages: None,
            adapters: Vec::new(),
        })
    }
}

fn target(text: &str) -> Result<Target, String> {
    let all = [Target::Rc20241028, Target::Rc20240819];
    all.into_iter()
        .find(|target| {
            let full = target_name(*target);
            // The date alone, the version, or the whole name of the package.
            [Some(full), full.split_once('@').map(|(_, version)| version)]
                .into_iter()
                .flatten()
                .chain(full.split_once("-rc-").map(|(_, date)| date))
                .any(|name| name == text)
        })
        .ok_or_else(|| {
            format!(
                "expected {} or {}",
                target_name(all[0]),
                target_name(all[1])
            )
        })
}

fn input_name(text: &str) -> Result<(u32, String), String> {
    let (index, name) = text
        .split_once('=')
        .ok_or("expected INDEX=NAME, such as 0=data")?;
    let index = index
        .parse()
        .map_err(|_| format!("expected a number before `=`, found `{index}`"))?;
    if name.is_empty() {
        return Err("expected a name after `=`, found nothing".to_string());
    }
    Ok((index, name.to_string()))
}

/// Further adapters.
#[derive(Args)]
pub(crate) struct AdaptArgs {
    /// A further adapter, as for `wasm-tools component new`; may be repeated.
    ///
    /// Without NAME it is the file's name up to its first dot.
    #[arg(long = "adapt", value_name = "[NAME=]FILE", value_parser = adapt)]
    adapters: Vec<(String, PathBuf)>,
}

impl AdaptArgs {
    pub(crate) fn read(&self) -> Result<Vec<Adapter>, Failure> {
        self.adapters
            .iter()
            .map(|(name, path)| {
                Ok(Adapter {
                    name: name.clone(),
                    bytes: Input::file(path).read()?,
                })
            })
            .collect()
    }
}

fn adapt(text: &str) -> Result<(String, PathBuf), String> {
    if let Some((name, file)) = text.split_once('=') {
        return match (name, file) {
            ("", _) => Err("expected a name before `=`, found nothing".to_string()),
            (_, "") => Err("expected a file after `=`, found nothing".to_string()),
            _ => Ok((name.to_string(), PathBuf::from(file))),
        };
    }
    let path = Path::new(text);
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.split('.').next())
        .filter(|name| !name.is_empty())
        .ok_or("expected NAME=FILE, or a file whose name starts with the adapted module's")?;
    Ok((name.to_string(), path.to_path_buf()))
}
