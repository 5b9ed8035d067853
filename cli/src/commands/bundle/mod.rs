//! `llm-wasi bundle`

mod change;
mod extract;
mod list;

use crate::args::AdapterArgs;
use crate::bundles;
use crate::failure::Failure;
use crate::input::Input;
use crate::models::meter::Meter;
use crate::text::{note, size};
use clap::{ArgGroup, Args};
use llm_wasi_bundle::Bundle;
use llm_wasi_bundle::sign::TrustedKey;
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

/// Put a program and its models into one file, which `llm-wasi run` runs.
///
/// The file is a component: a module is made one first, as `run` does it. The models are custom sections,
/// with a digest of everything. A bundle can be changed: models are added and removed.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
#[command(group(
    ArgGroup::new("action")
        .args(["models", "remove", "sign", "list", "extract", "verify"])
        .required(true)
        .multiple(true)
))]
pub(crate) struct Opts {
    /// Module, component or bundle.
    #[arg(value_name = "IN")]
    input: Input,

    /// Add a model; may be repeated.
    ///
    /// Without a name it is called `default`. NAME:ENCODING:TARGET:PATH[:PATH…] is taken as well, as for
    /// `run --nn-preload`. PATH may also be the name of a stored model.
    #[arg(long = "model", value_name = "[NAME=]PATH", requires = "output")]
    models: Vec<String>,

    /// Remove a model; may be repeated. Without any model the file is the component as it was.
    #[arg(long, value_name = "NAME", requires = "output")]
    remove: Vec<String>,

    /// Sign the result with a secret key of minisign.
    ///
    /// A key's password is asked for, or taken from LLM_WASI_KEY_PASSWORD.
    #[arg(long, value_name = "FILE", requires = "output")]
    sign: Option<PathBuf>,

    /// File to write to; of --extract also a folder. It is written whole or not at all.
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,

    /// Show what is in it.
    #[arg(long, conflicts_with_all = ["models", "remove", "sign", "extract", "verify", "output"])]
    list: bool,

    /// Print JSON.
    #[arg(long, requires = "list")]
    json: bool,

    /// Write a model's files; may be repeated.
    #[arg(long, value_name = "NAME", requires = "output")]
    #[arg(conflicts_with_all = ["models", "remove", "sign", "verify"])]
    extract: Vec<String>,

    /// Read all of it and check every digest.
    #[arg(long, conflicts_with_all = ["models", "remove", "sign", "output"])]
    verify: bool,

    /// Refuse a bundle that is not signed by this key; may be repeated, one of them is enough.
    #[arg(long = "trusted-key", value_name = "FILE|KEY", value_parser = bundles::trusted_key)]
    trusted_keys: Vec<TrustedKey>,

    /// The most bytes of a part, for tests.
    #[arg(long, hide = true, default_value_t = llm_wasi_bundle::PART_SIZE)]
    part_size: u64,

    #[command(flatten)]
    adapter: AdapterArgs,
}

const EXAMPLES: &str = "\
Examples:

    # One file with all that is needed.
    $ llm-wasi bundle chat.wasm --model model.gguf -o app.wasm
    $ llm-wasi run app.wasm default \"Once upon a time\"

    # A second model, and a signature.
    $ llm-wasi bundle app.wasm --model large=large.gguf --sign minisign.key -o both.wasm
    $ llm-wasi run --trusted-key minisign.pub both.wasm large \"Once upon a time\"

    # What is in it, and is it whole?
    $ llm-wasi bundle both.wasm --list
    $ llm-wasi bundle both.wasm --verify --trusted-key minisign.pub

    # A model's file again, and the component alone.
    $ llm-wasi bundle both.wasm --extract large -o large.gguf
    $ llm-wasi bundle both.wasm --remove large --remove default -o chat.component.wasm";

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if self.list {
            list::list(&self.bundle()?, self.json)?;
        } else if self.verify {
            self.verify_all()?;
        } else if self.extract.is_empty() {
            self.change()?;
        } else {
            self.extract_all()?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The input, if it is a bundle.
    fn open(&self) -> Result<Option<Bundle<File>>, Failure> {
        let opened = match self.input.is_stdin() {
            true => None,
            false => bundles::open(self.input.path(), &self.trusted_keys)?,
        };
        if opened.is_none() && !self.trusted_keys.is_empty() {
            return Err(self.none().next_step(
                "without --trusted-key, anything that is a program can be put into a bundle",
            ));
        }
        Ok(opened)
    }

    /// The input, which has to be a bundle.
    fn bundle(&self) -> Result<Bundle<File>, Failure> {
        match self.open()? {
            Some(bundle) => Ok(bundle),
            None => {
                // What cannot be read is no bundle either, and that says more.
                self.input.read()?;
                Err(self
                    .none()
                    .next_step("`llm-wasi bundle IN --model MODEL -o OUT` makes one"))
            }
        }
    }

    fn none(&self) -> Failure {
        Failure::new(format!("{} is no bundle", self.input)).expected(match self.trusted_keys[..] {
            [] if self.input.is_stdin() => {
                "a file of a program and its models, not on standard input"
            }
            [] => "a file of a program and its models",
            _ => "a bundle with a signature by a trusted key",
        })
    }

    /// The failure of a name that no model of the bundle has.
    fn unknown(&self, name: &str, bundle: Option<&Bundle<File>>) -> Failure {
        let names: Vec<String> = bundle
            .map(|bundle| &bundle.index().models[..])
            .unwrap_or_default()
            .iter()
            .map(|model| format!("`{}`", model.name))
            .collect();
        Failure::new(format!(
            "{} has no model called `{}`",
            self.input,
            name.escape_debug()
        ))
        .expected(match names.as_slice() {
            [] => "a bundle, which has models".to_string(),
            names => names.join(", "),
        })
        .next_step("`llm-wasi bundle IN --list` shows what is in it")
    }

    fn verify_all(&self) -> Result<(), Failure> {
        let mut bundle = self.bundle()?;
        let models = &bundle.index().models;
        let files = models.iter().flat_map(|model| &model.files);
        let total = files.map(|file| file.size).sum();
        let mut meter = Meter::new(format!("checking {}", self.input));
        meter.start(0, Some(total));
        bundle
            .verify(&mut |bytes| meter.advance(bytes))
            .map_err(|error| bundles::failure(self.input.path(), error))?;
        drop(meter);
        let signed = match (self.trusted_keys.is_empty(), bundle.signature()) {
            (false, _) => "; it is signed by a trusted key",
            (true, Some(_)) => "; its signature is not checked without --trusted-key",
            (true, None) => "; it has no signature",
        };
        let text = format!("{} ({} of models){signed}", self.input, size(total));
        note("whole:", &text);
        Ok(())
    }
}
