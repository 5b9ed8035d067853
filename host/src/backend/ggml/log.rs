//! llama.cpp's log: forwarded to `tracing` (target `llama_cpp`), and kept while a model or context is
//! made, because llama.cpp gives the reason of a failure nowhere else.

#![allow(unsafe_code, reason = "llama.cpp hands its log to a C callback")]

use llama_cpp_sys_2 as sys;
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::sync::Once;

/// How much of a log a failure's text may quote.
const QUOTE_LIMIT: usize = 2000;

thread_local! {
    static LOG: RefCell<Log> = const {
        RefCell::new(Log {
            level: sys::GGML_LOG_LEVEL_INFO,
            line: String::new(),
            captured: None,
        })
    };
}

/// The log of one thread.
struct Log {
    /// Level of the line that is being written.
    level: sys::ggml_log_level,
    line: String,
    /// Warnings and errors, while someone wants them.
    captured: Option<String>,
}

/// Sends llama.cpp's log here. The first call counts.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: the callback is a function of the whole program's lifetime and uses no user data.
        unsafe { sys::llama_log_set(Some(receive), std::ptr::null_mut()) }
        // SAFETY: as above. The library for images logs by itself.
        #[cfg(feature = "images")]
        unsafe {
            sys::mtmd_helper_log_set(Some(receive), std::ptr::null_mut());
        }
    });
}

/// Calls `function` and gives the warnings and errors that llama.cpp logged on this thread meanwhile.
pub(super) fn capture<V>(function: impl FnOnce() -> V) -> (V, String) {
    LOG.with_borrow_mut(|log| log.captured = Some(String::new()));
    let value = function();
    let text = LOG
        .with_borrow_mut(|log| log.captured.take())
        .unwrap_or_default();
    (value, text.trim_end().to_owned())
}

unsafe extern "C" fn receive(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: llama.cpp passes a string that ends with a null byte and lives during this call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    // A line that a subscriber provokes while it handles another one is dropped: no way to nest.
    LOG.with(|log| {
        if let Ok(mut log) = log.try_borrow_mut() {
            log.receive(level, &text);
        }
    });
}

impl Log {
    /// Takes a piece of the log: whole lines, or parts that a later piece continues.
    fn receive(&mut self, level: sys::ggml_log_level, text: &str) {
        if level != sys::GGML_LOG_LEVEL_CONT {
            self.level = level;
        }
        for part in text.split_inclusive('\n') {
            self.line.push_str(part.trim_end_matches('\n'));
            if part.ends_with('\n') {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.trim().is_empty() {
            return;
        }
        let matters = matches!(
            self.level,
            sys::GGML_LOG_LEVEL_ERROR | sys::GGML_LOG_LEVEL_WARN
        );
        if let Some(captured) = &mut self.captured
            && matters
            && captured.len() < QUOTE_LIMIT
        {
            captured.extend(line.chars().take(QUOTE_LIMIT));
            captured.push('\n');
        }
        match self.level {
            sys::GGML_LOG_LEVEL_ERROR => tracing::debug!(target: "llama_cpp", "error: {line}"),
            sys::GGML_LOG_LEVEL_WARN => tracing::debug!(target: "llama_cpp", "warning: {line}"),
            sys::GGML_LOG_LEVEL_INFO => tracing::debug!(target: "llama_cpp", "{line}"),
            _ => tracing::trace!(target: "llama_cpp", "{line}"),
        }
    }
}
