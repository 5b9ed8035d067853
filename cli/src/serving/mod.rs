//! What `run` does for one program or many instances, and for whoever watches them.

pub(crate) mod alone;
pub(crate) mod instances;
pub(crate) mod metrics;
mod streams;
pub(crate) mod timings;

use llm_wasi_host::runner::LAST_WAIT;
use std::process::exit;

/// Ends this process with this status after a moment, whatever it is still doing: a program's time was over, and who
/// should read of that may be who has stalled.
pub(crate) fn end_soon(status: i32) {
    // What ends in time is as good without it.
    let _ = std::thread::Builder::new().spawn(move || {
        std::thread::sleep(LAST_WAIT);
        exit(status);
    });
}
