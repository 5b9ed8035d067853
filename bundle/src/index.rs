//! What a bundle holds: JSON, which is checked before anything is done with it.

use crate::digest::Digest;
use crate::error::Error;
use crate::layout::LARGEST_PART;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;
/// The most bytes of a component, which is read into memory.
const LARGEST_COMPONENT: u64 = 1 << 30;
/// The most characters of a name.
const LONGEST_NAME: usize = 150;

/// All that a bundle holds, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    version: u32,
    /// The component without the bundle's sections.
    pub component: Blob,
    /// The models; at least one.
    pub models: Vec<Model>,
}

/// So many bytes with this digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// How many.
    pub size: u64,
    /// Their digest.
    pub sha256: Digest,
}

/// A model that the component loads by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// The format of the files, as `--nn-preload` names it.
    pub encoding: String,
    /// The device that computes, as `--nn-preload` names it.
    pub target: String,
    /// The files, in the order that the backend expects; at least one.
    pub files: Vec<ModelFile>,
}

/// A file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// The name, without a folder: as for a model.
    pub name: String,
    /// Bytes of all parts.
    pub size: u64,
    /// The digest of the whole file, which is not only what is said of it: unpacked files are found by it.
    pub sha256: Digest,
    /// The pieces in which the file is kept.
    pub parts: Vec<Blob>,
}

/// The version alone, of an index whose other content is not known.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Index {
    pub(crate) fn new(component: Blob, models: Vec<Model>) -> Result<Index, Error> {
        let index = Index {
            version: VERSION,
            component,
            models,
        };
        index.check()?;
        Ok(index)
    }

    pub(crate) fn parse(json: &[u8]) -> Result<Index, Error> {
        let bad = |error| Error::damaged(format!("the bundle's index is no index: {error}"));
        let Version { version } = serde_json::from_slice(json).map_err(bad)?;
        if version != VERSION {
            return Err(
                Error::new(format!("the bundle's index has the version {version}"))
                    .expected(format!("version {VERSION}"))
                    .next_step("use the release of llm-wasi that wrote it, or a later one"),
            );
        }
        let index: Index = serde_json::from_slice(json).map_err(bad)?;
        index.check()?;
        Ok(index)
    }

    pub(crate) fn to_json(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self)
            .map_err(|error| Error::new(format!("the index cannot be written: {error}")))
    }

    /// The model of this name.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name == name)
    }

    /// The parts of all files, with what messages call them.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Part<'_>, &Blob)> {
        self.models.iter().flat_map(|model| {
            model.files.iter().flat_map(move |file| {
                file.parts.iter().enumerate().map(move |(at, blob)| {
                    let part = Part {
                        model,
                        file,
                        number: at + 1,
                    };
                    (part, blob)
                })
            })
        })
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::new(format!("the bundle's index {what}")));
        if !(8..=LARGEST_COMPONENT).contains(&self.component.size) {
            return wrong(format!(
                "names a component of {} bytes, which none has here",
                self.component.size
            ));
        }
        if self.models.is_empty() {
            return wrong("names no model".to_string());
        }
        let mut names = BTreeSet::new();
        let mut total = self.component.size;
        for model in &self.models {
            check_name("a model", &model.name)?;
            check_name("an encoding", &model.encoding)?;
            check_name("a target", &model.target)?;
            if !names.insert(&model.name) {
                return wrong(format!("names the model `{}` twice", model.name));
            }
            if model.files.is_empty() {
                return wrong(format!("names no file of the model `{}`", model.name));
            }
            let mut files = BTreeSet::new();
            for file in &model.files {
                check_name("a file", &file.name)?;
                // Some systems do not tell them apart.
                if !files.insert(file.name.to_ascii_lowercase()) {
                    return wrong(format!("names the file {} twice", file.name));
                }
                let mut size = 0_u64;
                for part in &file.parts {
                    if part.size == 0 || part.size > LARGEST_PART {
                        return wrong(format!("names a part of {} bytes", part.size));
                    }
                    size = size.saturating_add(part.size);
                }
                if file.parts.is_empty() || size != file.size {
                    return wrong(format!(
                        "gives the file {} {} bytes and its parts {size}",
                        file.name, file.size
                    ));
                }
                // Of several parts together only reading them tells.
                if let [part] = file.parts.as_slice()
                    && part.sha256 != file.sha256
                {
                    return wrong(format!(
                        "gives the file {} the sha256 {} and its only part {}",
                        file.name, file.sha256, part.sha256
                    ));
                }
                total = total.saturating_add(size);
            }
        }
        // There has to be room for padding and headers.
        if total > u64::MAX / 4 {
            return wrong(format!("names {total} bytes, more than a file can have"));
        }
        Ok(())
    }
}

/// A part of a file, for messages.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) model: &'a Model,
    pub(crate) file: &'a ModelFile,
    /// From 1.
    pub(crate) number: usize,
}

impl std::fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "part {} of {} of the file {} of the model `{}`",
            self.number,
            self.file.parts.len(),
            self.file.name,
            self.model.name
        )
    }
}

/// Names become those of files, and are printed.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let good = name.len() <= LONGEST_NAME
        && name.bytes().all(plain)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && !name.ends_with('.');
    if good {
        return Ok(());
    }
    let found: String = name.chars().take(LONGEST_NAME).collect();
    Err(Error::new(format!(
        "`{}` is no name of {what} in a bundle",
        found.escape_debug()
    ))
    .expected(format!(
        "letters, digits, `.`, `_` and `-`, at most {LONGEST_NAME}; the first is a letter or a digit, and \
         the last is not `.`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(size: u64) -> Blob {
        Blob {
            size,
            sha256: Digest::of(b""),
        }
    }

    fn index(size: u64, parts: &[u64]) -> Index {
        let file = ModelFile {
            name: "default.gguf".to_string(),
            size,
            sha256: Digest::of(b""),
            parts: parts.iter().map(|size| blob(*size)).collect(),
        };
        let model = Model {
            name: "default".to_string(),
            encoding: "GGML".to_string(),
            target: "AUTO".to_string(),
            files: vec![file],
        };
        Index {
            version: VERSION,
            component: blob(8),
            models: vec![model],
        }
    }

    fn message(index: &Index) -> String {
        index.check().unwrap_err().to_string()
    }

    #[test]
    fn a_good_index_is_read_as_it_was_written() {
        let large = index(5 << 30, &[LARGEST_PART, (5 << 30) - LARGEST_PART]);
        let json = large.to_json().unwrap();
        assert_eq!(Index::parse(&json).unwrap(), large);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(message(&index(3, &[])).contains("3 bytes and its parts 0"));
        assert!(message(&index(3, &[1, 1])).contains("3 bytes and its parts 2"));
        assert!(message(&index(3, &[3, 0])).contains("a part of 0 bytes"));
        let larger = LARGEST_PART + 1;
        assert!(message(&index(larger, &[larger])).contains("names a part of"));
        let mut twice = index(1, &[1]);
        twice.models.push(twice.models[0].clone());
        assert!(message(&twice).contains("`default` twice"));
        let mut files = index(1, &[1]);
        let mut upper = files.models[0].files[0].clone();
        upper.name = "Default.gguf".to_string();
        files.models[0].files.push(upper);
        assert!(message(&files).contains("Default.gguf twice"));
        let mut none = index(1, &[1]);
        none.models.clear();
        assert!(message(&none).contains("names no model"));
        let mut short = index(1, &[1]);
        short.component.size = 7;
        assert!(message(&short).contains("component of 7 bytes"));
    }

    #[test]
    fn names_lead_nowhere_else() {
        for bad in ["", "..", ".hidden", "a/b", "a\\b", "c:", "a\n", "ä", "a."] {
            assert!(check_name("a file", bad).is_err(), "{bad}");
        }
        check_name("a file", "SmolLM2-135M.Q4_1-00001-of-00002.gguf").unwrap();
    }

    #[test]
    fn another_version_is_named() {
        let error = Index::parse(br#"{"version":2,"new":true}"#).unwrap_err();
        assert!(error.to_string().contains("version 2"), "{error}");
        for bad in ["", "{}", "[]", r#"{"version":1}"#, r#"{"version":-1}"#] {
            assert!(Index::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
