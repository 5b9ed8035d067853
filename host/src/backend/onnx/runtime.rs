//! The library of ONNX Runtime: one for the process, loaded at its first use.
//!
//! `ort` panics if anything of it is used before a library is loaded. So nothing here does, but by way of
//! [`runtime`].

use super::TITLE;
use crate::backend::tensors::guard;
use crate::backend::tensors::library::Library;
use crate::backend::{Device, DeviceKind};
use crate::{Error, ErrorCode};
use ort::environment::Environment;
use ort::ep::{CUDA, ExecutionProvider};
use ort::logging::LogLevel;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Target of the library's log.
const LOG: &str = "onnxruntime";

const LIBRARY: Library = Library {
    title: TITLE,
    stem: "onnxruntime",
    version: Some(".1"),
    variables: &["LLM_WASI_ONNXRUNTIME", "ORT_DYLIB_PATH"],
    folders: &["capi", "lib", "lib64"],
    advice: "Install it, version 1.17 or later, and name its file or folder, such as: pip install onnxruntime; \
             export LLM_WASI_ONNXRUNTIME=$(python3 -c 'import onnxruntime; print(onnxruntime.__path__[0])')",
};

/// The library, and what it can do.
pub(super) struct Runtime {
    pub(super) has_cuda: bool,
    path: PathBuf,
    environment: OnceLock<Result<Environment, Error>>,
}

/// The library. The first call loads it; a failure stays one.
pub(super) fn runtime() -> Result<&'static Runtime, Error> {
    static RUNTIME: OnceLock<Result<Runtime, Error>> = OnceLock::new();
    RUNTIME.get_or_init(load).as_ref().map_err(Error::clone)
}

fn load() -> Result<Runtime, Error> {
    // A library that is not what its name says makes `ort` panic.
    let open = |path: &Path| {
        guard(TITLE, || {
            ort::init_from(path).map_err(|error| wrong(&error.to_string()))?;
            Ok(CUDA::is_available().unwrap_or(false))
        })
        .map_err(|error| error.message)
    };
    let (has_cuda, path) = LIBRARY.open(open)?;
    tracing::debug!(path = %path.display(), has_cuda, "loaded {TITLE}");
    Ok(Runtime {
        has_cuda,
        path,
        environment: OnceLock::new(),
    })
}

fn wrong(reason: &str) -> Error {
    Error::new(ErrorCode::RuntimeError, reason)
}

fn environment() -> Result<Environment, Error> {
    let environment = ort::init()
        .with_name("llm-wasi")
        .with_telemetry(false)
        .with_logger(Arc::new(|level, _, _, location, message| {
            log(level, location, message);
        }))
        .build()
        .map_err(|error| wrong(error.message()).context(TITLE))?;
    // What nobody wants to see should not be made in the first place.
    environment.set_log_level(if tracing::enabled!(target: LOG, tracing::Level::TRACE) {
        LogLevel::Verbose
    } else if tracing::enabled!(target: LOG, tracing::Level::DEBUG) {
        LogLevel::Info
    } else {
        LogLevel::Error
    });
    Ok(environment)
}

/// Failures become errors of calls as well: no level here is above `debug`.
fn log(level: LogLevel, location: &str, message: &str) {
    match level {
        LogLevel::Fatal | LogLevel::Error => {
            tracing::debug!(target: LOG, location, "error: {message}");
        }
        LogLevel::Warning => tracing::debug!(target: LOG, location, "warning: {message}"),
        LogLevel::Info => tracing::debug!(target: LOG, location, "{message}"),
        LogLevel::Verbose => tracing::trace!(target: LOG, location, "{message}"),
    }
}

impl Runtime {
    /// What all models share. The first call makes it, and with it a thread: a worker process has shut itself in by
    /// then.
    pub(super) fn environment(&self) -> Result<&Environment, Error> {
        self.environment
            .get_or_init(|| guard(TITLE, environment))
            .as_ref()
            .map_err(Error::clone)
    }

    pub(super) fn devices(&self) -> Vec<Device> {
        let device = |name: &str, kind| Device {
            name: name.to_owned(),
            description: format!("{name} execution provider of {}", self.path.display()),
            kind,
            memory: None,
        };
        let mut devices = vec![device("CPU", DeviceKind::Cpu)];
        if self.has_cuda {
            devices.push(device("CUDA", DeviceKind::Gpu));
        }
        devices
    }

    /// The names of the devices, for messages.
    pub(super) fn device_names(&self) -> &'static str {
        if self.has_cuda { "CPU, CUDA" } else { "CPU" }
    }
}
