//! Where language models compute, for both sides.

use anyhow::{Context, Result};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::{LlamaBackendDeviceType, list_llama_ggml_backend_devices};
use llm_wasi_host::Preload;
use llm_wasi_host::backend::ggml::llama_backend;
use std::path::Path;

/// One thread, since machines for measurements are shared.
pub(crate) const THREADS: i32 = 1;

#[derive(Clone, Debug)]
pub(crate) enum Device {
    Cpu,
    /// The first GPU that llama.cpp finds, by its name.
    Gpu(String),
}

impl Device {
    pub(crate) fn gpu() -> Result<Self> {
        llama_backend()?;
        let devices = list_llama_ggml_backend_devices();
        let gpu = devices
            .into_iter()
            .find(|device| {
                matches!(
                    device.device_type,
                    LlamaBackendDeviceType::Gpu | LlamaBackendDeviceType::IntegratedGpu
                )
            })
            .context(
                "expected a GPU, found none: build with the cargo feature `vulkan`, `cuda` or `metal` and \
                 install the GPU's driver; `llm-wasi devices` shows what llama.cpp sees",
            )?;
        Ok(Self::Gpu(gpu.description))
    }

    /// The model under the name `default`.
    pub(crate) fn preload(&self, path: &Path) -> Result<Preload> {
        let target = match self {
            Self::Cpu => "CPU",
            Self::Gpu(_) => "GPU",
        };
        Ok(format!("default:GGML:{target}:{}", path.display()).parse()?)
    }

    /// The model in llama.cpp alone.
    pub(crate) fn load(&self, path: &Path) -> Result<LlamaModel> {
        let params = LlamaModelParams::default();
        let params = match self {
            // Without this a GPU would still compute prompts.
            Self::Cpu => params.with_n_gpu_layers(0).with_devices(&[])?,
            // llama.cpp's default is every layer.
            Self::Gpu(_) => params,
        };
        Ok(LlamaModel::load_from_file(llama_backend()?, path, &params)?)
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => write!(f, "{THREADS} thread"),
            Self::Gpu(name) => f.write_str(name),
        }
    }
}
