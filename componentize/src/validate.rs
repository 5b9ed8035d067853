//! Validation, of what comes in and of what goes out.

use crate::input::truncated;
use crate::refusal::{Reason, Refusal};
use wasmparser::{BinaryReaderError, Validator, WasmFeatures};

/// What a module or a component may use: WebAssembly 3 and the component model, as hosts of WASI
/// have it switched on. Proposals that hosts do not run by default are left out, so that a guest
/// which uses them is refused here and not by its host.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::WASM3
    .union(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::COMPONENT_MODEL)
    .union(WasmFeatures::CM_ASYNC);

/// Validates a component that was made here, function bodies included.
///
/// These are the guest's own bodies, which were not looked at before: a failure is the guest's if
/// the guest alone fails too.
pub(crate) fn output(component: &[u8], module: &[u8]) -> Result<(), Refusal> {
    let Err(error) = Validator::new_with_features(FEATURES).validate_all(component) else {
        return Ok(());
    };
    crate::analysis::analyze_binary(module, crate::analysis::Code::Validate)?;
    Err(Refusal::new(
        Reason::Encoder,
        format!("the component that was made is not valid: {error}"),
        "a valid component",
        "check the adapters given with --adapt; without any, report this with the module",
    ))
}

/// Validates a component that was given. Its host judges what it may use.
pub(crate) fn component(bytes: &[u8]) -> Result<(), Refusal> {
    Validator::new_with_features(WasmFeatures::all())
        .validate_all(bytes)
        .map(drop)
        .map_err(|error| invalid(&error, bytes.len(), "component"))
}

/// The refusal for what the validator or the parser says about an input.
pub(crate) fn invalid(error: &BinaryReaderError, length: usize, what: &str) -> Refusal {
    // Only the message tells an early end from other mistakes.
    if error.message().starts_with("unexpected end") {
        return truncated(length);
    }
    Refusal::new(
        Reason::Invalid,
        format!("the {what} is not valid: {error}"),
        format!("a valid {what} of WebAssembly 3"),
        "build it again, without experimental features",
    )
}
