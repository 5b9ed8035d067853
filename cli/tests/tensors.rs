//! Models of tensors as users see them: a legacy program with ONNX Runtime and with OpenVINO, and where they
//! are not.

mod support;

use std::path::PathBuf;
use support::{Folder, text};

/// Prints what a model makes of a picture of ones.
const CLASSIFY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../fixtures/wasm/classify.wasm"
);

/// What environment variables name; where they have to, their absence is a failure.
fn paths_of<const N: usize>(variables: [&str; N]) -> Option<[PathBuf; N]> {
    let paths = variables.map(|variable| std::env::var_os(variable).map(PathBuf::from));
    if paths.iter().all(Option::is_some) {
        return Some(paths.map(Option::unwrap_or_default));
    }
    let told = format!("{variables:?} are not all set: scripts/test.sh sets them");
    assert!(std::env::var_os("CI").is_none(), "{told}");
    eprintln!("skipped: {told}");
    None
}

/// The numbers that the program prints with the model, in both profiles.
fn classify(preload: &str) -> Vec<Vec<f32>> {
    let folder = Folder::new();
    let preload = format!("default:{preload}");
    let runs = ["portable", "extended"].map(|profile| {
        let (numbers, told) = folder.succeed(&[
            "run",
            "--profile",
            profile,
            "--nn-preload",
            &preload,
            CLASSIFY,
            "default",
        ]);
        assert_eq!(told, "", "{preload}");
        let numbers: Result<Vec<f32>, _> = numbers.lines().map(str::parse).collect();
        numbers.expect("numbers")
    });
    runs.to_vec()
}

fn assert_close(found: Vec<Vec<f32>>, expected: [f32; 4], tolerance: f32) {
    for found in found {
        let far = |(found, expected): (&f32, &f32)| (found - expected).abs() > tolerance;
        assert_eq!(found.len(), 4);
        assert!(
            !found.iter().zip(&expected).any(far),
            "expected {expected:?} within {tolerance}, found {found:?}"
        );
    }
}

#[test]
fn a_legacy_program_with_onnx_runtime() {
    let Some([_, model]) = paths_of(["LLM_WASI_ONNXRUNTIME", "LLM_WASI_ORIENTATION"]) else {
        return;
    };
    for encoding in ["ONNX", "AutoDetect"] {
        let found = classify(&format!("{encoding}:CPU:{}", model.display()));
        assert_close(found, [0.261_616, 0.249_588, 0.255_535, 0.233_261], 1e-4);
    }
}

#[test]
fn a_legacy_program_with_openvino() {
    let Some([_, folder]) = paths_of(["LLM_WASI_OPENVINO", "LLM_WASI_ORIENTATION_IR"]) else {
        return;
    };
    let both = format!("{0}/model.xml:{0}/model.bin", folder.display());
    for preload in [
        format!("openvino:CPU:{both}"),
        format!("AutoDetect:CPU:{both}"),
        format!("OpenVINO:AUTO:{}", folder.display()),
    ] {
        // Some processors compute in `bf16`.
        let expected = [0.260_414, 0.251_372, 0.253_236, 0.234_978];
        assert_close(classify(&preload), expected, 4e-3);
    }
}

/// Each library's variable, its files' name, and the encoding.
const LIBRARIES: [(&str, &str, &str); 2] = [
    ("LLM_WASI_ONNXRUNTIME", "libonnxruntime.so", "ONNX"),
    ("LLM_WASI_OPENVINO", "libopenvino_c.so", "OpenVINO"),
];

/// What `devices` says, and what a program that wants the model is told, with the library at `place`.
fn without(variable: &str, place: &str, encoding: &str) -> (String, String) {
    let folder = Folder::new();
    folder.write("model", "no model, and nobody looks");
    let mut command = folder.command(&["devices"]);
    let devices = command.env(variable, place).output().expect("devices");
    assert!(devices.status.success(), "{}", text(&devices.stderr));
    let preload = format!("default:{encoding}:CPU:model");
    let mut command = folder.command(&["run", "--nn-preload", &preload, CLASSIFY, "default"]);
    let run = command.env(variable, place).output().expect("run");
    assert_eq!(run.status.code(), Some(1));
    let told = text(&run.stderr);
    assert!(told.contains("classify: load_by_name `default`"), "{told}");
    assert!(!told.contains("panicked"), "{told}");
    (text(&devices.stdout), told)
}

#[test]
fn a_library_that_is_not_there_is_named_with_a_way_to_get_it() {
    for (variable, _, encoding) in LIBRARIES {
        let (devices, told) = without(variable, "/no/such/place", encoding);
        let reason =
            format!("which is not here: {variable} names /no/such/place, where there is nothing");
        for told in [devices, told] {
            assert!(told.contains(&reason), "{told}");
            assert!(told.contains("pip install "), "{told}");
            assert!(
                told.contains(&format!("export {variable}=$(python3")),
                "{told}"
            );
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_library_that_is_another_one_is_told() {
    // One that every program here has loaded.
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the memory map");
    let other = maps
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .find(|path| path.contains("/libgcc_s."))
        .expect("a library");
    let other = std::fs::read(other).expect("its bytes");
    let folder = Folder::new();
    for (variable, name, encoding) in LIBRARIES {
        for (content, reason) in [
            (
                &b"neither a library nor anything else"[..],
                "cannot be loaded",
            ),
            (&other, "cannot be loaded"),
        ] {
            folder.write(name, content);
            let place = folder.path(name).display().to_string();
            let (devices, told) = without(variable, &place, encoding);
            for told in [devices, told] {
                assert!(
                    told.contains(&format!("{variable} names {place}")),
                    "{told}"
                );
                assert!(told.contains(reason), "{told}");
            }
        }
    }
}
