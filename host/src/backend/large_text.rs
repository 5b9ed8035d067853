//! Large texts become tokens one after the other: llama.cpp takes seconds and hundreds of megabytes for one, and cannot be
//! told to stop. Who waits for a turn can leave.

use crate::{Error, ErrorCode, Monitor};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A text of more bytes is large.
const LARGE: usize = 1 << 20;
/// How many bytes a text may have for each token of the limit `prompt-tokens`. Of most languages a token has 2 to 5.
const BYTES_OF_A_TOKEN: usize = 8;
/// How often who waits looks whether anybody still wants the tokens.
const PATIENCE: Duration = Duration::from_millis(50);

static TAKEN: Mutex<bool> = Mutex::new(false);
static FREE: Condvar = Condvar::new();

/// The turn of a large text, until this is dropped.
pub(crate) struct Turn(());

/// Waits for the turn of a text of so many bytes, if it is large. Fails if what `monitor` is for has ended by then.
pub(crate) fn turn(bytes: usize, monitor: &Monitor) -> Result<Option<Turn>, Error> {
    if bytes <= LARGE {
        return Ok(None);
    }
    let mut taken = taken();
    while *taken {
        if monitor.is_ended() || monitor.is_interrupted_itself() {
            return Err(Monitor::interrupted());
        }
        let waited = FREE.wait_timeout(taken, PATIENCE);
        taken = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
    *taken = true;
    Ok(Some(Turn(())))
}

impl Drop for Turn {
    fn drop(&mut self) {
        *taken() = false;
        FREE.notify_one();
    }
}

fn taken() -> MutexGuard<'static, bool> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fails for a large text of so many bytes that it is no prompt of so many tokens.
pub(crate) fn check_size(bytes: usize, most_tokens: usize) -> Result<(), Error> {
    let most = most_tokens.saturating_mul(BYTES_OF_A_TOKEN).max(LARGE);
    if bytes <= most {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::TooLarge,
        format!(
            "expected a text of at most {most} bytes, {BYTES_OF_A_TOKEN} for each token of limit `prompt-tokens` or 1 MiB, \
             found {bytes}: read it in parts, or have the host set a larger limit"
        ),
    ))
}

/// Fails for so many tokens if there are more than the limit says.
pub(crate) fn check_tokens(tokens: usize, most: usize) -> Result<(), Error> {
    if tokens <= most {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::TooLarge,
        format!("expected at most {most} tokens, which is limit `prompt-tokens`, found {tokens}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn large_texts_have_their_turns_and_who_waits_can_leave() {
        let monitor = Monitor::default();
        assert!(turn(LARGE, &monitor).unwrap().is_none());
        let first = turn(LARGE + 1, &monitor).unwrap();
        assert!(first.is_some());
        let (one, other) = (monitor.child(), monitor.child());
        thread::scope(|scope| {
            let left = scope.spawn(|| turn(LARGE + 1, &one).map(|_| ()));
            let next = scope.spawn(|| turn(LARGE + 1, &other).map(|turn| turn.is_some()));
            one.interrupt();
            assert_eq!(left.join().unwrap(), Err(Monitor::interrupted()));
            drop(first);
            assert_eq!(next.join().unwrap(), Ok(true));
        });
        assert!(turn(LARGE + 1, &monitor).unwrap().is_some());
    }

    #[test]
    fn sizes() {
        check_size(LARGE, 10).unwrap();
        check_size(LARGE + 8, 1 + LARGE / 8).unwrap();
        let error = check_size(LARGE + 9, 1 + LARGE / 8).unwrap_err();
        assert_eq!(error.code, ErrorCode::TooLarge);
        check_size(usize::MAX, usize::MAX).unwrap();
        check_tokens(10, 10).unwrap();
        assert!(check_tokens(11, 10).is_err());
    }
}
