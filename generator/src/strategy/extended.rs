//! `llm-wasi:nn`: the host keeps inputs and outputs by index, takes configuration with a model, and
//! computes in steps. The adapter copies nothing.

use super::{
    Builder, Context, Input, Load, Strategy, Text, Wanted, call_for_nothing, call_for_value,
    require_text,
};
use crate::plan::{Call, Expression, Failure, Gives, Operand, Operation, Variable};
use anyhow::Result;

const ERRORS: &str = "llm-wasi:nn/errors";
const GRAPH: &str = "llm-wasi:nn/graph";
const INFERENCE: &str = "llm-wasi:nn/inference";

/// An absent `option<string>`.
const NONE: [Operand; 3] = [Operand::Constant(0); 3];

pub(super) struct Extended;

impl Strategy for Extended {
    fn load(&self, b: &mut Builder<'_>, load: &Load) -> Result<Variable> {
        let import = b.import(GRAPH, "load")?;
        let failure = Failure::Error(b.errors(ERRORS)?);
        let graph = b.variable("graph");
        let mut arguments = vec![load.builders, load.count, load.encoding, load.target];
        arguments.extend(NONE);
        b.push(Operation::Call(Call {
            import,
            arguments,
            gives: Gives::Value(graph),
            finally: vec![Operation::Release {
                block: load.copy.into(),
            }],
            failure,
        }));
        Ok(graph)
    }

    fn load_by_name(
        &self,
        b: &mut Builder<'_>,
        name: Text,
        configuration: Option<Text>,
    ) -> Result<Variable> {
        let mut arguments = vec![name.pointer, name.length];
        match configuration {
            Some(text) => {
                require_text(b, text);
                arguments.extend([Operand::Constant(1), text.pointer, text.length]);
            }
            None => arguments.extend(NONE),
        }
        call_for_value(b, GRAPH, "load-by-name", arguments, "graph", ERRORS)
    }

    fn configure(
        &self,
        _b: &mut Builder<'_>,
        _record: Variable,
        _configuration: Text,
        _give_up: Vec<Operation>,
    ) -> Result<()> {
        Ok(())
    }

    fn forget_configuration(&self, _b: &mut Builder<'_>, _record: Variable) {}

    fn open(&self, b: &mut Builder<'_>, graph: Variable) -> Result<Variable> {
        let arguments = vec![graph.into()];
        call_for_value(
            b,
            INFERENCE,
            "[static]execution-context.open",
            arguments,
            "context",
            ERRORS,
        )
    }

    fn configure_context(
        &self,
        _b: &mut Builder<'_>,
        _graph_record: Variable,
        _record: Variable,
        _give_up: Vec<Operation>,
    ) -> Result<()> {
        Ok(())
    }

    fn set_input(&self, b: &mut Builder<'_>, context: Context, input: &Input) -> Result<()> {
        let (dimensions, copy) = align_dimensions(b, input);
        let arguments = vec![
            context.resource.into(),
            input.index,
            dimensions.into(),
            input.rank,
            input.ty,
            input.data,
            input.length,
        ];
        let finally = vec![Operation::Release { block: copy.into() }];
        let function = "[method]execution-context.set-input";
        call_for_nothing(b, INFERENCE, function, arguments, finally, ERRORS)
    }

    fn compute(&self, b: &mut Builder<'_>, context: Context) -> Result<()> {
        call_context(b, context, "[method]execution-context.compute")
    }

    fn compute_step(&self, b: &mut Builder<'_>, context: Context) -> Result<()> {
        call_context(b, context, "[method]execution-context.compute-step")
    }

    fn finish_steps(&self, b: &mut Builder<'_>, context: Context) -> Result<()> {
        call_context(b, context, "[method]execution-context.finish")
    }

    fn get_output(
        &self,
        b: &mut Builder<'_>,
        context: Context,
        output: &Wanted,
    ) -> Result<Variable> {
        let function = if output.step {
            "[method]execution-context.read-step-output"
        } else {
            "[method]execution-context.read-output"
        };
        let import = b.import(INFERENCE, function)?;
        let error = b.errors(ERRORS)?;
        let payload = b.variant_payload(INFERENCE, "read-error")?;
        let length = b.variable("length");
        b.push(Operation::Call(Call {
            import,
            arguments: vec![context.resource.into(), output.index, output.max],
            gives: Gives::Bytes {
                buffer: output.buffer,
                max: output.max,
                length,
            },
            finally: Vec::new(),
            failure: Failure::TooSmall {
                payload,
                length,
                error,
            },
        }));
        Ok(length)
    }

    fn close(&self, b: &mut Builder<'_>, context: Context) -> Result<()> {
        b.drop(INFERENCE, "execution-context", context.resource)
    }
}

fn call_context(b: &mut Builder<'_>, context: Context, function: &str) -> Result<()> {
    let arguments = vec![context.resource.into()];
    call_for_nothing(b, INFERENCE, function, arguments, Vec::new(), ERRORS)
}

/// The canonical ABI wants dimensions aligned; gives their address and a copy to release.
pub(super) fn align_dimensions(b: &mut Builder<'_>, input: &Input) -> (Variable, Variable) {
    let pointer = b.variable("aligned dimensions");
    b.set(pointer, Expression::Is(input.dimensions));
    let copy = b.variable("copy");
    b.push(Operation::Align {
        pointer,
        length: input.rank,
        // Each is a `u32`.
        element: 4,
        copy,
    });
    (pointer, copy)
}
