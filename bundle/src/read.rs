//! Reading a bundle.
//!
//! [`Bundle::open`] reads the index and looks at every byte between the parts; the component and the parts are
//! read when they are asked for, and their digests are checked then.

use crate::digest::{Digest, PIECE, Sum};
use crate::error::Error;
use crate::index::{Blob, Index, Model, ModelFile};
use crate::layout::{self, INDEX, PADDING, PART, PREAMBLE, SIGNATURE, lead};
use crate::section::{section_at, stray};
use crate::sign::{self, TrustedKey};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The most bytes of an index and of a signature that are read.
const LARGEST_INDEX: u64 = 16 << 20;
const LARGEST_SIGNATURE: u64 = 4096;

/// Hears how many further bytes have been read or written.
pub type Progress<'a> = dyn FnMut(u64) + 'a;

/// A bundle that is open, with everything at its place.
#[derive(Debug)]
pub struct Bundle<R> {
    pub(crate) source: R,
    index: Index,
    json: Vec<u8>,
    signature: Option<String>,
    /// Where the component's own sections begin.
    component: u64,
    /// Where the content of each part begins, in the order of the index.
    parts: Vec<u64>,
}

impl Bundle<File> {
    /// Opens a file; nothing if it is no bundle.
    ///
    /// # Errors
    /// As [`Bundle::read`].
    pub fn open(path: &Path) -> Result<Option<Bundle<File>>, Error> {
        match File::open(path) {
            Ok(file) => Bundle::read(file),
            Err(error) => Err(Error::io("the bundle cannot be opened", error)),
        }
    }
}

impl<R: Read + Seek> Bundle<R> {
    /// Reads a bundle, apart from the component and the models; nothing if it is none.
    ///
    /// # Errors
    /// If it cannot be read, or if it is not what its index says.
    pub fn read(mut source: R) -> Result<Option<Bundle<R>>, Error> {
        let length = source.seek(SeekFrom::End(0)).map_err(unreadable)?;
        let mut preamble = Vec::new();
        let size = PREAMBLE.len() as u64;
        source.rewind().map_err(unreadable)?;
        (&mut source)
            .take(size)
            .read_to_end(&mut preamble)
            .map_err(unreadable)?;
        if preamble != PREAMBLE {
            return Ok(None);
        }
        let first = section_at(&mut source, size).map_err(unreadable)?;
        let Some(first) = first.filter(|first| first.name.as_deref() == Some(INDEX)) else {
            return match stray(&mut source).map_err(unreadable)? {
                None => Ok(None),
                Some(name) => Err(Error::damaged(format!(
                    "the bundle's index is missing: the first section is another one, and there is a `{name}`"
                ))),
            };
        };
        if first.end > length {
            return Err(truncated("the index", first.end, length));
        }
        let content = match first.end.checked_sub(first.content) {
            Some(size) if size <= LARGEST_INDEX => bytes(&mut source, first.content, size)?,
            _ => {
                return Err(
                    Error::damaged("the bundle's index is larger than an index can be")
                        .expected(format!("at most {LARGEST_INDEX} bytes")),
                );
            }
        };
        let json = index_json(&content)?;
        let index = Index::parse(json)?;
        let signature = read_signature(&mut source, first.end, length)?;
        let head = layout::head(json, signature.as_deref());
        if bytes(&mut source, size, head.len() as u64)? != head {
            return Err(Error::damaged(
                "the headers of the bundle's index and signature are not as they are written",
            ));
        }
        let json = json.to_vec();
        let component = size + head.len() as u64;
        let mut offset = component + index.component.size - size;
        if offset > length {
            return Err(truncated("the component", offset, length));
        }
        let mut parts = Vec::new();
        for (part, blob) in index.parts() {
            let lead = lead(offset, blob);
            let at = offset + lead.len() as u64;
            if at + blob.size > length {
                return Err(truncated(&part.to_string(), at + blob.size, length));
            }
            if bytes(&mut source, offset, lead.len() as u64)? != lead {
                return Err(misplaced(&mut source, &index, &part.to_string(), offset));
            }
            parts.push(at);
            offset = at + blob.size;
        }
        if offset != length {
            return Err(Error::damaged(format!(
                "the bundle goes on for {} bytes after its last part",
                length - offset
            ))
            .expected("nothing there"));
        }
        Ok(Some(Bundle {
            source,
            index,
            json,
            signature,
            component,
            parts,
        }))
    }

    /// What it holds.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The digest of the index, and so of all that it names.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.json)
    }

    /// The signature, if there is one; nobody has checked it.
    pub fn signature(&self) -> Option<&str> {
        self.signature.as_deref()
    }

    /// Checks that one of these keys has signed the bundle.
    ///
    /// # Errors
    /// If there is no signature, or if it is not that of one of the keys.
    pub fn check_signature(&self, keys: &[TrustedKey]) -> Result<(), Error> {
        match &self.signature {
            Some(signature) => sign::check(signature, &self.json, keys),
            None => Err(sign::unsigned("the bundle has no signature")),
        }
    }

    /// The component without the bundle's sections.
    ///
    /// # Errors
    /// If it is not the one that the index names.
    pub fn component(&mut self) -> Result<Vec<u8>, Error> {
        let Blob { size, sha256 } = &self.index.component;
        let own = size - PREAMBLE.len() as u64;
        let mut component = PREAMBLE.to_vec();
        component.extend(bytes(&mut self.source, self.component, own)?);
        let found = Digest::of(&component);
        if found != *sha256 {
            return Err(damaged("the component", &found, sha256));
        }
        Ok(component)
    }

    /// Writes a file of a model.
    ///
    /// # Errors
    /// If a part or the file is not the one that the index names, when what it is has been written already.
    pub fn copy(
        &mut self,
        model: &Model,
        file: &ModelFile,
        to: &mut dyn Write,
        progress: &mut Progress<'_>,
    ) -> Result<(), Error> {
        let mut whole = Whole::new(model, file);
        for part in self.parts_of(model, file) {
            self.pass(&part, &mut whole, progress, |piece| to.write_all(piece))?;
        }
        whole.check()
    }

    /// Checks the digests of the component, of every part and of every file.
    ///
    /// # Errors
    /// If one is not what the index says.
    pub fn verify(&mut self, progress: &mut Progress<'_>) -> Result<(), Error> {
        self.component()?;
        for model in self.index.models.clone() {
            self.verify_model(&model, progress)?;
        }
        Ok(())
    }

    /// Checks the digests of a model's files and their parts.
    ///
    /// # Errors
    /// If one is not what the index says.
    pub fn verify_model(
        &mut self,
        model: &Model,
        progress: &mut Progress<'_>,
    ) -> Result<(), Error> {
        for file in &model.files {
            let mut whole = Whole::new(model, file);
            for part in self.parts_of(model, file) {
                self.pass(&part, &mut whole, progress, |_| Ok(()))?;
            }
            whole.check()?;
        }
        Ok(())
    }

    /// The parts of a file of the index, in their order.
    pub(crate) fn parts_of(&self, model: &Model, file: &ModelFile) -> Vec<Located> {
        let here = |part: &crate::index::Part<'_>| {
            part.model.name == model.name && part.file.name == file.name
        };
        self.index
            .parts()
            .zip(&self.parts)
            .filter(|((part, _), _)| here(part))
            .map(|((part, blob), at)| Located {
                what: part.to_string(),
                blob: blob.clone(),
                at: *at,
            })
            .collect()
    }

    /// Reads a part piece by piece, and checks its digest.
    pub(crate) fn pass(
        &mut self,
        part: &Located,
        whole: &mut Whole<'_>,
        progress: &mut Progress<'_>,
        mut piece_to: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        self.source
            .seek(SeekFrom::Start(part.at))
            .map_err(unreadable)?;
        let mut sum = Sum::default();
        let mut left = part.blob.size;
        let mut piece = vec![0; PIECE];
        while left > 0 {
            let most = left.min(PIECE as u64) as usize;
            self.source
                .read_exact(&mut piece[..most])
                .map_err(unreadable)?;
            sum.add(&piece[..most]);
            whole.add(&piece[..most]);
            piece_to(&piece[..most])
                .map_err(|error| Error::io(format!("cannot write {}", part.what), error))?;
            left -= most as u64;
            progress(most as u64);
        }
        part.check(&sum.finish())
    }
}

/// A part and its place.
pub(crate) struct Located {
    /// What messages call it.
    pub(crate) what: String,
    pub(crate) blob: Blob,
    pub(crate) at: u64,
}

impl Located {
    pub(crate) fn check(&self, found: &Digest) -> Result<(), Error> {
        match *found == self.blob.sha256 {
            true => Ok(()),
            false => Err(damaged(&self.what, found, &self.blob.sha256)),
        }
    }
}

/// The digest of a file whose parts are read in their order.
pub(crate) struct Whole<'a> {
    model: &'a Model,
    file: &'a ModelFile,
    /// None for a file of one part, which has the same digest.
    sum: Option<Sum>,
}

impl<'a> Whole<'a> {
    pub(crate) fn new(model: &'a Model, file: &'a ModelFile) -> Self {
        let sum = (file.parts.len() > 1).then(Sum::default);
        Self { model, file, sum }
    }

    pub(crate) fn add(&mut self, piece: &[u8]) {
        if let Some(sum) = &mut self.sum {
            sum.add(piece);
        }
    }

    pub(crate) fn check(self) -> Result<(), Error> {
        let Self { model, file, sum } = self;
        match sum.map(Sum::finish) {
            Some(found) if found != file.sha256 => {
                let what = format!("the file {} of the model `{}`", file.name, model.name);
                Err(damaged(&what, &found, &file.sha256))
            }
            _ => Ok(()),
        }
    }
}

fn index_json(content: &[u8]) -> Result<&[u8], Error> {
    let digest = content
        .split_at_checked(64)
        .and_then(|(digest, rest)| Some((digest, rest.strip_prefix(b"\n")?)));
    match digest {
        Some((digest, json)) if Digest::of(json).to_string().as_bytes() == digest => Ok(json),
        _ => Err(Error::damaged(
            "the bundle's index is damaged: it has not the digest that is in front of it",
        )),
    }
}

fn read_signature(
    source: &mut (impl Read + Seek),
    offset: u64,
    length: u64,
) -> Result<Option<String>, Error> {
    let section = section_at(source, offset).map_err(unreadable)?;
    let Some(section) = section.filter(|section| section.name.as_deref() == Some(SIGNATURE)) else {
        return Ok(None);
    };
    if section.end > length {
        return Err(truncated("the signature", section.end, length));
    }
    let text = match section.end.checked_sub(section.content) {
        Some(size) if size <= LARGEST_SIGNATURE => bytes(source, section.content, size)?,
        _ => return Err(Error::damaged("the bundle's signature is damaged")),
    };
    match String::from_utf8(text) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Error::damaged(
            "the bundle's signature is damaged: it is no text",
        )),
    }
}

/// Bytes that are there: `size` is not larger than the file.
fn bytes(source: &mut (impl Read + Seek), offset: u64, size: u64) -> Result<Vec<u8>, Error> {
    source.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    source
        .take(size)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

fn unreadable(error: std::io::Error) -> Error {
    Error::io("the bundle cannot be read", error)
}

fn truncated(inside: &str, expected: u64, length: u64) -> Error {
    Error::damaged(format!(
        "the bundle is truncated: it ends in {inside}, after {length} bytes"
    ))
    .expected(format!("at least {expected} bytes"))
}

fn damaged(what: &str, found: &Digest, expected: &Digest) -> Error {
    Error::damaged(format!("{what} is damaged: its sha256 is {found}"))
        .expected(format!("{expected}, as the index says"))
}

/// Says what there is in the place of a part.
fn misplaced(source: &mut (impl Read + Seek), index: &Index, expected: &str, offset: u64) -> Error {
    let mut at = offset;
    let mut found = "something else".to_string();
    while let Ok(Some(section)) = section_at(source, at) {
        match section.name.as_deref() {
            Some(PADDING) if at == offset => at = section.end,
            Some(name) => {
                let digest = name.strip_prefix(PART).unwrap_or_default();
                let other = index
                    .parts()
                    .find(|(_, blob)| blob.sha256.to_string() == digest);
                found = match other {
                    Some((part, _)) if part.to_string() == expected => {
                        "it, with other padding or a header that is damaged".to_string()
                    }
                    Some((part, _)) => part.to_string(),
                    None => format!("a section `{}`", name.escape_debug()),
                };
                break;
            }
            None => break,
        }
    }
    Error::damaged(format!(
        "{expected} is not at its place in the bundle: found {found}"
    ))
    .expected("the parts in the order of the index, as they were written")
}
