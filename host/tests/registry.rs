//! Names of models: their notation, and what a wrong one is told.

use llm_wasi_host::backend::{Encoding, Target};
use llm_wasi_host::testing::NullBackend;
use llm_wasi_host::{ErrorCode, Preload, Registry};
use std::path::PathBuf;

#[test]
fn notation_of_preloads() {
    let cases = [
        (
            "a:GGML:AUTO:m.gguf",
            "a",
            Encoding::Ggml,
            Target::Auto,
            vec!["m.gguf"],
        ),
        (
            "default:ggml:auto:/m.gguf",
            "default",
            Encoding::Ggml,
            Target::Auto,
            vec!["/m.gguf"],
        ),
        (
            "n:OpenVINO:CPU:m.xml:m.bin",
            "n",
            Encoding::OpenVino,
            Target::Cpu,
            vec!["m.xml", "m.bin"],
        ),
        (
            "n:openvino:tpu:x",
            "n",
            Encoding::OpenVino,
            Target::Tpu,
            vec!["x"],
        ),
        ("n:Onnx:Gpu:x", "n", Encoding::Onnx, Target::Gpu, vec!["x"]),
        (
            "n:TensorflowLite:cpu:x",
            "n",
            Encoding::TensorFlowLite,
            Target::Cpu,
            vec!["x"],
        ),
        (
            "ü b:autodetect:cpu:ä ö",
            "ü b",
            Encoding::Autodetect,
            Target::Cpu,
            vec!["ä ö"],
        ),
    ];
    for (text, name, encoding, target, paths) in cases {
        let expected = Preload {
            name: name.to_owned(),
            encoding,
            target,
            paths: paths.into_iter().map(PathBuf::from).collect(),
            configuration: None,
        };
        assert_eq!(text.parse::<Preload>().unwrap(), expected, "{text}");
    }
}

#[test]
fn wrong_notation_names_the_part() {
    let form = "expected NAME:ENCODING:TARGET:PATH[:PATH…], found";
    let encodings = "OpenVINO, ONNX, TensorFlow, PyTorch, TensorFlowLite, GGML, AutoDetect";
    let cases = [
        ("", format!("{form} ``, whose NAME is empty")),
        ("a", format!("{form} `a`, which lacks ENCODING")),
        ("a:GGML", format!("{form} `a:GGML`, which lacks TARGET")),
        (
            "a:GGML:CPU",
            format!("{form} `a:GGML:CPU`, which lacks PATH"),
        ),
        (
            ":GGML:CPU:x",
            format!("{form} `:GGML:CPU:x`, whose NAME is empty"),
        ),
        (
            "a:GGML:CPU:",
            format!("{form} `a:GGML:CPU:`, whose PATH is empty"),
        ),
        (
            "a:GGML:CPU:x:",
            format!("{form} `a:GGML:CPU:x:`, whose PATH is empty"),
        ),
        (
            "a:GGUF:CPU:x",
            format!("the encoding in `a:GGUF:CPU:x`: expected one of {encodings}, found `GGUF`"),
        ),
        (
            "a:GGML:NPU:x",
            "the target in `a:GGML:NPU:x`: expected one of CPU, GPU, TPU, AUTO, found `NPU`"
                .to_owned(),
        ),
    ];
    for (text, message) in cases {
        assert_eq!(text.parse::<Preload>().unwrap_err().to_string(), message);
    }
}

#[test]
fn unknown_names_and_missing_files_are_told_apart() {
    let registry = Registry::builder().backend(NullBackend).build();
    let error = registry.load_by_name("a", None).err().unwrap();
    assert_eq!(error.code, ErrorCode::NotFound);
    assert!(error.message.contains("--nn-preload"), "{error}");

    let registry = Registry::builder()
        .backend(NullBackend)
        .preload("b:GGML:CPU:/no/such/file".parse().unwrap())
        .preload("a:ONNX:CPU:/no/such/file".parse().unwrap())
        .build();
    assert_eq!(registry.names().collect::<Vec<_>>(), ["a", "b"]);
    let error = registry.load_by_name("c", None).err().unwrap();
    assert_eq!(error.code, ErrorCode::NotFound);
    assert_eq!(
        error.message,
        "no model is called `c`: this host has `a`, `b`"
    );
    let error = registry.load_by_name("b", None).err().unwrap();
    assert_eq!(error.code, ErrorCode::ModelNotFound);
    assert!(error.message.contains("/no/such/file"), "{error}");
    let error = registry
        .load_by_name(&"x".repeat(1 << 20), None)
        .err()
        .unwrap();
    assert!(error.message.len() < 1000);
}
