//! A context of a model of tensors: keeps inputs and outputs, and lets the library compute.

use super::places::Places;
use super::port::Port;
use crate::backend::{ExecutionContext, find_by_name, list, no_output_yet, no_such_output};
use crate::{Bytes, Error, ErrorCode, OutputDescription, Scheduling, Tensor, TensorType};
use std::sync::Arc;

/// What a model takes and gives.
pub(in crate::backend) struct Signature {
    pub(in crate::backend) inputs: Vec<Port>,
    pub(in crate::backend) outputs: Vec<Port>,
    input_names: Vec<String>,
    output_names: Vec<String>,
    /// Of all contexts of the model.
    places: Places,
}

/// What computes: the part of a context that is the library's.
pub(in crate::backend) trait Infer: Send {
    /// Computes with one tensor for each input, which fits it. Calls `done` once, with one view for each
    /// output in order; `None` where `wasi:nn` has no type for it.
    fn infer(&mut self, inputs: &[&Tensor], done: &mut Done<'_>) -> Result<(), Error>;
}

/// Takes the outputs of a computation.
pub(in crate::backend) type Done<'f> = dyn FnMut(&[Option<View<'_>>]) -> Result<(), Error> + 'f;

/// An output as it lies in the library's memory.
pub(in crate::backend) struct View<'a> {
    pub(in crate::backend) dimensions: Vec<u32>,
    pub(in crate::backend) bytes: &'a [u8],
}

/// A context that computes with `I`.
pub(in crate::backend) struct TensorContext<I> {
    signature: Arc<Signature>,
    scheduling: Scheduling,
    infer: I,
    inputs: Vec<Option<Tensor>>,
    /// Empty before the first computation.
    outputs: Vec<Option<Output>>,
}

/// An output of the last computation.
#[derive(Default)]
struct Output {
    dimensions: Vec<u32>,
    bytes: Bytes,
}

impl Signature {
    /// Fails if the model takes something that no guest can pass, or gives nothing that one can read.
    pub(in crate::backend) fn new(inputs: Vec<Port>, outputs: Vec<Port>) -> Result<Self, Error> {
        let foreign = |(_, port): &(usize, &Port)| port.tensor_type().is_none();
        if let Some((index, port)) = inputs.iter().enumerate().find(foreign) {
            return Err(port.unsupported("input", index));
        }
        if outputs.iter().all(|port| port.tensor_type().is_none()) {
            return Err(match outputs.first() {
                Some(port) => port.unsupported("output", 0),
                None => Error::invalid("expected a model with an output, found one without"),
            });
        }
        let names = |ports: &[Port]| ports.iter().map(|port| port.name.clone()).collect();
        Ok(Self {
            input_names: names(&inputs),
            output_names: names(&outputs),
            inputs,
            outputs,
            places: Places::default(),
        })
    }

    /// How many outputs guests get to see: all up to the last one that has a type in `wasi:nn`.
    fn readable(&self) -> usize {
        let last = self
            .outputs
            .iter()
            .rposition(|port| port.tensor_type().is_some());
        last.map_or(0, |last| last + 1)
    }
}

impl<I: Infer> TensorContext<I> {
    pub(in crate::backend) fn new(
        signature: Arc<Signature>,
        scheduling: Scheduling,
        infer: I,
    ) -> Self {
        Self {
            inputs: vec![None; signature.inputs.len()],
            outputs: Vec::new(),
            signature,
            scheduling,
            infer,
        }
    }

    /// The output, and the type of its elements.
    fn find(&self, index: u32) -> Result<(&Output, TensorType), Error> {
        let position = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(port) = self.signature.outputs.get(position) else {
            return Err(no_such_output(index, self.outputs()));
        };
        let Some(ty) = port.tensor_type() else {
            return Err(port.unsupported("output", position));
        };
        match self.outputs.get(position) {
            Some(Some(output)) => Ok((output, ty)),
            _ => Err(no_output_yet(index)),
        }
    }
}

impl<I: Infer> ExecutionContext for TensorContext<I> {
    fn take_input(&mut self, index: u32) -> Option<Tensor> {
        self.inputs.get_mut(usize::try_from(index).ok()?)?.take()
    }

    fn set_input(&mut self, index: u32, tensor: Tensor) -> Result<(), Error> {
        let position = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(port) = self.signature.inputs.get(position) else {
            return Err(Error::invalid(format!(
                "expected an input index below {}, found {index}: the model's inputs are {}",
                self.inputs.len(),
                list(&self.signature.input_names)
            )));
        };
        port.check(position, &tensor)?;
        self.inputs[position] = Some(tensor);
        Ok(())
    }

    fn input_index(&self, name: &str) -> Result<u32, Error> {
        find_by_name("input", name, &self.signature.input_names)
    }

    fn clear_inputs(&mut self) {
        self.inputs.fill(None);
    }

    fn compute(&mut self) -> Result<(), Error> {
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for (index, input) in self.inputs.iter().enumerate() {
            let Some(tensor) = input else {
                let port = &self.signature.inputs[index];
                let name = list(std::slice::from_ref(&port.name));
                return Err(Error::invalid(format!(
                    "input {index} {name} ({port}) is not set"
                )));
            };
            inputs.push(tensor);
        }
        let outputs = &mut self.outputs;
        let _place = self.signature.places.enter(self.scheduling)?;
        self.infer.infer(&inputs, &mut |views| keep(outputs, views))
    }

    fn outputs(&self) -> u32 {
        u32::try_from(self.signature.readable()).unwrap_or(u32::MAX)
    }

    fn output_name(&self, index: u32) -> String {
        let position = usize::try_from(index).unwrap_or(usize::MAX);
        match self.signature.output_names.get(position) {
            Some(name) => name.clone(),
            None => index.to_string(),
        }
    }

    fn output_index(&self, name: &str) -> Result<u32, Error> {
        find_by_name("output", name, &self.signature.output_names)
    }

    fn describe_output(&self, index: u32) -> Result<OutputDescription, Error> {
        let (output, ty) = self.find(index)?;
        Ok(OutputDescription {
            dimensions: output.dimensions.clone(),
            ty,
            size: output.bytes.len() as u64,
        })
    }

    fn output(&self, index: u32) -> Result<Bytes, Error> {
        Ok(self.find(index)?.0.bytes.clone())
    }
}

/// Copies outputs from the library's memory, into the allocations of earlier ones that nobody else holds.
fn keep(outputs: &mut Vec<Option<Output>>, views: &[Option<View<'_>>]) -> Result<(), Error> {
    outputs.resize_with(views.len(), Default::default);
    for (output, view) in outputs.iter_mut().zip(views) {
        let Some(view) = view else {
            *output = None;
            continue;
        };
        let output = output.get_or_insert_default();
        output.dimensions.clone_from(&view.dimensions);
        if Arc::get_mut(&mut output.bytes).is_none() {
            output.bytes = Bytes::default();
        }
        // Nobody else holds it now.
        let bytes = Arc::make_mut(&mut output.bytes);
        bytes.clear();
        if bytes.try_reserve_exact(view.bytes.len()).is_err() {
            outputs.clear();
            return Err(Error::new(
                ErrorCode::TooLarge,
                "the host has no memory for a copy of the outputs",
            ));
        }
        bytes.extend_from_slice(view.bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::port::{PortType, Size};
    use super::*;

    /// Gives its input twice, with an output of a foreign type between and one behind.
    struct Twice {
        fails: bool,
    }

    impl Infer for Twice {
        fn infer(&mut self, inputs: &[&Tensor], done: &mut Done<'_>) -> Result<(), Error> {
            if self.fails {
                return Err(Error::invalid("told to fail"));
            }
            let view = || {
                Some(View {
                    dimensions: inputs[0].dimensions.clone(),
                    bytes: &inputs[0].data,
                })
            };
            done(&[view(), None, view(), None])
        }
    }

    fn port(name: &str, ty: PortType) -> Port {
        Port {
            name: name.to_owned(),
            ty,
            dimensions: Some(vec![Size::new(-1, -1)]),
        }
    }

    fn context() -> TensorContext<Twice> {
        let bytes = || PortType::Tensor(TensorType::U8);
        let flag = || PortType::Other("bool".to_owned());
        let signature = Signature::new(
            vec![port("x", bytes())],
            vec![
                port("a", bytes()),
                port("b", flag()),
                port("c", bytes()),
                port("d", flag()),
            ],
        );
        TensorContext::new(
            Arc::new(signature.unwrap()),
            Scheduling::default(),
            Twice { fails: false },
        )
    }

    #[test]
    fn outputs_of_foreign_types_are_told_from_those_that_are_not_there() {
        let mut context = context();
        assert_eq!(context.outputs(), 3);
        let error = |context: &TensorContext<_>, index| context.output(index).unwrap_err();
        assert_eq!(error(&context, 0), no_output_yet(0));
        context.set_input(0, Tensor::bytes("abc")).unwrap();
        context.compute().unwrap();
        assert_eq!(*context.output(0).unwrap(), b"abc");
        assert_eq!(*context.output(2).unwrap(), b"abc");
        for (index, name) in [(1, "b"), (3, "d")] {
            let error = error(&context, index);
            assert_eq!(error.code, ErrorCode::UnsupportedOperation);
            let expected = format!("output {index} `{name}`");
            assert!(error.message.starts_with(&expected), "{error}");
        }
        assert_eq!(error(&context, 4), no_such_output(4, 3));
    }

    #[test]
    fn a_failure_leaves_the_last_outputs() {
        let mut context = context();
        context.set_input(0, Tensor::bytes("abc")).unwrap();
        context.compute().unwrap();
        context.infer.fails = true;
        context.set_input(0, Tensor::bytes("other")).unwrap();
        assert!(context.compute().is_err());
        assert_eq!(*context.output(0).unwrap(), b"abc");
    }

    #[test]
    fn allocations_are_kept_until_someone_else_holds_them() {
        let mut context = context();
        let mut compute = |text: &str, held: Option<Bytes>| {
            let mut input = context.take_input(0).unwrap_or_else(Tensor::empty);
            input.data.clear();
            input.data.extend_from_slice(text.as_bytes());
            input.dimensions = vec![u32::try_from(text.len()).unwrap()];
            let input_at = input.data.as_ptr() as usize;
            context.set_input(0, input).unwrap();
            context.compute().unwrap();
            drop(held);
            let output = context.output(0).unwrap();
            assert_eq!(*output, text.as_bytes());
            (input_at, output.as_ptr() as usize, output)
        };
        let (input, output, held) = compute("first", None);
        drop(held);
        let (second_input, second_output, held) = compute("again", None);
        assert_eq!((input, output), (second_input, second_output));
        let (third_input, third_output, _) = compute("other", Some(held.clone()));
        assert_eq!(input, third_input);
        assert_ne!(output, third_output);
        assert_eq!(*held, b"again");
    }

    #[test]
    fn a_model_that_no_guest_can_use_is_refused() {
        let flag = || vec![port("p", PortType::Other("bool".to_owned()))];
        let bytes = || vec![port("x", PortType::Tensor(TensorType::U8))];
        for (inputs, outputs, text) in [
            (flag(), bytes(), "input 0 `p`"),
            (bytes(), flag(), "output 0 `p`"),
            (bytes(), vec![], "found one without"),
        ] {
            let error = Signature::new(inputs, outputs).err().unwrap();
            assert!(error.message.contains(text), "{error}");
        }
        assert!(Signature::new(vec![], bytes()).is_ok());
    }
}
