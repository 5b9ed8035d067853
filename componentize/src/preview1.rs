//! The adapters of WASI preview 1.

use crate::analysis::Entry;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};

/// Which of them a module needs, with its name for people.
pub(crate) fn adapter(entry: Entry) -> (&'static [u8], &'static str) {
    match entry {
        Entry::Command => (WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER, "command"),
        Entry::Reactor | Entry::Library => (WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER, "reactor"),
    }
}
