//! Which devices a model goes to, and how much of it.
//!
//! | target | device |
//! |---|---|
//! | `CPU` | the processor, even where there is a GPU |
//! | `GPU` | every layer on a GPU; a failure that lists the devices where there is none |
//! | `AUTO` | as many layers on a GPU as its free memory takes, if there is one; the choice is logged |
//!
//! The option `n-gpu-layers` overrides the number of layers for `GPU` and `AUTO`.

use super::options::{Options, SplitMode};
use super::{llama_backend, memory};
use crate::backend::{Device, DeviceKind, DeviceMemory, Target};
use crate::gguf::Gguf;
use crate::{Error, ErrorCode};
use llama_cpp_2::model::params::{LlamaModelParams, LlamaSplitMode};
use llama_cpp_2::{LlamaBackendDevice, LlamaBackendDeviceType, list_llama_ggml_backend_devices};

/// The part of a GPU's free memory that weights may take, in percent: contexts need the rest.
const WEIGHTS_SHARE: u64 = 80;

/// Where a model is, as llama.cpp is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Placement {
    /// Whether GPUs are used at all.
    pub(super) gpu: bool,
    /// How many layers they compute; all if negative.
    layers: i32,
    /// The only or the first GPU.
    main_gpu: i32,
    split_mode: SplitMode,
}

/// Every device that this build of llama.cpp sees.
pub(super) fn devices() -> Result<Vec<Device>, Error> {
    llama_backend()?;
    let describe = |device: LlamaBackendDevice| Device {
        kind: match device.device_type {
            LlamaBackendDeviceType::Cpu => DeviceKind::Cpu,
            LlamaBackendDeviceType::Gpu => DeviceKind::Gpu,
            LlamaBackendDeviceType::IntegratedGpu => DeviceKind::IntegratedGpu,
            LlamaBackendDeviceType::Accelerator | LlamaBackendDeviceType::Unknown => {
                DeviceKind::Accelerator
            }
        },
        memory: (device.memory_total > 0).then_some(DeviceMemory {
            free: free(&device),
            total: device.memory_total as u64,
        }),
        name: device.name,
        description: device.description,
    };
    Ok(list_llama_ggml_backend_devices()
        .into_iter()
        .map(describe)
        .collect())
}

fn free(device: &LlamaBackendDevice) -> u64 {
    let free = match device.device_type {
        // llama.cpp takes all of the processor's memory for free.
        LlamaBackendDeviceType::Cpu => memory::available(),
        _ => None,
    };
    // What is in use may exceed what the system grants, and llama.cpp's difference is unsigned.
    free.unwrap_or(device.memory_free as u64)
        .min(device.memory_total as u64)
}

impl Placement {
    /// Chooses for a model with this header, whose files have `size` bytes together.
    pub(super) fn choose(
        options: &Options,
        target: Target,
        header: &Gguf,
        size: u64,
    ) -> Result<Self, Error> {
        Self::among(&devices()?, options, target, header, size)
    }

    fn among(
        devices: &[Device],
        options: &Options,
        target: Target,
        header: &Gguf,
        size: u64,
    ) -> Result<Self, Error> {
        let on_cpu = Self {
            gpu: false,
            layers: 0,
            main_gpu: 0,
            split_mode: SplitMode::Layer,
        };
        let gpus: Vec<&Device> = devices
            .iter()
            .filter(|device| device.kind.is_gpu())
            .collect();
        let on_gpu = |layers| {
            let main = usize::try_from(options.main_gpu);
            if !main.is_ok_and(|main| main < gpus.len()) {
                return Err(Error::invalid(format!(
                    "option `main-gpu`: expected the index of a GPU, below {}, found {}; {}",
                    gpus.len(),
                    options.main_gpu,
                    list(devices)
                )));
            }
            Ok(Self {
                gpu: layers != 0,
                layers,
                main_gpu: options.main_gpu,
                split_mode: options.split_mode,
            })
        };
        match target {
            Target::Cpu => {
                if options.n_gpu_layers > 0 && !gpus.is_empty() {
                    tracing::warn!(
                        "option `n-gpu-layers` has no effect for target CPU: ask for target GPU or AUTO"
                    );
                }
                Ok(on_cpu)
            }
            Target::Gpu if gpus.is_empty() => Err(Error::new(
                ErrorCode::UnsupportedOperation,
                format!(
                    "expected a GPU for target GPU, found none ({}): {}, or ask for target CPU or AUTO",
                    list(devices),
                    how_to_get_a_gpu()
                ),
            )),
            Target::Gpu => on_gpu(options.n_gpu_layers),
            Target::Auto if gpus.is_empty() => {
                tracing::info!(
                    "target AUTO: the CPU, as there is no GPU ({})",
                    list(devices)
                );
                Ok(on_cpu)
            }
            Target::Auto => {
                let layers = match options.n_gpu_layers {
                    ..0 => layers_that_fit(&gpus, header, size),
                    layers => layers,
                };
                let placement = on_gpu(layers)?;
                let first = gpus[0];
                let share = match layers {
                    ..0 => "every layer".to_owned(),
                    0 => "no layer".to_owned(),
                    layers => format!("{layers} layers"),
                };
                tracing::info!(
                    "target AUTO: {share} on {} ({})",
                    first.name,
                    first.description
                );
                Ok(placement)
            }
            Target::Tpu => Err(Error::new(
                ErrorCode::UnsupportedOperation,
                "llama.cpp has no TPU: ask for target CPU, GPU or AUTO",
            )),
        }
    }

    /// How many of so many layers the processor computes.
    pub(super) fn layers_on_cpu(&self, layers: u32) -> u32 {
        match u32::try_from(self.layers) {
            _ if !self.gpu => layers,
            Ok(on_gpu) => layers.saturating_sub(on_gpu),
            Err(_) => 0,
        }
    }

    /// What llama.cpp is told.
    pub(super) fn apply(&self, params: LlamaModelParams) -> Result<LlamaModelParams, Error> {
        if !self.gpu {
            // Without this a GPU would still compute prompts. An empty list means none, not all.
            return params
                .with_n_gpu_layers(0)
                .with_devices(&[])
                .map_err(|error| Error::new(ErrorCode::RuntimeError, error.to_string()));
        }
        let params = params
            .with_main_gpu(self.main_gpu)
            .with_split_mode(match self.split_mode {
                SplitMode::None => LlamaSplitMode::None,
                SplitMode::Layer => LlamaSplitMode::Layer,
                SplitMode::Row => LlamaSplitMode::Row,
            });
        Ok(match u32::try_from(self.layers) {
            Ok(layers) => params.with_n_gpu_layers(layers),
            // llama.cpp's default is every layer.
            Err(_) => params,
        })
    }
}

/// As many layers as fit into the GPUs' free memory; negative for all.
fn layers_that_fit(gpus: &[&Device], header: &Gguf, size: u64) -> i32 {
    let free = gpus
        .iter()
        .map(|gpu| gpu.memory.map(|memory| memory.free))
        .sum::<Option<u64>>();
    let (Some(free), Some(blocks)) = (free, header.architecture_number("block_count")) else {
        return -1;
    };
    let usable = free / 100 * WEIGHTS_SHARE;
    if size <= usable {
        return -1;
    }
    // Embeddings and output count as a layer each.
    let each = (size / (blocks + 2)).max(1);
    i32::try_from((usable / each).min(blocks)).unwrap_or(i32::MAX)
}

/// The devices, for a message.
fn list(devices: &[Device]) -> String {
    let names: Vec<_> = devices
        .iter()
        .map(|device| format!("{} {}", device.name, device.description))
        .collect();
    format!("devices: {}", names.join(", "))
}

/// What may be missing for a GPU.
fn how_to_get_a_gpu() -> &'static str {
    #[cfg(feature = "vulkan")]
    if !super::vulkan::is_installed() {
        return "install a GPU driver and the Vulkan loader (Debian's package libvulkan1)";
    }
    if cfg!(any(feature = "vulkan", feature = "cuda", feature = "metal")) {
        "install the GPU's driver; `llm-wasi devices` shows what the host sees"
    } else {
        "build the host with the cargo feature `vulkan`, `cuda` or `metal`"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Value;

    fn device(name: &str, kind: DeviceKind, free: u64) -> Device {
        Device {
            name: name.to_owned(),
            description: "a device".to_owned(),
            kind,
            memory: Some(DeviceMemory { free, total: free }),
        }
    }

    fn header(blocks: i128) -> Gguf {
        let mut header = Gguf::default();
        let architecture = Value::Text("llama".to_owned());
        header
            .metadata
            .insert("general.architecture".to_owned(), architecture);
        header
            .metadata
            .insert("llama.block_count".to_owned(), Value::Integer(blocks));
        header
    }

    fn choose(
        devices: &[Device],
        target: Target,
        change: impl FnOnce(&mut Options),
    ) -> Result<Placement, Error> {
        let mut options = Options::default();
        change(&mut options);
        Placement::among(devices, &options, target, &header(30), 32_000)
    }

    #[test]
    fn targets_without_and_with_a_gpu() {
        let cpu = device("CPU", DeviceKind::Cpu, 0);
        let gpu = device("Vulkan0", DeviceKind::Gpu, 1 << 30);
        let without = [cpu.clone()];
        let with = [gpu, cpu];
        for devices in [&without[..], &with] {
            assert!(!choose(devices, Target::Cpu, |_| {}).unwrap().gpu);
            let layers = |options: &mut Options| options.n_gpu_layers = 7;
            assert!(!choose(devices, Target::Cpu, layers).unwrap().gpu);
        }
        assert!(!choose(&without, Target::Auto, |_| {}).unwrap().gpu);
        let error = choose(&without, Target::Gpu, |_| {}).unwrap_err();
        assert_eq!(error.code, ErrorCode::UnsupportedOperation);
        assert!(error.message.contains("CPU a device"), "{error}");
        for target in [Target::Gpu, Target::Auto] {
            let placement = choose(&with, target, |_| {}).unwrap();
            assert!(placement.gpu && placement.layers < 0, "{placement:?}");
            let placement = choose(&with, target, |options| options.n_gpu_layers = 7).unwrap();
            assert!(placement.gpu && placement.layers == 7, "{placement:?}");
            assert!(
                !choose(&with, target, |options| options.n_gpu_layers = 0)
                    .unwrap()
                    .gpu
            );
            let error = choose(&with, target, |options| options.main_gpu = 1).unwrap_err();
            assert!(error.message.contains("below 1, found 1"), "{error}");
        }
    }

    #[test]
    fn layers_that_the_processor_computes() {
        let gpu = [device("Vulkan0", DeviceKind::Gpu, 1 << 30)];
        let on_cpu = |target, layers| {
            let placement = choose(&gpu, target, |options| options.n_gpu_layers = layers);
            placement.unwrap().layers_on_cpu(30)
        };
        assert_eq!(on_cpu(Target::Cpu, 7), 30);
        assert_eq!(on_cpu(Target::Gpu, -1), 0);
        assert_eq!(on_cpu(Target::Gpu, 7), 23);
        assert_eq!(on_cpu(Target::Gpu, 31), 0);
        assert_eq!(on_cpu(Target::Gpu, 0), 30);
    }

    #[test]
    fn auto_takes_what_fits() {
        let small = [device("Vulkan0", DeviceKind::Gpu, 20_000)];
        // 80 % of 20,000 bytes for layers of 1,000.
        assert_eq!(choose(&small, Target::Auto, |_| {}).unwrap().layers, 16);
        assert_eq!(choose(&small, Target::Gpu, |_| {}).unwrap().layers, -1);
        let tiny = [device("Vulkan0", DeviceKind::Gpu, 100)];
        assert!(!choose(&tiny, Target::Auto, |_| {}).unwrap().gpu);
    }
}
