//! The host's log, llama.cpp's included, on standard error: where `RUST_LOG` asks for it.

use napi_derive::module_init;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// As the addon is loaded into the process, whose threads share it.
#[module_init]
fn init() {
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    if asked.trim().is_empty() {
        return;
    }
    let filter = EnvFilter::try_new(asked.trim());
    let wrong = filter.as_ref().err().map(ToString::to_string);
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new("warn")))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .log_internal_errors(false)
        .try_init();
    if let (Ok(()), Some(wrong)) = (started, wrong) {
        tracing::warn!("RUST_LOG: expected TARGET=LEVEL or a level, found `{asked}` ({wrong})");
    }
}
