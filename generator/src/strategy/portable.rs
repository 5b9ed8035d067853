//! What both releases of `wasi:nn` have in common: models are loaded and contexts made in the same way.
//!
//! What WasmEdge's functions ask for beyond it is emulated: configuration travels as input 1, and a
//! computation in steps has one step.

use super::{Builder, Context, Input, Load, Text, Wanted, call_for_value};
use crate::plan::{Call, Expression, Failure, Field, Gives, Operand, Operation, Variable};
use anyhow::Result;

/// Where WIT error resources come from.
pub(super) const ERRORS: &str = "wasi:nn/errors";

/// The input that WasmEdge's language models take options from.
const CONFIGURATION_INPUT: u32 = 1;

/// Loads from bytes.
pub(super) fn load_graph(b: &mut Builder<'_>, load: &Load) -> Result<Variable> {
    let import = b.import("wasi:nn/graph", "load")?;
    let failure = Failure::Error(b.errors(ERRORS)?);
    let graph = b.variable("graph");
    b.push(Operation::Call(Call {
        import,
        arguments: vec![load.builders, load.count, load.encoding, load.target],
        gives: Gives::Value(graph),
        finally: vec![Operation::Release {
            block: load.copy.into(),
        }],
        failure,
    }));
    Ok(graph)
}

/// Loads by name.
pub(super) fn load_graph_by_name(b: &mut Builder<'_>, name: Text) -> Result<Variable> {
    let arguments = vec![name.pointer, name.length];
    call_for_value(
        b,
        "wasi:nn/graph",
        "load-by-name",
        arguments,
        "graph",
        ERRORS,
    )
}

/// Makes a context.
pub(super) fn open_context(b: &mut Builder<'_>, graph: Variable) -> Result<Variable> {
    call_for_value(
        b,
        "wasi:nn/graph",
        "[method]graph.init-execution-context",
        vec![graph.into()],
        "context",
        ERRORS,
    )
}

/// Copies a configuration to the graph's record.
pub(super) fn keep_configuration(
    b: &mut Builder<'_>,
    record: Variable,
    configuration: Text,
    give_up: Vec<Operation>,
) -> Result<()> {
    let then = b.nested(|b| {
        let block = b.variable("configuration block");
        b.push(Operation::Allocate {
            into: block,
            size: configuration.length,
        });
        b.if_zero(block, give_up);
        b.push(Operation::Copy {
            to: block.into(),
            from: configuration.pointer,
            length: configuration.length,
        });
        b.put(record, Field::Configuration, block);
        b.put(record, Field::ConfigurationLength, configuration.length);
        Ok(())
    })?;
    b.when(Expression::Is(configuration.length), then);
    Ok(())
}

/// Gives a graph's configuration back.
pub(super) fn release_configuration(b: &mut Builder<'_>, record: Variable) {
    let block = b.get("configuration block", record, Field::Configuration);
    b.push(Operation::Release {
        block: block.into(),
    });
}

/// A graph's configuration as the input that carries it; its data is 0 where there is none.
pub(super) fn configuration_as_input(b: &mut Builder<'_>, graph_record: Variable) -> Result<Input> {
    let block = b.get("configuration", graph_record, Field::Configuration);
    let length = b.get(
        "configuration length",
        graph_record,
        Field::ConfigurationLength,
    );
    let dimensions = b.variable("dimensions");
    b.set(dimensions, Expression::Scratch);
    b.push(Operation::Poke {
        at: dimensions.into(),
        offset: 0,
        value: length.into(),
    });
    Ok(Input {
        index: Operand::Constant(CONFIGURATION_INPUT),
        dimensions: dimensions.into(),
        rank: Operand::Constant(1),
        ty: b.discriminant("wasi:nn/tensor", "tensor-type", "u8")?,
        data: block.into(),
        length: length.into(),
    })
}

/// The next step is the first one.
pub(super) fn begin_steps(b: &mut Builder<'_>, context: Context) {
    if b.has_steps() {
        b.put(context.record, Field::StepsEnded, Operand::Constant(0));
    }
}

/// There is only one step.
pub(super) fn end_if_stepped(b: &mut Builder<'_>, context: Context) -> Result<()> {
    let ended = b.get("steps ended", context.record, Field::StepsEnded);
    // The mapping guarantees this errno where a function computes in steps.
    if let Some(errno) = b.mapping.errno.end_of_sequence.clone() {
        let then = b.nested(|b| {
            b.fail(&errno);
            Ok(())
        })?;
        b.when(Expression::Is(ended.into()), then);
    }
    Ok(())
}

/// Copies a tensor's elements to where the guest wants them; gives their length in bytes.
pub(super) fn tensor_data(
    b: &mut Builder<'_>,
    tensor: Variable,
    output: &Wanted,
    finally: Vec<Operation>,
) -> Result<Variable> {
    let import = b.import("wasi:nn/tensor", "[method]tensor.data")?;
    let length = b.variable("length");
    b.push(Operation::Call(Call {
        import,
        arguments: vec![tensor.into()],
        gives: Gives::Bytes {
            buffer: output.buffer,
            max: output.max,
            length,
        },
        finally,
        failure: Failure::Never,
    }));
    Ok(length)
}

/// Makes a tensor of an input.
pub(super) fn make_tensor(b: &mut Builder<'_>, input: &Input) -> Result<Variable> {
    let import = b.import("wasi:nn/tensor", "[constructor]tensor")?;
    let tensor = b.variable("tensor");
    b.push(Operation::Call(Call {
        import,
        arguments: vec![
            input.dimensions,
            input.rank,
            input.ty,
            input.data,
            input.length,
        ],
        gives: Gives::Value(tensor),
        finally: Vec::new(),
        failure: Failure::Never,
    }));
    Ok(tensor)
}
