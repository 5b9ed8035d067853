//! Writing a result: whole or not at all.

use crate::failure::Failure;
use crate::text::write_out;
use crate::unfinished::Unfinished;
use clap::Args;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Where a module or component goes.
#[derive(Args)]
pub(crate) struct Output {
    /// File or folder to write to; `-`, the default, is standard output.
    ///
    /// A file is written whole or not at all.
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,

    /// Write the text format instead of the binary.
    #[arg(short = 't', long)]
    wat: bool,
}

impl Output {
    /// Writes wasm; in a folder the file is called `name`, with `.wasm` or `.wat` behind it.
    ///
    /// Gives the file's path, or nothing for standard output.
    pub(crate) fn write(&self, wasm: &[u8], name: &str) -> Result<Option<PathBuf>, Failure> {
        let text = match self.wat {
            true => Some(self.text(wasm)?),
            false => None,
        };
        let bytes = text.as_ref().map_or(wasm, String::as_bytes);
        let Some(path) = self.file(name) else {
            let mut out = std::io::stdout().lock();
            if text.is_none() && out.is_terminal() {
                return Err(Failure::new(
                    "standard output is a terminal, which cannot show binary wasm",
                )
                .expected("a file or a pipe")
                .next_step("write to a file with -o FILE, or print text with -t"));
            }
            write_out(out.write_all(bytes).and_then(|()| out.flush()))?;
            return Ok(None);
        };
        replace(&path, bytes).map_err(|error| unwritable(&path, &error))?;
        Ok(Some(path))
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        let path = self.output.as_ref()?;
        if path.as_os_str() == "-" {
            return None;
        }
        let extension = if self.wat { "wat" } else { "wasm" };
        Some(if path.is_dir() {
            path.join(format!("{name}.{extension}"))
        } else {
            path.clone()
        })
    }

    fn text(&self, wasm: &[u8]) -> Result<String, Failure> {
        wasmprinter::print_bytes(wasm).map_err(|error| {
            Failure::new("cannot print it as text")
                .causes(&error)
                .next_step("write the binary, without -t")
        })
    }
}

/// The failure to write a result.
pub(crate) fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::new(format!("cannot write {}", path.display())).cause(error);
    if error.kind() == ErrorKind::StorageFull {
        return failure.next_step("make room there, or choose another -o; nothing was changed");
    }
    failure
        .expected("a path in a folder that is there and can be written to")
        .next_step("make the folder or its permissions, or choose another -o; nothing was changed")
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    match Replacement::begin(path)? {
        Some(mut replacement) => {
            replacement.file().write_all(bytes)?;
            replacement.finish()
        }
        // A device or a pipe cannot be replaced, only written to.
        None => OpenOptions::new().write(true).open(path)?.write_all(bytes),
    }
}

/// Replaces a file in one step: whoever looks at it sees the old content or the new. Nothing happens to it
/// if this is dropped before.
pub(crate) struct Replacement {
    file: Unfinished,
    folder: PathBuf,
    path: PathBuf,
    /// Those of the file that is replaced.
    permissions: Option<Permissions>,
}

impl Replacement {
    /// Begins with an empty file; nothing if what is there cannot be replaced, as standard output.
    pub(crate) fn begin(path: &Path) -> std::io::Result<Option<Replacement>> {
        if path.as_os_str() == "-" {
            return Ok(None);
        }
        // A link stays a link, and what it points to is replaced.
        let path = match std::fs::canonicalize(path) {
            Ok(path) => path,
            Err(_) => end_of_links(path),
        };
        let there = OpenOptions::new().write(true).open(&path);
        let permissions = match there {
            Ok(file) => match existing(&file)? {
                Existing::File(permissions) => Some(permissions),
                Existing::Special => return Ok(None),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            // It is there and must not be written to, even if its folder would let it be replaced.
            Err(error) => return Err(error),
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let folder = folder.to_path_buf();
        // Says what is wrong with the folder, if anything is.
        std::fs::metadata(&folder)?;
        Ok(Some(Replacement {
            file: Unfinished::create(&folder)?,
            folder,
            path,
            permissions,
        }))
    }

    /// What becomes the file.
    pub(crate) fn file(&mut self) -> &mut File {
        self.file.file_mut()
    }

    /// Gives it its place.
    pub(crate) fn finish(self) -> std::io::Result<()> {
        if let Some(permissions) = self.permissions {
            self.file.file().set_permissions(permissions)?;
        }
        self.file.finish(&self.folder, &self.path)
    }
}

/// Where links lead, if there is nothing at their end.
fn end_of_links(path: &Path) -> PathBuf {
    /// As many as systems follow.
    const MOST: usize = 40;
    let mut path = path.to_path_buf();
    for _ in 0..MOST {
        let Ok(target) = std::fs::read_link(&path) else {
            break;
        };
        path = match path.parent() {
            Some(folder) => folder.join(target),
            None => target,
        };
    }
    path
}

enum Existing {
    File(Permissions),
    Special,
}

fn existing(file: &File) -> std::io::Result<Existing> {
    let metadata = file.metadata()?;
    Ok(if metadata.is_file() {
        Existing::File(metadata.permissions())
    } else {
        Existing::Special
    })
}
