//! Each entry of the table of differences is true, and `docs/fidelity.md` has the table.

use llm_wasi_componentize::{Profile, Target};
use llm_wasi_tests::calls::*;
use llm_wasi_tests::differences::{self, DIFFERENCES, Ours};
use llm_wasi_tests::guest::{Guest, PAGE, dialect};
use llm_wasi_tests::machine::{AdaptedProgram, CoreProgram, Machine, Outcome, Way};

/// Makes the call of a difference; gives how it ended. `None` for an id that nothing shows.
fn demonstrate(id: &str, function: &str, machine: &mut dyn Machine) -> Option<Outcome> {
    let out = RESULT;
    let echo = |machine: &mut dyn Machine| open(machine, "echo");
    let words = |machine: &mut dyn Machine, at: u32, words: &[u32]| {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        machine.write(at, &bytes);
    };
    Some(match (id, function) {
        ("unknown-graph", _) => init(machine, 7),
        ("unknown-context", "set_input") => set_input(machine, 7, 0, b"x"),
        ("unknown-context", "compute") => machine.call("compute", &[7]),
        ("unknown-context", _) => machine.call("get_output", &[7, 0, BUFFER, 9, out]),
        ("unknown-name", _) => load_by_name(machine, "nobody"),
        ("encoding-without-backend" | "bad-encoding-tag" | "bad-target-tag", _) => {
            machine.write(DATA, b"model");
            words(machine, TENSOR, &[DATA, 5]);
            let (encoding, target) = match id {
                "encoding-without-backend" => (3, 0),
                "bad-encoding-tag" => (6, 0),
                _ => (1, 3),
            };
            machine.call("load", &[TENSOR, 1, encoding, target, out])
        }
        ("bad-tensor-type-tag", _) => {
            let context = echo(machine);
            write_tensor(machine, TENSOR, &[1], 6, b"x");
            machine.call("set_input", &[context, 0, TENSOR])
        }
        ("bad-text", _) => {
            machine.write(NAME, &[0xc0, 0x80]);
            machine.call("load_by_name", &[NAME, 2, out])
        }
        ("unaligned", "load") => {
            machine.write(DATA, b"\0model");
            words(machine, TENSOR + 1, &[DATA, 6]);
            machine.call("load", &[TENSOR + 1, 1, 1, 0, out])
        }
        ("unaligned", "load_by_name") => {
            machine.write(NAME, b"echo");
            machine.call("load_by_name", &[NAME, 4, out + 2])
        }
        ("unaligned", "init_execution_context") => {
            load_by_name(machine, "echo");
            machine.call("init_execution_context", &[0, out + 1])
        }
        ("unaligned", "set_input") => {
            let context = echo(machine);
            write_tensor(machine, TENSOR + 3, &[1], 3, b"x");
            machine.call("set_input", &[context, 0, TENSOR + 3])
        }
        // It has no pointers.
        ("unaligned", "compute") => return None,
        ("unaligned", _) => {
            let context = echo(machine);
            machine.call("compute", &[context]);
            machine.call("get_output", &[context, 0, BUFFER, 9, out + 1])
        }
        ("buffer-beyond-memory", _) => {
            let context = echo(machine);
            machine.call("compute", &[context]);
            machine.call("get_output", &[context, 2, BUFFER, u32::MAX, out])
        }
        ("beyond-memory", "load") => {
            words(machine, TENSOR, &[u32::MAX - 9, 5]);
            machine.call("load", &[TENSOR, 1, 1, 0, out])
        }
        ("beyond-memory", "load_by_name") => machine.call("load_by_name", &[u32::MAX - 9, 4, out]),
        ("beyond-memory", "init_execution_context") => {
            load_by_name(machine, "echo");
            machine.call("init_execution_context", &[0, u32::MAX - 15])
        }
        ("beyond-memory", "set_input") => {
            let context = echo(machine);
            machine.call("set_input", &[context, 0, u32::MAX - 31])
        }
        ("beyond-memory", "compute") => return None,
        ("beyond-memory", _) => {
            let context = echo(machine);
            machine.call("compute", &[context]);
            machine.call("get_output", &[context, 2, u32::MAX - 31, 16, out])
        }
        ("refused-input", _) => {
            let context = open(machine, "picky");
            write_tensor(machine, TENSOR, &[1], 2, b"12345678");
            machine.call("set_input", &[context, 0, TENSOR])
        }
        _ => return None,
    })
}

#[test]
fn each_is_true() {
    let guest = Guest::all(dialect("wasi-nn"));
    let core = CoreProgram::new(&guest.wasm());
    let adapted = AdaptedProgram::new(&Way::portable("wasi-nn").componentize(&guest));
    for difference in DIFFERENCES.iter().filter(|difference| difference.compared) {
        let mut shown = 0;
        for function in difference.functions {
            let theirs = demonstrate(difference.id, function, &mut core.start());
            let ours = demonstrate(difference.id, function, &mut adapted.start());
            let (Some(theirs), Some(ours)) = (theirs, ours) else {
                continue;
            };
            shown += 1;
            assert_ne!(theirs, ours, "{} is no difference", difference.id);
            assert!(
                difference.explains(function, &theirs, &ours),
                "{} {function}: core {theirs:?}, adapted {ours:?}",
                difference.id
            );
            if difference.ours == Ours::Works {
                assert_eq!(ours, Outcome::Errno(0), "{} {function}", difference.id);
            }
        }
        assert!(shown > 0, "nothing shows {}", difference.id);
    }
}

/// An input with everything out of line arrives as any other.
#[test]
fn unaligned_arguments_mean_the_same() {
    let guest = Guest::all(dialect("wasi-nn"));
    let adapted = AdaptedProgram::new(&Way::portable("wasi-nn").componentize(&guest));
    let mut outputs = Vec::new();
    for off in [0, 1, 2, 3] {
        let machine = &mut adapted.start();
        machine.write(DATA + off, &[0, 1, 2, 3, 4, 5, 6]);
        let mut builders = Vec::new();
        for (at, length) in [(DATA + off, 4u32), (DATA + off + 2, 3)] {
            builders.extend(at.to_le_bytes());
            builders.extend(length.to_le_bytes());
        }
        machine.write(TENSOR + off, &builders);
        let load = [TENSOR + off, 2, 1, 1, RESULT + off];
        assert_eq!(machine.call("load", &load), Outcome::Errno(0));
        assert_eq!(machine.word(RESULT + off), 0);
        let init = [0, RESULT + off];
        assert_eq!(
            machine.call("init_execution_context", &init),
            Outcome::Errno(0)
        );
        let mut record = Vec::new();
        record.extend((DIMENSIONS + off).to_le_bytes());
        record.extend(3u32.to_le_bytes());
        record.extend([1, 9, 9, 9]);
        record.extend((DATA + off).to_le_bytes());
        record.extend(7u32.to_le_bytes());
        machine.write(TENSOR + off, &record);
        let dims: Vec<u8> = [7u32, 1, 0x0102_0304]
            .iter()
            .flat_map(|d| d.to_le_bytes())
            .collect();
        machine.write(DIMENSIONS + off, &dims);
        assert_eq!(
            machine.call("set_input", &[0, 1, TENSOR + off]),
            Outcome::Errno(0)
        );
        assert_eq!(machine.call("compute", &[0]), Outcome::Errno(0));
        let get = [0, 2, BUFFER + off, 64, RESULT + off];
        assert_eq!(machine.call("get_output", &get), Outcome::Errno(0));
        assert_eq!(machine.word(RESULT + off), 8);
        outputs.push(machine.read(BUFFER + off, 8));
    }
    assert!(
        outputs.windows(2).all(|pair| pair[0] == pair[1]),
        "{outputs:?}"
    );
}

/// What the backend refuses shows at `compute`, until the input is set again.
#[test]
fn a_refused_input_shows_at_compute() {
    let guest = Guest::all(dialect("wasi-nn"));
    let adapted = AdaptedProgram::new(&Way::portable("wasi-nn").componentize(&guest));
    let machine = &mut adapted.start();
    let context = open(machine, "picky");
    write_tensor(machine, TENSOR, &[1], 2, b"12345678");
    assert_eq!(
        machine.call("set_input", &[context, 0, TENSOR]),
        Outcome::Errno(0)
    );
    assert_eq!(machine.call("compute", &[context]), Outcome::Errno(5));
    assert_eq!(get_output(machine, context, 0), Err(Outcome::Errno(5)));
    assert_eq!(set_input(machine, context, 0, b"fine"), Outcome::Errno(0));
    assert_eq!(machine.call("compute", &[context]), Outcome::Errno(0));
    assert!(get_output(machine, context, 0).is_ok());
}

/// A tag of before August 2023 is known by the tensor's size, and what is not known by it is of the current tag.
#[test]
fn tensors_of_former_types() {
    let cases: [(u8, &[u32], usize, u8); 11] = [
        // A tag, dimensions, bytes; the tag that means the same.
        (2, &[3, 3], 9, 3),
        (2, &[1], 1, 3),
        (2, &[], 1, 3),
        (2, &[2, 2], 32, 2),
        (2, &[0], 0, 2),
        (2, &[4], 16, 2),
        (3, &[2, 3], 24, 4),
        (3, &[1], 4, 3),
        (3, &[1], 20, 3),
        (3, &[5], 5, 3),
        (3, &[70_000, 70_000], 16, 3),
    ];
    let mut ways = Vec::new();
    for name in ["wasi-nn", "wasmedge"] {
        for profile in Profile::ALL {
            for target in Target::ALL {
                if llm_wasi_adapter::find(name, profile, target).is_some() {
                    let mut way = Way::portable(name);
                    way.profile = profile;
                    way.target = target;
                    ways.push(way);
                }
            }
        }
    }
    assert_eq!(ways.len(), 6);
    let output = |machine: &mut dyn Machine, tag, dimensions: &[u32], bytes| {
        let context = open(machine, "echo");
        write_tensor(machine, TENSOR, dimensions, tag, &vec![7; bytes]);
        let set = machine.call("set_input", &[context, 0, TENSOR]);
        assert_eq!(set, Outcome::Errno(0));
        assert_eq!(machine.call("compute", &[context]), Outcome::Errno(0));
        get_output(machine, context, 2).expect("there is a digest")
    };
    // The host for core modules goes by tags.
    let core = CoreProgram::new(&Guest::all(dialect("wasi-nn")).wasm());
    for way in ways {
        let adapted = way.program(&Guest::all(dialect(way.dialect)));
        for (tag, dimensions, bytes, same) in cases {
            let ours = output(&mut adapted.start(), tag, dimensions, bytes);
            for expected in 2..=4 {
                let theirs = output(&mut core.start(), expected, dimensions, bytes);
                assert_eq!(
                    ours == theirs,
                    expected == same,
                    "{way:?} {tag} {dimensions:?} {bytes} as {expected}"
                );
            }
        }
    }
}

fn bounded(max: u32) -> (Guest, AdaptedProgram) {
    let mut guest = Guest::all(dialect("wasi-nn"));
    guest.max = Some(max);
    let adapted = AdaptedProgram::new(&Way::portable("wasi-nn").componentize(&guest));
    (guest, adapted)
}

#[test]
fn no_room_for_state() {
    let (_, adapted) = bounded(2);
    let machine = &mut adapted.start();
    machine.write(NAME, b"echo");
    machine.write(DATA, b"model");
    let builder: Vec<u8> = [DATA, 5].iter().flat_map(|w| w.to_le_bytes()).collect();
    machine.write(TENSOR, &builder);
    let calls: [(&str, &[u32]); 6] = [
        ("load", &[TENSOR, 1, 1, 0, RESULT]),
        ("load_by_name", &[NAME, 4, RESULT]),
        ("init_execution_context", &[0, RESULT]),
        ("set_input", &[0, 0, TENSOR]),
        ("compute", &[0]),
        ("get_output", &[0, 0, BUFFER, 10, RESULT]),
    ];
    for (function, arguments) in calls {
        // Each time: nothing is remembered of a call that found no room.
        for _ in 0..2 {
            assert_eq!(
                machine.call(function, arguments),
                Outcome::Errno(7),
                "{function}"
            );
        }
    }
    assert_eq!(machine.word(RESULT), 0, "a result was written");
}

#[test]
fn no_room_for_input() {
    let (guest, adapted) = bounded(3);
    let mut core = CoreProgram::new(&guest.wasm()).start();
    let mut ours = adapted.start();
    let large = vec![7; 70_000];
    let run = |machine: &mut dyn Machine| {
        let context = open(machine, "echo");
        assert_eq!(set_input(machine, context, 0, b"small"), Outcome::Errno(0));
        let outcome = set_input(machine, context, 0, &large);
        let other = set_input(machine, context, 1, &large);
        assert_eq!(machine.call("compute", &[context]), Outcome::Errno(0));
        (outcome, other, get_output(machine, context, 0))
    };
    let (outcome, other, _) = run(&mut core);
    assert_eq!((outcome, other), (Outcome::Errno(0), Outcome::Errno(0)));
    let (outcome, other, output) = run(&mut ours);
    assert_eq!((outcome, other), (Outcome::Errno(7), Outcome::Errno(7)));
    assert!(output.is_ok_and(|bytes| bytes.ends_with(b"small")));
}

#[test]
fn no_room_for_output() {
    let (guest, adapted) = bounded(3);
    let mut core = CoreProgram::new(&guest.wasm()).start();
    let mut ours = adapted.start();
    let run = |machine: &mut dyn Machine| {
        let context = open(machine, "big");
        assert_eq!(machine.call("compute", &[context]), Outcome::Errno(0));
        // It goes straight into a buffer that has room.
        assert_eq!(get_output(machine, context, 0).map(|o| o.len()), Ok(70_000));
        machine.call("get_output", &[context, 0, BUFFER, 10, RESULT])
    };
    assert_eq!(run(&mut core), Outcome::Errno(7));
    assert!(matches!(run(&mut ours), Outcome::Trap(_)));
}

/// As heaps of one piece take it, which end where the memory does.
#[test]
fn memory_grows_in_one_piece() {
    let guest = Guest::all(dialect("wasi-nn"));
    let adapted = AdaptedProgram::new(&Way::portable("wasi-nn").componentize(&guest));
    let mut core = CoreProgram::new(&guest.wasm()).start();
    let mut ours = adapted.start();
    let byte = |round: u32| 3 + (round % 200) as u8;
    let run = |machine: &mut dyn Machine| {
        let context = open(machine, "echo");
        let mut seen = Vec::new();
        let first = machine.number("pages", &[]);
        for round in 0..50 {
            let before = machine.number("pages", &[]);
            let grown = machine.number("grow", &[1 + round % 3]);
            let after = machine.number("pages", &[]);
            let heap = vec![byte(round); ((after - before) * PAGE) as usize];
            machine.write(before * PAGE, &heap);
            assert_eq!(
                set_input(machine, context, 0, &[byte(round); 3000]),
                Outcome::Errno(0)
            );
            assert_eq!(machine.call("compute", &[context]), Outcome::Errno(0));
            seen.push((before, grown, after, get_output(machine, context, 0)));
        }
        let end = machine.number("pages", &[]);
        (seen, machine.read(first * PAGE, (end - first) * PAGE))
    };
    assert!(run(&mut core) == run(&mut ours), "the two differ");
}

#[test]
fn memory_size() {
    let guest = Guest::all(dialect("wasi-nn"));
    let adapted = AdaptedProgram::new(&Way::portable("wasi-nn").componentize(&guest));
    let mut core = CoreProgram::new(&guest.wasm()).start();
    let mut ours = adapted.start();
    let run = |machine: &mut dyn Machine| {
        open(machine, "echo");
        let first = machine.number("grow", &[2048]);
        let before = machine.number("pages", &[]);
        let grown = machine.number("grow", &[1]);
        (first, before, grown, machine.number("pages", &[]))
    };
    assert_eq!(run(&mut core), (2, 2050, 2050, 2051));
    let (first, before, grown, after) = run(&mut ours);
    assert_eq!((first, before), (2, 2050));
    assert!(grown > 2050 && after == grown + 1, "{grown}, {after}");
    // The new page is the guest's alone.
    let page: Vec<u8> = (0..PAGE).map(|i| (i % 249) as u8).collect();
    ours.write(grown * PAGE, &page);
    let context = open(&mut ours, "big");
    assert_eq!(
        set_input(&mut ours, context, 0, &[1; 60_000]),
        Outcome::Errno(0)
    );
    assert_eq!(ours.call("compute", &[context]), Outcome::Errno(0));
    assert_eq!(
        ours.call("get_output", &[context, 0, BUFFER, 10, RESULT]),
        Outcome::Errno(7)
    );
    assert_eq!(ours.read(grown * PAGE, PAGE), page);
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
    let expected = differences::markdown();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, format!("{before}{BEGIN}{expected}{END}{after}"))
            .expect("docs/fidelity.md can be written");
    } else {
        assert_eq!(found, expected, "run the tests with BLESS=1");
    }
}
