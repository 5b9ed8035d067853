//! A context of a model of tensors: keeps inputs and outputs, and lets the library compute.

use super::cancel::Cancel;
use super::places::{Places, Turn};
use super::port::Port;
use super::request::{Outputs, Request, join, split};
use crate::backend::{ExecutionContext, find_by_name, list, no_output_yet, no_such_output};
use crate::metrics::ComputationGauges;
use crate::monitor::Watcher;
use crate::{
    Bytes, Error, ErrorCode, Metrics, Monitor, OutputDescription, Phase, Scheduling, Tensor,
    TensorType,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a model takes and gives.
pub(in crate::backend) struct Signature {
    pub(in crate::backend) inputs: Vec<Port>,
    pub(in crate::backend) outputs: Vec<Port>,
    input_names: Vec<String>,
    output_names: Vec<String>,
    /// Of all contexts of the model.
    places: Places,
    /// Whether inputs and outputs have rows, of which there may be any number.
    by_rows: AtomicBool,
}

/// What computes: the part of a context that is the library's.
pub(in crate::backend) trait Infer: Send {
    /// Computes with one tensor for each input, which fits it, until it is cancelled. Calls `done` once, with one view
    /// for each output in order; `None` where `wasi:nn` has no type for it.
    fn infer(
        &mut self,
        inputs: &[&Tensor],
        cancel: &Cancel,
        done: &mut Done<'_>,
    ) -> Result<(), Error>;

    /// The name that the signature has of an input with several names, of which this is one.
    fn input_alias(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }

    /// The same of an output.
    fn output_alias(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }
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
    metrics: Metrics,
    /// Whether it waits or computes.
    gauges: ComputationGauges,
    infer: I,
    inputs: Vec<Option<Tensor>>,
    /// Empty before the first computation.
    outputs: Outputs,
    cancel: Arc<Cancel>,
    /// Hears of interrupts.
    _watcher: Arc<Watcher>,
}

/// An output of the last computation.
#[derive(Default)]
pub(super) struct Output {
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
        let last = outputs
            .iter()
            .rposition(|port| port.tensor_type().is_some());
        for (index, port) in outputs.iter().enumerate().take(last.unwrap_or(0)) {
            if port.tensor_type().is_none() {
                let error = port.unsupported("output", index);
                tracing::warn!(
                    "{}; where all outputs are read at once it is empty",
                    error.message
                );
            }
        }
        let names = |ports: &[Port]| ports.iter().map(|port| port.name.clone()).collect();
        let by_rows = inputs.iter().chain(&outputs).all(Port::has_rows);
        Ok(Self {
            by_rows: AtomicBool::new(by_rows),
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
        monitor: Monitor,
        metrics: Metrics,
        infer: I,
    ) -> Self {
        let (cancel, watcher) = Cancel::new(monitor.child());
        Self {
            inputs: vec![None; signature.inputs.len()],
            outputs: Vec::new(),
            signature,
            scheduling,
            gauges: metrics.computations(),
            metrics,
            infer,
            cancel,
            _watcher: watcher,
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

    /// Computes a request when it may run, with those like it that wait, or leaves that to another one.
    fn compute_in_turn(&mut self, request: &Arc<Request>) -> Result<(), Error> {
        let signature = self.signature.clone();
        let wake = {
            let (signature, request) = (signature.clone(), Arc::downgrade(request));
            move || {
                if let Some(request) = request.upgrade() {
                    signature.places.wake(&request);
                }
            }
        };
        let enter = || signature.places.enter(self.scheduling, request);
        self.gauges.set(0, 1, 0);
        let mut place = match self.cancel.during(wake, enter)? {
            Turn::Compute(place) => place,
            Turn::Done => {
                let result = request.take_result().unwrap_or_else(|| {
                    Err(Error::new(
                        ErrorCode::RuntimeError,
                        "the result of a computation with others is lost",
                    ))
                });
                self.outputs = result?;
                return Ok(());
            }
        };
        self.gauges.set(1, 0, 0);
        let _time = self.metrics.time(Phase::Compute);
        if place.requests.len() > 1 {
            if let Some(mut all) = self.compute_together(&place.requests) {
                place.results = all.split_off(1);
                self.outputs = all.remove(0)?;
                return Ok(());
            }
            // What is wrong with one is not wrong with the others.
            for request in &place.requests[1..] {
                let mut outputs = Outputs::new();
                let inputs = request.inputs();
                let result = self.infer.infer(&inputs, &Cancel::default(), &mut |views| {
                    keep(&mut outputs, views)
                });
                place.results.push(result.map(|()| outputs));
            }
        }
        let outputs = &mut self.outputs;
        self.infer
            .infer(&request.inputs(), &self.cancel, &mut |views| {
                keep(outputs, views)
            })
    }

    /// The results of all, unless they have to be computed each for itself.
    fn compute_together(
        &mut self,
        requests: &[Arc<Request>],
    ) -> Option<Vec<Result<Outputs, Error>>> {
        let joined = join(requests).ok()?;
        let inputs: Vec<_> = joined.iter().collect();
        let mut all = None;
        // Not for this one alone.
        let cancel = Cancel::default();
        let result = self.infer.infer(&inputs, &cancel, &mut |views| {
            all = split(requests, views);
            Ok(())
        });
        if result.is_ok() && all.is_none() {
            tracing::debug!("a model's outputs have not the rows of its inputs");
            self.signature.by_rows.store(false, Ordering::Relaxed);
        }
        result.ok().and(all)
    }
}

impl<I: Infer> ExecutionContext for TensorContext<I> {
    fn take_input(&mut self, index: u32) -> Option<Tensor> {
        self.inputs.get_mut(usize::try_from(index).ok()?)?.take()
    }

    fn set_input(&mut self, index: u32, tensor: Tensor) -> Result<(), Error> {
        let position = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(port) = self.signature.inputs.get(position) else {
            return Err(Error::invalid(match self.inputs.len() {
                0 => {
                    format!("expected no input, which this model has none of, found index {index}")
                }
                count => format!(
                    "expected an input index below {count}, found {index}: the model's inputs are {}",
                    list(&self.signature.input_names)
                ),
            }));
        };
        port.check(position, &tensor)?;
        self.inputs[position] = Some(tensor);
        Ok(())
    }

    fn input_index(&self, name: &str) -> Result<u32, Error> {
        let names = &self.signature.input_names;
        let found = find_by_name("input", name, names);
        found.or_else(|error| match self.infer.input_alias(name) {
            Some(name) => find_by_name("input", &name, names),
            None => Err(error),
        })
    }

    fn clear_inputs(&mut self) {
        self.inputs.fill(None);
    }

    fn compute(&mut self) -> Result<(), Error> {
        if let Some(index) = self.inputs.iter().position(Option::is_none) {
            let port = &self.signature.inputs[index];
            let name = list(std::slice::from_ref(&port.name));
            return Err(Error::invalid(format!(
                "input {index} {name} ({port}) is not set"
            )));
        }
        self.cancel.begin()?;
        let inputs = self.inputs.iter_mut().filter_map(Option::take).collect();
        let by_rows = self.scheduling.batch > 1 && self.signature.by_rows.load(Ordering::Relaxed);
        let request = Request::new(inputs, by_rows, self.cancel.clone());
        let result = self.compute_in_turn(&request);
        self.gauges.set(0, 0, 0);
        let result = self.cancel.end(result);
        for (input, tensor) in self.inputs.iter_mut().zip(request.into_inputs()) {
            *input = Some(tensor);
        }
        result
    }

    fn monitor(&self) -> Option<Monitor> {
        Some(self.cancel.monitor().clone())
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
        let names = &self.signature.output_names;
        let found = find_by_name("output", name, names);
        found.or_else(|error| match self.infer.output_alias(name) {
            Some(name) => find_by_name("output", &name, names),
            None => Err(error),
        })
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
pub(super) fn keep(outputs: &mut Outputs, views: &[Option<View<'_>>]) -> Result<(), Error> {
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
    use std::sync::Mutex;
    use std::time::Duration;

    /// Gives its input twice, with an output of a foreign type between and one behind.
    struct Twice {
        fails: bool,
    }

    impl Infer for Twice {
        fn infer(
            &mut self,
            inputs: &[&Tensor],
            _: &Cancel,
            done: &mut Done<'_>,
        ) -> Result<(), Error> {
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
            Monitor::default(),
            Metrics::default(),
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

    /// Adds one to each row of two bytes. A computation of one row waits until told; rows that begin with 9 fail.
    #[derive(Clone, Default)]
    struct Rows {
        calls: Arc<Mutex<Vec<u32>>>,
        goes_on: Arc<AtomicBool>,
        adds_row: bool,
    }

    impl Infer for Rows {
        fn infer(
            &mut self,
            inputs: &[&Tensor],
            cancel: &Cancel,
            done: &mut Done<'_>,
        ) -> Result<(), Error> {
            let [input] = inputs else { unreachable!() };
            self.calls.lock().unwrap().push(input.dimensions[0]);
            let goes_on = self.goes_on.clone();
            let stop = move || goes_on.store(true, Ordering::SeqCst);
            cancel.during(stop, || {
                while input.data == [0, 0] && !self.goes_on.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                Ok(())
            })?;
            if cancel.is_cancelled() {
                return Err(Error::invalid("stopped"));
            }
            if input.data.iter().step_by(2).any(|byte| *byte == 9) {
                return Err(Error::invalid("nine"));
            }
            let mut bytes: Vec<_> = input.data.iter().map(|byte| byte + 1).collect();
            let mut dimensions = input.dimensions.clone();
            if self.adds_row {
                dimensions[0] += 1;
                bytes.extend([0, 0]);
            }
            done(&[
                Some(View {
                    dimensions,
                    bytes: &bytes,
                }),
                None,
            ])
        }
    }

    /// Computes these while another computation runs; what each gives, and of how many rows each call of the library was.
    fn compute_while_busy(
        rows: &Rows,
        inputs: &[&[u8]],
    ) -> (Vec<Result<Vec<u8>, Error>>, Vec<u32>) {
        let sizes = Some(vec![Size::new(-1, -1), Size::new(2, 2)]);
        let port = |ty| Port {
            name: "x".to_owned(),
            ty,
            dimensions: sizes.clone(),
        };
        let bytes = || port(PortType::Tensor(TensorType::U8));
        let signature = Arc::new(
            Signature::new(
                vec![bytes()],
                vec![bytes(), port(PortType::Other("bool".to_owned()))],
            )
            .unwrap(),
        );
        let scheduling = Scheduling {
            parallel: 1,
            batch: 8,
            ..Scheduling::default()
        };
        let compute = |data: &[u8]| {
            let monitor = Monitor::default();
            let mut context = TensorContext::new(
                signature.clone(),
                scheduling,
                monitor,
                Metrics::default(),
                rows.clone(),
            );
            let input = Tensor {
                dimensions: vec![u32::try_from(data.len() / 2).unwrap(), 2],
                ty: TensorType::U8,
                data: data.to_vec(),
            };
            context.set_input(0, input.clone()).unwrap();
            let result = context.compute();
            // It is there for the next computation.
            assert_eq!(context.inputs, [Some(input)]);
            result?;
            let description = context.describe_output(0).unwrap();
            let output = context.output(0).unwrap().to_vec();
            assert_eq!(description.dimensions[0] as usize, output.len() / 2);
            Ok(output)
        };
        std::thread::scope(|scope| {
            let busy = scope.spawn(|| compute(&[0, 0]));
            while rows.calls.lock().unwrap().is_empty() {
                std::thread::yield_now();
            }
            let mut threads = Vec::new();
            for (index, data) in inputs.iter().enumerate() {
                threads.push(scope.spawn(|| compute(data)));
                while signature.places.waiting() == index {
                    std::thread::yield_now();
                }
            }
            rows.goes_on.store(true, Ordering::SeqCst);
            busy.join().unwrap().unwrap();
            let results = threads.into_iter().map(|thread| thread.join().unwrap());
            let results = results.collect();
            (results, rows.calls.lock().unwrap()[1..].to_vec())
        })
    }

    #[test]
    fn what_waits_is_computed_together_and_each_gets_its_rows() {
        let inputs: [&[u8]; 3] = [&[1, 2], &[3, 4, 5, 6], &[7, 8]];
        let (results, calls) = compute_while_busy(&Rows::default(), &inputs);
        let expected = [vec![2, 3], vec![4, 5, 6, 7], vec![8, 9]];
        assert_eq!(results, expected.map(Ok));
        assert_eq!(calls, [4]);
    }

    #[test]
    fn a_failure_of_one_is_none_of_the_others() {
        let inputs: [&[u8]; 3] = [&[1, 2], &[9, 9], &[7, 8]];
        let (results, calls) = compute_while_busy(&Rows::default(), &inputs);
        assert_eq!(results[0], Ok(vec![2, 3]));
        assert_eq!(results[1].as_ref().unwrap_err().message, "nine");
        assert_eq!(results[2], Ok(vec![8, 9]));
        assert_eq!(calls, [3, 1, 1, 1]);
    }

    #[test]
    fn a_model_whose_outputs_have_other_rows_computes_each_alone() {
        let rows = Rows {
            adds_row: true,
            ..Rows::default()
        };
        let inputs: [&[u8]; 2] = [&[1, 2], &[3, 4]];
        let (results, calls) = compute_while_busy(&rows, &inputs);
        assert_eq!(results, [Ok(vec![2, 3, 0, 0]), Ok(vec![4, 5, 0, 0])]);
        assert_eq!(calls, [2, 1, 1]);
    }

    #[test]
    fn an_interrupt_ends_what_computes_and_what_waits() {
        let sizes = Some(vec![Size::new(-1, -1), Size::new(2, 2)]);
        let port = |ty| Port {
            name: "x".to_owned(),
            ty: PortType::Tensor(ty),
            dimensions: sizes.clone(),
        };
        let ports = || vec![port(TensorType::U8)];
        let signature = Arc::new(Signature::new(ports(), ports()).unwrap());
        let scheduling = Scheduling {
            parallel: 1,
            ..Scheduling::default()
        };
        let rows = Rows::default();
        let metrics = Metrics::default();
        metrics.take_timings();
        let has = |line: &str| metrics.encode().lines().any(|found| found == line);
        let open = |monitor: &Monitor, data: [u8; 2]| {
            let mut context = TensorContext::new(
                signature.clone(),
                scheduling,
                monitor.clone(),
                metrics.clone(),
                rows.clone(),
            );
            let input = Tensor {
                dimensions: vec![1, 2],
                ty: TensorType::U8,
                data: data.to_vec(),
            };
            context.set_input(0, input).unwrap();
            context
        };
        let monitors = [Monitor::default(), Monitor::default()];
        std::thread::scope(|scope| {
            let mut busy = open(&monitors[0], [0, 0]);
            let mut waits = open(&monitors[1], [1, 2]);
            let busy = scope.spawn(move || (busy.compute(), busy));
            while rows.calls.lock().unwrap().is_empty() {
                std::thread::yield_now();
            }
            let waits = scope.spawn(move || (waits.compute(), waits));
            while signature.places.waiting() == 0 {
                std::thread::yield_now();
            }
            assert!(has("llm_wasi_running 1") && has("llm_wasi_waiting 1"));
            monitors[1].interrupt();
            let (ended, mut waited) = waits.join().unwrap();
            assert_eq!(ended, Err(Monitor::interrupted()));
            assert_eq!(signature.places.waiting(), 0);
            assert!(has("llm_wasi_running 1") && has("llm_wasi_waiting 0"));
            // Only what computes takes time.
            assert_eq!(metrics.spent(Phase::Compute), Duration::ZERO);
            monitors[0].interrupt();
            let (ended, _) = busy.join().unwrap();
            assert_eq!(ended, Err(Monitor::interrupted()));
            assert!(has("llm_wasi_running 0"));
            assert!(metrics.spent(Phase::Compute) > Duration::ZERO);
            // Its input is still there.
            waited.compute().unwrap();
        });
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
