//! Standard output, as far as models write to it themselves.

use std::io::{self, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static WRITTEN: AtomicU64 = AtomicU64::new(0);
static ALLOWED: AtomicBool = AtomicBool::new(false);

/// Lets guests have models write their text to this process's standard output as it is generated, with WasmEdge's option
/// `stream-stdout`. Without this the option does nothing. Writing blocks the thread that computes, until somebody reads.
pub fn allow() {
    ALLOWED.store(true, Ordering::Relaxed);
}

/// Whether [`allow`] was called.
pub(crate) fn is_allowed() -> bool {
    ALLOWED.load(Ordering::Relaxed)
}

/// Writes at once.
#[cfg_attr(
    not(feature = "ggml"),
    expect(dead_code, reason = "language models alone write")
)]
pub(crate) fn write(bytes: &[u8]) -> io::Result<()> {
    if !is_allowed() {
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            tracing::warn!(
                "option `stream-stdout`: this host does not let models write to standard output"
            );
        });
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()?;
    WRITTEN.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    Ok(())
}

/// How many bytes were written by this process so far.
#[cfg(target_os = "linux")]
pub(crate) fn written() -> u64 {
    WRITTEN.load(Ordering::Relaxed)
}
