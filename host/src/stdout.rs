//! Standard output, as far as models write to it themselves.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// Writes at once.
#[cfg_attr(
    not(feature = "ggml"),
    expect(dead_code, reason = "language models alone write")
)]
pub(crate) fn write(bytes: &[u8]) -> io::Result<()> {
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
