//! Reading files and standard input.

use crate::failure::Failure;
use llm_wasi_componentize::LIMIT;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A file, or `-` for standard input.
#[derive(Clone, Debug)]
pub(crate) struct Input(PathBuf);

impl FromStr for Input {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Input, Self::Err> {
        Ok(Input(PathBuf::from(text)))
    }
}

impl From<std::ffi::OsString> for Input {
    fn from(text: std::ffi::OsString) -> Input {
        Input(PathBuf::from(text))
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_stdin() {
            f.write_str("standard input")
        } else {
            write!(f, "{}", self.0.display())
        }
    }
}

impl Input {
    pub(crate) fn file(path: &Path) -> Input {
        Input(path.to_path_buf())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn is_stdin(&self) -> bool {
        self.0.as_os_str() == "-"
    }

    /// Reads all of it; one byte more than the limit is enough to be refused for its size later.
    pub(crate) fn read(&self) -> Result<Vec<u8>, Failure> {
        let limit = LIMIT as u64 + 1;
        let mut bytes = Vec::new();
        let result = if self.is_stdin() {
            std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
        } else {
            File::open(&self.0).and_then(|file| {
                // A limited reader does not tell its length, and growing step by step takes time.
                let length = file.metadata()?.len().min(limit);
                bytes.reserve_exact(usize::try_from(length).unwrap_or(0) + 1);
                file.take(limit).read_to_end(&mut bytes)
            })
        };
        match result {
            Ok(_) => Ok(bytes),
            Err(error) => Err(Failure::new(format!("cannot read {self}"))
                .cause(&error)
                .expected("a file with a WebAssembly module, or `-` for standard input")
                .next_step("check the path and its permissions")),
        }
    }
}
