//! The part of the environment that a worker gets. The rest may hold what no model should know.

use std::ffi::{OsStr, OsString};

/// Variables that choose libraries and devices, or change how they compute.
const NAMES: [&str; 5] = [
    "GLIBC_TUNABLES",
    "INTEL_OPENVINO_DIR",
    "LANG",
    "LANGUAGE",
    "TZ",
];

/// Of those below, what only the host may know.
const SECRETS: [&str; 1] = ["LLM_WASI_KEY_PASSWORD"];

/// What the names of others begin with.
const PREFIXES: [&str; 21] = [
    "CUDA_",
    "GGML_",
    "GOMP_",
    "HIP_",
    "HSA_",
    "KMP_",
    "LC_",
    "LD_",
    "LLAMA_",
    "LLM_WASI_",
    "MALLOC_",
    "MESA_",
    "NVIDIA_",
    "OMP_",
    "OPENVINO_",
    "ORT_",
    "OV_",
    "ROCR_",
    "RUST_",
    "VK_",
    "ZE_",
];

/// What of these variables a worker gets.
pub(super) fn of_worker(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    variables.filter(|(name, _)| is_passed(name))
}

fn is_passed(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| {
        let is_known =
            NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        is_known && !SECRETS.contains(&name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_here() {
        for name in [
            "LD_LIBRARY_PATH",
            "LLM_WASI_ONNXRUNTIME",
            "RUST_LOG",
            "LANG",
        ] {
            assert!(is_passed(name.as_ref()), "{name}");
        }
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "HF_TOKEN",
            "LLM_WASI_KEY_PASSWORD",
            "HOME",
            "PATH",
            "LANGUISH",
        ] {
            assert!(!is_passed(name.as_ref()), "{name}");
        }
    }
}
