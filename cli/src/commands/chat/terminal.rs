//! Where people type: a line editor before the guest's standard input, and its standard output as it
//! comes.
//!
//! The guest writes a NUL when it wants the next line. Until then Ctrl-C asks the model to stop, and the
//! guest takes what there is for the answer; a second Ctrl-C ends the program.

use crate::progress;
use crate::text::plain;
use anyhow::Context;
use llm_wasi_host::Monitor;
use llm_wasi_host::runner::{LAST_WAIT, Runner};
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};
use std::io::{ErrorKind, Write};
use std::pin::pin;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use wasmtime_wasi::cli::{AsyncStdinStream, AsyncStdoutStream};

/// Bytes on their way between the guest and here.
const PIPE: usize = 1 << 16;
/// What the status of a program that a signal has ended is, less the signal's number.
pub(super) const SIGNALLED: i32 = 128;
/// That of Ctrl-C.
const INTERRUPTED: i32 = SIGNALLED + 2;
/// How many lines the editor remembers.
const REMEMBERED: usize = 1000;

/// Runs the conversation. Gives its exit code.
pub(super) fn converse(
    runner: &Runner,
    component: &[u8],
    monitor: Monitor,
    name: &str,
) -> anyhow::Result<i32> {
    #[cfg(unix)]
    let tidy = super::tidy::Tidy::new();
    let config = Config::builder()
        .auto_add_history(true)
        .max_history_size(REMEMBERED)?
        .build();
    let editor = DefaultEditor::with_config(config)?;
    let name = plain(name);
    show(format!("{name}: /help lists the commands, Ctrl-D ends\n").as_bytes())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("the asynchronous runtime does not start")?;
    let ended = runtime.block_on(async {
        #[cfg(unix)]
        tokio::spawn(tidy.on_signals());
        let (input, stdin) = tokio::io::duplex(PIPE);
        let (stdout, output) = tokio::io::duplex(PIPE);
        let terminal = Terminal {
            input,
            output,
            monitor,
        };
        let terminal = tokio::spawn(terminal.run(editor));
        let stdin = AsyncStdinStream::new(stdin);
        let stdout = AsyncStdoutStream::new(PIPE, stdout);
        let code = runner.run_with_streams(component, stdin, stdout).await;
        // The guest's end of the pipe is closed now, which ends the terminal as well.
        terminal.await??;
        code
    });
    runtime.shutdown_timeout(LAST_WAIT);
    ended
}

struct Terminal {
    /// The guest's standard input.
    input: DuplexStream,
    /// The guest's standard output.
    output: DuplexStream,
    monitor: Monitor,
}

/// Why the guest writes nothing more.
#[derive(PartialEq, Eq)]
enum Pause {
    /// It wants a line.
    Ready,
    /// It has ended.
    Ended,
}

impl Terminal {
    async fn run(mut self, mut editor: DefaultEditor) -> anyhow::Result<()> {
        // There is no answer to stop while the model is loaded.
        let mut patience = 0;
        while self.show_answer(patience).await? == Pause::Ready {
            patience = 1;
            let (back, line) = tokio::task::spawn_blocking(move || {
                let line = next_line(&mut editor);
                (editor, line)
            })
            .await?;
            editor = back;
            match line? {
                Some(line) => {
                    // A Ctrl-C that came too late for the last answer is not meant for this one.
                    self.monitor.resume();
                    self.input.write_all(line.as_bytes()).await?;
                }
                None => self.input.shutdown().await?,
            }
        }
        Ok(())
    }

    /// Shows what the guest writes until it pauses. `patience` interrupts ask the model to stop; one
    /// more ends the program.
    async fn show_answer(&mut self, mut patience: u32) -> anyhow::Result<Pause> {
        let mut bytes = vec![0; PIPE];
        let mut interrupt = pin!(tokio::signal::ctrl_c());
        loop {
            tokio::select! {
                count = self.output.read(&mut bytes) => {
                    let count = count?;
                    // A prompt whose evaluation was stopped leaves its bar behind.
                    progress::clear();
                    if count == 0 {
                        return Ok(Pause::Ended);
                    }
                    // A NUL is the last byte: the guest waits then.
                    if let Some(text) = bytes[..count].strip_suffix(b"\0") {
                        show(text)?;
                        return Ok(Pause::Ready);
                    }
                    show(&bytes[..count])?;
                }
                caught = &mut interrupt => {
                    caught?;
                    if patience == 0 {
                        progress::clear();
                        std::process::exit(INTERRUPTED);
                    }
                    patience -= 1;
                    self.monitor.interrupt();
                    interrupt.set(tokio::signal::ctrl_c());
                }
            }
        }
    }
}

/// The next line for the guest, which goes on after `\`. `None` when there will be none.
fn next_line(editor: &mut DefaultEditor) -> rustyline::Result<Option<String>> {
    let mut lines = String::new();
    let mut interrupted = false;
    loop {
        let prompt = if lines.is_empty() { "> " } else { ". " };
        match editor.readline(prompt) {
            Ok(line) => {
                interrupted = false;
                // What was pasted may have several lines.
                lines.push_str(&line.replace('\n', "\\\n"));
                lines.push('\n');
                if !line.ends_with('\\') {
                    return Ok(Some(lines));
                }
            }
            Err(ReadlineError::Interrupted) if !interrupted => {
                interrupted = true;
                lines.clear();
                show(b"Ctrl-C again or Ctrl-D ends\n")?;
            }
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => return Ok(None),
            // The rest of the line is read as another one.
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                lines.clear();
                show(b"\nexpected text in UTF-8, found other bytes: this line is left out\n")?;
            }
            Err(error) => return Err(error),
        }
    }
}

fn show(text: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text)?;
    stdout.flush()
}
