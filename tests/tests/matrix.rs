//! Each function alone and all together, in every dialect, profile and target, with and without
//! preview 1, with and without a `cabi_realloc`: a valid component with just the imports that it needs,
//! and the call works.

use llm_wasi_adapter::Dialect;
use llm_wasi_componentize::{Profile, Target};
use llm_wasi_tests::calls::{BUFFER, DATA, DIMENSIONS, NAME, RESULT, TENSOR};
use llm_wasi_tests::guest::{Guest, dialect};
use llm_wasi_tests::machine::{AdaptedProgram, Machine, Outcome, Way};
use llm_wasi_tests::snapshot::assert_snapshot;
use std::collections::BTreeSet;
use std::fmt::Write;
use wasmparser::{Parser, Payload};

/// Every way there is.
fn ways() -> Vec<(Way, &'static Dialect)> {
    let mut ways = Vec::new();
    for dialect in llm_wasi_adapter::dialects() {
        for profile in Profile::ALL {
            for target in Target::ALL {
                if llm_wasi_adapter::find(dialect.name, profile, target).is_some() {
                    let mut way = Way::portable(dialect.name);
                    way.profile = profile;
                    way.target = target;
                    ways.push((way, dialect));
                }
            }
        }
    }
    ways
}

/// Names of a component's imports.
fn imports(component: &[u8]) -> BTreeSet<String> {
    let mut depth = 0;
    let mut names = BTreeSet::new();
    for payload in Parser::new(0).parse_all(component) {
        match payload.expect("the component can be parsed") {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    names.insert(import.expect("an import").name.name.to_string());
                }
            }
            _ => {}
        }
    }
    names
}

fn words(machine: &mut dyn Machine, at: u32, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    machine.write(at, &bytes);
}

/// Makes a call for which nothing else is necessary; it ends as it should.
fn call_alone(machine: &mut dyn Machine, dialect: &Dialect, function: &str) {
    machine.write(NAME, b"echo");
    machine.write(DATA, b"\0a model");
    let legacy = dialect.module == "wasi_nn";
    let (expected, arguments) = match function {
        "load" if legacy => {
            words(machine, DIMENSIONS, &[DATA, 8]);
            words(machine, TENSOR, &[DIMENSIONS, 1]);
            (0, vec![TENSOR, 1, 0, RESULT])
        }
        "load" => {
            words(machine, TENSOR, &[DATA, 8]);
            (0, vec![TENSOR, 1, 1, 0, RESULT])
        }
        "load_by_name" => (0, vec![NAME, 4, RESULT]),
        "load_by_name_with_config" => (0, vec![NAME, 4, NAME, 4, RESULT]),
        _ => {
            let known = dialect.functions.iter().find(|f| f.name == function);
            let mut arguments = vec![0, 0, TENSOR, TENSOR, TENSOR];
            arguments.truncate(known.expect("the dialect has it").params);
            // There is no such handle.
            (1, arguments)
        }
    };
    let outcome = machine.call(function, &arguments);
    assert_eq!(outcome, Outcome::Errno(expected), "{function}");
}

#[test]
fn each_function_alone() {
    let mut text = String::new();
    for (way, dialect) in ways() {
        for function in &dialect.functions {
            let mut without = None;
            for (preview1, realloc) in [(false, false), (false, true), (true, false), (true, true)]
            {
                let mut guest = Guest::new(dialect, [function.name.as_str()]);
                guest.preview1 = preview1;
                guest.realloc = realloc;
                let component = way.componentize(&guest);
                let (nn, wasi): (BTreeSet<_>, BTreeSet<_>) = imports(&component)
                    .into_iter()
                    .partition(|name| name.contains(":nn/"));
                assert_eq!(wasi.is_empty(), !preview1, "{way:?} {wasi:?}");
                // Neither changes which functions the adapter imports.
                assert_eq!(without.get_or_insert_with(|| nn.clone()), &nn);
                let mut machine = AdaptedProgram::on(way.host(), &component).start();
                if preview1 {
                    random(&mut machine);
                }
                call_alone(&mut machine, dialect, &function.name);
                if preview1 {
                    random(&mut machine);
                }
            }
            let nn: Vec<String> = without.into_iter().flatten().collect();
            line(&mut text, &way, &function.name, &nn);
        }
    }
    assert_snapshot("imports.txt", &text);
}

/// Preview 1 works beside nn.
fn random(machine: &mut dyn Machine) {
    machine.write(BUFFER, &[0; 32]);
    assert_eq!(machine.call("random", &[BUFFER, 32]), Outcome::Errno(0));
    assert_ne!(machine.read(BUFFER, 32), [0; 32]);
}

fn line(text: &mut String, way: &Way, what: &str, imports: &[String]) {
    let portable = way.profile == Profile::Portable;
    for import in imports {
        let ours = import.starts_with("llm-wasi:nn/");
        assert!(!portable || !ours, "{way:?} {what} imports {import}");
        let release = match way.target {
            Target::Rc20241028 => "2024-10-28",
            Target::Rc20240819 => "2024-08-19",
        };
        assert!(
            ours || import.ends_with(release),
            "{way:?} {what} imports {import}"
        );
    }
    let names: Vec<&str> = imports
        .iter()
        .map(|name| name.split('@').next().unwrap_or(name))
        .collect();
    let _ = writeln!(
        text,
        "{} {} {} {what}: {}",
        way.dialect,
        llm_wasi_componentize::profile_name(way.profile),
        llm_wasi_componentize::target_name(way.target),
        names.join(" ")
    );
}

/// One inference by what all dialects have.
fn infer(machine: &mut dyn Machine, way: &Way, dialect: &Dialect) -> Vec<u8> {
    let ok = |outcome: Outcome| assert_eq!(outcome, Outcome::Errno(0), "{way:?}");
    let legacy = dialect.module == "wasi_nn";
    let has = |name: &str| dialect.functions.iter().any(|f| f.name == name);
    let old = ["wasi-nn-2022-10", "wasi-nn-2023-08-09", "wamr-legacy"];
    let u8_tag = if old.contains(&dialect.name) { 2 } else { 3 };
    if has("load_by_name") {
        machine.write(NAME, b"echo");
        ok(machine.call("load_by_name", &[NAME, 4, RESULT]));
    } else {
        machine.write(DATA, b"\0");
        words(machine, TENSOR, &[DATA, 1]);
        ok(machine.call("load", &[TENSOR, 1, 1, 0, RESULT]));
    }
    let graph = machine.word(RESULT);
    ok(machine.call("init_execution_context", &[graph, RESULT]));
    let context = machine.word(RESULT);
    machine.write(DATA, b"some data");
    words(machine, DIMENSIONS, &[3, 3]);
    if legacy {
        words(machine, DIMENSIONS + 16, &[DIMENSIONS, 2]);
        words(
            machine,
            TENSOR,
            &[DIMENSIONS + 16, u8_tag | 0xabcd_ef00, DATA],
        );
    } else {
        words(
            machine,
            TENSOR,
            &[DIMENSIONS, 2, u8_tag | 0xabcd_ef00, DATA, 9],
        );
    }
    ok(machine.call("set_input", &[context, 0, TENSOR]));
    ok(machine.call("compute", &[context]));
    if legacy {
        words(machine, RESULT, &[3]);
        let small = machine.call("get_output", &[context, 0, BUFFER, RESULT]);
        assert_eq!(small, Outcome::Errno(7), "{way:?}");
        words(machine, RESULT, &[400]);
        ok(machine.call("get_output", &[context, 0, BUFFER, RESULT]));
    } else {
        let small = machine.call("get_output", &[context, 0, BUFFER, 3, RESULT]);
        assert_ne!(small, Outcome::Errno(0), "{way:?}");
        assert_eq!(machine.read(BUFFER, 400), [0; 400], "{way:?}");
        ok(machine.call("get_output", &[context, 0, BUFFER, 400, RESULT]));
    }
    let length = machine.word(RESULT);
    machine.read(BUFFER, length)
}

#[test]
fn all_functions_together() {
    let mut text = String::new();
    let mut outputs = BTreeSet::new();
    for (way, dialect) in ways() {
        for (preview1, realloc) in [(false, false), (true, true)] {
            let mut guest = Guest::all(dialect);
            guest.preview1 = preview1;
            guest.realloc = realloc;
            let component = way.componentize(&guest);
            if !preview1 {
                let names: Vec<String> = imports(&component).into_iter().collect();
                line(&mut text, &way, "all", &names);
            }
            let mut machine = AdaptedProgram::on(way.host(), &component).start();
            let output = infer(&mut machine, &way, dialect);
            assert!(output.ends_with(b"some data"), "{way:?} {output:?}");
            outputs.insert(output);
        }
    }
    // Tags and layouts differ, what arrives does not.
    assert_eq!(outputs.len(), 1, "{outputs:?}");
    assert_snapshot("imports_all.txt", &text);
}

/// Without a page of its own a guest gets errnos and no trap; with the first page everything works.
#[test]
fn no_initial_memory() {
    for (way, dialect) in ways() {
        let mut guest = Guest::all(dialect);
        guest.pages = 0;
        let mut machine = way.program(&guest).start();
        assert_eq!(machine.call("compute", &[0]), Outcome::Errno(1), "{way:?}");
        let page = machine.number("grow", &[2]);
        let name = page * llm_wasi_tests::guest::PAGE;
        machine.write(name, b"echo");
        let unknown = machine.call("init_execution_context", &[9, name]);
        assert_eq!(unknown, Outcome::Errno(1), "{way:?}");
        if dialect.functions.iter().any(|f| f.name == "load_by_name") {
            let outcome = machine.call("load_by_name", &[name, 4, name + 8]);
            assert_eq!(outcome, Outcome::Errno(0), "{way:?}");
            assert_eq!(machine.word(name + 8), 0);
        }
    }
}

/// A memory that cannot grow has no room for the adapter's state.
#[test]
fn full_memory() {
    for (way, dialect) in ways() {
        for function in &dialect.functions {
            let mut guest = Guest::new(dialect, [function.name.as_str()]);
            guest.max = Some(guest.pages);
            let mut machine = way.program(&guest).start();
            let mut arguments = vec![NAME, 0, 0, 0, RESULT];
            arguments.truncate(function.params);
            if function.name == "load" && dialect.module == "wasi_nn" {
                arguments = vec![TENSOR, 0, 0, RESULT];
            }
            // `too_large`, where there is one, else `runtime_error`.
            let expected = match dialect.name {
                "wasi-nn-2022-10" => 5,
                _ => 7,
            };
            let outcome = machine.call(&function.name, &arguments);
            assert_eq!(
                outcome,
                Outcome::Errno(expected),
                "{way:?} {}",
                function.name
            );
        }
    }
}

#[test]
fn names_and_quirks() {
    let guest = Guest::all(dialect("wasi-nn"));
    let mut way = Way::portable("wasi-nn");
    way.input_names = vec![(1, "beta".to_string()), (0, "alpha".to_string())];
    way.zero_max_is_unlimited = true;
    let named = way.program(&guest);
    let run = |machine: &mut dyn Machine, graph: &str| {
        let context = llm_wasi_tests::calls::open(machine, graph);
        for index in [1, 0] {
            let data = [index as u8; 5];
            let outcome = llm_wasi_tests::calls::set_input(machine, context, index, &data);
            assert_eq!(outcome, Outcome::Errno(0));
        }
        match machine.call("compute", &[context]) {
            // A maximum of 0 stands for none.
            Outcome::Errno(0) => machine.call("get_output", &[context, 0, BUFFER, 0, RESULT]),
            other => other,
        }
    };
    let machine = &mut named.start();
    assert_eq!(run(machine, "named"), Outcome::Errno(0));
    let output = machine.read(BUFFER, 31);
    assert_eq!(machine.word(RESULT), 2 * 13 + 5);
    // Input 0 comes first.
    assert_eq!(output[26..], [0; 5]);
    // These names are the model's, not the position.
    assert_eq!(run(&mut named.start(), "echo"), Outcome::Errno(5));
}
