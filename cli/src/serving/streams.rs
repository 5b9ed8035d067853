//! Standard output and standard error of many instances: whole lines, each with the number of its instance.
//!
//! 1. [`Lines`] is a stream of one instance. It cuts what comes into lines.
//! 2. [`Writer`] is where the lines of all instances go. It writes on a thread of its own, so that a reader that stalls
//!    holds up who writes to it, and nobody else.
//!
//! An instance has one piece under way at most, and hears of it before it goes on: whether it was written is told to the
//! call of the program that wrote it or flushes it, and what waits for the reader is bounded by the number of instances.

use std::future::poll_fn;
use std::io::{ErrorKind, Result, Write};
use std::pin::Pin;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;
use tokio::sync::oneshot;

/// Lines that are longer come out in pieces.
const LONGEST_LINE: usize = 16 << 10;
/// The most bytes of a piece before they become lines.
const LONGEST_PIECE: usize = 8 << 10;
/// How many bytes a character has at most.
const LONGEST_CHARACTER: usize = 4;

/// The way to a stream of this process.
#[derive(Clone)]
pub(super) struct Writer(Sender<Piece>);

struct Piece {
    /// Empty once nobody waits for it any more.
    bytes: Arc<Mutex<Vec<u8>>>,
    written: oneshot::Sender<Result<()>>,
}

/// A piece that is not yet written.
struct UnderWay {
    bytes: Arc<Mutex<Vec<u8>>>,
    written: oneshot::Receiver<Result<()>>,
}

impl Writer {
    /// Starts a thread that writes. Where somebody hears of a reader that has gone, nobody else does: those who write wait,
    /// and are ended with all others.
    pub(super) fn start(
        name: &str,
        mut to: impl Write + Send + 'static,
        mut reader_gone: Option<oneshot::Sender<()>>,
    ) -> Result<Self> {
        let (sender, pieces) = channel::<Piece>();
        let is_heard = reader_gone.is_some();
        let mut unanswered = Vec::new();
        let write = move || {
            for piece in pieces {
                let bytes = std::mem::take(&mut *lock(&piece.bytes));
                let result = to.write_all(&bytes).and_then(|()| to.flush());
                let broken = matches!(&result, Err(error) if error.kind() == ErrorKind::BrokenPipe);
                if is_heard && broken {
                    if let Some(gone) = reader_gone.take() {
                        let _ = gone.send(());
                    }
                    unanswered.push(piece);
                    continue;
                }
                // The instance may have ended.
                let _ = piece.written.send(result);
            }
        };
        std::thread::Builder::new().name(name.into()).spawn(write)?;
        Ok(Self(sender))
    }

    fn write(&self, bytes: Vec<u8>) -> UnderWay {
        let bytes = Arc::new(Mutex::new(bytes));
        let (sender, written) = oneshot::channel();
        // If the thread has ended, so has the sender of its answer.
        let _ = self.0.send(Piece {
            bytes: bytes.clone(),
            written: sender,
        });
        UnderWay { bytes, written }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // What a reader does not take would add up otherwise, from one instance to the next.
        lock(&self.bytes).clear();
    }
}

/// A stream of one instance. Clones are one and the same.
#[derive(Clone)]
pub(super) struct Lines(Arc<Mutex<State>>);

struct State {
    number: u32,
    /// What the line has that has not ended.
    line: Vec<u8>,
    to: Writer,
    under_way: Option<UnderWay>,
}

impl Lines {
    pub(super) fn new(number: u32, to: &Writer) -> Self {
        Self(Arc::new(Mutex::new(State {
            number,
            line: Vec::new(),
            to: to.clone(),
            under_way: None,
        })))
    }

    /// Ends the line that has not ended, if there is one, and waits until everything is written.
    pub(super) async fn finish(&self) -> Result<()> {
        poll_fn(|context| lock(&self.0).poll_written(context)).await?;
        lock(&self.0).end_line();
        poll_fn(|context| lock(&self.0).poll_written(context)).await
    }
}

impl State {
    /// Waits for what is under way.
    fn poll_written(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(under_way) = &mut self.under_way else {
            return Poll::Ready(Ok(()));
        };
        let written = ready!(Pin::new(&mut under_way.written).poll(context));
        self.under_way = None;
        Poll::Ready(written.unwrap_or_else(|_| Err(ErrorKind::BrokenPipe.into())))
    }

    /// Writes what has ended, and keeps the rest.
    fn write(&mut self, bytes: &[u8]) {
        let mut out = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            self.line.extend_from_slice(text);
            while self.line.len() > LONGEST_LINE {
                let rest = self.line.split_off(whole_characters(&self.line));
                self.put_line(&mut out);
                self.line = rest;
            }
            if ends {
                self.put_line(&mut out);
            }
        }
        if !out.is_empty() {
            self.under_way = Some(self.to.write(out));
        }
    }

    fn end_line(&mut self) {
        if !self.line.is_empty() {
            let mut out = Vec::new();
            self.put_line(&mut out);
            self.under_way = Some(self.to.write(out));
        }
    }

    fn put_line(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("[{}] ", self.number).as_bytes());
        out.append(&mut self.line);
        out.push(b'\n');
    }
}

/// How many bytes of a line that is too long make its first piece: no character is cut, if it is text.
fn whole_characters(line: &[u8]) -> usize {
    let begins = |at: &usize| line[*at] & 0xc0 != 0x80;
    let last = LONGEST_LINE + 1 - LONGEST_CHARACTER..=LONGEST_LINE;
    last.rev().find(begins).unwrap_or(LONGEST_LINE)
}

impl AsyncWrite for Lines {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let mut state = lock(&self.0);
        ready!(state.poll_written(context))?;
        let bytes = &bytes[..bytes.len().min(LONGEST_PIECE)];
        state.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        // A line that has not ended yet stays.
        lock(&self.0).poll_written(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_flush(context)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{PipeReader, Read, pipe};
    use std::task::Waker;
    use tokio::io::AsyncWriteExt;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    fn writer(to: impl Write + Send + 'static) -> Writer {
        Writer::start("test", to, None).unwrap()
    }

    #[tokio::test]
    async fn lines_come_out_whole_and_the_last_one_too() {
        let out = Shared::default();
        let writer = writer(out.clone());
        let mut one = Lines::new(1, &writer);
        let mut two = Lines::new(2, &writer);
        one.write_all(b"a").await.unwrap();
        two.write_all(b"x\ny").await.unwrap();
        one.write_all(b"b\n\nc").await.unwrap();
        one.finish().await.unwrap();
        two.finish().await.unwrap();
        // Nothing more.
        two.finish().await.unwrap();
        let text = String::from_utf8(lock(&out.0).clone()).unwrap();
        assert_eq!(text, "[2] x\n[1] ab\n[1] \n[1] c\n[2] y\n");
    }

    /// What an instance writes, as lines without their numbers.
    async fn lines(of: &[u8]) -> Vec<Vec<u8>> {
        let out = Shared::default();
        let mut lines = Lines::new(0, &writer(out.clone()));
        lines.write_all(of).await.unwrap();
        lines.finish().await.unwrap();
        let out = lock(&out.0).clone();
        let lines = out.split_inclusive(|byte| *byte == b'\n');
        let text = |line: &[u8]| {
            let text = line.strip_prefix(b"[0] ").unwrap();
            text.strip_suffix(b"\n").unwrap().to_vec()
        };
        lines.map(text).collect()
    }

    #[tokio::test]
    async fn long_lines_are_cut_between_characters_and_leave_nothing_empty() {
        let full = vec![b'a'; LONGEST_LINE];
        assert_eq!(
            lines(&[&full[..], b"\nb\n"].concat()).await,
            [&full[..], b"b"]
        );
        let twice = [full.clone(), full.clone()].concat();
        assert_eq!(lines(&twice).await, [&full[..], &full]);
        // Three bytes for each character.
        let text = "€".repeat(LONGEST_LINE);
        let pieces = lines(text.as_bytes()).await;
        assert_eq!(pieces.concat(), text.as_bytes());
        assert!(pieces.len() > 3);
        for piece in pieces {
            assert!(piece.len() <= LONGEST_LINE);
            assert!(str::from_utf8(&piece).is_ok());
        }
        // No text at all.
        let bytes = vec![0x80; LONGEST_LINE + 1];
        assert_eq!(lines(&bytes).await, [&bytes[1..], &[0x80]]);
    }

    /// A stream whose reader takes nothing, filled.
    fn stalled() -> (PipeReader, Writer) {
        let (reader, end) = pipe().unwrap();
        (reader, writer(end))
    }

    #[tokio::test]
    async fn who_writes_waits_for_a_reader_that_stalls_and_goes_on_with_it() {
        let (mut reader, writer) = stalled();
        let mut lines = Lines::new(0, &writer);
        let mut context = Context::from_waker(Waker::noop());
        let mut written = 0;
        // The pipe is full some time, and then this does not block.
        let line = [&[b'x'; 4095][..], b"\n"].concat();
        let mut waits = 0;
        while waits < 100 {
            match Pin::new(&mut lines).poll_write(&mut context, &line) {
                Poll::Ready(count) => {
                    written += count.unwrap();
                    waits = 0;
                }
                Poll::Pending => {
                    waits += 1;
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
            }
        }
        let read = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        lines.finish().await.unwrap();
        drop((lines, writer));
        let all = read.join().unwrap().unwrap();
        assert_eq!(all.len(), written + written / line.len() * "[0] ".len());
    }

    #[tokio::test]
    async fn an_error_is_told_to_who_flushes_and_who_writes_again() {
        let (reader, end) = pipe().unwrap();
        drop(reader);
        let mut lines = Lines::new(0, &writer(end));
        lines.write_all(b"x\n").await.unwrap();
        let error = lines.flush().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        lines.write_all(b"rest").await.unwrap();
        lines.finish().await.unwrap_err();
    }

    #[tokio::test]
    async fn who_hears_of_a_reader_that_has_gone_is_the_only_one() {
        let (reader, end) = pipe().unwrap();
        drop(reader);
        let (gone, heard) = oneshot::channel();
        let writer = Writer::start("test", end, Some(gone)).unwrap();
        let mut lines = Lines::new(0, &writer);
        lines.write_all(b"x\n").await.unwrap();
        heard.await.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut lines).poll_flush(&mut context).is_pending());
    }
}
