//! All of WasmEdge's functions against a written model, in both profiles.

use llm_wasi_componentize::{Profile, Target};
use llm_wasi_tests::guest::{Guest, RESERVED, dialect};
use llm_wasi_tests::machine::{Host, Machine, Outcome, Way};
use llm_wasi_tests::model::Legacy;
use llm_wasi_tests::{runner, script};
use proptest::prop_assert;
use std::cell::RefCell;
use std::collections::BTreeMap;

#[test]
fn portable() {
    check("wasmedge-portable", &Way::portable("wasmedge"));
}

#[test]
fn portable_for_the_earlier_wit() {
    let mut way = Way::portable("wasmedge");
    way.target = Target::Rc20240819;
    check("wasmedge-portable-2024-08-19", &way);
}

#[test]
fn extended() {
    let mut way = Way::portable("wasmedge");
    way.profile = Profile::Extended;
    check("wasmedge-extended", &way);
}

fn check(name: &'static str, way: &Way) {
    let guest = Guest::all(dialect("wasmedge"));
    let host = way.host();
    let adapted = way.program(&guest);
    let size = guest.size();
    let area = (size - RESERVED) as usize;
    let seen = RefCell::new(BTreeMap::<(&str, u32), usize>::new());
    runner::check(name, runner::cases(), &script::wasmedge(), |steps| {
        let mut model = Legacy::new(host, size);
        let mut ours = adapted.start();
        let idle = ours.counters.graphs();
        for step in &steps {
            for (at, bytes) in &step.writes {
                ours.write(*at, bytes);
                model.memory[*at as usize..][..bytes.len()].copy_from_slice(bytes);
            }
            let outcome = ours.call(step.function, &step.arguments);
            prop_assert!(outcome != Outcome::Panic, "{step:?}: the host panicked");
            let Ok(expected) = model.call(step.function, &step.arguments) else {
                // A pointer beyond memory.
                return Ok(());
            };
            prop_assert!(
                outcome == Outcome::Errno(expected),
                "{step:?}: expected {expected}, found {outcome:?}"
            );
            *seen
                .borrow_mut()
                .entry((step.function, expected))
                .or_default() += 1;
            // `peek` leaves address and length there.
            model.memory[area..][..4].fill(0);
            model.memory[area + 4..][..4].copy_from_slice(&size.to_le_bytes());
            let memory = ours.read(0, size);
            if memory != model.memory {
                let pairs = memory.iter().zip(&model.memory);
                let at = pairs.into_iter().position(|(a, b)| a != b).unwrap_or(0);
                prop_assert!(false, "{step:?}: memory differs at {at:#x}");
            }
            let (graphs, contexts) = model.alive();
            let alive = ours.counters.contexts();
            prop_assert!(alive == contexts as i64, "{step:?}: {alive} contexts");
            if host != Host::Wasmtime {
                let alive = ours.counters.graphs() - idle;
                prop_assert!(alive == graphs as i64, "{step:?}: {alive} graphs");
            }
        }
        Ok(())
    });
    let seen = seen.into_inner();
    println!("{seen:?}");
    // A test that never gets anywhere would pass as well.
    if runner::cases() < 1024 {
        return;
    }
    for (function, _) in script::SPEC.iter().chain(&script::WASMEDGE) {
        for errno in [0, 1] {
            assert!(
                seen.contains_key(&(function, errno)),
                "{function} never gave {errno}: {seen:?}"
            );
        }
    }
    for case in [
        ("get_output", 7),
        ("get_output_single", 7),
        ("compute_single", 100),
        ("compute", 5),
        ("load", 2),
        ("load_by_name", 8),
        ("load_by_name_with_config", 8),
    ] {
        assert!(seen.contains_key(&case), "never seen: {case:?}: {seen:?}");
    }
}
