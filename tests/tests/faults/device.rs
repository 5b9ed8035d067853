//! A device that is lost: from then on every computation on it fails.

use crate::support::{alone, program, start};
use llm_wasi_adapter::Profile;
use llm_wasi_host::backend::{
    Backend, Device, Encoding, ExecutionContext, Graph, LoadRequest, no_such_output,
};
use llm_wasi_host::{Bytes, Error, ErrorCode, OutputDescription, Preload, Registry, Tensor};
use llm_wasi_tests::calls::{init, load_by_name, open, read_output, set_input};
use llm_wasi_tests::machine::{Machine, Outcome};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A device, and which of its resets a model was loaded after.
#[derive(Default)]
struct Gpu {
    lost: AtomicBool,
    resets: AtomicU32,
}

impl Gpu {
    fn check(&self, loaded: u32) -> Result<(), Error> {
        if self.lost.load(Ordering::SeqCst) || loaded != self.resets.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorCode::RuntimeError, "the device is lost"));
        }
        Ok(())
    }
}

struct OnGpu(Arc<Gpu>);

struct Model {
    gpu: Arc<Gpu>,
    loaded: u32,
}

struct Context {
    gpu: Arc<Gpu>,
    loaded: u32,
    input: Vec<u8>,
    output: Bytes,
}

impl Backend for OnGpu {
    fn name(&self) -> &str {
        "a device that can be lost"
    }

    fn encodings(&self) -> &[Encoding] {
        &[Encoding::Ggml]
    }

    fn recognizes(&self, _: &[u8]) -> bool {
        true
    }

    fn devices(&self) -> Result<Vec<Device>, Error> {
        Ok(Vec::new())
    }

    fn load(&self, _: LoadRequest<'_>) -> Result<Arc<dyn Graph>, Error> {
        let loaded = self.0.resets.load(Ordering::SeqCst);
        self.0.check(loaded)?;
        Ok(Arc::new(Model {
            gpu: self.0.clone(),
            loaded,
        }))
    }
}

impl Graph for Model {
    fn init_execution_context(&self) -> Result<Box<dyn ExecutionContext>, Error> {
        self.gpu.check(self.loaded)?;
        Ok(Box::new(Context {
            gpu: self.gpu.clone(),
            loaded: self.loaded,
            input: Vec::new(),
            output: Bytes::default(),
        }))
    }
}

impl ExecutionContext for Context {
    fn take_input(&mut self, _: u32) -> Option<Tensor> {
        None
    }

    fn set_input(&mut self, _: u32, tensor: Tensor) -> Result<(), Error> {
        self.input = tensor.data;
        Ok(())
    }

    fn clear_inputs(&mut self) {
        self.input.clear();
    }

    fn compute(&mut self) -> Result<(), Error> {
        self.gpu.check(self.loaded)?;
        self.output = Arc::new(self.input.clone());
        Ok(())
    }

    fn outputs(&self) -> u32 {
        1
    }

    fn describe_output(&self, index: u32) -> Result<OutputDescription, Error> {
        Ok(OutputDescription::bytes(self.output(index)?.len()))
    }

    fn output(&self, index: u32) -> Result<Bytes, Error> {
        match index {
            0 => Ok(self.output.clone()),
            _ => Err(no_such_output(index, 1)),
        }
    }
}

#[test]
fn a_lost_device_is_an_errno_and_a_new_load_works() {
    let _alone = alone();
    let gpu = Arc::new(Gpu::default());
    let named = |name: &str, encoding: &str| -> Preload {
        format!(
            "{name}:{encoding}:AUTO:{}/Cargo.toml",
            env!("CARGO_MANIFEST_DIR")
        )
        .parse()
        .expect("a model's name")
    };
    let registry = Registry::builder()
        .backend(OnGpu(gpu.clone()))
        .backend(llm_wasi_host::testing::NullBackend)
        .preload(named("gpu", "GGML"))
        .preload(named("cpu", "ONNX"))
        .build();
    for profile in [Profile::Extended, Profile::Portable] {
        let program = program("wasmedge", profile);
        let mut on_gpu = start(&program, &registry);
        let mut on_cpu = start(&program, &registry);
        let context = open(&mut on_gpu, "gpu");
        let other = open(&mut on_cpu, "cpu");
        let ok = Outcome::Errno(0);
        assert_eq!(set_input(&mut on_gpu, context, 0, b"before"), ok);
        assert_eq!(on_gpu.call("compute", &[context]), ok);

        gpu.lost.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            assert_eq!(on_gpu.call("compute", &[context]), Outcome::Errno(5));
        }
        assert_eq!(init(&mut on_gpu, 0), Outcome::Errno(5));
        assert_eq!(load_by_name(&mut on_gpu, "gpu"), Outcome::Errno(5));
        // What was computed is still there, and who computes elsewhere has lost nothing.
        let output = read_output(&mut on_gpu, "get_output", context, 0, 100);
        assert_eq!(output, Ok(b"before".to_vec()));
        assert_eq!(set_input(&mut on_cpu, other, 0, b"x"), ok);
        assert_eq!(on_cpu.call("compute", &[other]), ok);

        gpu.lost.store(false, Ordering::SeqCst);
        gpu.resets.fetch_add(1, Ordering::SeqCst);
        // What was loaded before is gone for good, and a new load works beside it.
        assert_eq!(on_gpu.call("compute", &[context]), Outcome::Errno(5));
        assert_eq!(load_by_name(&mut on_gpu, "gpu"), ok);
        let graph = on_gpu.word(llm_wasi_tests::calls::RESULT);
        assert_eq!(init(&mut on_gpu, graph), ok);
        let again = on_gpu.word(llm_wasi_tests::calls::RESULT);
        assert_eq!(set_input(&mut on_gpu, again, 0, b"after"), ok);
        assert_eq!(on_gpu.call("compute", &[again]), ok);
        let output = read_output(&mut on_gpu, "get_output", again, 0, 100);
        assert_eq!(output, Ok(b"after".to_vec()));
    }
}
