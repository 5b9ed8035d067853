//! A context whose computations are in a worker.
//!
//! What a call leaves behind is kept until the next one that changes anything: guests read an output more than
//! once, and most of what they read has come with the call's answer. If the worker dies, the call that hears of it
//! fails, and the next one has a context that is new.

use super::calling::Calling;
use super::frame::{self, MAX_BLOBS};
use super::graph::Model;
use super::message::{Ahead, Answer, Function, MOST_AHEAD, Output, ToContext, Value};
use super::stream::Channel;
use super::worker::Worker;
use crate::backend::language::{Candidate, TokenUsage};
use crate::backend::large_text::{check_tokens, turn};
use crate::backend::{ExecutionContext, LanguageContext};
use crate::monitor::Watcher;
use crate::{Bytes, Error, ErrorCode, Monitor, OutputDescription, Tensor};
use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

/// Inputs up to this size keep their allocation here for the next ones.
const LARGEST_SPARE: usize = 64 << 20;
/// How many names are remembered.
const MOST_NAMES: usize = 256;
/// How many outputs a model may have.
const MOST_OUTPUTS: u32 = 100_000;

pub(super) struct IsolatedContext {
    model: Arc<Model>,
    is_language: bool,
    calling: Arc<Calling>,
    /// Hears of interrupts.
    _watcher: Arc<Watcher>,
    // Reading an output may be a question.
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    session: Option<Session>,
    /// Whether a new context would do as well as the one in the worker.
    is_new: bool,
    /// Whether inputs are cleared before the next call.
    clear: bool,
    /// Inputs that were taken, and not set again.
    taken: BTreeSet<u32>,
    spare: BTreeMap<u32, Tensor>,
    known: Known,
    names: Names,
}

/// The context in the worker.
struct Session {
    worker: Arc<Worker>,
    graph: u64,
    channel: Channel,
}

/// What is known of the outputs until they change.
#[derive(Default)]
struct Known {
    outputs: Option<u32>,
    descriptions: BTreeMap<u32, OutputDescription>,
    elements: BTreeMap<Output, Bytes>,
    usage: Option<TokenUsage>,
}

/// What never changes.
#[derive(Default)]
struct Names {
    inputs: HashMap<String, u32>,
    outputs: HashMap<String, u32>,
    of_outputs: BTreeMap<u32, String>,
}

impl IsolatedContext {
    pub(super) fn open(model: Arc<Model>, is_language: bool) -> Result<Self, Error> {
        let mut state = State::default();
        let (calling, watcher) = model.calling();
        state.open(&model, &calling)?;
        Ok(Self {
            model,
            is_language,
            calling,
            _watcher: watcher,
            state: RefCell::new(state),
        })
    }

    fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    fn call(&self, function: Function) -> Result<Value, Error> {
        self.state().call(&self.model, &self.calling, function, &[])
    }

    fn nothing(&self, function: Function) -> Result<(), Error> {
        self.call(function).map(|_| ())
    }

    fn number(&self, function: Function) -> Result<u32, Error> {
        match self.call(function)? {
            Value::Number(number) => Ok(number),
            _ => Err(self.state().wrong_answer()),
        }
    }

    fn elements(&self, output: Output) -> Result<Bytes, Error> {
        if let Some(elements) = self.state().known.elements.get(&output) {
            return Ok(elements.clone());
        }
        self.nothing(match output {
            Output::Whole(index) => Function::Output(index),
            Output::Step(index) => Function::StepOutput(index),
        })?;
        let mut state = self.state();
        match state.known.elements.get(&output) {
            Some(elements) => Ok(elements.clone()),
            None => Err(state.wrong_answer()),
        }
    }
}

impl ExecutionContext for IsolatedContext {
    fn take_input(&mut self, index: u32) -> Option<Tensor> {
        let state = self.state.get_mut();
        state.taken.insert(index);
        state.spare.remove(&index)
    }

    fn set_input(&mut self, index: u32, tensor: Tensor) -> Result<(), Error> {
        // In the worker as well, but there who waits for a turn could not leave.
        let _turn = match self.is_language {
            true => turn(tensor.data.len(), self.calling.monitor())?,
            false => None,
        };
        let state = self.state.get_mut();
        state.taken.remove(&index);
        let function = Function::SetInput {
            index,
            dimensions: tensor.dimensions.clone(),
            ty: tensor.ty,
        };
        let result = state.call(&self.model, &self.calling, function, &[&tensor.data]);
        // Of an input that there is; of others nobody knows how many a guest tries.
        if result.is_ok() && tensor.data.capacity() <= LARGEST_SPARE {
            state.spare.insert(index, tensor);
        }
        result.map(|_| ())
    }

    fn input_index(&self, name: &str) -> Result<u32, Error> {
        if let Some(index) = self.state().names.inputs.get(name) {
            return Ok(*index);
        }
        let index = self.number(Function::InputIndex(name.to_owned()))?;
        remember(&mut self.state().names.inputs, name, index);
        Ok(index)
    }

    fn clear_inputs(&mut self) {
        let state = self.state.get_mut();
        state.clear = true;
        state.is_new = true;
        state.taken.clear();
        state.known = Known::default();
    }

    fn compute(&mut self) -> Result<(), Error> {
        self.nothing(Function::Compute)
    }

    fn compute_step(&mut self) -> Result<(), Error> {
        self.nothing(Function::ComputeStep)
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.nothing(Function::Finish)
    }

    fn outputs(&self) -> u32 {
        if let Some(outputs) = self.state().known.outputs {
            return outputs;
        }
        // Of a worker that has died, the next call that can fail says so.
        let outputs = self.number(Function::Outputs).ok();
        self.state().known.outputs = outputs;
        outputs.unwrap_or(0)
    }

    fn output_name(&self, index: u32) -> String {
        if let Some(name) = self.state().names.of_outputs.get(&index) {
            return name.clone();
        }
        match self.call(Function::OutputName(index)) {
            Ok(Value::Name(name)) => {
                let names = &mut self.state().names.of_outputs;
                if names.len() < MOST_NAMES {
                    names.insert(index, name.clone());
                }
                name
            }
            _ => index.to_string(),
        }
    }

    fn output_index(&self, name: &str) -> Result<u32, Error> {
        if let Some(index) = self.state().names.outputs.get(name) {
            return Ok(*index);
        }
        let index = self.number(Function::OutputIndex(name.to_owned()))?;
        remember(&mut self.state().names.outputs, name, index);
        Ok(index)
    }

    fn describe_output(&self, index: u32) -> Result<OutputDescription, Error> {
        if let Some(description) = self.state().known.descriptions.get(&index) {
            return Ok(description.clone());
        }
        match self.call(Function::DescribeOutput(index))? {
            Value::Description(description) => {
                let known = &mut self.state().known.descriptions;
                known.insert(index, description.clone());
                Ok(description)
            }
            _ => Err(self.state().wrong_answer()),
        }
    }

    fn output(&self, index: u32) -> Result<Bytes, Error> {
        self.elements(Output::Whole(index))
    }

    fn step_output(&self, index: u32) -> Result<Bytes, Error> {
        self.elements(Output::Step(index))
    }

    fn may_block(&self) -> bool {
        true
    }

    fn monitor(&self) -> Option<Monitor> {
        Some(self.calling.monitor().clone())
    }

    fn language(&mut self) -> Option<&mut dyn LanguageContext> {
        if self.is_language { Some(self) } else { None }
    }
}

impl LanguageContext for IsolatedContext {
    fn set_prompt(&mut self, tokens: &[u32]) -> Result<(), Error> {
        check_tokens(tokens.len(), self.model.most_prompt_tokens())?;
        self.nothing(Function::SetPrompt(tokens.to_vec()))
    }

    fn context_length(&mut self) -> Result<u32, Error> {
        self.number(Function::ContextLength)
    }

    fn candidates(&self, most: usize) -> Result<(Candidate, Vec<Candidate>), Error> {
        match self.call(Function::Candidates(most as u64))? {
            Value::Candidates(chosen, candidates) => Ok((chosen, candidates)),
            _ => Err(self.state().wrong_answer()),
        }
    }

    fn generated(&self) -> Vec<u32> {
        match self.call(Function::Generated) {
            Ok(Value::Tokens(tokens)) => tokens,
            _ => Vec::new(),
        }
    }

    fn usage(&self) -> TokenUsage {
        if let Some(usage) = self.state().known.usage {
            return usage;
        }
        match self.call(Function::Usage) {
            Ok(Value::Usage(usage)) => {
                self.state().known.usage = Some(usage);
                usage
            }
            _ => TokenUsage::default(),
        }
    }
}

impl State {
    /// Opens a context in the worker.
    fn open(&mut self, model: &Model, calling: &Arc<Calling>) -> Result<&mut Session, Error> {
        let (worker, graph, channel, answer) = model.open_context(calling)?;
        answer.result?;
        self.is_new = true;
        self.clear = false;
        self.taken.clear();
        self.known = Known {
            outputs: answer.ahead.outputs,
            ..Known::default()
        };
        Ok(self.session.insert(Session {
            worker,
            graph,
            channel,
        }))
    }

    fn call(
        &mut self,
        model: &Model,
        calling: &Arc<Calling>,
        function: Function,
        blobs: &[&[u8]],
    ) -> Result<Value, Error> {
        let is_lost = |session: &Session| self.is_new && session.worker.is_dead();
        let session = match &mut self.session {
            Some(session) if !is_lost(session) => session,
            _ => self.open(model, calling)?,
        };
        let (worker, graph) = (session.worker.clone(), session.graph);
        let old = if function.changes() {
            std::mem::take(&mut self.known)
        } else {
            Known::default()
        };
        let number = model.next_call();
        let interrupted = calling.begin(number, &worker, graph, function.computes());
        let question = ToContext {
            call: number,
            clear: std::mem::take(&mut self.clear),
            taken: std::mem::take(&mut self.taken).into_iter().collect(),
            interrupted,
            function,
        };
        self.is_new &= !question.function.changes();
        let answer = self.ask(model, &question, blobs, old);
        let heard = answer.as_ref().is_ok_and(|answer| answer.interrupted);
        calling.end(heard);
        match answer {
            Ok(answer) => answer.result,
            Err(error) => {
                if let Some(too_long) = frame::too_long(&error) {
                    // Nothing has gone there, and the context is what it was.
                    self.clear |= question.clear;
                    self.taken.extend(question.taken);
                    return Err(too_long);
                }
                self.session = None;
                self.known = Known::default();
                let died = worker.died(&error);
                Err(Error::new(
                    died.code,
                    format!(
                        "{}. This context is empty: set its inputs again",
                        died.message
                    ),
                ))
            }
        }
    }

    fn ask(
        &mut self,
        model: &Model,
        question: &ToContext,
        blobs: &[&[u8]],
        old: Known,
    ) -> io::Result<Answer> {
        let Some(Session {
            worker, channel, ..
        }) = &mut self.session
        else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        channel.send(question, blobs)?;
        let (mut answer, sizes) = model.answer(worker, channel)?;
        let ahead = std::mem::take(&mut answer.ahead);
        ahead.check(&sizes)?;
        let mut sizes = sizes.into_iter();
        let asked = match (&answer.result, &question.function) {
            (Ok(Value::Elements), Function::Output(index)) => Some(Output::Whole(*index)),
            (Ok(Value::Elements), Function::StepOutput(index)) => Some(Output::Step(*index)),
            _ => None,
        };
        let mut old = old.elements;
        for output in asked.into_iter().chain(ahead.elements.iter().copied()) {
            let size = sizes.next().ok_or(io::ErrorKind::InvalidData)?;
            if size > model.most_output() {
                // No guest would get it.
                channel.skip_blob(size)?;
                if asked == Some(output) {
                    answer.result = Err(too_large(size, model.most_output()));
                }
                continue;
            }
            // The allocation of the output before, if nobody holds it.
            let spare = old.remove(&output).and_then(Arc::into_inner);
            let mut elements = spare.unwrap_or_default();
            channel.receive_blob(size, &mut elements)?;
            self.known.elements.insert(output, Arc::new(elements));
        }
        if sizes.next().is_some() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.known.add(ahead);
        Ok(answer)
    }

    /// What to tell of a worker that answers another question.
    fn wrong_answer(&mut self) -> Error {
        let error = io::ErrorKind::InvalidData.into();
        match self.session.take() {
            Some(session) => session.worker.died(&error),
            None => Error::invalid(error.to_string()),
        }
    }
}

impl Ahead {
    /// Fails if it is more than a worker sends that is not in the hands of its model.
    fn check(&self, sizes: &[u64]) -> io::Result<()> {
        // Those that were asked for come first.
        let asked = sizes.len().saturating_sub(self.elements.len());
        let all = sizes[asked..]
            .iter()
            .fold(0, |all: u64, size| all.saturating_add(*size));
        let outputs = self.outputs.is_some_and(|outputs| outputs > MOST_OUTPUTS);
        if asked > 1 || all > MOST_AHEAD as u64 || outputs || self.descriptions.len() > MAX_BLOBS {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }
}

impl Known {
    fn add(&mut self, ahead: Ahead) {
        self.outputs = ahead.outputs.or(self.outputs);
        self.usage = ahead.usage.or(self.usage);
        self.descriptions.extend(ahead.descriptions);
    }
}

fn too_large(size: u64, most: u64) -> Error {
    Error::new(
        ErrorCode::TooLarge,
        format!(
            "expected an output of at most {most} bytes, which is limit `tensor`, found {size}"
        ),
    )
}

fn remember(names: &mut HashMap<String, u32>, name: &str, index: u32) {
    if names.len() < MOST_NAMES && name.len() < MOST_NAMES {
        names.insert(name.to_owned(), index);
    }
}
