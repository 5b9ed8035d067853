//! A component and its models in one file, which is a component itself.
//!
//! The models are custom sections, which every other tool passes over. All that is in the file is named,
//! with size and digest, by an index at its beginning; a signature of the index is one of the file.
//!
//! 1. [`Writer`] writes a bundle: the component, then files piece by piece.
//! 2. [`Bundle`] reads one: it checks that everything is at its place before it gives anything away, and the
//!    digest of everything that it gives.
//! 3. [`sign`] makes signatures and checks them.
//! 4. [`Cache`] unpacks models once, as backends load files and not sections.
//!
//! ```text
//! \0asm …                    the preamble of a component
//! llm-wasi:index             digest and JSON: an `Index`
//! llm-wasi:signature         if it is signed: a signature of the JSON, as minisign writes it
//! …                          the component's own sections, unchanged
//! llm-wasi:padding           zeros, so that what follows begins at a multiple of 64 KiB
//! llm-wasi:part:SHA-256      the first part of the first file
//! …                          padding and the next part, in the order of the index
//! ```
//!
//! There is one way only to write what an index says, so a reader can expect every byte between the parts.

mod cache;
mod digest;
mod error;
mod index;
mod known;
mod layout;
#[cfg(test)]
mod mutations;
mod read;
mod section;
pub mod sign;
mod write;

pub use cache::{Cache, Seen, Unpacked};
pub use digest::{Digest, PIECE, Sum, of_file, of_file_with};
pub use error::Error;
pub use index::{Blob, Index, Model, ModelFile};
pub use read::{Bundle, Progress};
pub use write::{PART_SIZE, Writer};
