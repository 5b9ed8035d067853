//! Writing a bundle.
//!
//! The sizes of all files are known beforehand, and so is the place of everything. Digests are known when
//! the bytes have passed: what has them is written with zeros first, and again in the end.

use crate::digest::{Digest, Sum};
use crate::error::Error;
use crate::index::{Blob, Index, Model};
use crate::layout::{self, LARGEST_PART, PREAMBLE, lead};
use crate::section::stray;
use crate::sign::SigningKey;
use std::io::{self, Cursor, Seek, SeekFrom, Write};

/// The usual size of parts: 1 GiB.
pub const PART_SIZE: u64 = 1 << 30;

/// Takes the bytes of all files, in the order in which the models name them, by [`Write`].
pub struct Writer<'a, W> {
    target: W,
    key: Option<&'a SigningKey>,
    /// With zeros for digests that are not known yet.
    index: Index,
    /// How long what stands before the component's sections is.
    head: u64,
    /// The part that is written.
    current: Place,
    /// Where that part's padding begins, and its content.
    lead: u64,
    content: u64,
    /// How many of its bytes have come.
    done: u64,
    part: Sum,
    /// Of the file; not used for one of a single part, which has the part's digest.
    file: Sum,
}

/// A part by model, file and number.
#[derive(Clone, Copy)]
struct Place {
    model: usize,
    file: usize,
    part: usize,
}

impl<'a, W: Write + Seek> Writer<'a, W> {
    /// Begins a bundle at the beginning of `target`, which is empty. Of the models' files only names and
    /// sizes count. Parts are `part_size` long, but for the last of each file.
    ///
    /// # Errors
    /// If the component is none or a bundle, if names or sizes cannot be those of a bundle, or if it cannot be
    /// written.
    pub fn new(
        target: W,
        component: &[u8],
        models: Vec<Model>,
        part_size: u64,
        key: Option<&'a SigningKey>,
    ) -> Result<Writer<'a, W>, Error> {
        let Some(own) = component.strip_prefix(&PREAMBLE) else {
            return Err(Error::new("the program is no component").next_step(
                "`llm-wasi componentize` makes a component of a module that uses wasi-nn",
            ));
        };
        let found = stray(&mut Cursor::new(component));
        if let Some(name) = found.map_err(|error| Error::io("the component", error))? {
            return Err(Error::new(format!(
                "the component has a section `{name}`, which is a bundle's"
            ))
            .next_step("take the component out of the bundle first"));
        }
        let blob = Blob {
            size: component.len() as u64,
            sha256: Digest::of(component),
        };
        let index = Index::new(blob, planned(models, part_size.clamp(1, LARGEST_PART)))?;
        let json = index.to_json()?;
        // A signature is as long as any other by the same key.
        let signature = key.map(|key| key.sign(&json)).transpose()?;
        let head = layout::head(&json, signature.as_deref()).len() as u64;
        let mut writer = Writer {
            target,
            key,
            index,
            head,
            current: Place {
                model: 0,
                file: 0,
                part: 0,
            },
            lead: 0,
            content: 0,
            done: 0,
            part: Sum::default(),
            file: Sum::default(),
        };
        let begin = |writer: &mut Self| {
            writer.target.write_all(&PREAMBLE)?;
            writer.target.write_all(&vec![0; writer.head as usize])?;
            writer.target.write_all(own)?;
            writer.begin_part(head + component.len() as u64)
        };
        begin(&mut writer).map_err(unwritable)?;
        Ok(writer)
    }

    /// Writes what was not known before. Gives what was written to, and what is in it.
    ///
    /// # Errors
    /// If bytes are missing, or if it cannot be written.
    pub fn finish(mut self) -> Result<(W, Index), Error> {
        if let Some(model) = self.index.models.get(self.current.model) {
            let file = &model.files[self.current.file];
            return Err(Error::new(format!(
                "the file {} of the model `{}` has become shorter while it was read",
                file.name, model.name
            ))
            .expected(format!("{} bytes", file.size))
            .next_step("wait until nobody changes it, and try again"));
        }
        let json = self.index.to_json()?;
        let signature = self.key.map(|key| key.sign(&json)).transpose()?;
        let head = layout::head(&json, signature.as_deref());
        if head.len() as u64 != self.head {
            return Err(Error::new("the index has become longer than planned"));
        }
        let write = |writer: &mut Self| {
            let start = PREAMBLE.len() as u64;
            writer.target.seek(SeekFrom::Start(start))?;
            writer.target.write_all(&head)?;
            writer.target.flush()
        };
        write(&mut self).map_err(unwritable)?;
        Ok((self.target, self.index))
    }

    /// The part that is written; nothing if there is none any more.
    fn blob(&mut self) -> Option<&mut Blob> {
        let Place { model, file, part } = self.current;
        let model = self.index.models.get_mut(model)?;
        model.files.get_mut(file)?.parts.get_mut(part)
    }

    fn begin_part(&mut self, offset: u64) -> io::Result<()> {
        if let Some(blob) = self.blob() {
            let bytes = lead(offset, blob);
            self.lead = offset;
            self.content = offset + bytes.len() as u64;
            self.done = 0;
            self.target.write_all(&bytes)?;
        }
        Ok(())
    }

    fn end_part(&mut self) -> io::Result<()> {
        let digest = std::mem::take(&mut self.part).finish();
        let (start, content) = (self.lead, self.content);
        let Some(blob) = self.blob() else {
            return Ok(());
        };
        blob.sha256 = digest.clone();
        let end = content + blob.size;
        let bytes = lead(start, blob);
        self.target.seek(SeekFrom::Start(start))?;
        self.target.write_all(&bytes)?;
        self.target.seek(SeekFrom::Start(end))?;
        self.next(digest);
        self.begin_part(end)
    }

    /// Goes on to the next part.
    fn next(&mut self, digest: Digest) {
        let Place { model, file, part } = &mut self.current;
        let model_now = &mut self.index.models[*model];
        let files = model_now.files.len();
        let file_now = &mut model_now.files[*file];
        *part += 1;
        if *part < file_now.parts.len() {
            return;
        }
        let whole = std::mem::take(&mut self.file).finish();
        file_now.sha256 = if *part == 1 { digest } else { whole };
        (*part, *file) = (0, *file + 1);
        if *file == files {
            (*file, *model) = (0, *model + 1);
        }
    }
}

impl<W: Write + Seek> Write for Writer<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.done;
        let Some(blob) = self.blob() else {
            return match bytes {
                [] => Ok(0),
                _ => Err(io::Error::other("a file is longer than it was before")),
            };
        };
        let left = blob.size - done;
        let most = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let Place { model, file, .. } = self.current;
        let several = self.index.models[model].files[file].parts.len() > 1;
        let written = self.target.write(&bytes[..most])?;
        self.part.add(&bytes[..written]);
        if several {
            self.file.add(&bytes[..written]);
        }
        self.done += written as u64;
        if written as u64 == left {
            self.end_part()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()
    }
}

/// The models with the parts that their files will have.
fn planned(mut models: Vec<Model>, part_size: u64) -> Vec<Model> {
    let unknown = Digest::of(&[]);
    for file in models.iter_mut().flat_map(|model| &mut model.files) {
        file.sha256 = unknown.clone();
        file.parts = Vec::new();
        let mut left = file.size;
        while left > 0 {
            let size = left.min(part_size);
            file.parts.push(Blob {
                size,
                sha256: unknown.clone(),
            });
            left -= size;
        }
    }
    models
}

fn unwritable(error: io::Error) -> Error {
    Error::io("the bundle cannot be written", error)
}
