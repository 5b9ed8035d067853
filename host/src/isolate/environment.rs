//! The part of the environment that a worker gets, and what is added to it. The rest may hold what no model should know.

use crate::backend::Target;
use std::ffi::{OsStr, OsString};

/// Variables that choose libraries and devices, or change how they compute.
const NAMES: [&str; 7] = [
    "DRI_PRIME",
    "GLIBC_TUNABLES",
    "LANG",
    "LANGUAGE",
    "LP_NUM_THREADS",
    "TZ",
    // Drivers of Vulkan are looked for there.
    "XDG_DATA_DIRS",
];

/// Of those below, what only the host may know.
const SECRETS: [&str; 1] = ["LLM_WASI_KEY_PASSWORD"];

/// What the names of others begin with.
const PREFIXES: [&str; 27] = [
    "AMD_",
    "ANV_",
    "CUDA_",
    "GGML_",
    "GOMP_",
    "HIP_",
    "HSA_",
    "INTEL_",
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
    "RADV_",
    "ROCR_",
    "RUST_",
    "VK_",
    "ZE_",
    "__GL_",
    "__NV_",
];

/// Drivers keep what they compile for a GPU in the user's folders. That is out of a worker's reach, but for a file that a
/// driver has open before the sandbox: a model that takes over the process could leave code there for others.
const WITHOUT_CACHES: [(&str, &str); 4] = [
    ("CUDA_CACHE_DISABLE", "1"),
    ("MESA_GLSL_CACHE_DISABLE", "true"),
    ("MESA_SHADER_CACHE_DISABLE", "true"),
    ("__GL_SHADER_DISK_CACHE", "0"),
];

/// Where the processor computes, no driver is to start, which takes memory of each GPU and of the process.
const WITHOUT_GPUS: [(&str, &str); 2] =
    [("CUDA_VISIBLE_DEVICES", "-1"), ("GGML_DISABLE_VULKAN", "1")];

/// What of these variables a worker gets.
pub(super) fn of_worker(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    variables.filter(|(name, _)| is_passed(name))
}

/// What a worker for this target gets besides, whatever the variables say.
pub(super) fn for_target(
    target: Target,
) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let gpus: &[_] = match target {
        Target::Cpu => &WITHOUT_GPUS,
        _ => &[],
    };
    WITHOUT_CACHES.iter().chain(gpus)
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
            "__GL_SYNC_TO_VBLANK",
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

    #[test]
    fn only_workers_for_the_processor_have_no_gpus() {
        let has = |target, name| for_target(target).any(|(added, _)| *added == name);
        for target in [Target::Cpu, Target::Gpu, Target::Auto] {
            assert!(has(target, "CUDA_CACHE_DISABLE"));
            let is_cpu = target == Target::Cpu;
            assert_eq!(has(target, "GGML_DISABLE_VULKAN"), is_cpu, "{target}");
        }
    }
}
