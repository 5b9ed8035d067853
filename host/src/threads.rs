//! The host's own threads, on which calls may block, and its own clock.
//!
//! The runtime of the program may have few of the one and none of the other, and needs both for itself.

use std::future::Future;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::Timeout;

/// As many calls block at once: every computation that waits for its turn does. Further ones wait for a thread.
const MOST: usize = 8192;

/// One for the process. It starts threads as they are needed, and ends those that nobody has needed for a while.
fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: Mutex<Option<&'static Runtime>> = Mutex::new(None);
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = *runtime {
        return Ok(runtime);
    }
    let made = Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(MOST)
        .thread_name("llm-wasi")
        .enable_time()
        .build()?;
    Ok(runtime.insert(Box::leak(Box::new(made))))
}

/// Calls `function` on a thread where it may block.
pub(crate) fn spawn<V: Send + 'static>(
    function: impl FnOnce() -> V + Send + 'static,
) -> io::Result<JoinHandle<V>> {
    Ok(runtime()?.spawn_blocking(function))
}

/// Waits no longer than that.
pub(crate) fn timeout<F: Future>(limit: Duration, waiting: F) -> io::Result<Timeout<F>> {
    let _runtime = runtime()?.enter();
    Ok(tokio::time::timeout(limit, waiting))
}
