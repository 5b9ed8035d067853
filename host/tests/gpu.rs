//! llama.cpp on a GPU: the same tokens as on the CPU, and really on the GPU.
//!
//! `scripts/test.sh` runs this with Vulkan on Mesa's software driver; `tests/gpu.sh` on a real GPU. llama.cpp
//! goes on with the CPU where it finds no GPU, so each test asserts that there is one.

#![cfg(any(feature = "vulkan", feature = "cuda", feature = "metal"))]

use llm_wasi_host::backend::{Backend, Encoding, ExecutionContext, Graph, Target, ggml::Ggml};
use llm_wasi_host::testing::TinyModel;
use llm_wasi_host::{Registry, Tensor};
use std::io::Write;
use std::sync::{Arc, Mutex};

const GREEDY: &str = r#"{"temp": 0, "threads": 1, "ctx-size": 256, "n-predict": 60}"#;

/// Whether there is a GPU; where there has to be one, its absence is a failure.
fn has_gpu() -> bool {
    let devices = Ggml::new().devices().unwrap();
    let found = devices.iter().any(|device| device.kind.is_gpu());
    assert!(
        found || std::env::var_os("CI").is_none(),
        "expected a GPU; set VK_DRIVER_FILES and GGML_VK_VISIBLE_DEVICES=0 for Mesa's software driver of Vulkan; \
         found {devices:?}"
    );
    if !found {
        eprintln!("skipped: llama.cpp finds no GPU among {devices:?}");
    }
    found
}

fn load(model: &TinyModel, target: Target, options: &str) -> Arc<dyn Graph> {
    Registry::with_default_backends()
        .build()
        .load(
            vec![model.to_gguf(), options.as_bytes().to_vec()],
            Encoding::Ggml,
            target,
            None,
        )
        .unwrap_or_else(|error| panic!("{error}"))
}

fn compute(graph: &Arc<dyn Graph>, prompt: &str) -> Box<dyn ExecutionContext> {
    let mut context = graph.init_execution_context().unwrap();
    context.set_input(0, Tensor::bytes(prompt)).unwrap();
    context.compute().unwrap_or_else(|error| panic!("{error}"));
    context
}

/// What llama.cpp logs while `function` runs.
fn log_of(function: impl FnOnce()) -> String {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer({
            let log = log.clone();
            move || log.clone()
        })
        .finish();
    tracing::subscriber::with_default(subscriber, function);
    let bytes = log.0.lock().unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn greedy_text_is_that_of_the_cpu() {
    if !has_gpu() {
        return;
    }
    let model = TinyModel::new();
    for target in [Target::Cpu, Target::Auto, Target::Gpu] {
        let graph = load(&model, target, GREEDY);
        for prompt in ["Hello", "x", "A longer prompt, evaluated in one batch."] {
            let text = compute(&graph, prompt).output(0).unwrap();
            let last = prompt.bytes().last().unwrap();
            assert_eq!(*text, model.continuation(last, 60), "{target}: {prompt}");
        }
    }
}

/// What computes together shares its batches, which GPUs compute otherwise than single tokens.
#[test]
fn programs_at_once_get_the_text_that_they_get_alone() {
    if !has_gpu() {
        return;
    }
    let model = TinyModel::new();
    let graph = load(&model, Target::Gpu, GREEDY);
    std::thread::scope(|scope| {
        for prompt in ["a", "Hello", "one", "two", "three", "x", "y", "z"] {
            let (graph, model) = (&graph, &model);
            scope.spawn(move || {
                let text = compute(graph, prompt).output(0).unwrap();
                let last = prompt.bytes().last().unwrap();
                assert_eq!(*text, model.continuation(last, 60), "{prompt}");
            });
        }
    });
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

/// What the processes that this one has started have mapped.
#[cfg(target_os = "linux")]
fn maps_of_children() -> Vec<String> {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().map(Result::unwrap);
    processes
        .filter_map(|process| {
            let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
            let (_, behind_name) = stat.rsplit_once(") ")?;
            let parent = behind_name.split(' ').nth(1)?;
            (parent == own).then(|| std::fs::read_to_string(process.path().join("maps")).unwrap())
        })
        .collect()
}

/// One test, since it looks at all processes that there are.
#[cfg(target_os = "linux")]
#[test]
fn the_gpu_is_in_reach_of_a_model_in_a_process_of_its_own_that_is_for_it() {
    if !has_gpu() {
        return;
    }
    let isolation = llm_wasi_host::isolate::Isolation::new([
        "worker",
        "--exact",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    let model = TinyModel::new();
    let registry = Registry::with_default_backends().isolate(isolation).build();
    // The target `Gpu` is never the CPU.
    for target in [Target::Cpu, Target::Gpu] {
        let graph = registry.load(
            vec![model.to_gguf(), GREEDY.as_bytes().to_vec()],
            Encoding::Ggml,
            target,
            None,
        );
        let graph = graph.unwrap_or_else(|error| panic!("{target}: {error}"));
        let text = compute(&graph, "Hello").output(0).unwrap();
        assert_eq!(*text, model.continuation(b'o', 60), "{target}");
        // For the processor no driver starts: it would take memory of the GPU, and be open to the model.
        let has_driver = |maps: &String| {
            ["libvulkan.so", "libcuda.so"]
                .iter()
                .any(|library| maps.contains(library))
        };
        let maps = maps_of_children();
        assert!(!maps.is_empty(), "{target}");
        if cfg!(any(feature = "vulkan", feature = "cuda")) {
            let any_has = maps.iter().any(has_driver);
            assert_eq!(any_has, target == Target::Gpu, "{maps:?}");
        }
    }
}

#[test]
fn layers_are_where_the_target_and_the_option_put_them() {
    if !has_gpu() {
        return;
    }
    let model = TinyModel::new();
    for (target, options, on_gpu) in [
        (Target::Cpu, "{}", 0),
        (Target::Cpu, r#"{"n-gpu-layers": 1}"#, 0),
        (Target::Gpu, r#"{"n-gpu-layers": 1}"#, 1),
        (Target::Gpu, "{}", 3),
        (Target::Auto, "{}", 3),
        (Target::Auto, r#"{"n-gpu-layers": 0}"#, 0),
    ] {
        let log = log_of(|| drop(load(&model, target, options)));
        // The model has two layers and an output, which counts as one.
        let expected = format!("offloaded {on_gpu}/3 layers to GPU");
        assert!(log.contains(&expected), "{target} {options}: {log}");
    }
}

/// Vulkan does not split rows, which stands here for whatever keeps a model from a GPU.
#[cfg(feature = "vulkan")]
#[test]
fn auto_takes_the_processor_where_the_gpu_fails() {
    if !has_gpu() {
        return;
    }
    let model = TinyModel::new();
    let options = r#"{"temp": 0, "threads": 1, "n-predict": 9, "split-mode": "row"}"#;
    let text = compute(&load(&model, Target::Auto, options), "Hello").output(0);
    assert_eq!(*text.unwrap(), model.continuation(b'o', 9));
    let builders = vec![model.to_gguf(), options.as_bytes().to_vec()];
    let registry = Registry::with_default_backends().build();
    let loaded = registry.load(builders, Encoding::Ggml, Target::Gpu, None);
    let error = loaded.map(drop).unwrap_err();
    assert!(error.message.contains("split buffers"), "{error}");
}

#[test]
fn embeddings_are_close_to_those_of_the_cpu() {
    if !has_gpu() {
        return;
    }
    /// What was seen on Mesa's driver is 5e-4.
    const TOLERANCE: f32 = 2e-3;
    let model = TinyModel::new();
    let options = r#"{"embedding": true, "threads": 1, "ctx-size": 256}"#;
    let embedding = |target| -> Vec<f32> {
        let context = compute(&load(&model, target, options), "Hello");
        let bytes = context.output(2).unwrap();
        bytes
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect()
    };
    let (cpu, gpu) = (embedding(Target::Cpu), embedding(Target::Gpu));
    assert_eq!(cpu.len(), gpu.len());
    for (a, b) in cpu.iter().zip(&gpu) {
        assert!((a - b).abs() <= TOLERANCE, "{a} and {b}");
    }
}
