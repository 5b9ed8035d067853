//! Cycles leave nothing behind: neither memory of the guest nor resources of the host.

use llm_wasi_tests::calls::*;
use llm_wasi_tests::guest::{Guest, dialect};
use llm_wasi_tests::machine::{Adapted, AdaptedProgram, Machine, Outcome, Way};

fn ok(outcome: Outcome) {
    assert_eq!(outcome, Outcome::Errno(0));
}

/// Pages, resources, graphs and contexts.
fn held(machine: &mut Adapted) -> (u32, usize, i64, i64) {
    (
        // `memory.size` hides the adapter's pages; growing by nothing does not.
        machine.number("grow", &[0]),
        machine.resources(),
        machine.counters.graphs(),
        machine.counters.contexts(),
    )
}

fn start(dialect_name: &'static str) -> Adapted {
    let guest = Guest::all(dialect(dialect_name));
    AdaptedProgram::new(&Way::portable(dialect_name).componentize(&guest)).start()
}

#[test]
fn a_million_computations() {
    let mut machine = start("wasi-nn");
    let context = open(&mut machine, "bench");
    ok(set_input(&mut machine, context, 0, &[7; 100]));
    let cycle = |machine: &mut Adapted| {
        ok(machine.call("set_input", &[context, 0, TENSOR]));
        ok(machine.call("compute", &[context]));
        ok(machine.call("get_output", &[context, 0, BUFFER, 4004, RESULT]));
    };
    for _ in 0..10 {
        cycle(&mut machine);
    }
    let before = held(&mut machine);
    for _ in 0..1_000_000 {
        cycle(&mut machine);
    }
    assert_eq!(before, held(&mut machine));
}

/// Failures on the way, inputs of other sizes and buffers that are too small leave nothing either.
#[test]
fn failures_and_odd_sizes() {
    let mut machine = start("wasmedge");
    let contexts: Vec<u32> = ["moody", "big", "renamed", "needs-two", "silent"]
        .iter()
        .map(|name| open(&mut machine, name))
        .collect();
    let round = |machine: &mut Adapted, round: u32| {
        for context in &contexts {
            let length = (round * 7919 + context * 104_729) % 3000 + 1;
            let first = if round.is_multiple_of(3) { 200 } else { 1 };
            let data = vec![first; length as usize];
            ok(set_input(machine, *context, round % 5, &data));
            machine.call("compute", &[*context]);
            for index in 0..6 {
                machine.call("get_output", &[*context, index, BUFFER, length, RESULT]);
            }
            machine.call("init_execution_context", &[77, RESULT]);
            machine.call("set_input", &[77, 0, TENSOR]);
        }
        assert_eq!(load_by_name(machine, "nobody"), Outcome::Errno(8));
        // What loads fails to make a context.
        assert_eq!(load_by_name(machine, "no-context"), Outcome::Errno(0));
        let graph = machine.word(RESULT);
        assert_eq!(init(machine, graph), Outcome::Errno(5));
        ok(machine.call("unload", &[graph]));
    };
    for i in 0..300 {
        round(&mut machine, i);
    }
    let before = held(&mut machine);
    // A multiple of every period above, so that it ends as it began.
    for i in 300..6300 {
        round(&mut machine, i);
    }
    assert_eq!(before, held(&mut machine));
}

#[test]
fn a_hundred_thousand_graphs_and_contexts() {
    let mut machine = start("wasmedge");
    machine.write(NAME, b"bench");
    machine.write(NAME + 8, br#"{"n":1}"#);
    write_tensor(&mut machine, TENSOR, &[100], 3, &[7; 100]);
    let churn = |machine: &mut Adapted, next: u32| {
        let with_config = [NAME, 5, NAME + 8, 7, RESULT];
        ok(machine.call("load_by_name_with_config", &with_config));
        assert_eq!(machine.word(RESULT), next);
        ok(machine.call("init_execution_context", &[next, RESULT]));
        assert_eq!(machine.word(RESULT), next);
        ok(machine.call("set_input", &[next, 3, TENSOR]));
        ok(machine.call("compute", &[next]));
        // A context outlives its graph.
        ok(machine.call("unload", &[next]));
        ok(machine.call("get_output", &[next, 0, BUFFER, 4004, RESULT]));
        ok(machine.call("finalize_execution_context", &[next]));
        // Handles are never given twice.
        assert_eq!(machine.call("compute", &[next]), Outcome::Errno(1));
        assert_eq!(init(machine, next), Outcome::Errno(1));
    };
    for next in 0..100 {
        churn(&mut machine, next);
    }
    let before = held(&mut machine);
    for next in 100..100_100 {
        churn(&mut machine, next);
    }
    assert_eq!(before, held(&mut machine));
}
