//! Every deliberate difference between Wasmtime's host for core modules and an adapted module.
//!
//! The differential tests tolerate what is in [`DIFFERENCES`] and nothing else, each entry is
//! demonstrated by a test, and [`markdown`] makes the table of `docs/fidelity.md` of it.

use crate::machine::Outcome;
use std::fmt::Write;

/// What Wasmtime's host for core modules does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// Gives this errno.
    Errno(u32),
    /// Ends the guest: the host's glue traps, or its code panics.
    Stops,
    /// Has nothing to do with it, and goes on.
    GoesOn,
    /// Stops the guest, unless something else is wrong that it finds first.
    MayStop,
}

/// What an adapted module gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ours {
    /// This errno.
    Errno(u32),
    /// The call works as if nothing were odd about it.
    Works,
    /// A trap.
    Trap,
    /// A trap, or whatever there is in memory.
    Undefined,
}

/// A deliberate difference.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// Name, for tests and for links.
    pub id: &'static str,
    /// What the guest does.
    pub what: &'static str,
    /// The functions that it concerns.
    pub functions: &'static [&'static str],
    /// What Wasmtime's host does.
    pub core: Core,
    /// What we do.
    pub ours: Ours,
    /// More about what we do.
    pub note: &'static str,
    /// Why.
    pub why: &'static str,
    /// Whether the comparison of single calls takes it into account. The others need conditions that the
    /// generated guests do not have.
    pub compared: bool,
}

const ALL: &[&str] = &[
    "load",
    "load_by_name",
    "init_execution_context",
    "set_input",
    "compute",
    "get_output",
];

/// The table.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        id: "unknown-graph",
        what: "a graph handle that was never given",
        functions: &["init_execution_context"],
        core: Core::Errno(6),
        ours: Ours::Errno(1),
        note: "",
        why: "`invalid_argument` is the evident meaning, and what WasmEdge gives",
        compared: true,
    },
    Difference {
        id: "unknown-context",
        what: "a context handle that was never given",
        functions: &["set_input", "compute", "get_output"],
        core: Core::Errno(6),
        ours: Ours::Errno(1),
        note: "",
        why: "`invalid_argument` is the evident meaning, and what WasmEdge gives",
        compared: true,
    },
    Difference {
        id: "unknown-name",
        what: "a name that the host has no graph for",
        functions: &["load_by_name"],
        core: Core::Errno(6),
        ours: Ours::Errno(8),
        note: "",
        why: "the witx has `not_found` for it",
        compared: true,
    },
    Difference {
        id: "encoding-without-backend",
        what: "an encoding that the host has no backend for",
        functions: &["load"],
        core: Core::Errno(6),
        ours: Ours::Errno(2),
        note: "",
        why: "the witx has `invalid_encoding` for it",
        compared: true,
    },
    Difference {
        id: "bad-encoding-tag",
        what: "an encoding that the witx does not have",
        functions: &["load"],
        core: Core::Stops,
        ours: Ours::Errno(2),
        note: "",
        why: "a program can act on an errno",
        compared: true,
    },
    Difference {
        id: "bad-target-tag",
        what: "a target that the witx does not have",
        functions: &["load"],
        core: Core::Stops,
        ours: Ours::Errno(1),
        note: "",
        why: "a program can act on an errno",
        compared: true,
    },
    Difference {
        id: "bad-tensor-type-tag",
        what: "a tensor type that the witx does not have",
        functions: &["set_input"],
        core: Core::Stops,
        ours: Ours::Errno(1),
        note: "",
        why: "a program can act on an errno",
        compared: true,
    },
    Difference {
        id: "bad-text",
        what: "a name that is not UTF-8",
        functions: &["load_by_name"],
        core: Core::Stops,
        ours: Ours::Errno(1),
        note: "",
        why: "a program can act on an errno",
        compared: true,
    },
    Difference {
        id: "unaligned",
        what: "a pointer to a number, a record or dimensions that is not aligned",
        functions: ALL,
        core: Core::Stops,
        ours: Ours::Works,
        note: "",
        why: "WebAssembly has no alignment faults; WasmEdge takes such pointers",
        compared: true,
    },
    Difference {
        id: "buffer-beyond-memory",
        what: "a buffer whose maximum reaches beyond memory",
        functions: &["get_output"],
        core: Core::Stops,
        ours: Ours::Works,
        note: "if the output itself fits into memory",
        why: "only what is written has to be memory; guests pass `u32::MAX` for \"no limit\"",
        compared: true,
    },
    Difference {
        id: "beyond-memory",
        what: "a pointer beyond the guest's own memory",
        functions: ALL,
        core: Core::MayStop,
        ours: Ours::Undefined,
        note: "the adapter's pages lie there once it has been called",
        why: "an adapter has no other place for its state; the guest harms itself at most",
        compared: true,
    },
    Difference {
        id: "refused-input",
        what: "an input that the backend refuses",
        functions: &["set_input"],
        core: Core::Errno(5),
        ours: Ours::Works,
        note: "`compute` gives 5 instead, until the input is set again",
        why: "`wasi:nn@0.2.0-rc-2024-10-28` takes inputs at `compute` only",
        compared: true,
    },
    Difference {
        id: "former-type",
        what: "a tensor of f64 with one byte for each element, or one of two u8 or more with four for each",
        functions: &["set_input"],
        core: Core::GoesOn,
        ours: Ours::Works,
        note: "the tensor is of u8, or of i32",
        why: "before August 2023 these tags were those of u8 and i32, and many programs do not tell which they are of",
        compared: false,
    },
    Difference {
        id: "no-room-for-state",
        what: "the first call when memory cannot grow",
        functions: ALL,
        core: Core::GoesOn,
        ours: Ours::Errno(7),
        note: "",
        why: "the adapter's state needs one page of the guest's memory",
        compared: false,
    },
    Difference {
        id: "no-room-for-input",
        what: "an input for whose copy memory cannot grow",
        functions: &["set_input"],
        core: Core::GoesOn,
        ours: Ours::Errno(7),
        note: "an earlier input with this index remains",
        why: "inputs that stay set are kept in the guest's memory in the portable profile",
        compared: false,
    },
    Difference {
        id: "no-room-for-output",
        what: "an output larger than the buffer when memory cannot grow",
        functions: &["get_output"],
        core: Core::Errno(7),
        ours: Ours::Trap,
        note: "",
        why: "the host puts it into memory before its size is known, and that must not fail",
        compared: false,
    },
    Difference {
        id: "memory-size",
        what: "`memory.grow` by more than 2,048 pages (128 MiB) in all, after the first call",
        functions: ALL,
        core: Core::GoesOn,
        ours: Ours::Works,
        note: "the new pages do not follow the guest's last ones, and `memory.size` tells it from then on; so do a guest's that \
               never asks for the size or that has a largest memory of its own, from the first page on",
        why: "the adapter's pages come from `memory.grow` too, as those of any library may",
        compared: false,
    },
];

/// Looks one up.
pub fn difference(id: &str) -> &'static Difference {
    DIFFERENCES
        .iter()
        .find(|difference| difference.id == id)
        .unwrap_or_else(|| panic!("there is no difference {id}"))
}

impl Difference {
    /// Whether it shows in a call's arguments and in memory before the call is made.
    pub fn shows_beforehand(&self) -> bool {
        matches!(self.core, Core::Stops | Core::MayStop)
    }

    /// Whether it explains that a call ended differently.
    pub fn explains(&self, function: &str, core: &Outcome, ours: &Outcome) -> bool {
        let core_fits = match self.core {
            Core::Errno(errno) => *core == Outcome::Errno(errno),
            Core::Stops => !matches!(core, Outcome::Errno(_)),
            Core::GoesOn => matches!(core, Outcome::Errno(_)),
            Core::MayStop => true,
        };
        let ours_fits = match self.ours {
            Ours::Errno(errno) => *ours == Outcome::Errno(errno),
            Ours::Works => matches!(ours, Outcome::Errno(_)),
            Ours::Trap => matches!(ours, Outcome::Trap(_)),
            Ours::Undefined => *ours != Outcome::Panic,
        };
        self.functions.contains(&function) && core_fits && ours_fits
    }
}

/// The table as Markdown.
pub fn markdown() -> String {
    let mut text = String::from(
        "| difference | what the guest does | functions | Wasmtime's host | adapted | why |\n\
         |---|---|---|---|---|---|\n",
    );
    for difference in DIFFERENCES {
        let functions = if difference.functions == ALL {
            "all".to_string()
        } else {
            difference.functions.join(", ")
        };
        let core = match difference.core {
            Core::Errno(errno) => errno.to_string(),
            Core::Stops => "the host stops the program: trap or panic".to_string(),
            Core::GoesOn => "works".to_string(),
            Core::MayStop => {
                "the host stops the program, unless another error comes first".to_string()
            }
        };
        let ours = match difference.ours {
            Ours::Errno(errno) => errno.to_string(),
            Ours::Works => "works".to_string(),
            Ours::Trap => "traps".to_string(),
            Ours::Undefined => "traps, or uses what is there".to_string(),
        };
        let note = match difference.note {
            "" => String::new(),
            note => format!("; {note}"),
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {functions} | {core} | {ours}{note} | {} |",
            difference.id, difference.what, difference.why
        );
    }
    text
}
