//! The ONNX backend on tiny models, and on three real ones.
//!
//! The library is looked for as always; `scripts/setup.sh onnxruntime` prints a value for
//! `LLM_WASI_ONNXRUNTIME`.

mod tensors;

use llm_wasi_host::backend::onnx::Onnx;
use llm_wasi_host::backend::{Backend, DeviceKind, Encoding, ExecutionContext, Graph, Target};
use llm_wasi_host::testing::{TinyOnnx, onnx_type};
use llm_wasi_host::{
    ErrorCode, Monitor, OutputDescription, Preload, Registry, Scheduling, Tensor, TensorType, calls,
};
use std::path::Path;
use std::sync::Arc;
use tensors::*;

fn onnx_type_of(ty: TensorType) -> u64 {
    match ty {
        TensorType::F16 => onnx_type::F16,
        TensorType::F32 => onnx_type::F32,
        TensorType::F64 => onnx_type::F64,
        TensorType::Bf16 => onnx_type::BF16,
        TensorType::U8 => onnx_type::U8,
        TensorType::I32 => onnx_type::I32,
        TensorType::I64 => onnx_type::I64,
    }
}

fn load_tiny(model: &TinyOnnx) -> Arc<dyn Graph> {
    load(vec![model.to_bytes()], Encoding::Onnx)
}

/// `y = x + x`, of any number of rows of three.
fn double() -> TinyOnnx {
    TinyOnnx::new()
        .input("x", onnx_type::F32, &[-1, 3])
        .node("Add", &["x", "x"], &["y"])
        .output("y", onnx_type::F32, &[-1, 3])
}

/// `sum = a + b` and `twice = b + b`, where `b` is of another type.
fn two_by_two() -> TinyOnnx {
    TinyOnnx::new()
        .input("a", onnx_type::F32, &[-1])
        .input("b", onnx_type::I64, &[-1])
        .node_with("Cast", &["b"], &["c"], &[("to", onnx_type::F32)])
        .node("Add", &["a", "c"], &["sum"])
        .node("Add", &["b", "b"], &["twice"])
        .output("sum", onnx_type::F32, &[-1])
        .output("twice", onnx_type::I64, &[-1])
}

#[test]
fn every_type_goes_in_and_comes_out() {
    if !is_here(&Onnx::new()) {
        return;
    }
    for (ty, elements) in TYPES {
        let number = onnx_type_of(ty);
        let model = TinyOnnx::new()
            .input("x", number, &[-1, 3])
            .node("Identity", &["x"], &["y"])
            .output("y", number, &[-1, 3]);
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
        let model = TinyOnnx::new()
            .input("x", number, &[3])
            .node_with("Cast", &["x"], &["y"], &[("to", onnx_type::F32)])
            .output("y", onnx_type::F32, &[3]);
        let mut context = open(&load_tiny(&model));
        context.set_input(0, tensor(ty, &[3], elements)).unwrap();
        context.compute().unwrap();
        let last = if ty == TensorType::U8 { 253.0 } else { -3.0 };
        assert_eq!(floats(&*context, 0), [1.0, 2.0, last], "{ty}");
    }
}

#[test]
fn several_inputs_and_outputs_have_names_and_numbers() {
    if !is_here(&Onnx::new()) {
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
    for unknown in ["x", "2", "-1", "a\0", ""] {
        let error = context.input_index(unknown).unwrap_err();
        assert_eq!(error.code, ErrorCode::NotFound);
        assert!(error.message.contains("`a`, `b`"), "{error}");
        assert!(context.output_index(unknown).is_err());
    }

    // In the other order, and not all of them.
    context.set_input(1, i64s(&[2], &[10, -20])).unwrap();
    let error = context.compute().unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert_eq!(error.message, "input 0 `a` (f32 [?]) is not set");
    context.set_input(0, f32s(&[2], &[0.5, 1.5])).unwrap();
    assert_eq!(context.output(1).unwrap_err().code, ErrorCode::RuntimeError);
    context.compute().unwrap();
    assert_eq!(floats(&*context, 0), [10.5, -18.5]);
    assert_eq!(*context.output(1).unwrap(), i64s(&[2], &[20, -40]).data);

    // Inputs stay set, until all are forgotten.
    context.set_input(0, f32s(&[2], &[1.0, 1.0])).unwrap();
    context.compute().unwrap();
    assert_eq!(floats(&*context, 0), [11.0, -19.0]);
    context.clear_inputs();
    assert!(context.compute().is_err());
    assert_eq!(floats(&*context, 0), [11.0, -19.0]);
}

#[test]
fn what_does_not_fit_is_refused_when_it_is_set() {
    if !is_here(&Onnx::new()) {
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
        // As guests of language models do.
        (tensor(TensorType::F32, &[1], [0; 12]), "f32 [1]"),
    ] {
        refused(0, tensor, &format!("{expected} {found}"));
    }
    for (rows, bytes, text) in [
        (1, 11, "expected 12 bytes for f32 [1, 3], found 11"),
        (2, 12, "expected 24 bytes for f32 [2, 3], found 12"),
        (0, 1, "expected 0 bytes for f32 [0, 3], found 1"),
        (u32::MAX, 12, "expected 51539607540 bytes"),
    ] {
        refused(0, tensor(TensorType::F32, &[rows, 3], vec![0; bytes]), text);
    }
    refused(
        1,
        f32s(&[1, 3], &[0.0; 3]),
        "below 1, found 1: the model's inputs are `x`",
    );
    refused(u32::MAX, f32s(&[1, 3], &[0.0; 3]), "found 4294967295");
    assert!(context.take_input(7).is_none());

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
    if !is_here(&Onnx::new()) {
        return;
    }
    let mut context = open(&load_tiny(&two_by_two()));
    context.set_input(0, f32s(&[3], &[0.0; 3])).unwrap();
    context.set_input(1, i64s(&[2], &[1, 2])).unwrap();
    let error = context.compute().unwrap_err();
    assert!(error.message.starts_with("ONNX Runtime: "), "{error}");
    context.set_input(0, f32s(&[2], &[0.0; 2])).unwrap();
    context.compute().unwrap();
    assert_eq!(floats(&*context, 0), [1.0, 2.0]);
}

#[test]
fn scalars_and_shapes_that_are_open() {
    if !is_here(&Onnx::new()) {
        return;
    }
    let scalar = TinyOnnx::new()
        .input("x", onnx_type::F32, &[])
        .node("Add", &["x", "x"], &["y"])
        .output("y", onnx_type::F32, &[]);
    let mut context = open(&load_tiny(&scalar));
    context.set_input(0, f32s(&[], &[1.5])).unwrap();
    context.compute().unwrap();
    assert_eq!(context.describe_output(0).unwrap().dimensions, [0_u32; 0]);
    assert_eq!(floats(&*context, 0), [3.0]);

    let unranked = TinyOnnx::new()
        .unranked_input("x", onnx_type::F32)
        .node("Flatten", &["x"], &["y"])
        .output("y", onnx_type::F32, &[-1, -1]);
    let mut context = open(&load_tiny(&unranked));
    for (dimensions, flat) in [(&[2, 1, 2][..], [2, 2]), (&[4], [4, 1])] {
        context.set_input(0, f32s(dimensions, &[1.0; 4])).unwrap();
        context.compute().unwrap();
        assert_eq!(context.describe_output(0).unwrap().dimensions, flat);
    }
    let error = context.set_input(0, f32s(&[2], &[1.0; 4])).unwrap_err();
    assert!(error.message.contains("expected 8 bytes"), "{error}");
}

#[test]
fn a_model_without_inputs_computes() {
    if !is_here(&Onnx::new()) {
        return;
    }
    let model = TinyOnnx::new()
        .constant("c", onnx_type::F32, &[2], &f32s(&[2], &[1.0, 2.0]).data)
        .node("Add", &["c", "c"], &["y"])
        .output("y", onnx_type::F32, &[2]);
    let mut context = open(&load_tiny(&model));
    let error = context.set_input(0, f32s(&[1], &[0.0])).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    context.compute().unwrap();
    assert_eq!(floats(&*context, 0), [2.0, 4.0]);
}

#[test]
fn types_that_wasi_nn_has_not_are_named() {
    if !is_here(&Onnx::new()) {
        return;
    }
    let not = TinyOnnx::new()
        .input("flag", onnx_type::BOOL, &[-1])
        .node("Not", &["flag"], &["y"])
        .output("y", onnx_type::BOOL, &[-1]);
    for (model, parts) in [
        (not, ["input 0 `flag`", "the model has bool [?]"]),
        (
            TinyOnnx::new()
                .input("x", onnx_type::I8, &[2])
                .node("Identity", &["x"], &["y"])
                .output("y", onnx_type::I8, &[2]),
            ["input 0 `x`", "the model has i8 [2]"],
        ),
        (
            TinyOnnx::new()
                .input("x", onnx_type::F32, &[2])
                .node_with("Cast", &["x"], &["text"], &[("to", onnx_type::STRING)])
                .output("text", onnx_type::STRING, &[2]),
            ["output 0 `text`", "the model has String [2]"],
        ),
    ] {
        let result = registry().load(vec![model.to_bytes()], Encoding::Onnx, Target::Cpu, None);
        let error = error_of(result);
        assert_eq!(error.code, ErrorCode::UnsupportedOperation);
        assert!(
            parts.iter().all(|part| error.message.contains(part)),
            "{error}"
        );
    }

    // Beside outputs that can be read, as converters of scikit-learn's models make them.
    let model = TinyOnnx::new()
        .input("x", onnx_type::F32, &[2])
        .node("Add", &["x", "x"], &["y"])
        .node("Equal", &["x", "y"], &["same"])
        .node("SequenceConstruct", &["x", "y"], &["all"])
        .output("same", onnx_type::BOOL, &[2])
        .output("y", onnx_type::F32, &[2])
        .sequence_output("all", onnx_type::F32, &[2]);
    let mut context = open(&load_tiny(&model));
    context.set_input(0, f32s(&[2], &[0.0, 1.0])).unwrap();
    context.compute().unwrap();
    assert_eq!(context.outputs(), 2);
    assert_eq!(floats(&*context, 1), [0.0, 2.0]);
    for (index, parts) in [(0, ["`same`", "bool"]), (2, ["`all`", "Sequence"])] {
        let error = context.output(index).unwrap_err();
        assert_eq!(error.code, ErrorCode::UnsupportedOperation);
        assert!(
            parts.iter().all(|part| error.message.contains(part)),
            "{error}"
        );
    }
    // Where all are read at once, the others have their places.
    let all = calls::outputs(&*context).unwrap();
    let names: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["same", "y"]);
    assert_eq!((&all[0].1.dimensions, all[0].1.data.len()), (&vec![0], 0));
    assert_eq!(all[1].1.data, context.output(1).unwrap());
}

#[test]
fn a_guests_model_cannot_read_the_hosts_files() {
    if !is_here(&Onnx::new()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let secret = f32s(&[2], &[4.0, 2.0]).data;
    std::fs::write(folder.path().join("secret.bin"), &secret).unwrap();
    let model = TinyOnnx::new()
        .constant_in_file("w", onnx_type::F32, &[2], "secret.bin")
        .node("Identity", &["w"], &["y"])
        .output("y", onnx_type::F32, &[2]);
    let result = registry().load(vec![model.to_bytes()], Encoding::Onnx, Target::Cpu, None);
    let error = error_of(result);
    assert_eq!(error.code, ErrorCode::Security, "{error}");

    // The host's own model may, and finds its data beside it.
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.to_bytes()).unwrap();
    for place in [path.as_path(), folder.path()] {
        let mut context = open(&named(place, "CPU").load_by_name("m", None).unwrap());
        context.compute().unwrap();
        assert_eq!(*context.output(0).unwrap(), secret);
    }
    // Unless they are elsewhere.
    std::fs::remove_file(folder.path().join("secret.bin")).unwrap();
    let error = error_of(named(&path, "CPU").load_by_name("m", None));
    assert!(error.message.contains("cannot load"), "{error}");
}

/// A registry with the model at `path` as `m`.
fn named(path: &Path, target: &str) -> Registry {
    let preload: Preload = format!("m:ONNX:{target}:{}", path.display())
        .parse()
        .unwrap();
    Registry::with_default_backends().preload(preload).build()
}

/// A changed model is an error or a model; an abort of the process is the failure.
#[test]
fn changed_models_load_or_are_errors() {
    if !is_here(&Onnx::new()) {
        return;
    }
    let good = two_by_two()
        .constant("w", onnx_type::F32, &[2], &[0; 8])
        .node("Mul", &["a", "w"], &["scaled"])
        .output("scaled", onnx_type::F32, &[-1])
        .to_bytes();
    let registry = registry();
    let load = |bytes| {
        registry.load(
            vec![bytes],
            Encoding::Onnx,
            Target::Cpu,
            Some(r#"{"threads": 1}"#),
        )
    };
    for length in 0..good.len() {
        assert!(load(good[..length].to_vec()).is_err(), "{length}");
    }
    let mut mutations = Mutations::new();
    let mut loaded = 0;
    for _ in 0..600 {
        let Ok(graph) = load(mutations.of(&good)) else {
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
    for other in [
        &b""[..],
        b"\0\0\0\0",
        b"GGUF",
        b"\x08\x08ORTM",
        &[0xff; 4096],
    ] {
        let error = error_of(load(other.to_vec()));
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
    }
}

/// A model may compute as long as its inputs like.
#[test]
fn an_interrupt_ends_a_loop_and_the_model_computes_on() {
    if !is_here(&Onnx::new()) {
        return;
    }
    let model = TinyOnnx::new()
        .input("count", onnx_type::I64, &[])
        .input("x", onnx_type::F32, &[-1])
        .doubling_loop("count", "x", "y")
        .output("y", onnx_type::F32, &[-1]);
    let monitor = Monitor::default();
    let registry = Registry::builder()
        .backend(Onnx::new())
        .monitor(monitor.clone())
        .build();
    let graph = registry
        .load(vec![model.to_bytes()], Encoding::Onnx, Target::Cpu, None)
        .unwrap();
    let open = |count: i64| {
        let mut context = graph.init_execution_context().unwrap();
        let count = Tensor {
            dimensions: vec![],
            ty: TensorType::I64,
            data: count.to_le_bytes().to_vec(),
        };
        let one = Tensor {
            dimensions: vec![1],
            ty: TensorType::F32,
            data: 1_f32.to_le_bytes().to_vec(),
        };
        context.set_input(0, count).unwrap();
        context.set_input(1, one).unwrap();
        context
    };
    std::thread::scope(|scope| {
        let endless = scope.spawn(|| open(i64::MAX).compute());
        // It ends as well if it has not begun by then.
        std::thread::sleep(std::time::Duration::from_millis(100));
        monitor.interrupt();
        let error = endless.join().unwrap().unwrap_err();
        assert_eq!(error.code, ErrorCode::EndOfSequence, "{error}");
    });
    let mut context = open(3);
    context.compute().unwrap();
    assert_eq!(*context.output(0).unwrap(), 8_f32.to_le_bytes());
}

#[test]
fn contexts_compute_beside_each_other() {
    if !is_here(&Onnx::new()) {
        return;
    }
    compute_beside_each_other(&load_tiny(&double()));
}

#[test]
fn contexts_that_wait_may_be_computed_together() {
    if !is_here(&Onnx::new()) {
        return;
    }
    let registry = Registry::with_default_backends()
        .scheduling(Scheduling {
            parallel: 1,
            batch: 16,
            ..Scheduling::default()
        })
        .build();
    for (model, fits) in [
        (double(), true),
        // The sum of all rows: not what the model says of itself, and found out.
        (
            TinyOnnx::new()
                .input("x", onnx_type::F32, &[-1, 3])
                .node("ReduceSum", &["x"], &["y"])
                .output("y", onnx_type::F32, &[-1, 1]),
            false,
        ),
    ] {
        let graph = registry
            .load(vec![model.to_bytes()], Encoding::Onnx, Target::Cpu, None)
            .unwrap_or_else(|error| panic!("{error}"));
        std::thread::scope(|scope| {
            for number in 1..=6_u8 {
                let mut context = open(&graph);
                scope.spawn(move || {
                    for round in 0..50_u32 {
                        let rows = 1 + round % 3;
                        let row = [f32::from(number), 1.0, 2.0];
                        let input = row.repeat(rows as usize);
                        context.set_input(0, f32s(&[rows, 3], &input)).unwrap();
                        context.compute().unwrap_or_else(|error| panic!("{error}"));
                        let expected = if fits {
                            input.iter().map(|x| 2.0 * x).collect()
                        } else {
                            vec![input.iter().sum::<f32>()]
                        };
                        assert_eq!(floats(&*context, 0), expected);
                    }
                });
            }
        });
    }
}

#[test]
fn a_model_in_use_is_loaded_once() {
    if !is_here(&Onnx::new()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let model = double().to_bytes();
    std::fs::write(&path, &model).unwrap();
    let modified = path.metadata().unwrap().modified().unwrap();
    let registry = named(&path, "AUTO");
    let first = registry.load_by_name("m", None).unwrap();
    // Another file under the same name, size and time: who asks for the model again gets the one in use.
    let mut file = std::fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut file, &vec![0xff; model.len()]).unwrap();
    file.set_modified(modified).unwrap();
    let second = registry.load_by_name("m", None).unwrap();
    assert!(
        registry
            .load_by_name("m", Some(r#"{"threads": 2}"#))
            .is_err()
    );
    // With other data beside it, it is another model.
    let data = folder.path().join("m.onnx_data");
    std::fs::write(&data, "1").unwrap();
    assert!(registry.load_by_name("m", None).is_err());
    std::fs::remove_file(&data).unwrap();
    drop(first);
    let mut context = open(&second);
    drop(second);
    assert!(registry.load_by_name("m", None).is_ok());
    context.set_input(0, f32s(&[1, 3], &[1.0; 3])).unwrap();
    context.compute().unwrap();
    drop(context);
    assert!(registry.load_by_name("m", None).is_err());
}

#[test]
fn devices_targets_and_options() {
    let backend = Onnx::new();
    if !is_here(&backend) {
        return;
    }
    let devices = backend.devices().unwrap();
    assert_eq!(devices[0].name, "CPU");
    assert_eq!(devices[0].kind, DeviceKind::Cpu);
    let has_gpu = devices.iter().any(|device| device.kind.is_gpu());
    let load = |target, configuration| {
        registry().load(
            vec![double().to_bytes()],
            Encoding::Onnx,
            target,
            configuration,
        )
    };
    let error = error_of(load(Target::Tpu, None));
    assert_eq!(error.code, ErrorCode::UnsupportedOperation);
    assert!(error.message.contains("is for CPU"), "{error}");
    if !has_gpu {
        let error = error_of(load(Target::Gpu, None));
        assert_eq!(error.code, ErrorCode::UnsupportedOperation);
        assert!(error.message.contains("found one for CPU"), "{error}");
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
    let error = error_of(registry().load(vec![vec![], vec![]], Encoding::Onnx, Target::Cpu, None));
    assert!(error.message.contains("expected one builder"), "{error}");
    registry()
        .load(
            vec![double().to_bytes()],
            Encoding::Autodetect,
            Target::Cpu,
            None,
        )
        .unwrap();
}

#[test]
fn a_picture_is_classified() {
    let Some(path) = path_of("LLM_WASI_ORIENTATION", "orientation-onnx") else {
        return;
    };
    assert!(is_here(&Onnx::new()));
    for target in ["CPU", "AUTO"] {
        let mut context = open(&named(&path, target).load_by_name("m", None).unwrap());
        assert_eq!(context.input_index("x"), Ok(0));
        for _ in 0..2 {
            context.set_input(0, ones()).unwrap();
            context.compute().unwrap();
            assert_eq!(context.describe_output(0).unwrap().dimensions, [1, 4]);
            assert_close(
                &floats(&*context, 0),
                &[0.261_615_9, 0.249_588_5, 0.255_534_7, 0.233_260_9],
                1e-4,
            );
        }
        let error = context.set_input(0, f32s(&[3, 224, 224], &[])).unwrap_err();
        let expected = "expected f32 [?, 3, 224, 224], found f32 [3, 224, 224]";
        assert!(error.message.contains(expected), "{error}");
    }
}

/// The mean of the model's vectors for the tokens that the mask has, of length 1.
fn sentence(context: &mut dyn ExecutionContext, tokens: &[i64], length: usize) -> Vec<f32> {
    let padding = length - tokens.len();
    let ids = [tokens, &vec![0; padding]].concat();
    let mask = [vec![1; tokens.len()], vec![0; padding]].concat();
    let shape = [1, u32::try_from(length).unwrap()];
    for (name, values) in [
        ("input_ids", &ids),
        ("attention_mask", &mask),
        ("token_type_ids", &vec![0; length]),
    ] {
        let index = context.input_index(name).unwrap();
        context.set_input(index, i64s(&shape, values)).unwrap();
    }
    context.compute().unwrap();
    let all = floats(context, 0);
    assert_eq!(all.len(), length * 384);
    let mut sum = vec![0.0; 384];
    for token in all.chunks(384).take(tokens.len()) {
        for (sum, value) in sum.iter_mut().zip(token) {
            *sum += value;
        }
    }
    let norm = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
    sum.iter().map(|value| value / norm).collect()
}

/// The numbers are those of Python's ONNX Runtime: `host/tests/tensors/reference.py` prints them. Its int8
/// kernels differ between processors, hence the tolerance.
#[test]
fn sentences_with_like_meanings_are_near() {
    let Some(path) = path_of("LLM_WASI_MINILM", "minilm") else {
        return;
    };
    assert!(is_here(&Onnx::new()));
    // Numbers of words in the vocabulary of bert-base-uncased, between [CLS] and [SEP].
    let king = [101, 1996, 2332, 2001, 1037, 2158, 102];
    let queen = [101, 1996, 3035, 2001, 1037, 2450, 102];
    let price = [101, 2054, 2003, 1996, 3976, 1997, 1996, 4518, 102];
    let mut context = open(&named(&path, "CPU").load_by_name("m", None).unwrap());
    let king = sentence(&mut *context, &king, 7);
    let price = sentence(&mut *context, &price, 9);
    let queen_alone = sentence(&mut *context, &queen, 7);
    let queen = sentence(&mut *context, &queen, 16);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    assert_close(
        &king[..4],
        &[-0.041_47, 0.109_85, -0.059_36, 0.093_37],
        0.01,
    );
    assert_close(
        &[dot(&king, &queen_alone), dot(&king, &price)],
        &[0.603, 0.0259],
        0.03,
    );
    // Padding that the mask leaves out changes next to nothing.
    assert!(dot(&queen, &queen_alone) > 0.98);
}

/// Magika knows file types by their first and last 1024 bytes: 256 is padding.
#[test]
fn source_text_is_recognized() {
    let Some(path) = path_of("LLM_WASI_MAGIKA", "magika") else {
        return;
    };
    assert!(is_here(&Onnx::new()));
    let mut context = open(&named(&path, "CPU").load_by_name("m", None).unwrap());
    // Their places in the model's list of labels.
    for (text, label) in [
        (include_str!("tensors/reference.py"), 143),
        (include_str!("onnx.rs"), 156),
    ] {
        let bytes = text.trim().as_bytes();
        let first = bytes.iter().take(1024);
        let first: Vec<i32> = first.map(|byte| i32::from(*byte)).collect();
        let last = &bytes[bytes.len().saturating_sub(1024)..];
        let mut values = vec![256; 2048];
        values[..first.len()].copy_from_slice(&first);
        for (value, byte) in values[2048 - last.len()..].iter_mut().zip(last) {
            *value = i32::from(*byte);
        }
        let data: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        context
            .set_input(0, tensor(TensorType::I32, &[1, 2048], data))
            .unwrap();
        context.compute().unwrap();
        let labels = floats(&*context, 0);
        assert_eq!(labels.len(), 214);
        let best = (0..214).max_by(|a, b| labels[*a].total_cmp(&labels[*b]));
        assert_eq!(best, Some(label), "{}", labels[label]);
    }
}

/// Not a test, but the process that another one watches: no model was loaded there before.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "the process of another test"]
fn loads_the_library_and_then_a_model() {
    let threads = || Path::new("/proc/self/task").read_dir().unwrap().count();
    let before = threads();
    Onnx::new().devices().unwrap();
    let loaded = threads();
    let model = double().to_bytes();
    let _graph = registry()
        .load(
            vec![model],
            Encoding::Onnx,
            Target::Cpu,
            Some(r#"{"threads": 3}"#),
        )
        .unwrap();
    eprintln!("threads: {before} {loaded} {}", threads());
}

/// A worker process shuts itself in when it has loaded the library. Not every kernel does so for threads that are
/// there already.
#[cfg(target_os = "linux")]
#[test]
fn the_library_starts_no_thread_before_a_model_is_loaded() {
    if !is_here(&Onnx::new()) {
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "loads_the_library_and_then_a_model",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let counts = text.lines().find_map(|line| line.split_once("threads: "));
    let counts: Vec<usize> = counts
        .unwrap_or_else(|| panic!("{text}"))
        .1
        .split_whitespace()
        .map(|count| count.parse().unwrap())
        .collect();
    assert_eq!(counts[0], counts[1]);
    assert!(counts[1] < counts[2], "{counts:?}");
}

/// Not a test, but what the worker of the next one runs.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "the worker process of another test"]
fn worker() {
    let registry = Registry::with_default_backends().build();
    eprintln!(
        "{}",
        llm_wasi_host::testing::serve_from_a_test(&registry).unwrap_err()
    );
}

/// In this process and, for models that programs bring, in one of their own.
#[test]
#[ignore = "needs a GPU and ONNX Runtime with CUDA: `tests/gpu.sh` runs it where LLM_WASI_ONNXRUNTIME has CUDA"]
fn cuda_computes_what_the_cpu_does() {
    /// On GPUs that have it, CUDA multiplies numbers of 19 bits (TF32).
    const TOLERANCE: f32 = 2e-3;
    let devices = Onnx::new().devices().unwrap();
    assert!(
        devices.iter().any(|device| device.kind.is_gpu()),
        "{devices:?}"
    );
    #[cfg(target_os = "linux")]
    let registries = [
        registry(),
        Registry::with_default_backends()
            .isolate(llm_wasi_host::isolate::Isolation::new([
                "worker",
                "--exact",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ]))
            .build(),
    ];
    #[cfg(not(target_os = "linux"))]
    let registries = [registry()];
    for (registry, (ty, elements)) in registries.iter().flat_map(|r| TYPES.map(|t| (r, t))) {
        let number = onnx_type_of(ty);
        let model = TinyOnnx::new()
            .input("x", number, &[-1, 3])
            .node_with("Cast", &["x"], &["y"], &[("to", onnx_type::F32)])
            .output("y", onnx_type::F32, &[-1, 3]);
        let graph = registry.load(vec![model.to_bytes()], Encoding::Onnx, Target::Gpu, None);
        let mut context = open(&graph.unwrap_or_else(|error| panic!("{ty}: {error}")));
        for rows in [2, 1, 0, 3] {
            let data = elements.repeat(rows as usize);
            context.set_input(0, tensor(ty, &[rows, 3], data)).unwrap();
            let done = context.compute();
            done.unwrap_or_else(|error| panic!("{ty}: {error}"));
            let last = if ty == TensorType::U8 { 253.0 } else { -3.0 };
            let expected = [1.0, 2.0, last].repeat(rows as usize);
            assert_eq!(floats(&*context, 0), expected, "{ty}");
        }
    }
    let path = path_of("LLM_WASI_ORIENTATION", "orientation-onnx").unwrap();
    for registry in &registries {
        let model = std::fs::read(&path).unwrap();
        let scores = [Target::Cpu, Target::Gpu].map(|target| {
            let graph = registry.load(vec![model.clone()], Encoding::Onnx, target, None);
            let mut context = open(&graph.unwrap_or_else(|error| panic!("{target}: {error}")));
            context.set_input(0, ones()).unwrap();
            context.compute().unwrap();
            floats(&*context, 0)
        });
        assert_close(&scores[1], &scores[0], TOLERANCE);
    }
}
