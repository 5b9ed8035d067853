//! Signals that end a program: without a word where an error says more, or before it has said what it has to say.

#![allow(unsafe_code, reason = "what a signal does is the whole process's")]

use nix::sys::signal::{SigHandler, Signal, raise, signal};
use std::future::poll_fn;
use std::io::Result;
use std::task::Poll;
use tokio::signal::unix::SignalKind;

/// By which a terminal or a service ends programs.
const ENDING: [Signal; 3] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];

/// Has writing beyond `ulimit -f` fail, which by default ends the process.
pub(crate) fn ignore_file_size() {
    // SAFETY: an ignored signal runs no code. It stays ignored in programs that this one starts, as is usual.
    let ignored = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
    if let Err(error) = ignored {
        tracing::debug!("SIGXFSZ is not ignored: {error}");
    }
}

/// Has `tidy` done before such a signal ends this process as it would have done. What the process was started to ignore,
/// as by `nohup`, it still ignores.
pub(crate) fn before_end(tidy: impl AsyncFnOnce() + Send + 'static) -> Result<()> {
    // A thread of its own, since those of programs may compute without an end.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut heard = Vec::new();
    for which in ENDING {
        if !is_ignored(which) {
            let _runtime = runtime.enter();
            let kind = SignalKind::from_raw(which as i32);
            heard.push((which, tokio::signal::unix::signal(kind)?));
        }
    }
    let wait = move || {
        runtime.block_on(async {
            let next = poll_fn(|context| {
                for (which, signal) in &mut heard {
                    if signal.poll_recv(context).is_ready() {
                        return Poll::Ready(*which);
                    }
                }
                Poll::Pending
            });
            let which = next.await;
            tidy().await;
            end_by(which);
        });
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(wait)?;
    Ok(())
}

fn is_ignored(which: Signal) -> bool {
    // SAFETY: an ignored signal runs no code, and what was there comes back at once.
    let before = unsafe { signal(which, SigHandler::SigIgn) };
    if let Ok(before) = before {
        // SAFETY: it is what was there.
        let restored = unsafe { signal(which, before) };
        restored.is_err() || before == SigHandler::SigIgn
    } else {
        true
    }
}

fn end_by(which: Signal) {
    // SAFETY: the default runs no code of this process.
    let ended = unsafe { signal(which, SigHandler::SigDfl) }.and_then(|_| raise(which));
    if let Err(error) = ended {
        tracing::debug!("{which} does not end this process: {error}");
        std::process::exit(128 + which as i32);
    }
}
