//! The OpenVINO backend on tiny models, and on a real one.
//!
//! The library is looked for as always; `scripts/setup.sh openvino` prints a value for
//! `LLM_WASI_OPENVINO`.

mod tensors;

use llm_wasi_host::backend::openvino::OpenVino;
use llm_wasi_host::backend::{Backend, DeviceKind, Encoding, Graph, Target};
use llm_wasi_host::testing::{TinyIr, TinyOnnx, onnx_type};
use llm_wasi_host::{
    Error, ErrorCode, OutputDescription, Preload, Registry, Scheduling, Tensor, TensorType,
};
use std::path::Path;
use std::sync::Arc;
use tensors::*;

fn builders(model: &TinyIr) -> Vec<Vec<u8>> {
    vec![model.to_xml().into_bytes(), model.weights()]
}

fn load_tiny(model: &TinyIr) -> Arc<dyn Graph> {
    load(builders(model), Encoding::OpenVino)
}

fn try_load(builders: Vec<Vec<u8>>) -> Result<Arc<dyn Graph>, Error> {
    let options = Some(r#"{"threads": 1}"#);
    registry().load(builders, Encoding::OpenVino, Target::Cpu, options)
}

/// `y = x + x`, of any number of rows of three.
fn double() -> TinyIr {
    TinyIr::new()
        .parameter("x", "f32", &[-1, 3])
        .operator("Add", "y", "f32", &[-1, 3], &["x", "x"])
        .result("y")
}

/// `sum = a + b + w` and `twice = b + b`, where `b` is of another type and `w` are weights.
fn two_by_two() -> TinyIr {
    TinyIr::new()
        .parameter("a", "f32", &[-1])
        .parameter("b", "i64", &[-1])
        .constant("w", "f32", &[1], &100_f32.to_le_bytes())
        .operator("Convert", "c", "f32", &[-1], &["b"])
        .operator("Add", "ac", "f32", &[-1], &["a", "c"])
        .operator("Add", "sum", "f32", &[-1], &["ac", "w"])
        .operator("Add", "twice", "i64", &[-1], &["b", "b"])
        .result("sum")
        .result("twice")
}

#[test]
fn every_type_goes_in_and_comes_out() {
    if !is_here(&OpenVino::new()) {
        return;
    }
    for (ty, elements) in TYPES {
        // The sum with zero: what only passes through may come out as it is.
        let zero = vec![0; ty.size()];
        let model = TinyIr::new()
            .parameter("x", ty.name(), &[-1, 3])
            .constant("zero", ty.name(), &[1], &zero)
            .operator("Add", "y", ty.name(), &[-1, 3], &["x", "zero"])
            .result("y");
        let mut context = open(&load_tiny(&model));
        for rows in [2, 1, 0, 3] {
            let data = elements.repeat(rows as usize);
            context
                .set_input(0, tensor(ty, &[rows, 3], data.clone()))
                .unwrap();
            context
                .compute()
                .unwrap_or_else(|error| panic!("{ty}: {error}"));
            let expected = OutputDescription {
                dimensions: vec![rows, 3],
                ty,
                size: data.len() as u64,
            };
            assert_eq!(context.describe_output(0).unwrap(), expected);
            assert_eq!(*context.output(0).unwrap(), data, "{ty}");
        }
        // And the library reads them as what they are.
        let model = TinyIr::new()
            .parameter("x", ty.name(), &[3])
            .operator("Convert", "y", "f32", &[3], &["x"])
            .result("y");
        let mut context = open(&load_tiny(&model));
        context.set_input(0, tensor(ty, &[3], elements)).unwrap();
        context.compute().unwrap();
        let last = if ty == TensorType::U8 { 253.0 } else { -3.0 };
        assert_eq!(floats(&*context, 0), [1.0, 2.0, last], "{ty}");
    }
}

#[test]
fn several_inputs_and_outputs_have_names_and_numbers() {
    if !is_here(&OpenVino::new()) {
        return;
    }
    let mut context = open(&load_tiny(&two_by_two()));
    for (name, index) in [("a", 0), ("b", 1), ("0", 0), ("1", 1)] {
        assert_eq!(context.input_index(name), Ok(index));
    }
    assert_eq!(context.outputs(), 2);
    assert_eq!(context.output_name(0), "sum");
    assert_eq!(context.output_name(1), "twice");
    assert_eq!(context.output_index("twice"), Ok(1));
    assert_eq!(context.output_index("1"), Ok(1));
    for unknown in ["x", "2", "-1", "a\0", "", "sum"] {
        let error = context.input_index(unknown).unwrap_err();
        assert_eq!(error.code, ErrorCode::NotFound);
        assert!(error.message.contains("`a`, `b`"), "{error}");
    }

    // In the other order, and not all of them.
    context.set_input(1, i64s(&[2], &[10, -20])).unwrap();
    let error = context.compute().unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert_eq!(error.message, "input 0 `a` (f32 [?]) is not set");
    context.set_input(0, f32s(&[2], &[0.5, 1.5])).unwrap();
    assert_eq!(context.output(1).unwrap_err().code, ErrorCode::RuntimeError);
    context.compute().unwrap();
    assert_eq!(floats(&*context, 0), [110.5, 81.5]);
    assert_eq!(*context.output(1).unwrap(), i64s(&[2], &[20, -40]).data);

    // An output stays as it is read, whatever is computed next.
    let held = context.output(1).unwrap();
    context.set_input(1, i64s(&[2], &[1, 1])).unwrap();
    context.compute().unwrap();
    assert_eq!(floats(&*context, 0), [101.5, 102.5]);
    assert_eq!(*held, i64s(&[2], &[20, -40]).data);
    context.clear_inputs();
    assert!(context.compute().is_err());
    assert_eq!(floats(&*context, 0), [101.5, 102.5]);
}

#[test]
fn what_does_not_fit_is_refused_when_it_is_set() {
    if !is_here(&OpenVino::new()) {
        return;
    }
    let mut context = open(&load_tiny(&double()));
    let mut refused = |index, tensor: Tensor, expected: &str| {
        let error = context.set_input(index, tensor).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
        assert!(error.message.contains(expected), "{error}");
    };
    let expected = "input 0 `x`: expected f32 [?, 3], found";
    for (tensor, found) in [
        (tensor(TensorType::I32, &[1, 3], [0; 12]), "i32 [1, 3]"),
        (tensor(TensorType::F32, &[3], [0; 12]), "f32 [3]"),
        (tensor(TensorType::F32, &[1, 4], [0; 16]), "f32 [1, 4]"),
        (tensor(TensorType::F32, &[1], [0; 12]), "f32 [1]"),
    ] {
        refused(0, tensor, &format!("{expected} {found}"));
    }
    for (rows, bytes, text) in [
        (1, 11, "expected 12 bytes for f32 [1, 3], found 11"),
        (2, 12, "expected 24 bytes for f32 [2, 3], found 12"),
        (u32::MAX, 12, "expected 51539607540 bytes"),
    ] {
        refused(0, tensor(TensorType::F32, &[rows, 3], vec![0; bytes]), text);
    }
    refused(
        1,
        f32s(&[1, 3], &[0.0; 3]),
        "below 1, found 1: the model's inputs are `x`",
    );

    // What was set before is still set.
    context
        .set_input(0, f32s(&[1, 3], &[1.0, 2.0, 3.0]))
        .unwrap();
    assert!(context.set_input(0, f32s(&[1], &[0.0])).is_err());
    context.compute().unwrap();
    assert_eq!(floats(&*context, 0), [2.0, 4.0, 6.0]);
}

/// What the model says only as it computes is an error then, and the context goes on.
#[test]
fn what_does_not_fit_together_is_refused_when_it_computes() {
    if !is_here(&OpenVino::new()) {
        return;
    }
    // With one thread, the library itself may keep silent about it.
    for options in ["{}", r#"{"threads": 1}"#, r#"{"threads": 2}"#] {
        let graph = registry()
            .load(
                builders(&two_by_two()),
                Encoding::OpenVino,
                Target::Cpu,
                Some(options),
            )
            .unwrap();
        let mut context = open(&graph);
        for _ in 0..3 {
            context.set_input(0, f32s(&[3], &[0.0; 3])).unwrap();
            context.set_input(1, i64s(&[2], &[1, 2])).unwrap();
            let error = context.compute().unwrap_err();
            assert!(error.message.starts_with("OpenVINO: "), "{error}");
            assert!(!error.message.contains("Exception from"), "{error}");
            context.set_input(0, f32s(&[2], &[0.0; 2])).unwrap();
            context.compute().unwrap();
            assert_eq!(floats(&*context, 0), [101.0, 102.0], "{options}");
        }
    }
}

#[test]
fn scalars() {
    if !is_here(&OpenVino::new()) {
        return;
    }
    let model = TinyIr::new()
        .parameter("x", "f32", &[])
        .operator("Add", "y", "f32", &[], &["x", "x"])
        .result("y");
    let mut context = open(&load_tiny(&model));
    context.set_input(0, f32s(&[], &[1.5])).unwrap();
    context.compute().unwrap();
    assert_eq!(context.describe_output(0).unwrap().dimensions, [0_u32; 0]);
    assert_eq!(floats(&*context, 0), [3.0]);
    let error = context.set_input(0, f32s(&[1], &[1.5])).unwrap_err();
    assert!(
        error.message.contains("expected f32 [], found f32 [1]"),
        "{error}"
    );
}

#[test]
fn types_that_wasi_nn_has_not_are_named() {
    if !is_here(&OpenVino::new()) {
        return;
    }
    for (ty, name) in [("boolean", "bool"), ("i8", "i8"), ("u16", "u16")] {
        let model = TinyIr::new()
            .parameter("x", ty, &[2])
            .operator("Convert", "y", "f32", &[2], &["x"])
            .result("y");
        let error = error_of(try_load(builders(&model)));
        assert_eq!(error.code, ErrorCode::UnsupportedOperation);
        assert!(error.message.contains("input 0 `x`"), "{error}");
        assert!(error.message.ends_with(&format!("{name} [2]")), "{error}");
    }
    let model = TinyIr::new()
        .parameter("x", "f32", &[2])
        .operator("Add", "y", "f32", &[2], &["x", "x"])
        .operator("Equal", "same", "boolean", &[2], &["x", "y"])
        .result("same")
        .result("y");
    let mut context = open(&load_tiny(&model));
    context.set_input(0, f32s(&[2], &[0.0, 1.0])).unwrap();
    context.compute().unwrap();
    assert_eq!(floats(&*context, 1), [0.0, 2.0]);
    let error = context.output(0).unwrap_err();
    assert_eq!(error.code, ErrorCode::UnsupportedOperation);
    assert!(error.message.contains("`same`"), "{error}");
}

#[test]
fn builders_are_xml_and_weights() {
    if !is_here(&OpenVino::new()) {
        return;
    }
    let [xml, weights] = <[_; 2]>::try_from(builders(&two_by_two())).unwrap();
    // Without weights, one builder is enough, and an empty one is none.
    let plain = double().to_xml().into_bytes();
    try_load(vec![plain.clone()]).unwrap();
    try_load(vec![plain.clone(), vec![]]).unwrap();
    // OpenVINO reads ONNX as well, which may name files of the host; this host has a backend for it.
    let onnx = TinyOnnx::new()
        .input("x", onnx_type::F32, &[3])
        .node("Add", &["x", "x"], &["y"])
        .output("y", onnx_type::F32, &[3])
        .to_bytes();
    for (builders, text) in [
        (
            vec![weights.clone(), xml.clone()],
            "expected builder 0 to be",
        ),
        (vec![onnx], "expected builder 0 to be"),
        (vec![vec![]], "expected builder 0 to be"),
        (
            vec![xml.clone(), weights.clone(), vec![]],
            "expected two builders",
        ),
        (vec![xml.clone()], "cannot read the model"),
        (
            vec![xml.clone(), weights[..2].to_vec()],
            "cannot read the model",
        ),
    ] {
        let error = error_of(try_load(builders));
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
        assert!(error.message.contains(text), "{error}");
    }
    let detected = registry().load(vec![plain], Encoding::Autodetect, Target::Cpu, None);
    detected.unwrap();
}

/// A changed model is an error or a model; an abort of the process is the failure.
#[test]
fn changed_models_load_or_are_errors() {
    if !is_here(&OpenVino::new()) {
        return;
    }
    let [xml, weights] = <[_; 2]>::try_from(builders(&two_by_two())).unwrap();
    for length in (0..xml.len() - 8).step_by(13) {
        let cut = xml[..length].to_vec();
        assert!(try_load(vec![cut, weights.clone()]).is_err(), "{length}");
    }
    let mut mutations = Mutations::new();
    let mut loaded = 0;
    for _ in 0..400 {
        let Ok(graph) = try_load(vec![mutations.of(&xml), weights.clone()]) else {
            continue;
        };
        loaded += 1;
        let mut context = open(&graph);
        // Any result will do.
        let _ = context.set_input(0, f32s(&[2], &[1.0, 2.0]));
        let _ = context.set_input(1, i64s(&[2], &[1, 2]));
        let _ = context.compute();
        for index in 0..context.outputs() {
            let _ = context.output(index);
        }
    }
    assert!(loaded > 0);
}

#[test]
fn contexts_compute_beside_each_other() {
    if !is_here(&OpenVino::new()) {
        return;
    }
    compute_beside_each_other(&load_tiny(&double()));
    // As well if those that wait are computed together.
    let registry = Registry::with_default_backends()
        .scheduling(Scheduling {
            parallel: 1,
            batch: 16,
            ..Scheduling::default()
        })
        .build();
    let graph = registry.load(
        builders(&double()),
        Encoding::OpenVino,
        Target::Cpu,
        Some(r#"{"threads": 1}"#),
    );
    compute_beside_each_other(&graph.unwrap_or_else(|error| panic!("{error}")));
}

/// A registry with the model at `paths` as `m`.
fn named(paths: &[&Path], target: &str) -> Registry {
    let paths: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let preload: Preload = format!("m:openvino:{target}:{}", paths.join(":"))
        .parse()
        .unwrap();
    Registry::with_default_backends().preload(preload).build()
}

#[test]
fn files_are_found_and_loaded_once() {
    if !is_here(&OpenVino::new()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let xml = folder.path().join("model.xml");
    let bin = folder.path().join("model.bin");
    let [text, weights] = <[_; 2]>::try_from(builders(&two_by_two())).unwrap();
    std::fs::write(&xml, &text).unwrap();
    std::fs::write(&bin, &weights).unwrap();
    let compute = |registry: &Registry| {
        let mut context = open(&registry.load_by_name("m", None).unwrap());
        context.set_input(0, f32s(&[1], &[1.0])).unwrap();
        context.set_input(1, i64s(&[1], &[2])).unwrap();
        context.compute().unwrap();
        assert_eq!(floats(&*context, 0), [103.0]);
        context
    };
    for paths in [&[xml.as_path(), &bin][..], &[&xml], &[folder.path()]] {
        compute(&named(paths, "CPU"));
    }
    let registry = named(&[&xml, &bin], "AUTO");
    let context = compute(&registry);
    // Another file under the same name, size and time: who asks for the model again gets the one in use.
    let modified = xml.metadata().unwrap().modified().unwrap();
    let mut file = std::fs::File::create(&xml).unwrap();
    std::io::Write::write_all(&mut file, &vec![b' '; text.len()]).unwrap();
    file.set_modified(modified).unwrap();
    compute(&registry);
    assert!(
        registry
            .load_by_name("m", Some(r#"{"threads": 2}"#))
            .is_err()
    );
    drop(context);
    let error = error_of(registry.load_by_name("m", None));
    assert!(error.message.contains("cannot read"), "{error}");
}

#[test]
fn devices_targets_and_options() {
    let backend = OpenVino::new();
    if !is_here(&backend) {
        return;
    }
    let devices = backend.devices().unwrap();
    let cpu = devices.iter().find(|device| device.name == "CPU").unwrap();
    assert_eq!(cpu.kind, DeviceKind::Cpu);
    assert!(!cpu.description.is_empty());
    let load = |target, configuration| {
        registry().load(
            builders(&double()),
            Encoding::OpenVino,
            target,
            configuration,
        )
    };
    for (target, wanted) in [(Target::Gpu, "GPU"), (Target::Tpu, "NPU")] {
        if devices.iter().any(|device| device.name.starts_with(wanted)) {
            continue;
        }
        let error = error_of(load(target, None));
        assert_eq!(error.code, ErrorCode::UnsupportedOperation);
        let expected = format!("expected {wanted} among the devices of OpenVINO");
        assert!(error.message.contains(&expected), "{error}");
        assert!(error.message.contains("found CPU"), "{error}");
    }
    load(Target::Auto, None).unwrap();
    for (json, fine) in [
        (r#"{"threads": 2}"#, true),
        (r#"{"threads": 0, "unknown": 1}"#, true),
        (r#"{"threads": "2"}"#, false),
        ("[]", false),
    ] {
        assert_eq!(load(Target::Cpu, Some(json)).is_ok(), fine, "{json}");
    }
}

/// OpenVINO's numbers differ from ONNX Runtime's and between processors: some compute in `bf16`.
#[test]
fn a_picture_is_classified() {
    let Some(folder) = path_of("LLM_WASI_ORIENTATION_IR", "orientation") else {
        return;
    };
    assert!(is_here(&OpenVino::new()));
    let (xml, bin) = (folder.join("model.xml"), folder.join("model.bin"));
    for paths in [&[xml.as_path(), &bin][..], &[&folder]] {
        let mut context = open(&named(paths, "CPU").load_by_name("m", None).unwrap());
        let name = context.input_index("x").unwrap();
        assert_eq!(name, 0);
        for _ in 0..2 {
            context.set_input(0, ones()).unwrap();
            context.compute().unwrap();
            assert_eq!(context.describe_output(0).unwrap().dimensions, [1, 4]);
            assert_close(
                &floats(&*context, 0),
                &[0.260_414, 0.251_372, 0.253_236, 0.234_978],
                4e-3,
            );
        }
    }
}
