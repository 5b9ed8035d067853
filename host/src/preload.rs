//! Models that the host knows by name, and the notation for them that WasmEdge uses.

use crate::backend::{Encoding, Target, UnknownName};
use std::path::PathBuf;
use std::str::FromStr;

/// A model that guests load by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preload {
    /// The name.
    pub name: String,
    /// The format of the model's files.
    pub encoding: Encoding,
    /// The device that computes.
    pub target: Target,
    /// The model's files, in the order that the backend expects.
    pub paths: Vec<PathBuf>,
    /// The backend's options as a JSON object; what a guest names overrides them.
    pub configuration: Option<String>,
}

/// Why a text is not `NAME:ENCODING:TARGET:PATH[:PATH…]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreloadError {
    /// There are fewer than four parts.
    #[error("expected NAME:ENCODING:TARGET:PATH[:PATH…], found `{text}`, which lacks {missing}")]
    Missing {
        /// The whole text.
        text: String,
        /// The first part that is not there.
        missing: &'static str,
    },
    /// A part is empty.
    #[error("expected NAME:ENCODING:TARGET:PATH[:PATH…], found `{text}`, whose {part} is empty")]
    Empty {
        /// The whole text.
        text: String,
        /// The part.
        part: &'static str,
    },
    /// The encoding is unknown.
    #[error("the encoding in `{text}`: {reason}")]
    Encoding {
        /// The whole text.
        text: String,
        /// What is allowed.
        reason: UnknownName,
    },
    /// The target is unknown.
    #[error("the target in `{text}`: {reason}")]
    Target {
        /// The whole text.
        text: String,
        /// What is allowed.
        reason: UnknownName,
    },
}

impl FromStr for Preload {
    type Err = PreloadError;

    fn from_str(text: &str) -> Result<Self, PreloadError> {
        let mut parts = text.split(':');
        let mut next = |part| match parts.next() {
            None => Err(PreloadError::Missing {
                text: text.to_owned(),
                missing: part,
            }),
            Some("") => Err(PreloadError::Empty {
                text: text.to_owned(),
                part,
            }),
            Some(found) => Ok(found),
        };
        let name = next("NAME")?.to_owned();
        let encoding = next("ENCODING")?;
        let target = next("TARGET")?;
        let mut paths = vec![PathBuf::from(next("PATH")?)];
        for path in parts {
            if path.is_empty() {
                return Err(PreloadError::Empty {
                    text: text.to_owned(),
                    part: "PATH",
                });
            }
            paths.push(path.into());
        }
        Ok(Self {
            name,
            encoding: encoding.parse().map_err(|reason| PreloadError::Encoding {
                text: text.to_owned(),
                reason,
            })?,
            target: target.parse().map_err(|reason| PreloadError::Target {
                text: text.to_owned(),
                reason,
            })?,
            paths,
            configuration: None,
        })
    }
}
