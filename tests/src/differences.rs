//! Where an adapted program deliberately sees something else than on Wasmtime's host for core modules.
//!
//! The differential tests accept these and nothing else; `docs/fidelity.md` shows the same table.

use crate::machine::Outcome;

/// One deliberate difference.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// When it shows.
    pub when: &'static str,
    /// The function; empty stands for every one that takes a context.
    pub function: &'static str,
    /// What Wasmtime's host gives; `None` is a trap.
    pub core: Option<u32>,
    /// What the adapter gives.
    pub adapted: u32,
    /// Why.
    pub why: &'static str,
}

const MEANING: &str = "the errno's name says so; 6 is `unsupported_operation`";
const NO_TRAP: &str = "a legacy program gets an errno, as on WasmEdge";

/// Every deliberate difference of the current dialect in the portable profile.
pub const DIFFERENCES: [Difference; 9] = [
    Difference {
        when: "no model has this name",
        function: "load_by_name",
        core: Some(6),
        adapted: 8,
        why: MEANING,
    },
    Difference {
        when: "there is no backend for the encoding",
        function: "load",
        core: Some(6),
        adapted: 2,
        why: MEANING,
    },
    Difference {
        when: "the tag of the encoding is unknown",
        function: "load",
        core: None,
        adapted: 2,
        why: NO_TRAP,
    },
    Difference {
        when: "the tag of the target is unknown",
        function: "load",
        core: None,
        adapted: 1,
        why: NO_TRAP,
    },
    Difference {
        when: "the graph is unknown",
        function: "init_execution_context",
        core: Some(6),
        adapted: 1,
        why: MEANING,
    },
    Difference {
        when: "the tag of the tensor's type is unknown",
        function: "set_input",
        core: None,
        adapted: 1,
        why: NO_TRAP,
    },
    Difference {
        when: "the context is unknown",
        function: "set_input",
        core: Some(6),
        adapted: 1,
        why: MEANING,
    },
    Difference {
        when: "the context is unknown",
        function: "compute",
        core: Some(6),
        adapted: 1,
        why: MEANING,
    },
    Difference {
        when: "the context is unknown",
        function: "get_output",
        core: Some(6),
        adapted: 1,
        why: MEANING,
    },
];

/// The difference that two outcomes of one call are, if they are one.
pub fn find(function: &str, core: &Outcome, adapted: &Outcome) -> Option<&'static Difference> {
    DIFFERENCES.iter().find(|difference| {
        let same_core = match (difference.core, core) {
            (Some(errno), Outcome::Errno(found)) => errno == *found,
            (None, Outcome::Trap(message)) => message.contains("Invalid enum value"),
            _ => false,
        };
        difference.function == function
            && same_core
            && *adapted == Outcome::Errno(difference.adapted)
    })
}

/// The table in Markdown.
pub fn table() -> String {
    let mut table = String::from(
        "| function | when | Wasmtime's core-module host | adapted | why |\n|---|---|---|---|---|\n",
    );
    for difference in &DIFFERENCES {
        let core = difference
            .core
            .map_or("trap".to_string(), |errno| errno.to_string());
        table += &format!(
            "| `{}` | {} | {core} | {} | {} |\n",
            difference.function, difference.when, difference.adapted, difference.why
        );
    }
    table
}
