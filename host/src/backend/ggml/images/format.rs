//! From the bytes of an image to its pixels.
//!
//! llama.cpp's own decoder starts `ffmpeg` on whatever it does not decode itself, damaged images among
//! them. So images are decoded here: PNG, JPEG, BMP and GIF, of which the first frame counts.

use crate::{Error, ErrorCode, Files};
use image::{ImageFormat, ImageReader, Limits};
use llama_cpp_2::mtmd::MtmdBitmap;
use std::io::{Cursor, Read};
use std::panic::catch_unwind;

/// The largest file.
pub(in crate::backend::ggml) const MAX_BYTES: u64 = 64 << 20;
/// The longest side, in pixels.
const MAX_SIDE: u32 = 16_384;
/// The most pixels.
const MAX_PIXELS: u64 = 32 << 20;
/// What decoding may allocate: four channels of 16 bits for each pixel.
const MAX_MEMORY: u64 = MAX_PIXELS * 8;

/// The formats that are decoded, with what their files start with.
const FORMATS: [(&[u8], ImageFormat); 5] = [
    (b"\x89PNG\r\n\x1a\n", ImageFormat::Png),
    (b"\xff\xd8\xff", ImageFormat::Jpeg),
    (b"BM", ImageFormat::Bmp),
    (b"GIF87a", ImageFormat::Gif),
    (b"GIF89a", ImageFormat::Gif),
];

/// Others that are often taken for images, with where their files have which bytes.
const OTHERS: [(usize, &[u8], &str); 7] = [
    (8, b"WEBP", "WebP"),
    (8, b"WAVE", "WAV audio"),
    (0, b"ID3", "MP3 audio"),
    (0, b"fLaC", "FLAC audio"),
    (0, b"OggS", "Ogg audio or video"),
    (4, b"ftyp", "MP4 video, HEIC or AVIF"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM video"),
];

/// Reads an image's file.
pub(super) fn read(files: &Files, path: &str) -> Result<Vec<u8>, Error> {
    let in_option = |error: Error| error.context("option `image`");
    let mut bytes = Vec::new();
    let read = files
        .open(path)
        .map_err(in_option)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes);
    read.map_err(|error| in_option(Error::invalid(format!("the file cannot be read: {error}"))))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(in_option(too_large(bytes.len() as u64)));
    }
    Ok(bytes)
}

/// The failure for an image of too many bytes.
pub(in crate::backend::ggml) fn too_large(bytes: u64) -> Error {
    Error::new(
        ErrorCode::TooLarge,
        format!(
            "expected an image of at most {} MiB, found {bytes} bytes or more: make it smaller",
            MAX_BYTES >> 20
        ),
    )
}

/// Decodes an image.
pub(super) fn decode(bytes: &[u8]) -> Result<MtmdBitmap, Error> {
    let format = FORMATS
        .iter()
        .find(|(start, _)| bytes.starts_with(start))
        .map(|(_, format)| *format)
        .ok_or_else(|| unknown(bytes))?;
    // These decoders do not panic, but a guest would end the host if one did.
    let (width, height, pixels) = catch_unwind(|| pixels(bytes, format))
        .unwrap_or_else(|_| Err(damaged(format, &"its decoder failed")))?;
    MtmdBitmap::from_image_data(width, height, &pixels).map_err(|error| damaged(format, &error))
}

/// Width, height, and three bytes for each pixel.
fn pixels(bytes: &[u8], format: ImageFormat) -> Result<(u32, u32, Vec<u8>), Error> {
    let reader = || ImageReader::with_format(Cursor::new(bytes), format);
    let (width, height) = reader()
        .into_dimensions()
        .map_err(|error| damaged(format, &error))?;
    if width.max(height) > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Error::new(
            ErrorCode::TooLarge,
            format!(
                "expected an image of at most {MAX_SIDE} pixels a side and {MAX_PIXELS} in all, found \
                 {width} by {height}: make it smaller"
            ),
        ));
    }
    if width == 0 || height == 0 {
        return Err(damaged(format, &"it has no pixels"));
    }
    let mut reader = reader();
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_MEMORY);
    reader.limits(limits);
    let image = reader.decode().map_err(|error| damaged(format, &error))?;
    let image = image.into_rgb8();
    Ok((image.width(), image.height(), image.into_raw()))
}

fn damaged(format: ImageFormat, reason: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!(
        "expected a whole {format:?} image, found one that cannot be decoded: {reason}"
    ))
}

fn unknown(bytes: &[u8]) -> Error {
    let known = OTHERS
        .iter()
        .find(|(at, magic, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    let found = match known {
        Some((.., name)) => (*name).to_owned(),
        None if bytes.is_empty() => "nothing".to_owned(),
        None => format!("`{}`", bytes[..bytes.len().min(8)].escape_ascii()),
    };
    Error::invalid(format!(
        "expected a PNG, JPEG, BMP or GIF image, found {found}: convert it"
    ))
}
