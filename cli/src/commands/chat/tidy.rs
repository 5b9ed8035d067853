//! The terminal as it was before, when a signal ends the program in the middle of a line.

use super::terminal::SIGNALLED;
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{Write, stdin, stdout};
use tokio::signal::unix::{SignalKind, signal};

/// Ends a paste mode that the line editor has switched on.
const NO_BRACKETED_PASTE: &[u8] = b"\x1b[?2004l\n";

/// How the terminal was.
pub(super) struct Tidy(Option<Termios>);

impl Tidy {
    pub(super) fn new() -> Self {
        Self(tcgetattr(stdin()).ok())
    }

    /// Waits for a signal that ends programs; restores the terminal, and ends this one.
    pub(super) async fn on_signals(self) {
        let (Ok(mut terminate), Ok(mut hang_up)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::hangup()),
        ) else {
            return;
        };
        let number = tokio::select! {
            _ = terminate.recv() => SignalKind::terminate(),
            _ = hang_up.recv() => SignalKind::hangup(),
        };
        if let Some(before) = &self.0 {
            // There may be no terminal any more.
            let _ = tcsetattr(stdin(), SetArg::TCSANOW, before);
            let _ = stdout().write_all(NO_BRACKETED_PASTE);
        }
        std::process::exit(SIGNALLED + number.as_raw_value());
    }
}
