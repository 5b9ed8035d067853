//! A context in the worker.

use super::super::message::{
    Ahead, Answer, FromContext, Function, MOST_AHEAD, Output, ToContext, Value,
};
use super::super::stream::Channel;
use super::calls::Writer;
use super::graph::{Served, guard};
use crate::backend::ExecutionContext;
use crate::{Bytes, Error, Tensor, calls, stdout};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// How many outputs.
const MOST_OUTPUTS: u32 = 16;

/// Answers until the host ends the stream.
pub(super) fn serve(served: &Arc<Served>, stream: UnixStream) -> io::Result<()> {
    let mut channel = Channel::new(stream);
    let writer = Writer::new(channel.writer()?);
    let opened = guard(|| served.graph()?.init_execution_context());
    let (mut context, ahead, result) = match opened {
        Ok(context) => {
            let ahead = Ahead {
                outputs: Some(context.outputs()),
                ..Ahead::default()
            };
            (Some(context), ahead, Ok(Value::Nothing))
        }
        Err(error) => (None, Ahead::default(), Err(error)),
    };
    writer.send(&done(served, result, false, ahead), &[])?;
    let Some(context) = &mut context else {
        return Ok(());
    };
    while let Some((question, sizes)) = channel.next::<ToContext>()? {
        answer(
            served,
            &mut **context,
            &mut channel,
            &writer,
            question,
            &sizes,
        )?;
    }
    Ok(())
}

/// What a context without a thread is told.
pub(super) fn refusal(error: Error) -> FromContext {
    FromContext::Done(Answer {
        result: Err(error),
        interrupted: false,
        ahead: Ahead::default(),
        figures: Vec::new(),
        printed: 0,
    })
}

fn done(
    served: &Served,
    result: Result<Value, Error>,
    interrupted: bool,
    ahead: Ahead,
) -> FromContext {
    FromContext::Done(Answer {
        result,
        interrupted,
        ahead,
        figures: served.figures(),
        printed: stdout::written(),
    })
}

fn answer(
    served: &Served,
    context: &mut dyn ExecutionContext,
    channel: &mut Channel,
    writer: &Writer,
    question: ToContext,
    sizes: &[u64],
) -> io::Result<()> {
    let ToContext {
        call,
        clear,
        taken,
        interrupted,
        function,
    } = question;
    if clear {
        context.clear_inputs();
    }
    for index in taken {
        drop(context.take_input(index));
    }
    let mut tensor = None;
    if let Function::SetInput {
        index,
        dimensions,
        ty,
    } = &function
    {
        let mut input = context.take_input(*index).unwrap_or_else(Tensor::empty);
        let size = sizes.first().ok_or(io::ErrorKind::InvalidData)?;
        channel.receive_blob(*size, &mut input.data)?;
        input.dimensions.clone_from(dimensions);
        input.ty = *ty;
        tensor = Some(input);
    }
    let computes = function.computes();
    let monitor = context.monitor().unwrap_or_default();
    if computes {
        let writer = writer.clone();
        // A host that does not listen any more is noticed when it is answered.
        let tell = move |progress| drop(writer.send(&FromContext::Progress(progress), &[]));
        served
            .calls
            .begin(call, interrupted, &monitor, Box::new(tell));
    }
    let steps = matches!(function, Function::ComputeStep);
    let mut elements = Vec::new();
    let result = guard(|| perform(context, function, tensor, &mut elements));
    let heard = computes && served.calls.end(call);
    let ahead = if computes {
        guard(|| Ok(look_ahead(context, steps, &mut elements))).unwrap_or_default()
    } else {
        Ahead::default()
    };
    let blobs: Vec<&[u8]> = elements.iter().map(|bytes| bytes.as_slice()).collect();
    let instead = |error| done(served, Err(error), heard, Ahead::default());
    writer.answer(&done(served, result, heard, ahead), &blobs, instead)
}

fn perform(
    context: &mut dyn ExecutionContext,
    function: Function,
    tensor: Option<Tensor>,
    elements: &mut Vec<Bytes>,
) -> Result<Value, Error> {
    let mut blob = |bytes: Bytes| {
        elements.push(bytes);
        Value::Elements
    };
    let nothing = |()| Value::Nothing;
    match function {
        Function::SetInput { index, .. } => context
            .set_input(index, tensor.unwrap_or_else(Tensor::empty))
            .map(nothing),
        Function::InputIndex(name) => context.input_index(&name).map(Value::Number),
        Function::Compute => context.compute().map(nothing),
        Function::ComputeStep => context.compute_step().map(nothing),
        Function::Finish => context.finish().map(nothing),
        Function::Outputs => Ok(Value::Number(context.outputs())),
        Function::OutputName(index) => Ok(Value::Name(context.output_name(index))),
        Function::OutputIndex(name) => context.output_index(&name).map(Value::Number),
        Function::DescribeOutput(index) => context.describe_output(index).map(Value::Description),
        Function::Output(index) => context.output(index).map(&mut blob),
        Function::StepOutput(index) => context.step_output(index).map(&mut blob),
        Function::SetPrompt(tokens) => calls::language_context(context)?
            .set_prompt(&tokens)
            .map(nothing),
        Function::ContextLength => calls::language_context(context)?
            .context_length()
            .map(Value::Number),
        Function::Candidates(most) => calls::language_context(context)?
            .candidates(usize::try_from(most).unwrap_or(usize::MAX))
            .map(|(chosen, candidates)| Value::Candidates(chosen, candidates)),
        Function::Generated => Ok(Value::Tokens(calls::language_context(context)?.generated())),
        Function::Usage => Ok(Value::Usage(calls::language_context(context)?.usage())),
    }
}

/// What guests read after a computation: of a step what it added, else the outputs.
fn look_ahead(context: &mut dyn ExecutionContext, steps: bool, elements: &mut Vec<Bytes>) -> Ahead {
    let outputs = context.outputs();
    let mut ahead = Ahead {
        outputs: Some(outputs),
        ..Ahead::default()
    };
    let mut left = MOST_AHEAD;
    let mut add = |output: Output, bytes: Result<Bytes, Error>| {
        if let Ok(bytes) = bytes
            && bytes.len() <= left
        {
            left -= bytes.len();
            ahead.elements.push(output);
            elements.push(bytes);
        }
    };
    if steps {
        add(Output::Step(0), context.step_output(0));
    } else {
        for index in 0..outputs.min(MOST_OUTPUTS) {
            add(Output::Whole(index), context.output(index));
        }
        ahead.descriptions = (0..outputs.min(MOST_OUTPUTS))
            .filter_map(|index| Some((index, context.describe_output(index).ok()?)))
            .collect();
    }
    ahead.usage = context.language().map(|context| context.usage());
    ahead
}
