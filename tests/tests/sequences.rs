//! Generated sequences of calls, valid and hostile: a core module on Wasmtime's host for core modules
//! and the same module adapted on its WIT host must give the same errnos and the same memory, call by
//! call, but for the table in [`differences`].

use llm_wasi_tests::backend::MODELS;
use llm_wasi_tests::differences;
use llm_wasi_tests::guest::{Guest, RESERVED, dialect};
use llm_wasi_tests::machine::{AdaptedProgram, CoreProgram, Machine, Outcome, Way};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const NAME: u32 = 16;
const TENSOR: u32 = 80;
const BUILDER: u32 = 112;
const RESULT: u32 = 128;
const MODEL: u32 = 144;
const DIMENSIONS: u32 = 1024;
const DATA: u32 = 2048;
const BUFFER: u32 = 40_000;

#[derive(Clone, Debug)]
enum Call {
    LoadByName(usize),
    Load {
        model: u8,
        encoding: u32,
        target: u32,
    },
    Init(u32),
    SetInput {
        context: u32,
        index: u32,
        ty: u8,
        dimensions: Vec<u32>,
        data: Vec<u8>,
    },
    Compute(u32),
    GetOutput {
        context: u32,
        index: u32,
        max: u32,
    },
}

/// Mostly valid handles, some unknown ones.
fn handle() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..3u32, 1 => 3..6u32, 1 => any::<u32>()]
}

fn index() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..8u32, 1 => Just(u32::MAX), 1 => any::<u32>()]
}

fn call() -> impl Strategy<Value = Call> {
    let max = prop_oneof![
        Just(0u32),
        1..64u32,
        Just(4003u32),
        Just(4004u32),
        Just(69_999u32),
        Just(80_000u32)
    ];
    let dimensions = prop::collection::vec(0..9u32, 0..6);
    let data = prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        2 => (0..MODELS.len() + 1).prop_map(Call::LoadByName),
        1 => (any::<u8>(), 0..8u32, 0..5u32)
            .prop_map(|(model, encoding, target)| Call::Load { model, encoding, target }),
        3 => handle().prop_map(Call::Init),
        6 => (handle(), index(), 0..8u8, dimensions, data).prop_map(
            |(context, index, ty, dimensions, data)| Call::SetInput { context, index, ty, dimensions, data }
        ),
        5 => handle().prop_map(Call::Compute),
        8 => (handle(), index(), max)
            .prop_map(|(context, index, max)| Call::GetOutput { context, index, max }),
    ]
}

/// Two models tell their faults at other times in the WIT world: this one when an input is set, that
/// one by other names of inputs.
fn apart(model: usize) -> bool {
    matches!(MODELS[model % MODELS.len()].0, "picky" | "named")
}

fn words(machine: &mut dyn Machine, at: u32, values: &[u32]) {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    machine.write(at, &bytes);
}

/// Makes a call; gives its function and how it ended.
fn make(machine: &mut dyn Machine, call: &Call) -> (&'static str, Outcome) {
    match call {
        Call::LoadByName(model) => {
            let name = MODELS.get(*model).map_or("nobody", |(name, _)| name);
            machine.write(NAME, name.as_bytes());
            let length = u32::try_from(name.len()).expect("names are short");
            (
                "load_by_name",
                machine.call("load_by_name", &[NAME, length, RESULT]),
            )
        }
        Call::Load {
            model,
            encoding,
            target,
        } => {
            machine.write(MODEL, &[*model, 1, 2]);
            words(machine, BUILDER, &[MODEL, 3]);
            let arguments = [BUILDER, 1, *encoding, *target, RESULT];
            ("load", machine.call("load", &arguments))
        }
        Call::Init(graph) => {
            let outcome = machine.call("init_execution_context", &[*graph, RESULT]);
            ("init_execution_context", outcome)
        }
        Call::SetInput {
            context,
            index,
            ty,
            dimensions,
            data,
        } => {
            words(machine, DIMENSIONS, dimensions);
            machine.write(DATA, data);
            let rank = u32::try_from(dimensions.len()).expect("few dimensions");
            let length = u32::try_from(data.len()).expect("few bytes");
            // The three bytes behind the type are undefined.
            let ty = u32::from(*ty) | 0xa5c3_7f00;
            words(machine, TENSOR, &[DIMENSIONS, rank, ty, DATA, length]);
            let arguments = [*context, *index, TENSOR];
            ("set_input", machine.call("set_input", &arguments))
        }
        Call::Compute(context) => ("compute", machine.call("compute", &[*context])),
        Call::GetOutput {
            context,
            index,
            max,
        } => {
            let arguments = [*context, *index, BUFFER, *max, RESULT];
            ("get_output", machine.call("get_output", &arguments))
        }
    }
}

#[test]
fn errnos_and_memory_are_the_same() {
    let guest = Guest::all(dialect("wasi-nn"));
    let core = CoreProgram::new(&guest.wasm());
    let adapted = AdaptedProgram::new(&Way::portable("wasi-nn").componentize(&guest));
    let size = guest.size() - RESERVED;
    let mut config = Config::with_cases(256);
    // A failure is printed with the sequence that shows it, made as short as it gets.
    config.failure_persistence = None;
    let sequences = prop::collection::vec(call(), 1..40).prop_map(|mut calls| {
        // Most sequences get somewhere.
        let beginning = [
            Call::LoadByName(0),
            Call::LoadByName(2),
            Call::Init(0),
            Call::Init(1),
        ];
        calls.splice(0..0, beginning);
        calls.retain(|call| match call {
            Call::LoadByName(model) => *model == MODELS.len() || !apart(*model),
            Call::Load { model, .. } => !apart(usize::from(*model)),
            _ => true,
        });
        calls
    });
    let mut accepted = std::collections::BTreeSet::new();
    let seen = std::cell::RefCell::new(&mut accepted);
    TestRunner::new(config)
        .run(&sequences, |calls| {
            let mut a = core.start();
            let mut b = adapted.start();
            for (position, call) in calls.iter().enumerate() {
                let (function, expected) = make(&mut a, call);
                let (_, found) = make(&mut b, call);
                if expected != found {
                    let Some(difference) = differences::find(function, &expected, &found) else {
                        return Err(TestCaseError::fail(format!(
                            "call {position}, {call:?}: {expected:?} before, {found:?} adapted"
                        )));
                    };
                    seen.borrow_mut()
                        .insert((difference.function, difference.when));
                }
                prop_assert!(
                    a.read(0, size) == b.read(0, size),
                    "call {position}, {call:?}: the memories differ"
                );
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    // An entry that no call shows any more has no place in the table.
    for difference in &differences::DIFFERENCES {
        assert!(
            accepted.contains(&(difference.function, difference.when)),
            "no call showed this difference: {difference:?}"
        );
    }
}

/// `docs/fidelity.md` holds the table of differences; `BLESS=1` writes it there.
#[test]
fn the_documented_table_is_the_tested_one() {
    const BEGIN: &str = "<!-- BEGIN differences -->\n";
    const END: &str = "<!-- END differences -->";
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/fidelity.md");
    let text = std::fs::read_to_string(file).expect("docs/fidelity.md is there");
    let (before, rest) = text
        .split_once(BEGIN)
        .expect("it has the begin of the table");
    let (found, after) = rest.split_once(END).expect("it has the end of the table");
    let expected = differences::table();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, format!("{before}{BEGIN}{expected}{END}{after}"))
            .expect("docs/fidelity.md can be written");
    } else {
        assert_eq!(found, expected, "run the tests with BLESS=1");
    }
}

/// Cycles leave nothing behind: neither memory of the guest nor resources of the host.
#[test]
fn a_million_cycles_leave_nothing() {
    let guest = Guest::all(dialect("wasmedge"));
    let adapted = AdaptedProgram::new(&Way::portable("wasmedge").componentize(&guest));
    let mut b = adapted.start();
    let ok = |outcome: Outcome| assert_eq!(outcome, Outcome::Errno(0));
    ok(make(&mut b, &Call::LoadByName(8)).1);
    ok(make(&mut b, &Call::Init(0)).1);
    let input = Call::SetInput {
        context: 0,
        index: 0,
        ty: 3,
        dimensions: vec![100],
        data: vec![7; 100],
    };
    ok(make(&mut b, &input).1);
    let cycle = |b: &mut dyn Machine| {
        ok(b.call("set_input", &[0, 0, TENSOR]));
        ok(b.call("compute", &[0]));
        ok(b.call("get_output", &[0, 0, BUFFER, 4004, RESULT]));
    };
    let churn = |b: &mut dyn Machine, next: u32| {
        ok(b.call("load_by_name", &[NAME, 5, RESULT]));
        ok(b.call("init_execution_context", &[next, RESULT]));
        ok(b.call("set_input", &[next, 3, TENSOR]));
        ok(b.call("compute", &[next]));
        ok(b.call("unload", &[next]));
        ok(b.call("finalize_execution_context", &[next]));
        // Handles are never given twice.
        assert_eq!(b.call("compute", &[next]), Outcome::Errno(1));
    };
    for _ in 0..100 {
        cycle(&mut b);
    }
    for next in 1..100 {
        churn(&mut b, next);
    }
    let before = (
        b.number("pages", &[]),
        b.resources(),
        b.counters.graphs(),
        b.counters.contexts(),
    );
    for _ in 0..1_000_000 {
        cycle(&mut b);
    }
    for next in 100..100_100 {
        churn(&mut b, next);
    }
    let after = (
        b.number("pages", &[]),
        b.resources(),
        b.counters.graphs(),
        b.counters.contexts(),
    );
    assert_eq!(before, after, "pages, resources, graphs, contexts");
}

/// Guests in C, Rust and Go that fill their heaps with patterns between nn calls, the first of them
/// before its allocator has started.
#[test]
fn the_guests_allocators_are_left_alone() {
    for name in [
        "memory_pressure",
        "memory_pressure_first",
        "pressure",
        "go_pressure",
    ] {
        let file = format!(
            "{}/../fixtures/wasm/{name}.wasm",
            env!("CARGO_MANIFEST_DIR")
        );
        let module = std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let component =
            llm_wasi_componentize::componentize(&module, &Way::portable("wasi-nn").options())
                .unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let mut machine = AdaptedProgram::new(&component.bytes).start();
        match machine.run() {
            Ok(Ok(())) => {}
            // Go's programs always end by an exit.
            Err(error)
                if error
                    .downcast_ref::<wasmtime_wasi::I32Exit>()
                    .is_some_and(|exit| exit.0 == 0) => {}
            other => panic!("{name} ended with {other:?}"),
        }
    }
}
