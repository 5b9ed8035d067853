//! Each panic and each write out of bounds that programs could cause in other hosts ends in an errno here, or in a
//! trap of that program alone; and the program, or another one, goes on.

use crate::support::{alone, program, start, words};
use llm_wasi_adapter::Profile;
use llm_wasi_host::Registry;
use llm_wasi_host::testing::{TinyIr, TinyModel, TinyOnnx, onnx_type};
use llm_wasi_tests::calls::{BUFFER, RESULT, TENSOR, open, read_output, write_tensor};
use llm_wasi_tests::machine::{Adapted, Machine, Outcome};

const F32: u8 = 1;
const F64: u8 = 2;
const U8: u8 = 3;
const I64: u8 = 5;
const PROFILES: [Profile; 2] = [Profile::Extended, Profile::Portable];

/// Whether a library is there; where it has to be, its absence is a failure.
fn is_here(registry: &Registry, name: &str) -> bool {
    let backend = registry.backends().find(|backend| backend.name() == name);
    let backend = backend.unwrap_or_else(|| panic!("there is no backend {name}"));
    match backend.devices() {
        Ok(_) => true,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            eprintln!("skipped: {error}");
            false
        }
    }
}

/// Files of models, and a registry with them.
struct Models {
    _folder: tempfile::TempDir,
    registry: Registry,
}

fn models() -> Models {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).expect("a file");
    };
    let twice = |ty| {
        TinyOnnx::new()
            .input("x", ty, &[-1])
            .node("Add", &["x", "x"], &["y"])
            .output("y", ty, &[-1])
            .to_bytes()
    };
    write("f32.onnx", &twice(onnx_type::F32));
    write("f64.onnx", &twice(onnx_type::F64));
    write("i64.onnx", &twice(onnx_type::I64));
    let ir = TinyIr::new()
        .parameter("x", "f32", &[-1])
        .operator("Add", "y", "f32", &[-1], &["x", "x"])
        .result("y");
    write("twice.xml", ir.to_xml().as_bytes());
    write("twice.bin", &ir.weights());
    write("tiny.gguf", &TinyModel::new().to_gguf());
    let at = |file: &str| folder.path().join(file).display().to_string();
    let options = r#"{"temp":0,"threads":1,"ctx-size":128,"n-predict":40}"#;
    let mut registry = Registry::with_default_backends();
    for preload in [
        format!("f32:ONNX:CPU:{}", at("f32.onnx")),
        format!("f64:ONNX:CPU:{}", at("f64.onnx")),
        format!("i64:ONNX:CPU:{}", at("i64.onnx")),
        format!("ir:OpenVINO:CPU:{}:{}", at("twice.xml"), at("twice.bin")),
        format!("f32-tpu:ONNX:TPU:{}", at("f32.onnx")),
        format!(
            "ir-tpu:OpenVINO:TPU:{}:{}",
            at("twice.xml"),
            at("twice.bin")
        ),
        format!("gguf-tpu:GGML:TPU:{}", at("tiny.gguf")),
    ] {
        registry = registry.preload(preload.parse().expect("a model's name"));
    }
    let mut gguf: llm_wasi_host::Preload = format!("gguf:GGML:CPU:{}", at("tiny.gguf"))
        .parse()
        .expect("a model's name");
    gguf.configuration = Some(options.to_owned());
    Models {
        registry: registry.preload(gguf).build(),
        _folder: folder,
    }
}

/// Sets input 0 and computes. The first errno that is not 0, whichever call gives it: in the portable profile an input
/// is looked at when it is computed with.
fn infer(machine: &mut Adapted, context: u32, dimensions: &[u32], ty: u8, data: &[u8]) -> u32 {
    write_tensor(machine, TENSOR, dimensions, ty, data);
    for (function, arguments) in [
        ("set_input", &[context, 0, TENSOR][..]),
        ("compute", &[context]),
    ] {
        match machine.call(function, arguments) {
            Outcome::Errno(0) => {}
            Outcome::Errno(errno) => return errno,
            other => panic!("{function}: {other:?}"),
        }
    }
    0
}

fn floats(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// The context computes, so that what came before has broken nothing.
fn goes_on(machine: &mut Adapted, context: u32) {
    assert_eq!(infer(machine, context, &[2], F32, &floats(&[1.5, -2.0])), 0);
    let output = read_output(machine, "get_output", context, 0, 8);
    assert_eq!(output, Ok(floats(&[3.0, -4.0])));
}

#[test]
fn an_onnx_input_that_is_not_f32() {
    let _alone = alone();
    let models = models();
    if !is_here(&models.registry, "ONNX Runtime") {
        return;
    }
    for profile in PROFILES {
        let program = program("wasmedge", profile);
        let mut machine = start(&program, &models.registry);
        let context = open(&mut machine, "f32");
        for (ty, data) in [
            (F64, vec![0; 16]),
            (U8, vec![1, 2]),
            (I64, vec![0; 16]),
            (0, vec![0; 4]),
        ] {
            assert_ne!(infer(&mut machine, context, &[2], ty, &data), 0, "{ty}");
        }
        goes_on(&mut machine, context);
        // Where the model has such an input, it computes with it.
        for (name, ty, data, twice) in [
            ("f64", F64, 1.5_f64.to_le_bytes(), 3.0_f64.to_le_bytes()),
            ("i64", I64, 21_i64.to_le_bytes(), 42_i64.to_le_bytes()),
        ] {
            let context = open(&mut machine, name);
            assert_eq!(infer(&mut machine, context, &[1], ty, &data), 0, "{name}");
            let output = read_output(&mut machine, "get_output", context, 0, 8);
            assert_eq!(output, Ok(twice.to_vec()), "{name}");
        }
    }
}

#[test]
fn f32_data_whose_length_is_no_multiple_of_4() {
    let _alone = alone();
    let models = models();
    for (name, library) in [("f32", "ONNX Runtime"), ("ir", "OpenVINO")] {
        if !is_here(&models.registry, library) {
            continue;
        }
        for profile in PROFILES {
            let program = program("wasmedge", profile);
            let mut machine = start(&program, &models.registry);
            let context = open(&mut machine, name);
            for length in [0, 1, 3, 5, 7, 9] {
                let errno = infer(&mut machine, context, &[2], F32, &vec![0; length]);
                assert_ne!(errno, 0, "{name}: {length} bytes");
            }
            goes_on(&mut machine, context);
        }
    }
}

#[test]
fn an_openvino_tensor_of_another_length() {
    let _alone = alone();
    let models = models();
    if !is_here(&models.registry, "OpenVINO") {
        return;
    }
    for profile in PROFILES {
        let program = program("wasmedge", profile);
        let mut machine = start(&program, &models.registry);
        let context = open(&mut machine, "ir");
        for (dimensions, length) in [
            (&[2][..], 4),
            (&[2], 12),
            (&[3], 8),
            (&[u32::MAX], 8),
            (&[u32::MAX, u32::MAX], 8),
            (&[], 8),
            (&[1, 2], 8),
        ] {
            let errno = infer(&mut machine, context, dimensions, F32, &vec![0; length]);
            assert_ne!(errno, 0, "{dimensions:?} of {length} bytes");
        }
        goes_on(&mut machine, context);
    }
}

#[test]
fn a_tpu() {
    let _alone = alone();
    let models = models();
    for (name, encoding, library) in [
        ("f32", 1, "ONNX Runtime"),
        ("ir", 0, "OpenVINO"),
        ("gguf", 6, "llama.cpp"),
    ] {
        if !is_here(&models.registry, library) {
            continue;
        }
        for profile in PROFILES {
            let program = program("wasmedge", profile);
            let mut machine = start(&program, &models.registry);
            let tpu = format!("{name}-tpu");
            machine.write(0x100, tpu.as_bytes());
            let by_name = machine.call("load_by_name", &[0x100, tpu.len() as u32, RESULT]);
            assert!(
                matches!(by_name, Outcome::Errno(1..)),
                "{name}: {by_name:?}"
            );
            machine.write(0x800, b"bytes");
            words(&mut machine, TENSOR, &[0x800, 5]);
            let of_bytes = machine.call("load", &[TENSOR, 1, encoding, 2, RESULT]);
            assert!(
                matches!(of_bytes, Outcome::Errno(1..)),
                "{name}: {of_bytes:?}"
            );
            // And there is a processor.
            open(&mut machine, name);
        }
    }
}

#[test]
fn pointers_beyond_memory() {
    let _alone = alone();
    let models = models();
    let beyond = u32::MAX - 15;
    for profile in PROFILES {
        let program = program("wasmedge", profile);
        let mut other = start(&program, &models.registry);
        let context = open(&mut other, "gguf");
        for (function, arguments) in [
            ("load", &[beyond, 1, 6, 0, RESULT][..]),
            ("load", &[TENSOR, u32::MAX, 6, 0, RESULT]),
            ("load_by_name", &[beyond, 4, RESULT]),
            ("load_by_name", &[0x100, 4, beyond]),
            ("load_by_name", &[0x100, u32::MAX, RESULT]),
            ("init_execution_context", &[0, beyond]),
            ("set_input", &[0, 0, beyond]),
            ("set_input", &[0, 0, 0x900]),
            ("get_output", &[0, 0, beyond, 4000, RESULT]),
            ("get_output", &[0, 0, BUFFER, 4000, beyond]),
        ] {
            let mut machine = start(&program, &models.registry);
            let own = open(&mut machine, "gguf");
            assert_eq!(infer(&mut machine, own, &[2], U8, b"ab"), 0);
            machine.write(0x100, b"gguf");
            // A record whose data lie beyond memory.
            words(&mut machine, 0x900, &[0x940, 1, 3, beyond, 64]);
            let outcome = machine.call(function, arguments);
            assert!(
                matches!(outcome, Outcome::Trap(_) | Outcome::Errno(1..)),
                "{function}{arguments:x?}: {outcome:?}"
            );
        }
        assert_eq!(infer(&mut other, context, &[2], U8, b"ab"), 0);
    }
}

#[test]
fn an_output_larger_than_the_buffer() {
    let _alone = alone();
    let models = models();
    let whole = TinyModel::new().continuation(b'b', 40);
    for profile in PROFILES {
        let program = program("wasmedge", profile);
        for function in ["get_output", "get_output_single"] {
            let mut machine = start(&program, &models.registry);
            let context = open(&mut machine, "gguf");
            assert_eq!(infer(&mut machine, context, &[2], U8, b"ab"), 0);
            // The last step made the last token alone, a byte; in the portable profile there is one step.
            let text = match (function, profile) {
                ("get_output_single", Profile::Extended) => &whole[39..],
                _ => &whole[..],
            };
            let size = text.len() as u32;
            for max in [0, size / 2, size - 1] {
                machine.write(BUFFER - 64, &[0xaa; 256]);
                let outcome = machine.call(function, &[context, 0, BUFFER, max, RESULT]);
                assert_eq!(outcome, Outcome::Errno(7), "{function}: {max}");
                // The one thing that is told is how much it takes.
                assert_eq!(machine.word(RESULT), size);
                assert_eq!(
                    machine.read(BUFFER - 64, 256),
                    [0xaa; 256],
                    "{function}: {max}"
                );
            }
            for max in [size, size + 1, 1000] {
                machine.write(BUFFER - 64, &[0xaa; 256]);
                let outcome = machine.call(function, &[context, 0, BUFFER, max, RESULT]);
                assert_eq!(outcome, Outcome::Errno(0), "{function}: {max}");
                let found = machine.read(BUFFER - 64, 256);
                let (before, rest) = found.split_at(64);
                let (output, behind) = rest.split_at(text.len());
                assert_eq!(output, text);
                assert!(before.iter().chain(behind).all(|byte| *byte == 0xaa));
            }
        }
    }
}
