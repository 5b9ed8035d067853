//! Interrupts programs that compute without a call, so that others on their thread go on and limits of time hold.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;
use wasmtime::Engine;

/// How long a program has the thread for itself.
const TICK: Duration = Duration::from_millis(10);

/// Counts the epochs of an engine, as long as it lives.
pub(super) struct Ticker {
    /// The thread ends with it.
    _running: Sender<()>,
}

impl Ticker {
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let (running, end) = channel::<()>();
        let engine = engine.weak();
        std::thread::Builder::new()
            .name("epochs".into())
            .spawn(move || {
                while end.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    match engine.upgrade() {
                        Some(engine) => engine.increment_epoch(),
                        None => return,
                    }
                }
            })?;
        Ok(Self { _running: running })
    }
}
