//! A backend without a model: what the host itself costs.

use crate::backend::{
    Backend, Device, Encoding, ExecutionContext, Graph, LoadRequest, no_output_yet, no_such_output,
};
use crate::{Bytes, Error, OutputDescription, Tensor, TensorType};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Size of output 0 in bytes: 1001 classes of `f32`.
pub const NULL_OUTPUT: usize = 4004;

/// Serves every encoding, keeps the inputs it gets, and gives one output of [`NULL_OUTPUT`] bytes.
///
/// Byte `i` of the output is `i mod 251`, but byte 0 counts the computations, so that a test sees which
/// computation it reads.
#[derive(Default)]
pub struct NullBackend;

struct NullGraph;

#[derive(Default)]
struct NullContext {
    inputs: BTreeMap<u32, Tensor>,
    output: Bytes,
    computed: u8,
}

impl Backend for NullBackend {
    fn name(&self) -> &str {
        "null"
    }

    fn encodings(&self) -> &[Encoding] {
        const {
            &[
                Encoding::OpenVino,
                Encoding::Onnx,
                Encoding::TensorFlow,
                Encoding::PyTorch,
                Encoding::TensorFlowLite,
                Encoding::Ggml,
            ]
        }
    }

    fn recognizes(&self, _: &[u8]) -> bool {
        true
    }

    fn devices(&self) -> Result<Vec<Device>, Error> {
        Ok(Vec::new())
    }

    fn load(&self, _: LoadRequest<'_>) -> Result<Arc<dyn Graph>, Error> {
        Ok(Arc::new(NullGraph))
    }
}

impl Graph for NullGraph {
    fn init_execution_context(&self) -> Result<Box<dyn ExecutionContext>, Error> {
        Ok(Box::new(NullContext::default()))
    }
}

impl ExecutionContext for NullContext {
    fn take_input(&mut self, index: u32) -> Option<Tensor> {
        self.inputs
            .get_mut(&index)
            .map(|input| std::mem::replace(input, Tensor::empty()))
    }

    fn set_input(&mut self, index: u32, tensor: Tensor) -> Result<(), Error> {
        self.inputs.insert(index, tensor);
        Ok(())
    }

    fn clear_inputs(&mut self) {
        self.inputs.clear();
    }

    fn compute(&mut self) -> Result<(), Error> {
        if self.inputs.is_empty() {
            return Err(Error::invalid("expected at least one input, found none"));
        }
        self.computed = self.computed.wrapping_add(1);
        let output = Arc::make_mut(&mut self.output);
        if output.is_empty() {
            output.extend((0..NULL_OUTPUT).map(|i| (i % 251) as u8));
        }
        // One byte tells the computations apart; the work must stay next to nothing.
        output[0] = self.computed;
        Ok(())
    }

    fn outputs(&self) -> u32 {
        1
    }

    fn describe_output(&self, index: u32) -> Result<OutputDescription, Error> {
        let size = self.output(index)?.len();
        Ok(OutputDescription {
            dimensions: vec![1, (size / 4) as u32],
            ty: TensorType::F32,
            size: size as u64,
        })
    }

    fn output(&self, index: u32) -> Result<Bytes, Error> {
        match index {
            0 if self.output.is_empty() => Err(no_output_yet(0)),
            0 => Ok(self.output.clone()),
            _ => Err(no_such_output(index, 1)),
        }
    }
}
