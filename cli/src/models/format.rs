//! The formats of models: which files they have, and whether files are what they should be.

use crate::failure::Failure;
use crate::models::name::Name;
use crate::models::onnx;
use llm_wasi_host::backend::Encoding;
use llm_wasi_host::gguf::{Gguf, Part};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// How many of a file's first bytes tell what it is.
pub(crate) const START: usize = 4096;

/// The format of a model's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One file, or the parts of a split model.
    Gguf,
    /// One file.
    Onnx,
    /// An `.xml`, and a `.bin` with the weights.
    OpenVino,
}

impl Format {
    /// By a file's name. GGUF files come under all kinds of names, and show what they are when they are
    /// there.
    pub(crate) fn of_name(file: &str) -> Format {
        let extension = Path::new(file).extension().and_then(|e| e.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("onnx") => Format::Onnx,
            Some("xml") => Format::OpenVino,
            _ => Format::Gguf,
        }
    }

    pub(crate) fn encoding(self) -> Encoding {
        match self {
            Format::Gguf => Encoding::Ggml,
            Format::Onnx => Encoding::Onnx,
            Format::OpenVino => Encoding::OpenVino,
        }
    }

    /// What the `count` files of a model are called in the store: never what somebody else chose.
    pub(crate) fn file_names(self, name: &Name, count: usize) -> Vec<String> {
        let extensions: &[&str] = match self {
            Format::Gguf if count > 1 => return part_names(name, count),
            Format::Gguf => &["gguf"],
            Format::Onnx => &["onnx"],
            Format::OpenVino => &["xml", "bin"],
        };
        extensions.iter().map(|e| format!("{name}.{e}")).collect()
    }

    /// Whether file `index` of a model may start with these bytes, the first of it: what is wrong is
    /// known before the rest arrives.
    pub(crate) fn check_start(self, index: usize, start: &[u8]) -> Result<(), Wrong> {
        let (good, expected) = match (self, index) {
            (Format::Gguf, _) => (
                start.starts_with(b"GGUF"),
                "a GGUF model, which starts with `GGUF`",
            ),
            // The first field of the message is the version, a number.
            (Format::Onnx, _) => (
                start.starts_with(&[0x08]),
                "an ONNX model, which starts with the byte 08",
            ),
            (Format::OpenVino, 0) => (
                contains(start, b"<net"),
                "OpenVINO IR, whose .xml starts with the element `net`",
            ),
            (Format::OpenVino, _) => (!looks_like_a_page(start), "the weights of OpenVINO IR"),
        };
        if good {
            return Ok(());
        }
        Err(Wrong {
            what: format!("expected {expected}; found {}", describe(start)),
            next_step: Some(match is_pointer(start) {
                true => "`git lfs pull` fetches the file itself".to_string(),
                false => "check the source: a link has to lead to the file itself, not to a page \
                          about it"
                    .to_string(),
            }),
        })
    }

    /// Checks all files of a model.
    pub(crate) fn check(self, files: &[PathBuf]) -> Result<(), Failure> {
        for (index, file) in files.iter().enumerate() {
            self.check_file(file, index, files.len())
                .map_err(|wrong| wrong.of(&file.display()))?;
        }
        Ok(())
    }

    /// Checks a whole file, number `index` of a model's `count`; one of GGUF gives its header.
    pub(crate) fn check_file(
        self,
        file: &Path,
        index: usize,
        count: usize,
    ) -> Result<Option<Gguf>, Wrong> {
        let start = start_of(file).map_err(|error| Wrong::new(&error))?;
        self.check_start(index, &start)?;
        match self {
            Format::Gguf => {
                let header = Gguf::open(file).map_err(|error| Wrong::new(&error))?;
                check_part(&header, index, count)?;
                Ok(Some(header))
            }
            Format::Onnx => {
                onnx::check_whole(file).map_err(|error| Wrong::new(&error))?;
                Ok(None)
            }
            Format::OpenVino => Ok(None),
        }
    }
}

/// llama.cpp finds the parts of a split model by these names.
fn part_names(name: &Name, count: usize) -> Vec<String> {
    let part = Part {
        name: name.to_string(),
        number: 1,
        count: u32::try_from(count).unwrap_or(u32::MAX),
    };
    (1..=part.count).map(|number| part.file(number)).collect()
}

/// A split model knows how many parts it has, whatever its files are called.
fn check_part(header: &Gguf, index: usize, count: usize) -> Result<(), Wrong> {
    let number = |key| header.number(key).and_then(|n| usize::try_from(n).ok());
    let parts = number("split.count").unwrap_or(1).max(1);
    let part = number("split.no").unwrap_or(0);
    if parts == count && part == index {
        return Ok(());
    }
    let place = |part: usize, parts: usize| match parts {
        1 => "a whole model".to_string(),
        parts => format!(
            "part {} of {parts} of a split model",
            part.saturating_add(1)
        ),
    };
    Err(Wrong {
        what: format!(
            "expected {}; found {}",
            place(index, count),
            place(part, parts)
        ),
        next_step: Some(
            "give the parts of a split model their names again, NAME-00001-of-00003.gguf and so on, \
             all in one place; other models need other names"
                .to_string(),
        ),
    })
}

/// A file's first bytes.
fn start_of(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?
        .take(START as u64)
        .read_to_end(&mut start)?;
    Ok(start)
}

/// Why files are no model.
#[derive(Debug)]
pub(crate) struct Wrong {
    what: String,
    /// Nothing if `what` says it.
    next_step: Option<String>,
}

impl Wrong {
    pub(crate) fn new(error: &dyn std::error::Error) -> Wrong {
        Wrong {
            what: error.to_string(),
            next_step: None,
        }
    }

    /// As the failure of a source.
    pub(crate) fn of(self, source: &impl std::fmt::Display) -> Failure {
        let failure = Failure::new(format!("{source} is not a model: {}", self.what))
            .expected("GGUF, ONNX (.onnx) or OpenVINO IR (.xml with its .bin)");
        match self.next_step {
            Some(next_step) => failure.next_step(next_step),
            None => failure,
        }
    }
}

fn looks_like_a_page(start: &[u8]) -> bool {
    let start = start.trim_ascii_start();
    let begins = |with: &[u8]| {
        start
            .get(..with.len())
            .is_some_and(|bytes| bytes.eq_ignore_ascii_case(with))
    };
    begins(b"<!doctype html") || begins(b"<html") || begins(b"<?xml") || is_pointer(start)
}

fn is_pointer(start: &[u8]) -> bool {
    start.starts_with(b"version https://git-lfs")
}

fn describe(start: &[u8]) -> String {
    if start.is_empty() {
        return "an empty file".to_string();
    }
    if is_pointer(start) {
        return "a pointer of Git LFS, which stands for the file".to_string();
    }
    if looks_like_a_page(start) {
        return "a page of text".to_string();
    }
    let some = &start[..start.len().min(16)];
    format!("`{}`", some.escape_ascii())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_name() {
        assert_eq!(Format::of_name("a.gguf"), Format::Gguf);
        assert_eq!(Format::of_name("a.ONNX"), Format::Onnx);
        assert_eq!(Format::of_name("a.b.xml"), Format::OpenVino);
        assert_eq!(Format::of_name("sha256-abc"), Format::Gguf);
    }

    #[test]
    fn beginnings() {
        let wrong = |format: Format, index, start: &[u8]| format.check_start(index, start).err();
        assert!(wrong(Format::Gguf, 0, b"GGUF\x03").is_none());
        assert!(wrong(Format::Onnx, 0, b"\x08\x0a").is_none());
        let ir = b"<?xml version=\"1.0\"?>\n<net name=\"x\">";
        assert!(wrong(Format::OpenVino, 0, ir).is_none());
        assert!(wrong(Format::OpenVino, 1, b"\0\0").is_none());
        assert!(wrong(Format::OpenVino, 1, b"").is_none());
        for (format, index, start, found) in [
            (Format::Gguf, 0, &b""[..], "an empty file"),
            (Format::Gguf, 0, b"<!DOCTYPE html><html>", "a page of text"),
            (
                Format::Onnx,
                0,
                b"version https://git-lfs.github.com/spec/v1",
                "Git LFS",
            ),
            (Format::OpenVino, 0, b"<html>", "a page of text"),
            (Format::OpenVino, 1, b"\n<html>", "a page of text"),
            (Format::Gguf, 0, b"PK\x03\x04", r"`PK\x03\x04`"),
        ] {
            let message = wrong(format, index, start).unwrap().what;
            assert!(message.contains(found), "{message}");
        }
    }
}
