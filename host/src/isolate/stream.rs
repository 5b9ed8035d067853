//! Sockets between host and worker, and sockets that pass through them.

use super::frame;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::io::{self, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// How many bytes of small frames are read at once.
const BUFFER: usize = 64 << 10;

/// One side of a stream of frames.
pub(super) struct Channel {
    reader: BufReader<UnixStream>,
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            reader: BufReader::with_capacity(BUFFER, stream),
        }
    }

    /// The same stream, to write to it.
    pub(super) fn writer(&self) -> io::Result<UnixStream> {
        self.reader.get_ref().try_clone()
    }

    pub(super) fn send<M: Serialize>(&mut self, message: &M, blobs: &[&[u8]]) -> io::Result<()> {
        frame::write(self.reader.get_mut(), message, blobs)
    }

    /// A frame up to its blobs, whose sizes it gives; `None` where the stream has ended.
    pub(super) fn next<M: DeserializeOwned>(&mut self) -> io::Result<Option<(M, Vec<u64>)>> {
        frame::read(&mut self.reader)
    }

    /// As [`next`](Self::next), where the stream must not end.
    pub(super) fn receive<M: DeserializeOwned>(&mut self) -> io::Result<(M, Vec<u64>)> {
        self.next()?.ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }

    /// Reads past the next blob.
    pub(super) fn skip_blob(&mut self, size: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.reader).take(size), &mut io::sink())?;
        if skipped == size {
            Ok(())
        } else {
            Err(ErrorKind::UnexpectedEof.into())
        }
    }

    /// The next blob, in place of what `into` holds.
    pub(super) fn receive_blob(&mut self, size: u64, into: &mut Vec<u8>) -> io::Result<()> {
        frame::read_bytes(&mut self.reader, size, into)
    }
}

/// Writes a frame, and `passed` with it.
pub(super) fn send_with(
    mut stream: &UnixStream,
    message: &impl Serialize,
    passed: BorrowedFd<'_>,
) -> io::Result<()> {
    let bytes = frame::encode(message, &[])?;
    let passed = [passed];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&passed)) {
        return Err(ErrorKind::InvalidInput.into());
    }
    let sent = loop {
        let piece = [IoSlice::new(&bytes)];
        match sendmsg(stream, &piece, &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            sent => break sent?,
        }
    };
    // What is passed has gone with the first byte.
    stream.write_all(&bytes[sent..])
}

/// Reads a stream, and what passes through it.
pub(super) struct Receiver {
    stream: UnixStream,
    passed: VecDeque<OwnedFd>,
}

impl Receiver {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            passed: VecDeque::new(),
        }
    }

    /// What came with the earliest message that had something with it.
    pub(super) fn passed(&mut self) -> io::Result<UnixStream> {
        let passed = self.passed.pop_front();
        passed
            .map(UnixStream::from)
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "expected a socket, found none"))
    }

    pub(super) fn stream(&mut self) -> &mut UnixStream {
        &mut self.stream
    }
}

impl Read for Receiver {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut pieces = [IoSliceMut::new(bytes)];
        let received = recvmsg(
            self.stream.as_fd(),
            &mut pieces,
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(passed) = message {
                self.passed.extend(passed);
            }
        }
        Ok(received.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_pass_through_sockets_in_order() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut kept = Vec::new();
        for number in 0..5_u32 {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(&number.to_le_bytes()).unwrap();
            send_with(&here, &number, theirs.as_fd()).unwrap();
            frame::write(&mut &here, &(number + 100), &[]).unwrap();
            kept.push(ours);
        }
        drop(here);
        let mut receiver = Receiver::new(there);
        for number in 0..5_u32 {
            let (found, _) = frame::read::<u32>(&mut receiver).unwrap().unwrap();
            assert_eq!(found, number);
            let mut bytes = [0; 4];
            let mut passed = receiver.passed().unwrap();
            passed.read_exact(&mut bytes).unwrap();
            assert_eq!(u32::from_le_bytes(bytes), number);
            let (found, _) = frame::read::<u32>(&mut receiver).unwrap().unwrap();
            assert_eq!(found, number + 100);
        }
        assert!(frame::read::<u32>(&mut receiver).unwrap().is_none());
        assert!(receiver.passed().is_err());
    }
}
