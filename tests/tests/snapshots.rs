//! Plans, text of adapters, interfaces of components and messages, compared with `tests/snapshots`.

use llm_wasi_adapter::{Options, Profile, Target, dialects, explain, find};
use llm_wasi_componentize::{componentize, profile_name};
use llm_wasi_tests::snapshot::assert_snapshot;
use wit_component::{DecodedWasm, WitPrinter};

fn release(target: Target) -> &'static str {
    match target {
        Target::Rc20241028 => "2024-10-28",
        Target::Rc20240819 => "2024-08-19",
    }
}

#[test]
fn plans() {
    for dialect in dialects() {
        for profile in Profile::ALL {
            for target in Target::ALL {
                let options = Options {
                    dialect: dialect.name.to_string(),
                    profile,
                    target,
                    input_names: Vec::new(),
                    zero_max_is_unlimited: false,
                };
                if find(dialect.name, profile, target).is_some() {
                    let name = format!(
                        "plans/{}.{}.{}.txt",
                        dialect.name,
                        profile_name(profile),
                        release(target)
                    );
                    assert_snapshot(&name, &explain(&options).expect("it has a plan"));
                }
            }
        }
    }
}

/// With everything that options can add.
#[test]
fn plan_with_options() {
    let options = Options {
        dialect: "wasi-nn".to_string(),
        profile: Profile::Portable,
        target: Target::Rc20241028,
        input_names: vec![(2, "mask".to_string()), (0, "input_ids".to_string())],
        zero_max_is_unlimited: true,
    };
    let plan = explain(&options).expect("it has a plan");
    assert_snapshot("plans/options.txt", &plan);
}

#[test]
fn text_of_adapters() {
    for (dialect, profile) in [
        ("wasi-nn", Profile::Portable),
        ("wasmedge", Profile::Portable),
        ("wasmedge", Profile::Extended),
    ] {
        let module = find(dialect, profile, Target::Rc20241028).expect("it exists");
        let text = wasmprinter::print_bytes(module).expect("it can be printed");
        // The interfaces as bytes say nothing to people and much to `git diff`.
        let text: String = text
            .lines()
            .filter(|line| !line.contains("(@custom \"component-type"))
            .flat_map(|line| [line, "\n"])
            .collect();
        assert_snapshot(
            &format!("wat/{dialect}.{}.wat", profile_name(profile)),
            &text,
        );
    }
}

#[test]
fn interfaces_of_components() {
    for name in [
        "all_functions",
        "chat",
        "classify",
        "embed",
        "reactor",
        "spec_functions",
        "wamr",
    ] {
        let module = crate::fixtures::fixture(&format!("wasm/{name}.wasm"));
        let component = componentize(&module, &llm_wasi_componentize::Options::default())
            .unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let decoded = wit_component::decode(&component.bytes).expect("a component has a world");
        let DecodedWasm::Component(resolve, world) = decoded else {
            panic!("{name} is no component");
        };
        let package = resolve.worlds[world]
            .package
            .expect("the world has a package");
        let mut printer = WitPrinter::default();
        printer.emit_docs(false);
        printer
            .print(&resolve, package, &[])
            .expect("the package can be printed");
        assert_snapshot(&format!("wit/{name}.wit"), &printer.output.to_string());
    }
}

/// Sources of the current dialect with one change.
fn generated(
    witx: impl Fn(&str) -> String,
    mapping: impl Fn(&str) -> String,
    options: llm_wasi_generator::Options,
) -> Result<Vec<u8>, String> {
    const WITX: &str = include_str!("../../witx/wasi-nn.witx");
    const MAPPING: &str = include_str!("../../witx/wasi-nn.toml");
    const WIT: &str = include_str!("../../wit/wasi-nn-2024-10-28.wit");
    const OURS: &str = include_str!("../../wit/llm-wasi-nn.wit");
    let file = |name: &str, text: String| (name.to_string(), text);
    let wit = vec![file("wasi-nn.wit", WIT.to_string())];
    let mut other_wit = wit.clone();
    other_wit.push(file("llm-wasi-nn.wit", OURS.to_string()));
    let sources = llm_wasi_generator::Sources {
        witx: file("test.witx", witx(WITX)),
        mapping: file("test.toml", mapping(MAPPING)),
        wit,
        other_wit,
    };
    llm_wasi_generator::generate(&sources, &options)
        .map(|adapter| adapter.module)
        .map_err(|error| format!("{error:#}"))
}

fn portable() -> llm_wasi_generator::Options {
    llm_wasi_generator::Options {
        profile: llm_wasi_generator::Profile::Portable,
        input_names: Vec::new(),
        zero_max_is_unlimited: false,
    }
}

#[test]
fn messages_of_the_generator() {
    let same = str::to_string;
    assert!(generated(same, same, portable()).is_ok());
    let mut text = String::new();
    let mut add = |what: &str, result: Result<Vec<u8>, String>| {
        let message = result.err().unwrap_or_else(|| panic!("no error: {what}"));
        text.push_str(&format!("# {what}\n{message}\n\n"));
    };
    // One occurrence is replaced, and there has to be one.
    let change = |from: &'static str, to: &'static str| {
        move |text: &str| {
            assert!(text.contains(from), "{from} is not there");
            text.replacen(from, to, 1)
        }
    };
    let mut witx = |what: &str, from, to| add(what, generated(change(from, to), same, portable()));
    witx(
        "a function without a mapping",
        "(@interface func (export \"compute\")",
        "(@interface func (export \"other\") (param $x $graph) (result $error (expected (error $nn_errno))))\n(@interface func (export \"compute\")",
    );
    witx(
        "a case without a mapping",
        "    $f64\n",
        "    $f64\n    $f8\n",
    );
    witx(
        "a mapping for a function that is gone",
        "(export \"compute\")",
        "(export \"compute2\")",
    );
    witx("a mapping for a case that is gone", "    $i64\n", "");
    witx(
        "a parenthesis too few",
        "(typename $buffer_size u32)",
        "(typename $buffer_size u32",
    );
    witx(
        "an unknown type",
        "(typename $buffer_size u32)",
        "(typename $buffer_size u33)",
    );
    witx(
        "an undefined name",
        "$tensor_dimensions)\n",
        "$tensor_dimension)\n",
    );
    witx("a float", "(param $index u32)", "(param $index f32)");
    witx("a wide integer", "(param $index u32)", "(param $index u64)");
    witx(
        "two modules",
        "(module $wasi_ephemeral_nn",
        "(module $a)\n(module $b",
    );
    witx(
        "a function that gives no errno",
        "(result $error (expected (error $nn_errno)))",
        "",
    );
    witx(
        "flags",
        "(typename $buffer_size u32)",
        "(typename $buffer_size (flags $a))",
    );
    witx(
        "a tag for a case that is not there",
        "(typename $buffer_size u32)",
        "(typename $buffer_size u32)\n(typename $nn_errno_tag u16)\n(@witx const $nn_errno_tag $other 9)",
    );
    let mut mapping =
        |what: &str, from, to| add(what, generated(same, change(from, to), portable()));
    mapping("a key with a typo", "module = ", "modul = ");
    mapping("a section with a typo", "[host-errors]", "[host-error]");
    mapping(
        "a function with a typo",
        "[functions.compute]",
        "[functions.computes]",
    );
    mapping(
        "an action with a typo",
        "does = \"compute\"",
        "does = \"computes\"",
    );
    mapping(
        "an argument with a typo",
        "index = \"index\"",
        "idx = \"index\"",
    );
    mapping("a missing argument", "index = \"index\"\n", "");
    mapping(
        "a path to nothing",
        "type = \"tensor.type\"",
        "type = \"tensor.kind\"",
    );
    mapping(
        "a path through a number",
        "type = \"tensor.type\"",
        "type = \"index.type\"",
    );
    mapping(
        "a path to a number",
        "type = \"tensor.type\"",
        "type = \"index\"",
    );
    mapping(
        "a path to no parameter",
        "type = \"tensor.type\"",
        "type = \"tensors.type\"",
    );
    mapping(
        "a list where a number is meant",
        "index = \"index\"",
        "index = \"tensor.data\"",
    );
    mapping(
        "a number where a list is meant",
        "data = \"tensor.data\"",
        "data = \"index\"",
    );
    mapping(
        "an unknown errno",
        "success = \"success\"",
        "success = \"succes\"",
    );
    mapping("an unknown error code", "too-large = ", "too-big = ");
    mapping(
        "an error code without an errno",
        "timeout = \"runtime_error\"\n",
        "",
    );
    mapping(
        "an unknown enum",
        "witx = \"tensor_type\"",
        "witx = \"tensor_types\"",
    );
    mapping(
        "a case of the WIT that is not there",
        "f64 = \"FP64\"",
        "f64 = \"FP65\"",
    );
    mapping("a case without a counterpart", "f64 = \"FP64\"\n", "");
    mapping(
        "another module",
        "module = \"wasi_ephemeral_nn\"",
        "module = \"wasi_nn\"",
    );
    mapping(
        "a number where text is meant",
        "witx = \"tensor_type\"",
        "witx = 7",
    );
    mapping(
        "a former type of a case that is not there",
        "f64 = { was",
        "f65 = { was",
    );
    mapping(
        "a former type that the WIT does not have",
        "was = \"I32\"",
        "was = \"I33\"",
    );
    mapping(
        "a former type of the same size",
        "was = \"U8\"",
        "was = \"I64\"",
    );
    mapping(
        "a former type without elements",
        "fewest-elements = 2",
        "fewest-elements = 0",
    );
    mapping(
        "a former type where shapes give the length",
        "data = \"tensor.data\"",
        "data = { pointer = \"index\", length = \"from-shape\" }",
    );
    mapping("no TOML", "[errno]", "[errno");
    let mut options = |what: &str, change: &dyn Fn(&mut llm_wasi_generator::Options)| {
        let mut options = portable();
        change(&mut options);
        add(what, generated(same, same, options));
    };
    options("the extended profile without its package", &|options| {
        options.profile = llm_wasi_generator::Profile::Extended;
    });
    options("an input with two names", &|options| {
        options.input_names = vec![(1, "a".to_string()), (1, "b".to_string())];
    });
    options("an empty name", &|options| {
        options.input_names = vec![(0, String::new())]
    });
    options("a long name", &|options| {
        options.input_names = vec![(0, "x".repeat(1025))]
    });
    let deep = |_: &str| format!("{}{}", "(".repeat(100_000), ")".repeat(100_000));
    add(
        "a witx that nests too deep",
        generated(deep, same, portable()),
    );
    // Comments and strings hold parentheses that mean nothing.
    let hidden = |_: &str| format!("(typename $a {}", "(list (; ) ;) ".repeat(100_000));
    add(
        "one that hides how deep",
        generated(hidden, same, portable()),
    );
    add(
        "an empty witx",
        generated(|_| String::new(), same, portable()),
    );
    add(
        "an empty mapping",
        generated(same, |_| String::new(), portable()),
    );
    assert_snapshot("messages.txt", &text);
}
