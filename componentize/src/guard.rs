//! Keeps the process alive when a library panics, and quiet about it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

thread_local! {
    /// `Some` while this thread is inside [`quietly`]: the message of the panic, empty before it.
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work`; a panic comes back as its message.
///
/// A panic hook belongs to the process, and exchanging it around each call would swallow the panics
/// of other threads. So one hook is installed once and for all, which passes on every panic but those
/// of threads that are in here.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !capture(info) {
                before(info);
            }
        }));
    });

    let outer = MESSAGE.replace(Some(String::new()));
    let result = catch_unwind(AssertUnwindSafe(work));
    let message = MESSAGE.replace(outer);
    result.map_err(|_| message.unwrap_or_default())
}

/// Keeps the message if this thread is inside [`quietly`].
fn capture(info: &PanicHookInfo<'_>) -> bool {
    MESSAGE
        .try_with(|message| match message.try_borrow_mut() {
            Ok(mut message) => match message.as_mut() {
                Some(text) => {
                    *text = info
                        .payload_as_str()
                        .unwrap_or("a panic without a message")
                        .to_string();
                    true
                }
                None => false,
            },
            Err(_) => false,
        })
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::quietly;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(quietly(|| 7), Ok(7));
        assert_eq!(
            quietly(|| -> u8 { panic!("range end {}", 9) }),
            Err("range end 9".to_string())
        );
        // The thread is as it was: the next call knows nothing of the last.
        assert_eq!(quietly(|| "fine"), Ok("fine"));
    }
}
