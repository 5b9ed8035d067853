//! A file that has arrived, and what can go wrong with its disk.

use crate::failure::Failure;
use crate::models::http::Validator;
use llm_wasi_bundle::Digest;
use std::io::{Error, ErrorKind};
use std::path::Path;

/// What is known of a file once it is there.
pub(crate) struct Fetched {
    pub(crate) size: u64,
    pub(crate) sha256: Digest,
    /// By what the server tells versions of the file apart.
    pub(crate) validator: Option<Validator>,
}

/// The failure to do something with a file or folder of the store.
pub(crate) fn cannot(action: &str, path: &Path, error: &Error) -> Failure {
    let failure = Failure::new(format!("cannot {action} {}", path.display())).cause(error);
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => failure
            .expected("enough space for the model")
            .next_step(
                "make room, or set LLM_WASI_MODELS to a folder of another disk; then run the command \
                 again",
            ),
        ErrorKind::FileTooLarge => failure
            .expected("a file system and limits that allow a file of this size")
            .next_step(
                "set LLM_WASI_MODELS to a folder of another disk, or raise the limit (`ulimit -f`)",
            ),
        _ => failure.next_step(
            "check the folder and its permissions; LLM_WASI_MODELS names another one",
        ),
    }
}
