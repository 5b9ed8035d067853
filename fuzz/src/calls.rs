//! Calls of a legacy program, in any order and with any memory, through an adapter to the host.
//!
//! A program is a text, one line for each step, so that what was found can be read and kept:
//!
//! ```text
//! on wasmedge extended 0.2.0-rc-2024-10-28
//! text 0x100 echo
//! load_by_name 0x100 4 0x10
//! init_execution_context 0 0x10
//! words 0x400 0x440 1 3 0x800 5
//! fill 0x800 5 7
//! set_input 0 0 0x400
//! ```
//!
//! Lines that mean nothing are passed over: any bytes are a program. What has to hold after each call:
//!
//! 1. The host does not panic, and the program traps only if it named memory that it does not have.
//! 2. The errno is one of the dialect's.
//! 3. Nothing is written but results, where the call said, and no more of an output than fits there.
//! 4. At the end nothing of the program is left in the host, and where the dialect can give everything back,
//!    nothing is left once it has.

use llm_wasi_adapter::{Profile, Target};
use llm_wasi_componentize::target_name;
use llm_wasi_host::Registry;
use llm_wasi_host::testing::TinyModel;
use llm_wasi_tests::backend::{Counters, MODELS};
use llm_wasi_tests::extended;
use llm_wasi_tests::guest::{Guest, PAGE, RESERVED, dialect};
use llm_wasi_tests::hazards::hazards;
use llm_wasi_tests::machine::{Adapted, AdaptedProgram, Host, Machine, Outcome, Way};
use proptest::prelude::Rng;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Where the program's memory ends, less what its own exports use.
const END: u32 = 2 * PAGE - RESERVED;
/// Pages that its memory may have: enough for copies of inputs, and no gigabytes for those whose length is
/// made up.
const MAX_PAGES: u32 = 256;
/// The errno of a buffer that is too small.
const TOO_LARGE: u32 = 7;
/// How long one program may take; they take milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

static MADE: AtomicU64 = AtomicU64::new(0);
static TRAPPED: AtomicU64 = AtomicU64::new(0);
static WORKED: AtomicU64 = AtomicU64::new(0);

/// What happened since the process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Calls of nn functions.
    pub calls: u64,
    /// Those that gave errno 0.
    pub worked: u64,
    /// Those that ended in a trap.
    pub traps: u64,
}

/// What happened since the process started.
pub fn count() -> Count {
    Count {
        calls: MADE.load(Ordering::Relaxed),
        worked: WORKED.load(Ordering::Relaxed),
        traps: TRAPPED.load(Ordering::Relaxed),
    }
}

/// A dialect in a profile for a release of `wasi:nn`.
struct Program {
    name: String,
    /// Functions with the numbers of their parameters.
    functions: Vec<(String, usize)>,
    /// Whether tensors and lists are those of WAMR's module `wasi_nn`.
    by_pointer: bool,
    /// Size of an element by its type's tag, for such tensors.
    sizes: &'static [u64],
    errnos: BTreeSet<u32>,
    /// Whether a buffer that is too small is told what it would need.
    tells_size: bool,
    adapted: AdaptedProgram,
}

/// Every one that there is.
fn programs() -> &'static [Program] {
    static PROGRAMS: OnceLock<Vec<Program>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let mut programs = Vec::new();
        for dialect in llm_wasi_adapter::dialects() {
            for (profile, profile_name) in [
                (Profile::Extended, "extended"),
                (Profile::Portable, "portable"),
            ] {
                for target in Target::ALL {
                    if llm_wasi_adapter::find(dialect.name, profile, target).is_none() {
                        continue;
                    }
                    let way = Way {
                        profile,
                        target,
                        ..Way::portable(dialect.name)
                    };
                    let guest = Guest {
                        max: Some(MAX_PAGES),
                        ..Guest::all(dialect)
                    };
                    programs.push(Program {
                        name: format!(
                            "{} {profile_name} {}",
                            dialect.name,
                            target_name(target).trim_start_matches("wasi:nn@")
                        ),
                        functions: guest.functions.clone(),
                        by_pointer: dialect.module == "wasi_nn",
                        sizes: &[2, 4, 1, 4, 8, 8, 1, 8],
                        errnos: errnos(dialect.name),
                        tells_size: dialect.name == "wasmedge",
                        adapted: AdaptedProgram::on(Host::Ours, &way.componentize(&guest)),
                    });
                }
            }
        }
        programs
    })
}

/// The numbers that a dialect's witx file has for errnos.
fn errnos(name: &str) -> BTreeSet<u32> {
    let path = format!("{}/../witx/{name}.witx", env!("CARGO_MANIFEST_DIR"));
    let witx = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (_, rest) = witx
        .split_once("(typename $nn_errno\n")
        .unwrap_or_else(|| panic!("{path} has no errnos"));
    let cases = rest
        .lines()
        .skip(1)
        .take_while(|line| line.trim() != ")")
        .filter_map(|line| line.trim().strip_prefix('$'));
    let mut errnos = BTreeSet::new();
    let mut next = 0;
    for case in cases {
        let constant = format!("$nn_errno_tag ${case} ");
        if let Some((_, number)) = rest.split_once(&constant) {
            let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
            next = digits.parse().expect("a tag is a number");
        }
        errnos.insert(next);
        next += 1;
    }
    assert!(errnos.len() >= 5, "{path}: {errnos:?}");
    errnos
}

/// A program on models that misbehave in every way that a backend may.
pub fn calls(bytes: &[u8]) {
    let (registry, counters) = extended::registry();
    run(bytes, registry, counters);
}

/// A program on a language model that llama.cpp runs.
pub fn calls_of_llama(bytes: &[u8]) {
    struct Files {
        _folder: tempfile::TempDir,
        registry: Registry,
    }
    static FILES: OnceLock<Files> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("tiny.gguf");
        TinyModel::new().write(&path).expect("a model");
        let mut registry = Registry::with_default_backends();
        for (name, _) in MODELS {
            let options = r#"{"threads": 1, "ctx-size": 64, "n-predict": 8, "temp": 0}"#;
            let mut preload: llm_wasi_host::Preload = format!("m:GGML:CPU:{}", path.display())
                .parse()
                .expect("a model's name");
            preload.name = name.to_owned();
            preload.configuration = Some(options.to_owned());
            registry = registry.preload(preload);
        }
        let registry = registry.build();
        // Held, so that the weights are read once.
        std::mem::forget(registry.load_by_name("echo", None).expect("a model"));
        Files {
            _folder: folder,
            registry,
        }
    });
    run(bytes, files.registry.clone(), Arc::default());
}

fn run(bytes: &[u8], registry: Registry, counters: Arc<Counters>) {
    let started = Instant::now();
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().peekable();
    let programs = programs();
    let first = lines
        .next_if(|line| line.starts_with("on "))
        .unwrap_or_default();
    let program = programs
        .iter()
        .find(|program| first.strip_prefix("on ") == Some(&program.name))
        .unwrap_or_else(|| &programs[digest(first) as usize % programs.len()]);
    let counters_at_first = (counters.graphs(), counters.contexts());
    let mut running = Running {
        program,
        machine: program.adapted.start_on(
            registry,
            counters.clone(),
            wasmtime_wasi::WasiCtx::builder().build(),
        ),
        memory: vec![0; END as usize],
        given: 0,
        harmed: false,
        each: std::env::var_os("LLM_WASI_FUZZ_INPUT").is_some(),
    };
    let alive = lines.all(|line| running.line(line));
    if alive {
        running.compare("the end");
        running.give_back();
    }
    drop(running);
    assert_eq!(
        (counters.graphs(), counters.contexts()),
        counters_at_first,
        "graphs and contexts of a program that is gone"
    );
    let took = started.elapsed();
    assert!(took < LIMIT, "the program took {took:?}");
}

struct Running {
    program: &'static Program,
    machine: Adapted,
    /// What the program's memory has to be.
    memory: Vec<u8>,
    /// How many graphs and contexts it has got.
    given: u32,
    /// Whether the program may have written over the adapter's pages, which lie behind its own: then it
    /// does harm to itself, and the host alone has to be as it should.
    harmed: bool,
    /// Whether memory is looked through after each call, to name the one at fault.
    each: bool,
}

impl Running {
    /// Takes a step. Whether the program can go on.
    fn line(&mut self, line: &str) -> bool {
        let mut words = line.split_ascii_whitespace();
        let Some(verb) = words.next() else {
            return true;
        };
        match verb {
            "text" => {
                let at = number(words.next().unwrap_or_default());
                let text = line.splitn(3, ' ').nth(2).unwrap_or_default();
                self.write(at, text.as_bytes());
            }
            "words" => {
                let at = number(words.next().unwrap_or_default());
                let bytes: Vec<u8> = words.flat_map(|word| number(word).to_le_bytes()).collect();
                self.write(at, &bytes);
            }
            "bytes" => {
                let at = number(words.next().unwrap_or_default());
                let bytes: Vec<u8> = words.map(|word| number(word) as u8).collect();
                self.write(at, &bytes);
            }
            "fill" => {
                let mut next = || number(words.next().unwrap_or_default());
                let (at, length, seed) = (next(), next(), next());
                let bytes: Vec<u8> = (0..length.min(END))
                    .map(|i| (seed.wrapping_mul(i.wrapping_mul(2) + 1) >> 24) as u8)
                    .collect();
                self.write(at, &bytes);
            }
            _ => {
                let found = self.program.functions.iter().find(|(name, _)| name == verb);
                if let Some((name, parameters)) = found {
                    let mut arguments: Vec<u32> = words.map(number).collect();
                    arguments.resize(*parameters, 0);
                    let alive = self.call(name, &arguments);
                    // Looking through the whole memory each time takes longer than the calls.
                    if alive && self.each {
                        self.compare(line);
                    }
                    return alive;
                }
            }
        }
        true
    }

    fn write(&mut self, at: u32, bytes: &[u8]) {
        let at = at % END;
        let length = bytes.len().min((END - at) as usize);
        self.machine.write(at, &bytes[..length]);
        self.memory[at as usize..][..length].copy_from_slice(&bytes[..length]);
    }

    fn call(&mut self, function: &str, arguments: &[u32]) -> bool {
        let beyond = self.beyond_memory(function, arguments);
        MADE.fetch_add(1, Ordering::Relaxed);
        match self.machine.call(function, arguments) {
            Outcome::Panic => panic!("{function}{arguments:x?}: the host panicked"),
            Outcome::Trap(reason) => {
                TRAPPED.fetch_add(1, Ordering::Relaxed);
                assert!(
                    beyond || self.harmed,
                    "{function}{arguments:x?}: trapped: {reason}"
                );
                return false;
            }
            Outcome::Errno(errno) => {
                self.harmed |= beyond;
                if self.harmed {
                    return true;
                }
                assert!(
                    self.program.errnos.contains(&errno),
                    "{function}{arguments:x?}: errno {errno}"
                );
                if errno == 0 {
                    WORKED.fetch_add(1, Ordering::Relaxed);
                    self.take_results(function, arguments);
                } else if let ("get_output" | "get_output_single", [.., out]) =
                    (function, arguments)
                    && (errno, self.program.tells_size) == (TOO_LARGE, true)
                {
                    self.take(*out, 4);
                }
            }
        }
        true
    }

    /// Takes over what a call that worked may have written.
    fn take_results(&mut self, function: &str, arguments: &[u32]) {
        match (function, arguments) {
            ("load" | "load_by_name" | "load_by_name_with_config", [.., out])
            | ("init_execution_context", [_, out]) => {
                self.given += 1;
                self.take(*out, 4);
            }
            ("get_output" | "get_output_single", [_, _, buffer, rest @ ..]) => {
                let (max, out) = match rest {
                    [max, out] => (*max, *out),
                    // One number is both.
                    [size] => (self.word(*size), *size),
                    _ => panic!("{function} has other parameters"),
                };
                self.take(out, 4);
                // The number is not that of bytes where the output lies over it.
                let apart = out.checked_add(4).is_some_and(|end| end <= *buffer)
                    || buffer.checked_add(max).is_some_and(|end| end <= out);
                let length = if apart { self.word(out) } else { max };
                assert!(
                    length <= max,
                    "{function}{arguments:x?} wrote {length} bytes"
                );
                self.take(*buffer, length);
            }
            _ => {}
        }
    }

    /// Takes over a range of the program's memory.
    fn take(&mut self, at: u32, length: u32) {
        if at < END {
            let length = length.min(END - at);
            let bytes = self.machine.read(at, length);
            self.memory[at as usize..][..length as usize].copy_from_slice(&bytes);
        }
    }

    /// Fails if memory is not what it has to be.
    fn compare(&mut self, when: &str) {
        if self.harmed {
            return;
        }
        let found = self.machine.read(0, END);
        let other = found.iter().zip(&self.memory).position(|(a, b)| a != b);
        if let Some(at) = other {
            panic!("at {when} memory has changed at {at:#x} where nothing was to be written");
        }
    }

    /// Gives back everything that the program has, where the dialect has functions for it.
    fn give_back(&mut self) {
        if self.harmed {
            return;
        }
        let has = |name: &str| self.program.functions.iter().any(|(own, _)| own == name);
        if !(has("unload") && has("finalize_execution_context")) {
            // Contexts keep an input or output at most.
            return;
        }
        for handle in 0..self.given {
            self.machine.call("unload", &[handle]);
            self.machine.call("finalize_execution_context", &[handle]);
        }
        assert_eq!(
            self.machine.resources(),
            0,
            "resources after all was given back"
        );
    }

    fn word(&self, at: u32) -> u32 {
        let bytes = self.memory.get(at as usize..).unwrap_or_default();
        bytes
            .first_chunk()
            .map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes))
    }

    /// Whether a call names memory behind the program's own.
    fn beyond_memory(&self, function: &str, arguments: &[u32]) -> bool {
        let beyond = |function, arguments: &[u32]| {
            hazards(function, arguments, &self.memory)
                .iter()
                .any(|found| ["beyond-memory", "buffer-beyond-memory"].contains(&found.id))
        };
        match (self.program.by_pointer, function, arguments) {
            (true, "load", [list, _, _, out]) => {
                self.is_beyond(*list, 8)
                    || beyond(
                        function,
                        &[self.word(*list), self.word(list + 4), 0, 0, *out],
                    )
            }
            (true, "get_output", [_, _, buffer, size]) => {
                self.is_beyond(*size, 4)
                    || beyond(function, &[0, 0, *buffer, self.word(*size), *size])
            }
            (true, "set_input", [_, _, record]) => {
                if self.is_beyond(*record, 12) {
                    return true;
                }
                let list = self.word(*record);
                if self.is_beyond(list, 8) {
                    return true;
                }
                let (sizes, rank) = (self.word(list), self.word(list + 4));
                if self.is_beyond(sizes, u64::from(rank) * 4) {
                    return true;
                }
                let tag = (self.word(record + 4) & 0xff) as usize;
                let size = self.program.sizes.get(tag).copied().unwrap_or(8);
                // More than a memory has is so many, even if a size of 0 comes last.
                let length = (0..rank).try_fold(size, |product, index| {
                    let next = product.checked_mul(self.word(sizes + 4 * index).into())?;
                    (next <= u32::MAX.into()).then_some(next)
                });
                length.is_none_or(|length| self.is_beyond(self.word(record + 8), length))
            }
            _ => beyond(function, arguments),
        }
    }

    fn is_beyond(&self, at: u32, length: u64) -> bool {
        u64::from(at).saturating_add(length) > self.memory.len() as u64
    }
}

/// A number as it is written in C; anything else is one as well.
fn number(word: &str) -> u32 {
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => word.parse(),
    };
    parsed.unwrap_or_else(|_| if word.is_empty() { 0 } else { digest(word) })
}

/// FNV-1a.
fn digest(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |digest, byte| {
        (digest ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// A program of about a hundred calls, most of which get somewhere.
pub fn random_program(rng: &mut impl Rng) -> Vec<u8> {
    let programs = programs();
    let program = &programs[below(rng, programs.len() as u32) as usize];
    let mut writer = Writer {
        text: format!("on {}\n", program.name),
        by_pointer: program.by_pointer,
        rng,
    };
    // Now and then nothing is there.
    for graph in 0..writer.below(5) {
        writer.open(program, graph);
    }
    for _ in 0..40 + writer.below(120) {
        writer.step(program);
    }
    writer.text.into_bytes()
}

fn below(rng: &mut impl Rng, limit: u32) -> u32 {
    rng.next_u32() % limit.max(1)
}

struct Writer<'a, R> {
    text: String,
    by_pointer: bool,
    rng: &'a mut R,
}

impl<R: Rng> Writer<'_, R> {
    fn below(&mut self, limit: u32) -> u32 {
        below(self.rng, limit)
    }

    fn handle(&mut self) -> u32 {
        match self.below(60) {
            0 => self.rng.next_u32(),
            1..=5 => self.below(12),
            _ => self.below(3),
        }
    }

    /// From few places, so that they overlap now and then.
    fn address(&mut self) -> u32 {
        match self.below(600) {
            0 => self.rng.next_u32(),
            1 => END + self.below(0x20) - 0x10,
            2..=5 => self.below(END),
            _ => 0x400 + 0x400 * self.below(100) + 4 * self.below(16),
        }
    }

    fn tag(&mut self) -> u32 {
        match self.below(40) {
            0 => self.rng.next_u32(),
            1 => self.below(256),
            _ => self.below(7),
        }
    }

    /// A length that is `usual`, as a rule.
    fn length(&mut self, usual: u32) -> u32 {
        match self.below(300) {
            0 => self.rng.next_u32(),
            1 => u32::MAX,
            2 => 0,
            3 => usual.wrapping_add(1),
            _ => usual,
        }
    }

    fn name(&mut self, at: u32) -> u32 {
        let name = match self.below(20) {
            0 => "nobody",
            _ => MODELS[self.below(MODELS.len() as u32) as usize].0,
        };
        let _ = writeln!(self.text, "text {at:#x} {name}");
        self.length(name.len() as u32)
    }

    /// A graph and a context, as programs make them.
    fn open(&mut self, program: &Program, graph: u32) {
        let (name, _) = MODELS[self.below(MODELS.len() as u32) as usize];
        let text = &mut self.text;
        let _ = if program
            .functions
            .iter()
            .any(|(own, _)| own == "load_by_name")
        {
            writeln!(
                text,
                "text 0x100 {name}\nload_by_name 0x100 {} 0x180",
                name.len()
            )
        } else {
            writeln!(
                text,
                "bytes 0x100 {graph}\nwords 0x110 0x100 1\nload 0x110 1 1 0 0x180"
            )
        };
        let _ = writeln!(self.text, "init_execution_context {graph} 0x180");
        self.set_input_of(graph, 0);
        let _ = writeln!(self.text, "compute {graph}");
    }

    fn load(&mut self, program: &Program, out: u32) {
        let at = self.address();
        let has = |name: &str| program.functions.iter().any(|(own, _)| own == name);
        match self.below(4) {
            0 if has("load_by_name_with_config") => {
                let length = self.name(at);
                let options = [
                    "{}",
                    r#"{"ctx-size":512}"#,
                    r#"{"embedding":true}"#,
                    r#"{"n-predict":3,"stream-stdout":true}"#,
                    "[",
                    "",
                ];
                let config = options[self.below(options.len() as u32) as usize];
                let config_at = self.address();
                let config_length = self.length(config.len() as u32);
                let _ = writeln!(
                    self.text,
                    "text {config_at:#x} {config}\n\
                     load_by_name_with_config {at:#x} {length} {config_at:#x} {config_length} {out:#x}"
                );
            }
            1..=2 if has("load_by_name") => {
                let length = self.name(at);
                let _ = writeln!(self.text, "load_by_name {at:#x} {length} {out:#x}");
            }
            _ => {
                let (data, list) = (self.address(), self.address());
                let length = self.below(100);
                let (encoding, target) = (self.tag(), self.below(4));
                let (seed, count, length) =
                    (self.rng.next_u32(), self.length(1), self.length(length));
                let _ = writeln!(
                    self.text,
                    "fill {data:#x} {length} {seed}\nwords {list:#x} {data:#x} {length}"
                );
                if self.by_pointer {
                    let array = self.address();
                    let _ = writeln!(
                        self.text,
                        "words {array:#x} {list:#x} {count}\nload {array:#x} {encoding} {target} {out:#x}"
                    );
                } else {
                    let _ = writeln!(
                        self.text,
                        "load {list:#x} {count} {encoding} {target} {out:#x}"
                    );
                }
            }
        }
    }

    fn set_input(&mut self) {
        let context = self.handle();
        let index = match self.below(30) {
            0 => self.rng.next_u32(),
            1..=4 => self.below(12),
            _ => self.below(3),
        };
        self.set_input_of(context, index);
    }

    fn set_input_of(&mut self, context: u32, index: u32) {
        let (data, sizes, record) = (self.address(), self.address(), self.address());
        let tag = self.tag();
        let length = match self.below(20) {
            0 => self.below(20_000),
            1..=5 => self.below(600),
            _ => self.below(64),
        };
        let (rank, seed, size) = (self.length(1), self.rng.next_u32(), self.length(length));
        let length = self.length(length);
        let _ = writeln!(
            self.text,
            "fill {data:#x} {length} {seed}\nwords {sizes:#x} {size} {size} {size}"
        );
        // The bytes behind the type mean nothing.
        let ty = tag | 0xa5c3_7f00;
        if self.by_pointer {
            let list = self.address();
            let _ = writeln!(
                self.text,
                "words {list:#x} {sizes:#x} {rank}\nwords {record:#x} {list:#x} {ty:#x} {data:#x}"
            );
        } else {
            let _ = writeln!(
                self.text,
                "words {record:#x} {sizes:#x} {rank} {ty:#x} {data:#x} {length}"
            );
        }
        let _ = writeln!(self.text, "set_input {context} {index} {record:#x}");
    }

    fn get_output(&mut self, function: &str) {
        let (context, buffer, out) = (self.handle(), self.address(), self.address());
        let index = match self.below(20) {
            0 => self.rng.next_u32(),
            1..=4 => self.below(9),
            _ => self.below(3),
        };
        let max = match self.below(20) {
            0 => 0,
            1 => 0x12000,
            2 => self.below(60),
            _ => 200 + self.below(9000),
        };
        let max = self.length(max);
        if self.by_pointer {
            let _ = writeln!(
                self.text,
                "words {out:#x} {max}\n{function} {context} {index} {buffer:#x} {out:#x}"
            );
        } else {
            let _ = writeln!(
                self.text,
                "{function} {context} {index} {buffer:#x} {max} {out:#x}"
            );
        }
    }

    fn step(&mut self, program: &Program) {
        let choice = self.below(program.functions.len() as u32 + 6) as usize;
        let Some((function, parameters)) = program.functions.get(choice) else {
            // The usual cycle.
            return match self.below(5) {
                0..=1 => self.set_input(),
                2 => {
                    let context = self.handle();
                    let _ = writeln!(self.text, "compute {context}");
                }
                _ => self.get_output("get_output"),
            };
        };
        if self.below(40) == 0 {
            // Arguments that mean nothing, in memory that means as little.
            let (at, seed) = (self.address(), self.rng.next_u32());
            let length = self.below(200);
            let _ = write!(self.text, "fill {at:#x} {length} {seed}\n{function}");
            for _ in 0..*parameters {
                let argument = if self.below(2) == 0 {
                    self.address()
                } else {
                    self.below(8)
                };
                let _ = write!(self.text, " {argument:#x}");
            }
            self.text.push('\n');
            return;
        }
        match function.as_str() {
            "load" | "load_by_name" | "load_by_name_with_config" => {
                let out = self.address();
                self.load(program, out);
            }
            "init_execution_context" => {
                let (graph, out) = (self.handle(), self.address());
                let _ = writeln!(self.text, "init_execution_context {graph} {out:#x}");
            }
            "set_input" => self.set_input(),
            "get_output" | "get_output_single" => self.get_output(function),
            // Not too often, so that something is there to compute with.
            "unload" | "finalize_execution_context" if self.below(3) > 0 => {}
            _ => {
                let handle = self.handle();
                let _ = writeln!(self.text, "{function} {handle}");
            }
        }
    }
}

/// Every function of every dialect, once each.
pub fn every_function() -> Vec<Vec<u8>> {
    programs()
        .iter()
        .map(|program| {
            let known = dialect(program.name.split(' ').next().unwrap_or_default());
            let mut text = format!("on {}\n", program.name);
            for function in &known.functions {
                let _ = writeln!(text, "{}", function.name);
            }
            text.into_bytes()
        })
        .collect()
}
