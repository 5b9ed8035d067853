//! Which devices a model goes to, and how much of it.
//!
//! | target | device |
//! |---|---|
//! | `CPU` | the processor, even where there is a GPU |
//! | `GPU` | every layer on a GPU; a failure that lists the devices where there is none |
//! | `AUTO` | as many layers on GPUs as their free memory takes, if there are any; the choice is logged |
//!
//! The option `n-gpu-layers` overrides the number of layers for `GPU` and `AUTO`.

use super::options::{Options, SplitMode, kv_cache_size};
use super::{llama_backend, memory};
use crate::backend::{Device, DeviceKind, DeviceMemory, Target};
use crate::gguf::Gguf;
use crate::{Error, ErrorCode};
use llama_cpp_2::model::params::{LlamaModelParams, LlamaSplitMode};
use llama_cpp_2::{LlamaBackendDevice, LlamaBackendDeviceType, list_llama_ggml_backend_devices};

/// What is left free of a GPU's memory by `AUTO`: a tenth of it, at least so many bytes. What is computed needs some.
const LEFT_FREE: u64 = 512 << 20;
/// How many tokens `AUTO` leaves room for, at most, if no option says how many a context has. That may be far more than a
/// program needs.
const USUAL_CONTEXT: u64 = 8192;

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
    /// Whether the GPUs have the system's memory.
    integrated: bool,
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
    let total = device.memory_total as u64;
    match free.unwrap_or(device.memory_free as u64) {
        // What is in use may exceed what the system grants, and llama.cpp's difference is unsigned.
        free if free > total => 0,
        free => free,
    }
}

/// Those that llama.cpp has models on: integrated ones only where there are no others.
fn gpus(devices: &[Device]) -> Vec<&Device> {
    let of = |kind| devices.iter().filter(move |device| device.kind == kind);
    let discrete: Vec<_> = of(DeviceKind::Gpu).collect();
    if discrete.is_empty() {
        of(DeviceKind::IntegratedGpu).collect()
    } else {
        discrete
    }
}

impl Placement {
    /// Chooses for a model with this header, whose files have `size` bytes together.
    pub(super) fn choose(
        options: &Options,
        target: Target,
        header: &Gguf,
        size: u64,
    ) -> Result<Self, Error> {
        if target == Target::Cpu {
            if options.n_gpu_layers > 0 {
                tracing::warn!(
                    "option `n-gpu-layers` has no effect for target CPU: ask for target GPU or AUTO"
                );
            }
            // To ask a GPU for its memory takes some of it.
            return Ok(Self::on_cpu());
        }
        Self::among(&devices()?, options, target, header, size)
    }

    /// On the processor alone.
    pub(super) fn on_cpu() -> Self {
        Self {
            gpu: false,
            layers: 0,
            main_gpu: 0,
            split_mode: SplitMode::Layer,
            integrated: false,
        }
    }

    fn among(
        devices: &[Device],
        options: &Options,
        target: Target,
        header: &Gguf,
        size: u64,
    ) -> Result<Self, Error> {
        let gpus = gpus(devices);
        let main = || {
            let main = usize::try_from(options.main_gpu).ok();
            main.and_then(|main| gpus.get(main)).ok_or_else(|| {
                Error::invalid(format!(
                    "option `main-gpu`: expected the index of a GPU, below {}, found {}; {}",
                    gpus.len(),
                    options.main_gpu,
                    list(devices)
                ))
            })
        };
        let on_gpu = |layers| Self {
            gpu: layers != 0,
            layers,
            main_gpu: options.main_gpu,
            split_mode: options.split_mode,
            integrated: gpus.iter().all(|gpu| gpu.kind == DeviceKind::IntegratedGpu),
        };
        match target {
            Target::Cpu => Ok(Self::on_cpu()),
            Target::Gpu if gpus.is_empty() => Err(Error::new(
                ErrorCode::UnsupportedOperation,
                format!(
                    "expected a GPU for target GPU, found none ({}): {}, or ask for target CPU or AUTO",
                    without_gpu(devices),
                    how_to_get_a_gpu()
                ),
            )),
            Target::Gpu => {
                main()?;
                Ok(on_gpu(options.n_gpu_layers))
            }
            Target::Auto if gpus.is_empty() => {
                tracing::info!(
                    "target AUTO: the CPU, as there is no GPU ({})",
                    without_gpu(devices)
                );
                Ok(Self::on_cpu())
            }
            Target::Auto => {
                let main = main()?;
                let used = match options.split_mode {
                    SplitMode::None => std::slice::from_ref(main),
                    SplitMode::Layer | SplitMode::Row => &gpus,
                };
                let layers = match options.n_gpu_layers {
                    ..0 => layers_that_fit(used, header, size, context_size(options, header)),
                    layers => layers,
                };
                let share = match layers {
                    ..0 => "every layer".to_owned(),
                    0 => "no layer".to_owned(),
                    layers => format!("{layers} layers"),
                };
                let used: Vec<String> = used.iter().map(|gpu| with_memory(gpu)).collect();
                tracing::info!("target AUTO: {share} on {}", used.join(" and "));
                Ok(match layers {
                    0 => Self::on_cpu(),
                    layers => on_gpu(layers),
                })
            }
            Target::Tpu => Err(Error::new(
                ErrorCode::UnsupportedOperation,
                "llama.cpp has no TPU: ask for target CPU, GPU or AUTO",
            )),
        }
    }

    /// Of how many of so many layers the keys and values are in the system's memory.
    pub(super) fn layers_in_system_memory(&self, layers: u32) -> u32 {
        match u32::try_from(self.layers) {
            _ if !self.gpu || self.integrated => layers,
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

/// How many bytes the keys and values of a context take on GPUs.
fn context_size(options: &Options, header: &Gguf) -> u64 {
    if options.no_kv_offload {
        return 0;
    }
    let tokens = match u64::from(options.ctx_size) {
        0 => header
            .architecture_number("context_length")
            .map_or(USUAL_CONTEXT, |trained| trained.min(USUAL_CONTEXT)),
        tokens => tokens,
    };
    let cached = header.cached_elements().unwrap_or_default();
    kv_cache_size(cached, options.cache_type_k, options.cache_type_v, tokens)
}

/// As many layers as fit, with their part of a context of so many bytes, into the GPUs' free memory; negative for all. What
/// is free of a GPU that does not say so is nothing.
fn layers_that_fit(gpus: &[&Device], header: &Gguf, size: u64, context: u64) -> i32 {
    let usable = gpus
        .iter()
        .filter_map(|gpu| gpu.memory)
        .map(|memory| {
            memory
                .free
                .saturating_sub((memory.free / 10).max(LEFT_FREE))
        })
        .fold(0, u64::saturating_add);
    if size.saturating_add(context) <= usable {
        return -1;
    }
    let Some(blocks) = header.architecture_number("block_count") else {
        return 0;
    };
    // Embeddings and output count as a layer each.
    let each = (size / blocks.saturating_add(2)).saturating_add(context / blocks.max(1));
    i32::try_from((usable / each.max(1)).min(blocks)).unwrap_or(i32::MAX)
}

/// A GPU and its memory, for the log.
fn with_memory(gpu: &Device) -> String {
    let memory = match gpu.memory {
        Some(memory) => format!("{} MiB free", memory.free >> 20),
        None => "free memory unknown".to_owned(),
    };
    format!("{} ({}, {memory})", gpu.name, gpu.description)
}

/// The devices where a GPU was wanted, and what llama.cpp said as it looked for one.
fn without_gpu(devices: &[Device]) -> String {
    match super::said_at_start() {
        "" => list(devices),
        said => format!("{}; llama.cpp: {}", list(devices), said.replace('\n', "; ")),
    }
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

    /// For a model of 30 layers, with embeddings and output of 32 MiB each.
    fn choose(
        devices: &[Device],
        target: Target,
        change: impl FnOnce(&mut Options),
    ) -> Result<Placement, Error> {
        let mut options = Options::default();
        change(&mut options);
        Placement::among(devices, &options, target, &header(30), 32 * 32 * MIB)
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn targets_without_and_with_a_gpu() {
        let cpu = device("CPU", DeviceKind::Cpu, 0);
        let gpu = device("Vulkan0", DeviceKind::Gpu, 8 << 30);
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
    fn layers_whose_keys_and_values_are_in_the_systems_memory() {
        for kind in [DeviceKind::Gpu, DeviceKind::IntegratedGpu] {
            let gpu = [device("Vulkan0", kind, 8 << 30)];
            let here = |target, layers| {
                let placement = choose(&gpu, target, |options| options.n_gpu_layers = layers);
                placement.unwrap().layers_in_system_memory(30)
            };
            let integrated = kind == DeviceKind::IntegratedGpu;
            let of = |discrete| if integrated { 30 } else { discrete };
            assert_eq!(here(Target::Cpu, 7), 30);
            assert_eq!(here(Target::Gpu, -1), of(0));
            assert_eq!(here(Target::Gpu, 7), of(23));
            assert_eq!(here(Target::Gpu, 31), of(0));
            assert_eq!(here(Target::Gpu, 0), 30);
        }
    }

    #[test]
    fn auto_takes_what_fits() {
        let layers = |free: u64| {
            let gpu = [device("Vulkan0", DeviceKind::Gpu, free)];
            choose(&gpu, Target::Auto, |_| {}).unwrap().layers
        };
        // 512 MiB stay free, a layer has 32.
        assert_eq!(layers((512 + 10 * 32) * MIB), 10);
        assert_eq!(layers((512 + 32 * 32) * MIB), -1);
        assert_eq!(layers((512 + 32 * 32) * MIB - 1), 30);
        assert_eq!(layers(512 * MIB), 0);
        assert_eq!(layers(0), 0);
        let small = [device("Vulkan0", DeviceKind::Gpu, 600 * MIB)];
        assert_eq!(choose(&small, Target::Gpu, |_| {}).unwrap().layers, -1);
        let unknown = [Device {
            memory: None,
            ..small[0].clone()
        }];
        assert!(!choose(&unknown, Target::Auto, |_| {}).unwrap().gpu);
        let without_blocks = layers_that_fit(&[&small[0]], &Gguf::default(), 1 << 30, 0);
        assert_eq!(without_blocks, 0);
    }

    #[test]
    fn auto_leaves_room_for_the_context() {
        let mut header = header(30);
        for (key, value) in [
            ("attention.head_count", 4),
            ("embedding_length", 1024),
            ("context_length", 1 << 20),
        ] {
            header
                .metadata
                .insert(format!("llama.{key}"), Value::Integer(value));
        }
        // 1024 keys and as many values in 2 bytes each, in each layer.
        let of_a_token = 30 * 2 * 2 * 1024;
        let size = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            context_size(&options, &header)
        };
        assert_eq!(size(|_| {}), USUAL_CONTEXT * of_a_token);
        assert_eq!(size(|options| options.ctx_size = 512), 512 * of_a_token);
        assert_eq!(size(|options| options.no_kv_offload = true), 0);
        let gpu = device("Vulkan0", DeviceKind::Gpu, (512 + 640) * MIB);
        let layers = |context| layers_that_fit(&[&gpu], &header, 32 * 32 * MIB, context);
        assert_eq!(layers(0), 20);
        // A layer has 32 MiB and 32 of the context.
        assert_eq!(layers(30 * 32 * MIB), 10);
    }

    #[test]
    fn an_integrated_gpu_beside_another_one_is_none() {
        let devices = [
            device("Vulkan0", DeviceKind::IntegratedGpu, 64 << 30),
            device("Vulkan1", DeviceKind::Gpu, (512 + 320) * MIB),
        ];
        let auto = choose(&devices, Target::Auto, |_| {}).unwrap();
        assert_eq!((auto.layers, auto.integrated), (10, false));
        let error = choose(&devices, Target::Gpu, |options| options.main_gpu = 1).unwrap_err();
        assert!(error.message.contains("below 1, found 1"), "{error}");
        assert_eq!(
            choose(&devices[..1], Target::Auto, |_| {}).unwrap().layers,
            -1
        );
    }

    #[test]
    fn one_gpu_of_several_counts_alone_where_the_model_is_not_split() {
        let [small, large] =
            [(512 + 320) * MIB, 8 << 30].map(|free| device("a GPU", DeviceKind::Gpu, free));
        let devices = [small, large];
        let layers = |mode, main| {
            let options = |options: &mut Options| {
                options.split_mode = mode;
                options.main_gpu = main;
            };
            choose(&devices, Target::Auto, options).unwrap().layers
        };
        assert_eq!(layers(SplitMode::Layer, 0), -1);
        assert_eq!(layers(SplitMode::None, 0), 10);
        assert_eq!(layers(SplitMode::None, 1), -1);
    }
}
