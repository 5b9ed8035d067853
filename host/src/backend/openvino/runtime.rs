//! The library of OpenVINO: one for the process, loaded at its first use; and the device for a target.

use super::TITLE;
use super::sys::Core;
use crate::backend::tensors::guard;
use crate::backend::tensors::library::Library;
use crate::backend::tensors::options::Options;
use crate::backend::{Device, DeviceKind, Target};
use crate::{Error, ErrorCode};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::available_parallelism;

const LIBRARY: Library = Library {
    title: TITLE,
    stem: "openvino_c",
    version: None,
    variables: &[
        "LLM_WASI_OPENVINO",
        "OPENVINO_INSTALL_DIR",
        "INTEL_OPENVINO_DIR",
    ],
    folders: &[
        "libs",
        "lib",
        "lib64",
        "runtime/lib/intel64",
        "runtime/lib/arm64",
        "runtime/lib/aarch64",
        "runtime/lib/intel64/Release",
        "runtime/lib/arm64/Release",
        "runtime/bin/intel64/Release",
    ],
    advice: "Install it, version 2025.1 or later, and name its file or folder, such as: pip install openvino; \
             export LLM_WASI_OPENVINO=$(python3 -c 'import openvino; print(openvino.__path__[0])')",
};

/// The library. One thread at a time loads and compiles; computing goes past this.
pub(super) struct Runtime {
    core: Mutex<Core>,
}

/// The library. The first call loads it; a failure stays one.
pub(super) fn runtime() -> Result<&'static Runtime, Error> {
    static RUNTIME: OnceLock<Result<Runtime, Error>> = OnceLock::new();
    RUNTIME.get_or_init(start).as_ref().map_err(Error::clone)
}

fn start() -> Result<Runtime, Error> {
    let open = |path: &Path| {
        // A library that is not what its name says makes the binding panic.
        guard(TITLE, || Core::load(path)).map_err(|error| error.message)
    };
    let (core, path) = LIBRARY.open(open)?;
    if processors() == 1 {
        core.set_threads(1)?;
    }
    tracing::debug!(path = %path.display(), "loaded {TITLE}");
    Ok(Runtime {
        core: Mutex::new(core),
    })
}

/// How many threads can compute at once.
fn processors() -> u16 {
    available_parallelism().map_or(u16::MAX, |count| count.get().try_into().unwrap_or(u16::MAX))
}

impl Runtime {
    /// Calls `function` with a core that compiles for these options.
    pub(super) fn with_core<V>(
        &self,
        options: Options,
        function: impl FnOnce(&Core) -> Result<V, Error>,
    ) -> Result<V, Error> {
        let core = self.core();
        if options.threads == 0 {
            return function(&core);
        }
        // What is set on a core cannot be taken back.
        let other = core.another()?;
        drop(core);
        other.set_threads(options.threads.min(processors()))?;
        function(&other)
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn devices(&self) -> Result<Vec<Device>, Error> {
        let core = self.core();
        let names = core.devices()?;
        Ok(names
            .into_iter()
            .map(|name| {
                let property = |key| core.property(&name, key).unwrap_or_default();
                Device {
                    description: property(c"FULL_DEVICE_NAME"),
                    kind: kind(&name, &property(c"DEVICE_TYPE")),
                    memory: None,
                    name,
                }
            })
            .collect())
    }
}

/// The kind of a device, from its name and what it says of itself.
fn kind(name: &str, ty: &str) -> DeviceKind {
    match family(name) {
        "CPU" => DeviceKind::Cpu,
        "GPU" if ty.eq_ignore_ascii_case("integrated") => DeviceKind::IntegratedGpu,
        "GPU" => DeviceKind::Gpu,
        _ => DeviceKind::Accelerator,
    }
}

/// `GPU` of `GPU.1`.
fn family(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// The device that a target means.
pub(super) fn device(core: &Core, target: Target) -> Result<String, Error> {
    if target == Target::Cpu {
        // Asking which others there are takes longer than loading a small model.
        return Ok("CPU".to_owned());
    }
    let devices = core.devices()?;
    let chosen = choose(&devices, target)?;
    if target == Target::Auto {
        tracing::info!("target AUTO: {chosen}, of {}", devices.join(", "));
    }
    Ok(chosen.to_owned())
}

fn choose(devices: &[String], target: Target) -> Result<&str, Error> {
    let families: &[&str] = match target {
        Target::Cpu => &["CPU"],
        Target::Gpu => &["GPU"],
        Target::Tpu => &["NPU"],
        Target::Auto => &["GPU", "CPU"],
    };
    families
        .iter()
        .find_map(|wanted| devices.iter().find(|name| family(name) == *wanted))
        .map(String::as_str)
        .ok_or_else(|| {
            let found = match devices {
                [] => "none".to_owned(),
                _ => devices.join(", "),
            };
            Error::new(
                ErrorCode::UnsupportedOperation,
                format!(
                    "expected {} among the devices of {TITLE} for target {target}, found {found}: install its \
                     driver, or ask for target CPU or AUTO",
                    families.join(" or ")
                ),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_find_their_devices() {
        let all: Vec<String> = ["CPU", "GPU.0", "GPU.1", "NPU"].map(str::to_owned).into();
        let found = |devices: &[String], target| {
            choose(devices, target)
                .map(str::to_owned)
                .map_err(|error| error.message)
        };
        for (target, expected) in [
            (Target::Cpu, "CPU"),
            (Target::Gpu, "GPU.0"),
            (Target::Tpu, "NPU"),
            (Target::Auto, "GPU.0"),
        ] {
            assert_eq!(found(&all, target).as_deref(), Ok(expected));
        }
        assert_eq!(found(&all[..1], Target::Auto).as_deref(), Ok("CPU"));
        for (target, wanted) in [(Target::Gpu, "GPU"), (Target::Tpu, "NPU")] {
            let error = found(&all[..1], target).unwrap_err();
            let expected = format!(
                "expected {wanted} among the devices of OpenVINO for target {target}, found CPU"
            );
            assert!(error.starts_with(&expected), "{error}");
        }
        assert!(found(&[], Target::Auto).unwrap_err().contains("found none"));
    }

    #[test]
    fn kinds_of_devices() {
        for (name, ty, expected) in [
            ("CPU", "integrated", DeviceKind::Cpu),
            ("GPU", "integrated", DeviceKind::IntegratedGpu),
            ("GPU.1", "discrete", DeviceKind::Gpu),
            ("NPU", "", DeviceKind::Accelerator),
        ] {
            assert_eq!(kind(name, ty), expected, "{name}");
        }
    }
}
