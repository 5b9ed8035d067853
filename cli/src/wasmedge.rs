//! Flags of WasmEdge's command line that mean nothing here.
//!
//! They are taken, so that command lines go on working, and each is a warning. What a program could
//! not do without is an error instead.

use crate::failure::Failure;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// Flags for which the same holds.
struct Group {
    /// What holds, for people.
    reason: &'static str,
    names: &'static [&'static str],
    /// Whether they have a value.
    value: bool,
}

const GROUPS: [Group; 9] = [
    Group {
        reason: "programs are always compiled",
        names: &["enable-jit", "force-interpreter"],
        value: false,
    },
    Group {
        reason: "programs are always compiled",
        names: &["run-mode"],
        value: true,
    },
    Group {
        reason: "the proposals that a program may use are Wasmtime's",
        names: &[
            "wasm-1",
            "wasm-2",
            "wasm-3",
            "enable-all",
            "enable-component",
            "enable-exception-handling",
            "enable-extended-const",
            "enable-function-reference",
            "enable-gc",
            "enable-multi-memory",
            "enable-relaxed-simd",
            "enable-tail-call",
            "enable-threads",
            "disable-bulk-memory",
            "disable-exception-handling",
            "disable-extended-const",
            "disable-function-reference",
            "disable-gc",
            "disable-import-export-mut-globals",
            "disable-memory64",
            "disable-multi-memory",
            "disable-multi-value",
            "disable-non-trap-float-to-int",
            "disable-reference-types",
            "disable-relaxed-simd",
            "disable-sign-extension-operators",
            "disable-simd",
            "disable-tail-call",
        ],
        value: false,
    },
    Group {
        reason: "nothing is measured",
        names: &[
            "enable-all-statistics",
            "enable-gas-measuring",
            "enable-instruction-count",
            "enable-time-measuring",
        ],
        value: false,
    },
    Group {
        reason: "nothing is measured",
        names: &["stats-format"],
        value: true,
    },
    Group {
        reason: "a trap is told with a trace, and no core is dumped",
        names: &[
            "coredump-for-wasmgdb",
            "coredump-on-trap",
            "enable-coredump",
        ],
        value: false,
    },
    Group {
        reason: "programs have no sockets",
        names: &["allow-af-unix"],
        value: false,
    },
    Group {
        reason: "-v and RUST_LOG set what is logged",
        names: &["log-level"],
        value: true,
    },
    Group {
        reason: "there are no plugins",
        names: &["forbidden-plugin"],
        value: true,
    },
];

/// WasmEdge's flags on a command line.
pub(crate) struct WasmEdgeArgs {
    /// Those without effect, with the reason.
    ignored: Vec<(&'static str, &'static str)>,
    named: NamedArgs,
}

/// Those with an effect: an error, where a program could not do without, or a limit.
#[derive(Args)]
struct NamedArgs {
    #[arg(long, hide = true)]
    reactor: bool,

    #[arg(long, hide = true, value_name = "URI")]
    nn_rpc_uri: Option<String>,

    #[arg(long, hide = true, value_name = "NAME:PATH")]
    module: Vec<String>,

    /// The same as `--limit fuel=N`.
    #[arg(long, hide = true, value_name = "N")]
    gas_limit: Option<u64>,

    /// The same as `--limit memory`, in pages of 64 KiB.
    #[arg(long, hide = true, value_name = "PAGES")]
    memory_page_limit: Option<usize>,
}

impl WasmEdgeArgs {
    /// How many instructions a program may execute.
    pub(crate) fn gas(&self) -> Option<u64> {
        self.named.gas_limit
    }

    /// How many pages a program's memory may have.
    pub(crate) fn memory_pages(&self) -> Option<usize> {
        self.named.memory_page_limit
    }

    /// Warns of each flag without effect; fails if a program could not run as its command line wants.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        for (name, reason) in &self.ignored {
            tracing::warn!("--{name} has no effect: {reason}");
        }
        if self.named.reactor {
            return Err(
                Failure::new("--reactor: a library's functions cannot be called from here")
                    .expected("a program, which exports `_start`")
                    .next_step(
                        "build it as a program; or describe its functions in WIT, embed that with \
                         `wasm-tools component embed`, make a component of it, and call that from a host",
                    ),
            );
        }
        if self.named.nn_rpc_uri.is_some() {
            return Err(
                Failure::new("--nn-rpc-uri: models of another process cannot be used")
                    .expected("models that are loaded here")
                    .next_step("name them with --nn-preload, as for WasmEdge's server"),
            );
        }
        if !self.named.module.is_empty() {
            return Err(
                Failure::new("--module: other modules cannot be linked to the program")
                    .expected("a program that imports WASI and wasi-nn only")
                    .next_step("link it with them when it is built, for example with `wasm-merge`"),
            );
        }
        Ok(())
    }
}

impl FromArgMatches for WasmEdgeArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
        let ignored = GROUPS
            .iter()
            .flat_map(|group| group.names.iter().map(|name| (*name, group.reason)))
            .filter(|(name, _)| given(name))
            .collect();
        Ok(Self {
            ignored,
            named: NamedArgs::from_arg_matches(matches)?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for WasmEdgeArgs {
    fn augment_args(command: Command) -> Command {
        let flags = GROUPS.iter().flat_map(|group| {
            // Flags may be repeated, and values are whatever WasmEdge takes.
            let action = if group.value {
                ArgAction::Append
            } else {
                ArgAction::Count
            };
            group.names.iter().map(move |name| {
                Arg::new(*name)
                    .long(*name)
                    .action(action.clone())
                    .hide(true)
            })
        });
        NamedArgs::augment_args(command.args(flags))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> WasmEdgeArgs {
        let command = WasmEdgeArgs::augment_args(Command::new("run").no_binary_name(true));
        let matches = command
            .try_get_matches_from(args)
            .expect("the flags are known");
        WasmEdgeArgs::from_arg_matches(&matches).expect("they are read")
    }

    #[test]
    fn flags_are_told_once_each() {
        let args = [
            "--enable-all",
            "--run-mode=jit",
            "--gas-limit",
            "5",
            "--enable-all",
        ];
        let names: Vec<_> = parse(&args).ignored.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["run-mode", "enable-all"]);
        assert_eq!(
            (parse(&args).gas(), parse(&args).memory_pages()),
            (Some(5), None)
        );
        assert!(parse(&args).check().is_ok());
        assert!(parse(&[]).ignored.is_empty());
    }

    #[test]
    fn what_a_program_needs_is_an_error() {
        for args in [
            &["--reactor"][..],
            &["--nn-rpc-uri", "unix:///tmp/nn.sock"],
            &["--module", "a:a.wasm"],
        ] {
            let failure = parse(args).check().expect_err("it is refused");
            assert!(failure.line().starts_with(args[0]), "{}", failure.line());
        }
    }
}
