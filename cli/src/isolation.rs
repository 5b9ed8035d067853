//! Which models are in processes of their own, and what these run.

use crate::failure::Failure;
use clap::{Args, ValueEnum};
use llm_wasi_host::runner::RunnerBuilder;
use std::process::ExitCode;

/// The hidden command that worker processes run.
#[cfg(target_os = "linux")]
const COMMAND: &str = "worker";

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
        default_value = "program",
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
        let mut isolation = llm_wasi_host::isolate::Isolation::new([COMMAND])
            .strict(self.isolate == Which::Strict)
            .named_models(self.isolate != Which::Program);
        if let Some(mebibytes) = self.worker_memory {
            isolation = isolation.memory(mebibytes.saturating_mul(1 << 20));
        }
        Ok(runner.isolate(isolation))
    }

    /// Only Linux has what it takes.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn apply(&self, runner: RunnerBuilder) -> Result<RunnerBuilder, Failure> {
        match self.isolate {
            Which::No | Which::Program => Ok(runner),
            Which::All | Which::Strict => Err(Failure::new(
                "this system has no processes for models that can do nothing else",
            )
            .expected("Linux for --isolate")
            .next_step("leave --isolate out")),
        }
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
