//! The end of the process while something computes.
//!
//! `exit` destroys llama.cpp's globals, and a thread that computes meanwhile would read what is freed. So `exit` lets nothing begin
//! any more, and waits for what computes.

#![allow(unsafe_code, reason = "the C library calls at the end of the process")]

use llama_cpp_2::DecodeError;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_batch::LlamaBatch;
use std::ffi::c_int;
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

/// The longest that `exit` waits. A batch takes less, but for large models on slow processors.
const LONGEST: Duration = Duration::from_secs(10);

struct State {
    computing: usize,
    ends: bool,
}

static STATE: Mutex<State> = Mutex::new(State {
    computing: 0,
    ends: false,
});
static CHANGED: Condvar = Condvar::new();

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that computes, as long as this is held. Once the process ends, this is never given.
pub(super) struct Computing;

pub(super) fn computing() -> Computing {
    let state = state();
    let mut state = CHANGED
        .wait_while(state, |state| state.ends)
        .unwrap_or_else(PoisonError::into_inner);
    state.computing += 1;
    Computing
}

impl Drop for Computing {
    fn drop(&mut self) {
        state().computing -= 1;
        CHANGED.notify_all();
    }
}

/// Evaluates a batch, for which `exit` waits.
pub(super) fn decode(
    context: &mut LlamaContext<'static>,
    batch: &mut LlamaBatch<'static>,
) -> Result<(), DecodeError> {
    static DECODED: Once = Once::new();
    let _computing = computing();
    let result = context.decode(batch);
    wait_at(&DECODED);
    result
}

/// Has `exit` wait. Called where llama.cpp has just made globals: what was registered last is what `exit` does first.
pub(super) fn wait_at(once: &'static Once) {
    unsafe extern "C" {
        safe fn atexit(function: extern "C" fn()) -> c_int;
    }
    once.call_once(|| {
        if atexit(end) != 0 {
            tracing::debug!("the end of the process will not wait for what computes");
        }
    });
}

extern "C" fn end() {
    let mut state = state();
    state.ends = true;
    // Longer than that nobody wants to wait, and the process ends one way or the other.
    drop(CHANGED.wait_timeout_while(state, LONGEST, |state| state.computing > 0));
}
