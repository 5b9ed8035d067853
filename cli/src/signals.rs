//! Signals that end a program without a word, where an error says more.

#![allow(unsafe_code, reason = "what a signal does is the whole process's")]

use nix::sys::signal::{SigHandler, Signal, signal};

/// Has writing beyond `ulimit -f` fail, which by default ends the process.
pub(crate) fn ignore_file_size() {
    // SAFETY: an ignored signal runs no code. It stays ignored in programs that this one starts, as is usual.
    let ignored = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
    if let Err(error) = ignored {
        tracing::debug!("SIGXFSZ is not ignored: {error}");
    }
}
