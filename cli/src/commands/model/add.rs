//! `llm-wasi model add`

use crate::failure::Failure;
use crate::models::copy::open;
use crate::models::import::{import, is_same};
use crate::models::manifest::Manifest;
use crate::models::name::Name;
use crate::models::plan::Plan;
use crate::models::source::Source;
use crate::models::store::{self, Store};
use crate::models::verify::verify;
use crate::text::{note, size};
use clap::Args;
use llm_wasi_bundle::Digest;
use std::process::ExitCode;

/// Store a model, from a file or a server.
///
/// Takes GGUF, ONNX (.onnx) and OpenVINO IR (.xml, with its .bin beside it). Of a split GGUF model give
/// the first part; the others are found beside it. A download that was interrupted goes on where it
/// ended when the command is run again.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Opts {
    /// Path or URL (http or https) of the model's file.
    #[arg(value_name = "SOURCE")]
    source: Source,

    /// The model's name in the store [default: that of the file].
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,

    /// SHA-256 that the file must have; for a model of several files once for each, in their order.
    #[arg(long = "sha256", value_name = "HEX")]
    digests: Vec<Digest>,
}

const EXAMPLES: &str = "\
Examples:

    # A file that is here.
    $ llm-wasi model add models/smollm2.gguf

    # A file on a server, under a name of its own.
    $ llm-wasi model add https://example.com/Model-7B.Q4_K_M.gguf --name model

    # A split model: the first of its parts.
    $ llm-wasi model add https://example.com/large-00001-of-00003.gguf";

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let plan = Plan::new(self.source, self.name)?;
        check_count(&plan, &self.digests)?;
        for file in &plan.files {
            if let Source::File(path) = &file.source {
                open(path)?;
            }
        }
        let store = Store::open()?;
        // To find it there changes nothing, and can be done in a store that cannot be changed.
        if is_there(&store, &plan, &self.digests)? {
            return Ok(ExitCode::SUCCESS);
        }
        let _lock = store.lock(&plan.name)?;
        // Who held the lock may have added it.
        if is_there(&store, &plan, &self.digests)? {
            return Ok(ExitCode::SUCCESS);
        }
        let manifest = import(&store, &plan, &self.digests)?;
        store.publish(&manifest)?;
        note("added", &describe(&manifest));
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether the model is stored already, which is told then. Another one of its name is a failure.
fn is_there(store: &Store, plan: &Plan, digests: &[Digest]) -> Result<bool, Failure> {
    let Some(entry) = store.find(&plan.name)? else {
        return Ok(false);
    };
    let manifest = entry.manifest()?;
    if !is_same(plan, &manifest, digests)? {
        return Err(taken(plan, &manifest));
    }
    // Who names a digest asks for these bytes, not for what was there once.
    if !digests.is_empty()
        && let Err(problem) = verify(store, &manifest)
    {
        return Err(store::unusable(&plan.name, &problem));
    }
    note("there already:", &describe(&manifest));
    Ok(true)
}

fn check_count(plan: &Plan, digests: &[Digest]) -> Result<(), Failure> {
    let files = plan.files.len();
    if digests.is_empty() || digests.len() == files {
        return Ok(());
    }
    let of = match files {
        1 => "one file".to_string(),
        files => format!("{files} files"),
    };
    Err(Failure::new(format!(
        "--sha256 is there {} times, and the model has {of}",
        digests.len()
    ))
    .expected("one for each of the model's files, or none")
    .next_step("give as many, in the order of the files"))
}

fn taken(plan: &Plan, manifest: &Manifest) -> Failure {
    Failure::new(format!(
        "a model called `{}` is stored already, from {}",
        manifest.name,
        manifest.source.escape_debug()
    ))
    .expected("a name that is free, or the same content")
    .next_step(format!(
        "`llm-wasi model remove {}` first, or choose another name with --name",
        plan.name
    ))
}

fn describe(manifest: &Manifest) -> String {
    format!(
        "{} ({}, {})",
        manifest.name,
        manifest.encoding,
        size(manifest.size())
    )
}
