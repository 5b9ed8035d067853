//! Frames on a stream: a message, and bytes behind it that are not copied into it.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | the head's size, little-endian |
//! | so many | the head: the message and the sizes of what follows, as `postcard` writes them |
//! | so many each | the blobs |
//!
//! The other side may be in the hands of a hostile model. Every size is compared with a limit before it counts,
//! and memory grows with the bytes that come, not with those that are announced.

use crate::{Error, ErrorCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};

/// The largest head. Texts, tokens and options are in heads; models and tensors are not.
const MAX_HEAD: u32 = if cfg!(test) { 1 << 20 } else { 256 << 20 };
/// The most blobs of one frame.
pub(super) const MAX_BLOBS: usize = 1024;
/// The largest blob: what a list of a guest can have.
const MAX_BLOB: u64 = u32::MAX as u64;
/// Frames up to this size are written in one piece.
const ONE_PIECE: usize = 64 << 10;
/// How much memory a blob gets before its bytes are here.
const FIRST_PIECE: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Head<M> {
    message: M,
    blobs: Vec<u64>,
}

/// Why a frame is not written: its head has so many bytes. Nothing of it has gone.
#[derive(Debug)]
struct TooLong(usize);

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected texts, tokens and names of at most {MAX_HEAD} bytes together for a model in a process of its own, \
             found {}",
            self.0
        )
    }
}

impl std::error::Error for TooLong {}

/// The error for a frame that is too long: the stream is as it was.
pub(super) fn too_long(error: &io::Error) -> Option<Error> {
    let reason = error.get_ref()?.downcast_ref::<TooLong>()?;
    Some(Error::new(ErrorCode::TooLarge, reason.to_string()))
}

/// Writes a frame.
pub(super) fn write<M: Serialize>(
    writer: &mut impl Write,
    message: &M,
    blobs: &[&[u8]],
) -> io::Result<()> {
    let head = encode(message, blobs)?;
    let all = blobs.iter().map(|blob| blob.len()).sum::<usize>();
    if head.len() + all <= ONE_PIECE {
        return writer.write_all(&[head.as_slice(), &blobs.concat()].concat());
    }
    writer.write_all(&head)?;
    blobs.iter().try_for_each(|blob| writer.write_all(blob))
}

/// A frame up to its blobs.
pub(super) fn encode<M: Serialize>(message: &M, blobs: &[&[u8]]) -> io::Result<Vec<u8>> {
    let head = Head {
        message,
        blobs: blobs.iter().map(|blob| blob.len() as u64).collect(),
    };
    // The size is filled in when it is known.
    let mut bytes = postcard::to_extend(&head, vec![0; 4]).map_err(io::Error::other)?;
    let size = u32::try_from(bytes.len() - 4)
        .ok()
        .filter(|size| *size <= MAX_HEAD)
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, TooLong(bytes.len() - 4)))?;
    bytes[..4].copy_from_slice(&size.to_le_bytes());
    Ok(bytes)
}

/// Reads a frame up to its blobs. Gives the message and their sizes; `None` where the stream has ended.
pub(super) fn read<M: DeserializeOwned>(
    reader: &mut impl Read,
) -> io::Result<Option<(M, Vec<u64>)>> {
    let mut size = [0; 4];
    let first = loop {
        match reader.read(&mut size) {
            Ok(0) => return Ok(None),
            Ok(count) => break count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    reader.read_exact(&mut size[first..])?;
    let size = u32::from_le_bytes(size);
    if size > MAX_HEAD {
        return Err(wrong(format!(
            "expected a head of at most {MAX_HEAD} bytes, found {size}"
        )));
    }
    let mut head = Vec::new();
    read_bytes(reader, u64::from(size), &mut head)?;
    let (head, rest): (Head<M>, _) =
        postcard::take_from_bytes(&head).map_err(|error| wrong(error.to_string()))?;
    if !rest.is_empty() || head.blobs.len() > MAX_BLOBS {
        return Err(wrong("expected one message, found more".to_owned()));
    }
    if let Some(size) = head.blobs.iter().find(|size| **size > MAX_BLOB) {
        return Err(wrong(format!(
            "expected at most {MAX_BLOB} bytes, found {size}"
        )));
    }
    Ok(Some((head.message, head.blobs)))
}

/// Reads `size` bytes in place of what `into` holds, and keeps its allocation.
pub(super) fn read_bytes(reader: &mut impl Read, size: u64, into: &mut Vec<u8>) -> io::Result<()> {
    into.clear();
    let first = usize::try_from(size.min(FIRST_PIECE)).unwrap_or(0);
    into.try_reserve(first).map_err(io::Error::other)?;
    reader.take(size).read_to_end(into)?;
    if into.len() as u64 == size {
        Ok(())
    } else {
        Err(ErrorKind::UnexpectedEof.into())
    }
}

fn wrong(reason: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Message = (String, Vec<u32>);

    fn frame(blobs: &[&[u8]]) -> (Message, Vec<u8>) {
        let message = ("text".to_owned(), vec![1, 2, 3]);
        let mut bytes = Vec::new();
        write(&mut bytes, &message, blobs).unwrap();
        (message, bytes)
    }

    #[test]
    fn what_is_written_is_read() {
        let large = vec![7; 3 * ONE_PIECE];
        let small: &[u8] = b"abc";
        for blobs in [&[][..], &[small, b""], &[small, &large]] {
            let (message, mut bytes) = frame(blobs);
            bytes.extend(frame(&[]).1);
            let mut reader = bytes.as_slice();
            let (found, sizes) = read::<Message>(&mut reader).unwrap().unwrap();
            assert_eq!(found, message);
            assert_eq!(sizes.len(), blobs.len());
            let mut found = Vec::new();
            for (size, blob) in sizes.into_iter().zip(blobs) {
                read_bytes(&mut reader, size, &mut found).unwrap();
                assert_eq!(found, *blob);
            }
            assert!(read::<Message>(&mut reader).unwrap().is_some());
            assert!(read::<Message>(&mut reader).unwrap().is_none());
        }
    }

    #[test]
    fn what_is_too_long_is_not_written() {
        let text = "x".repeat(MAX_HEAD as usize);
        let mut written = Vec::new();
        let error = write(&mut written, &text, &[b"blob"]).unwrap_err();
        assert!(written.is_empty());
        let error = too_long(&error).unwrap();
        assert_eq!(error.code, ErrorCode::TooLarge);
        assert!(error.message.contains("found 1048"), "{error}");
        assert!(too_long(&ErrorKind::InvalidInput.into()).is_none());
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let (_, bytes) = frame(&[b"abc"]);
        for end in 1..bytes.len() - 3 {
            let error = read::<Message>(&mut &bytes[..end]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{end}");
        }
        let mut reader = &bytes[..bytes.len() - 1];
        let (_, sizes) = read::<Message>(&mut reader).unwrap().unwrap();
        assert!(read_bytes(&mut reader, sizes[0], &mut Vec::new()).is_err());
    }

    #[test]
    fn sizes_are_limited_and_announced_bytes_take_no_memory() {
        let huge = [u32::MAX.to_le_bytes().as_slice(), &[0; 100]].concat();
        let error = read::<Message>(&mut huge.as_slice()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let mut into = Vec::new();
        assert!(read_bytes(&mut [0; 10].as_slice(), MAX_BLOB, &mut into).is_err());
        assert!(into.capacity() as u64 <= 2 * FIRST_PIECE);
        let blobs = postcard::to_stdvec(&((), vec![u64::MAX])).unwrap();
        let size = u32::try_from(blobs.len()).unwrap().to_le_bytes();
        let error = read::<()>(&mut [size.as_slice(), &blobs].concat().as_slice()).unwrap_err();
        assert!(error.to_string().contains("expected at most"), "{error}");
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for round in 0..20_000_u64 {
            let (_, mut bytes) = frame(&[b"abc"]);
            for _ in 0..=random() % 4 {
                let at = (random() % bytes.len() as u64) as usize;
                bytes[at] = random() as u8;
            }
            // The upper bytes of the size, or most frames would end before they begin.
            if round % 2 == 0 {
                bytes[1..4].fill(0);
            }
            let mut reader = bytes.as_slice();
            while let Ok(Some((_, sizes))) = read::<Message>(&mut reader) {
                for size in sizes {
                    let _ = read_bytes(&mut reader, size, &mut Vec::new());
                }
            }
        }
    }
}
