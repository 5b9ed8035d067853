//! Which models are in processes of their own, and what these run.

use crate::failure::Failure;
use clap::{Args, ValueEnum};
#[cfg(target_os = "linux")]
use llm_wasi_host::isolate::NamedModels;
use llm_wasi_host::runner::RunnerBuilder;
use std::process::ExitCode;

/// The hidden command that worker processes run.
#[cfg(target_os = "linux")]
const COMMAND: &str = "worker";

/// With images the files that a program names itself, projectors above all, have to open as in WasmEdge. That they do
/// not in a worker.
const DEFAULT: &str = if cfg!(feature = "images") {
    "program"
} else {
    "auto"
};

/// `--isolate` and what belongs to it.
#[derive(Args)]
pub(crate) struct IsolationArgs {
    /// Which models get a process of their own, without network and other files.
    ///
    /// A model that breaks its library ends that process, and the program gets an error.
    #[arg(
        long,
        value_name = "WHICH",
        num_args = 0..=1,
        require_equals = true,
        default_value = DEFAULT,
        default_missing_value = "all"
    )]
    isolate: Which,

    /// The most memory of such a process, files that are mapped into it included.
    #[arg(long, value_name = "MIB")]
    worker_memory: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// None.
    No,
    /// Those of which the program has the bytes.
    Program,
    /// These, and language models on the processor: it costs them less than 2 % of their speed.
    Auto,
    /// All.
    All,
    /// All, and none where the system cannot restrict the process.
    Strict,
}

impl IsolationArgs {
    /// The same runner, with this isolation.
    #[cfg(target_os = "linux")]
    pub(crate) fn apply(&self, runner: RunnerBuilder) -> Result<RunnerBuilder, Failure> {
        if self.isolate == Which::No {
            return Ok(runner);
        }
        allow_files();
        let mut isolation = llm_wasi_host::isolate::Isolation::new([COMMAND])
            .strict(self.isolate == Which::Strict)
            .named_models(match self.isolate {
                Which::No | Which::Program => NamedModels::None,
                Which::Auto => NamedModels::Language,
                Which::All | Which::Strict => NamedModels::All,
            });
        if let Some(mebibytes) = self.worker_memory {
            isolation = isolation.memory(mebibytes.saturating_mul(1 << 20));
        }
        Ok(runner.isolate(isolation))
    }

    /// Only Linux has what it takes.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn apply(&self, runner: RunnerBuilder) -> Result<RunnerBuilder, Failure> {
        match self.isolate {
            Which::No | Which::Program | Which::Auto => Ok(runner),
            Which::All | Which::Strict => Err(Failure::new(
                "this system has no processes for models that can do nothing else",
            )
            .expected("Linux for --isolate")
            .next_step("leave --isolate out")),
        }
    }
}

/// Lets this process have as many files open as the system allows it: each context in another process takes one.
#[cfg(target_os = "linux")]
fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::debug!("the limit of open files stays as it is: {error}");
    }
}

/// Serves the host that has started this process.
pub(crate) fn work() -> Result<ExitCode, Failure> {
    #[cfg(target_os = "linux")]
    {
        let registry = llm_wasi_host::Registry::with_default_backends().build();
        llm_wasi_host::isolate::serve(&registry).map_err(|error| {
            Failure::new(error.message).next_step("use `llm-wasi run --isolate`")
        })?;
    }
    Ok(ExitCode::FAILURE)
}
