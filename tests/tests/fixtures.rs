//! The committed guests as components.

use llm_wasi_componentize::componentize;
use llm_wasi_tests::machine::{AdaptedProgram, Way};
use wasmtime_wasi::I32Exit;

/// A committed guest.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let file = format!("{}/../fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Guests in C, Rust and Go that fill their heaps with patterns between nn calls, one of them with nn
/// before its allocator has started.
#[test]
fn the_guests_allocators_are_left_alone() {
    for name in [
        "memory_pressure",
        "memory_pressure_first",
        "pressure",
        "go_pressure",
    ] {
        let module = fixture(&format!("wasm/{name}.wasm"));
        let component = componentize(&module, &Way::portable("wasi-nn").options())
            .unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let mut machine = AdaptedProgram::new(&component.bytes).start();
        match machine.run() {
            Ok(Ok(())) => {}
            // Go's programs always end by an exit.
            Err(error) if error.downcast_ref::<I32Exit>().is_some_and(|e| e.0 == 0) => {}
            other => panic!("{name} ended with {other:?}"),
        }
        // It has made contexts and kept them.
        assert!(machine.counters.contexts() >= 100, "{name} did not run");
    }
}
