//! Failures as exceptions.

use llm_wasi_host::Error;

/// What the functions of this addon give.
pub(crate) type Result<T> = std::result::Result<T, napi::Error<&'static str>>;

pub(crate) fn exception(error: Error) -> napi::Error<&'static str> {
    napi::Error::new(error.code.name(), error.message)
}

/// The failure of everything that is used after `dispose`.
pub(crate) fn disposed(what: &str) -> Error {
    Error::invalid(format!(
        "expected a {what} that is in use, found one that was disposed of"
    ))
}
