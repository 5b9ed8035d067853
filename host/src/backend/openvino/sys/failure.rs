//! Why a call failed.

use super::take_text;
use crate::backend::brief;
use openvino_sys::{ov_get_last_err_msg, ov_status_e};
use std::fmt;

/// Why a call failed.
#[derive(Debug)]
pub(in crate::backend::openvino) struct Failure {
    pub(super) status: ov_status_e,
    text: String,
}

impl Failure {
    /// The failure of the call that gave this status.
    fn of(status: ov_status_e) -> Self {
        // The library has one text for all threads, and does not set it for wrong arguments.
        let text = match status {
            ov_status_e::INVALID_C_PARAM => None,
            // SAFETY: no preconditions; the text is a copy for the caller.
            _ => unsafe { take_text(ov_get_last_err_msg()) },
        };
        Self {
            status,
            text: text.unwrap_or_default(),
        }
    }

    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            status: ov_status_e::UNEXPECTED,
            text: text.into(),
        }
    }

    /// Whether what was passed is at fault.
    pub(in crate::backend::openvino) fn is_argument(&self) -> bool {
        matches!(
            self.status,
            ov_status_e::PARAMETER_MISMATCH | ov_status_e::OUT_OF_BOUNDS
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() {
            return write!(f, "{:?}", self.status);
        }
        // Texts have several lines; the first ones name places in the library's sources.
        let lines = self.text.lines();
        let lines = lines.filter(|line| !line.trim_start().starts_with("Exception from"));
        f.write_str(&brief(lines))
    }
}

pub(super) fn check(status: ov_status_e) -> Result<(), Failure> {
    match status {
        ov_status_e::OK => Ok(()),
        _ => Err(Failure::of(status)),
    }
}
