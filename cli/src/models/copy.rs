//! A local file's way into the store: a plain copy, which nothing that happens to the source changes.

use crate::failure::Failure;
use crate::models::fetched::{Fetched, cannot};
use crate::models::meter::Meter;
use crate::models::space;
use llm_wasi_bundle::{PIECE, Sum};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

pub(crate) fn copy(from: &Path, to: &Path, meter: &mut Meter) -> Result<Fetched, Failure> {
    let (mut source, size) = open(from)?;
    space::check(to, size)?;
    let write_failed = |error| cannot("write", to, &error);
    let mut target = File::create(to).map_err(write_failed)?;
    meter.start(0, Some(size));
    let mut sum = Sum::default();
    let mut copied = 0;
    let mut piece = vec![0; PIECE];
    loop {
        let n = match source.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) => return Err(unreadable(from, &error)),
        };
        target.write_all(&piece[..n]).map_err(write_failed)?;
        sum.add(&piece[..n]);
        copied += n as u64;
        meter.advance(n as u64);
    }
    target.sync_all().map_err(write_failed)?;
    Ok(Fetched {
        size: copied,
        sha256: sum.finish(),
        validator: None,
    })
}

/// A regular file and its size; a device or a pipe might never end.
pub(crate) fn open(path: &Path) -> Result<(File, u64), Failure> {
    let metadata = path.metadata().map_err(|error| unreadable(path, &error))?;
    if !metadata.is_file() {
        return Err(Failure::new(format!("{} is no file", path.display()))
            .expected("a model's file: .gguf, .onnx or .xml")
            .next_step("give the path of the file itself"));
    }
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    Ok((file, metadata.len()))
}

pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot read {}", path.display()))
        .cause(error)
        .expected("a model's file")
        .next_step("check the path and its permissions; a model of several files needs them all in one folder")
}
