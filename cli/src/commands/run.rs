//! `llm-wasi run`

use crate::args::AdapterArgs;
use crate::bundles::prepare::{Prepared, prepare};
use crate::commands::componentize::tell;
use crate::failure::Failure;
use crate::input::Input;
use crate::isolation::IsolationArgs;
use crate::serving::instances::{self, Counts, Unwritten};
use crate::serving::{alone, end_soon, metrics, timings};
use crate::text::print;
use crate::wasmedge::WasmEdgeArgs;
use crate::{bundles, models, progress};
use clap::builder::TypedValueParser;
use clap::{Arg, Args, Command};
use llm_wasi_bundle::Bundle;
use llm_wasi_bundle::sign::TrustedKey;
use llm_wasi_componentize::{Entry, Kind, Options, componentize};
use llm_wasi_host::runner::{Ended, Runner};
use llm_wasi_host::{Limits, Preload, Scheduling, parse_bytes};
use std::env::VarError;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of a page of WebAssembly.
const PAGE: usize = 64 << 10;

/// The exit status for a program that traps: as in WasmEdge and Wasmtime, that of a process that aborts.
const TRAPPED: u8 = 134;

/// How an import begins that only an engine has.
const ENGINES: &str = "imports instance `llm-wasi:llm/";

/// Run a program with real models.
///
/// A module is made a component in memory first; one in WasmEdge's dialect uses the extended profile
/// unless told otherwise. The exit status is the program's own, or 134 if it traps.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Opts {
    /// Module or component, binary or text, or `-` for standard input; then the program's arguments.
    #[arg(value_names = ["PROGRAM", "ARGS"], required = true, num_args = 1.., trailing_var_arg = true)]
    program: Vec<OsString>,

    /// Give the program a folder of the host; may be repeated.
    ///
    /// The order is WasmEdge's: first the name that the program sees. Without a colon it sees the
    /// folder under the host's name. With `:readonly` behind it the program cannot write there.
    #[arg(long = "dir", value_name = "GUEST:HOST[:readonly]", value_parser = dir)]
    dirs: Vec<Dir>,

    /// Set an environment variable of the program; may be repeated. `KEY` alone passes on the host's.
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = env)]
    envs: Vec<(String, String)>,

    /// Name a model that the program can load; may be repeated.
    ///
    /// PATH may also be the name of a stored model (`llm-wasi model list`).
    #[arg(long = "nn-preload", value_name = "NAME:ENCODING:TARGET:PATH[:PATH…]")]
    preloads: Vec<Preload>,

    /// End the program after this many milliseconds; 0 is no limit.
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 0,
        hide_default_value = true
    )]
    time_limit: u64,

    /// Set a limit of each program; may be repeated. `--limit help` lists them with their defaults.
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = LimitParser)]
    limits: Vec<(String, String)>,

    /// Run the program so many times in this one process, over the same models.
    ///
    /// Each instance finds its number, from 0, in the environment variable LLM_WASI_INSTANCE, and each line of
    /// its output has that number before it; standard input is empty for all of them. The exit status is the first
    /// one that is not 0.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    instances: Option<u32>,

    /// How many instances run at once, and how many computations of a model share a batch.
    #[arg(long, value_name = "P", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    parallel: u32,

    /// How many computations of a model wait for those; further ones fail, with `busy`.
    #[arg(long, value_name = "N", default_value_t = Scheduling::default().queue)]
    queue: usize,

    /// How much of what guests have left is kept for each language model, for whoever begins with the same tokens.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size)]
    prefix_cache: usize,

    /// How many rows of ONNX and OpenVINO models are computed together, if computations wait and the models take any number.
    #[arg(long, value_name = "ROWS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,

    /// Serve figures for Prometheus at this address, such as 127.0.0.1:9464, under /metrics.
    #[arg(long, value_name = "HOST:PORT")]
    metrics: Option<metrics::Address>,

    /// Print where the time went on standard error: compiling, loading, prompts, tokens, copies.
    #[arg(long)]
    timings: bool,

    /// Refuse a program that is not a bundle signed by this key; may be repeated, one of them is enough.
    #[arg(long = "trusted-key", value_name = "FILE|KEY", value_parser = bundles::trusted_key)]
    trusted_keys: Vec<TrustedKey>,

    /// Read all of a bundle and of its unpacked models, and check every digest.
    #[arg(long)]
    verify: bool,

    #[command(flatten)]
    isolation: IsolationArgs,

    #[command(flatten)]
    wasmedge: WasmEdgeArgs,

    #[command(flatten)]
    adapter: AdapterArgs,
}

const EXAMPLES: &str = "\
Examples:

    # A program for WasmEdge, with the flags that WasmEdge takes.
    $ llm-wasi run --dir .:. --nn-preload default:GGML:AUTO:model.gguf chat.wasm default

    # Options of the program come after its name.
    $ llm-wasi run --env LANG=C program.wasm --model default --verbose

    # Many instances of a program over one model, at most 8 at once.
    $ llm-wasi run --instances 32 --parallel 8 --nn-preload default:GGML:AUTO:model.gguf chat.wasm default Hi

    # A bundle of `llm-wasi bundle`, which has its models in it; only from who has this key.
    $ llm-wasi run --trusted-key minisign.pub app.wasm default";

/// A folder for the program.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dir {
    guest: String,
    host: PathBuf,
    read_only: bool,
}

fn dir(text: &str) -> Result<Dir, String> {
    let (folders, read_only) = match text.strip_suffix(":readonly") {
        Some(folders) => (folders, true),
        None => (text, false),
    };
    let (guest, host) = folders.split_once(':').unwrap_or((folders, folders));
    if guest.is_empty() || host.is_empty() {
        return Err("expected GUEST:HOST, or one folder for both".to_string());
    }
    Ok(Dir {
        guest: guest.to_string(),
        host: PathBuf::from(host),
        read_only,
    })
}

fn env(text: &str) -> Result<(String, String), String> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, value.to_string()),
        None => match std::env::var(text) {
            Ok(value) => (text, value),
            Err(VarError::NotUnicode(_)) => {
                return Err(format!(
                    "expected a variable with a value in UTF-8, which is all that a WASI program can take; `{text}` \
                     has another one"
                ));
            }
            Err(VarError::NotPresent) => {
                return Err(format!(
                    "expected KEY=VALUE, or the name of a variable that is set; `{text}` is not"
                ));
            }
        },
    };
    if key.is_empty() {
        return Err("expected a name before `=`, found nothing".to_string());
    }
    Ok((key.to_string(), value))
}

/// Of `--limit`; the value `help` shows what there is, as `--help` does.
#[derive(Clone)]
struct LimitParser;

impl TypedValueParser for LimitParser {
    type Value = (String, String);

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        if value == "help" {
            // Whatever an error of clap says begins with a word that says it is one.
            std::process::exit(i32::from(print(&limits_help()).is_err()));
        }
        limit.parse_ref(command, argument, value)
    }
}

fn limits_help() -> String {
    let lines: String = Limits::default()
        .describe()
        .map(|(name, value, what)| format!("  {name:<16} {value:<9} {what}\n"))
        .collect();
    format!("The limits, their defaults and what they limit:\n\n{lines}")
}

fn limit(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("expected NAME=VALUE; `--limit help` lists the names")?;
    Limits::default().set(name, value)?;
    Ok((name.to_string(), value.to_string()))
}

fn size(text: &str) -> Result<usize, &'static str> {
    parse_bytes(text).ok_or("expected a size in bytes, KiB, MiB or GiB, such as 512MiB")
}

impl Opts {
    /// The limits, in the order of the command line.
    fn limits(&self) -> Result<Limits, Failure> {
        let mut limits = Limits::default();
        for (name, value) in &self.limits {
            limits.set(name, value).map_err(Failure::new)?;
        }
        if let Some(pages) = self.wasmedge.memory_pages() {
            limits.memory = pages.saturating_mul(PAGE);
        }
        if let Some(gas) = self.wasmedge.gas() {
            limits.fuel = Some(gas);
        }
        if self.time_limit > 0 {
            limits.time = Some(Duration::from_millis(self.time_limit));
        }
        Ok(limits)
    }

    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        self.wasmedge.check()?;
        let pages = self.limits()?.memory / PAGE;
        let options = Options {
            most_pages: u32::try_from(pages).ok(),
            ..self.adapter.options()?
        };
        let mut words = self.program.iter().cloned();
        let input = Input::from(words.next().unwrap_or_default());
        let args = words.map(text).collect::<Result<Vec<String>, Failure>>()?;
        let program = self.program(&input, options)?;
        self.execute(&input, args, program)
    }

    /// The component, with the models of a bundle.
    fn program(&self, input: &Input, options: Options) -> Result<Prepared, Failure> {
        if !input.is_stdin()
            && let Some(bundle) = bundles::open(input.path(), &self.trusted_keys)?
        {
            return prepare(input.path(), bundle, &self.preloads, self.verify);
        }
        let bytes = input.read()?;
        if !input.path().is_file() {
            refuse_bundle(input, &bytes)?;
        }
        if !self.trusted_keys.is_empty() {
            return Err(
                Failure::new(format!("{input} is no bundle, and so has no signature"))
                    .expected("a bundle with a signature by a trusted key")
                    .next_step(
                        "`llm-wasi bundle --sign` makes one; without --trusted-key none is needed",
                    ),
            );
        }
        Ok(Prepared {
            component: component(input, &bytes, options)?,
            preloads: Vec::new(),
        })
    }

    fn scheduling(&self) -> Scheduling {
        Scheduling {
            parallel: self.parallel as usize,
            queue: self.queue,
            prefixes: self.prefix_cache,
            batch: self.batch as usize,
        }
    }

    fn execute(
        &self,
        input: &Input,
        args: Vec<String>,
        program: Prepared,
    ) -> Result<ExitCode, Failure> {
        llm_wasi_host::allow_stream_stdout();
        let limits = self.limits()?;
        let time_limit = limits.time;
        let mut runner = Runner::builder()
            .limits(limits)
            .scheduling(self.scheduling())
            .instances(self.instances.unwrap_or(1).min(self.parallel))
            .keep_models(self.instances.is_some())
            .arg(program_name(input))
            .args(args)
            .monitor(progress::monitor());
        runner = self.isolation.apply(runner)?;
        for (key, value) in &self.envs {
            if self.instances.is_some() && key == instances::NUMBER {
                // Each has its own.
                continue;
            }
            runner = runner.env(key, value);
        }
        for dir in &self.dirs {
            if !dir.host.is_dir() {
                return Err(Failure::new(format!(
                    "{} of --dir is not a folder",
                    dir.host.display()
                ))
                .expected("GUEST:HOST, where HOST is a folder that is there")
                .next_step(
                    "make the folder, or check the order: the program's name for it is first",
                ));
            }
            runner = if dir.read_only {
                runner.read_only_dir(&dir.guest, &dir.host)
            } else {
                runner.dir(&dir.guest, &dir.host)
            };
        }
        for preload in &self.preloads {
            runner = runner.preload(models::resolve_preload(preload)?);
        }
        for preload in program.preloads {
            runner = runner.preload(preload);
        }
        let failed = |error: &anyhow::Error, next_step: &str| {
            Failure::new(format!("cannot run {}", input))
                .causes(error)
                .next_step(next_step)
        };
        let runner = runner
            .build()
            .map_err(|error| failed(&error, "see the cause"))?;
        let runner = Arc::new(runner);
        let _server = self
            .metrics
            .as_ref()
            .map(|address| metrics::serve(address, runner.registry()))
            .transpose()?;
        if self.timings {
            runner.registry().metrics().take_timings();
        }
        let started = Instant::now();
        let code = match self.instances {
            None => alone::run(&runner, &program.component, time_limit),
            Some(instances) => {
                let counts = Counts {
                    instances,
                    parallel: self.parallel,
                    time_limit,
                };
                instances::run(&runner, &program.component, &counts)
            }
        };
        if let Err(error) = &code
            && let Some(Ended::TimedOut(_)) = error.downcast_ref()
        {
            end_soon(1);
        }
        progress::clear();
        if self.timings {
            let overlap = self.instances.is_some();
            timings::print(runner.registry().metrics(), started.elapsed(), overlap);
        }
        let code = code.map_err(|error| {
            let next_step = if error.is::<Unwritten>() {
                "make room where standard output and standard error go, or have them read"
            } else if format!("{error:#}").contains(ENGINES) {
                "give the app its engine with `llm-wasi compose`, and run what that writes"
            } else {
                "RUST_LOG=debug shows what the host told the program"
            };
            let failure = failed(&error, next_step);
            let who = match self.instances {
                None => input.to_string(),
                // Its number is what was said of the error last.
                Some(_) => format!("{input}, {error}"),
            };
            match error.downcast_ref() {
                Some(Ended::Trapped) => failure.status(TRAPPED),
                Some(ended @ Ended::TimedOut(_)) => Failure::new(format!("{who}: {ended}"))
                    .next_step("set a larger --time-limit or --limit time"),
                Some(ended @ Ended::OutOfFuel(_)) => {
                    Failure::new(format!("{who}: {ended}")).next_step("set a larger --limit fuel=N")
                }
                None => failure,
            }
        })?;
        // What the system cannot say is at least no success.
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
    }
}

/// The component that a program is or becomes.
pub(crate) fn component(
    input: &Input,
    bytes: &[u8],
    mut options: Options,
) -> Result<Vec<u8>, Failure> {
    let refused = |refusal| Failure::refusal(Some(input), refusal);
    // The host here has the extension, and it saves copies.
    options.prefer_extended = true;
    // It also has WASI 0.2.12.
    options.exit_codes = true;
    let done = componentize(bytes, &options).map_err(refused)?;
    let report = &done.report;
    if report.input.kind == Kind::Module
        && report.input.entry == Entry::Command
        && report.adapters.is_empty()
    {
        return Err(Failure::new(format!("{input}: there is nothing to run"))
            .expected("a program that exports `_start` and its memory, as `memory`")
            .next_step("export the memory, or add `(memory (export \"memory\") 1)`"));
    }
    if report.input.kind == Kind::Module && report.input.entry != Entry::Command {
        return Err(Failure::new(format!("{}: there is nothing to run", input))
            .expected("a program, which exports `_start`")
            .next_step(
                "build it as a program, or make a component of it and call that from a host",
            ));
    }
    if tracing::enabled!(tracing::Level::INFO) {
        tell(report);
    }
    Ok(done.bytes)
}

/// A bundle's models are found in a file only.
fn refuse_bundle(input: &Input, bytes: &[u8]) -> Result<(), Failure> {
    match Bundle::read(std::io::Cursor::new(bytes)) {
        Ok(None) => Ok(()),
        Ok(Some(_)) | Err(_) => Err(Failure::new(format!(
            "{input} is a bundle that comes through a pipe"
        ))
        .expected("the path of its file, where its models are read")
        .next_step(format!("give that path in the place of {input}"))),
    }
}

/// What the program finds as its own name.
fn program_name(input: &Input) -> String {
    match input.path().file_name() {
        Some(name) if !input.is_stdin() => name.to_string_lossy().into_owned(),
        _ => "program".to_string(),
    }
}

/// WASI knows text only.
fn text(word: OsString) -> Result<String, Failure> {
    word.into_string().map_err(|word| {
        Failure::new(format!("the argument {} is no text", word.display()))
            .expected("UTF-8, which is all that a WASI program can take")
            .next_step("write it in another way")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(guest: &str, host: &str, read_only: bool) -> Result<Dir, String> {
        Ok(Dir {
            guest: guest.to_string(),
            host: PathBuf::from(host),
            read_only,
        })
    }

    #[test]
    fn folders() {
        assert_eq!(dir("."), folder(".", ".", false));
        assert_eq!(dir("/data:/srv/data"), folder("/data", "/srv/data", false));
        assert_eq!(dir("a:b:readonly"), folder("a", "b", true));
        for wrong in ["", ":", "a:", ":b", ":readonly", "a::readonly"] {
            assert!(dir(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_defaults_of_what_models_share_are_those_of_the_library() {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            opts: Opts,
        }
        let opts = Line::parse_from(["run", "app.wasm"]).opts;
        assert_eq!(opts.scheduling(), Scheduling::default());
    }

    #[test]
    fn variables() {
        assert_eq!(env("A=b=c"), Ok(("A".to_string(), "b=c".to_string())));
        assert_eq!(env("A="), Ok(("A".to_string(), String::new())));
        assert!(env("=b").is_err());
        assert!(env("LLM_WASI_SURELY_NOT_SET").is_err());
    }
}
