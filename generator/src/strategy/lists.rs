//! `wasi:nn@0.2.0-rc-2024-10-28`: `compute` consumes a list of named tensors and gives one.
//!
//! The old ABI's inputs stay set, so the adapter keeps a copy of each and makes tensors of them for
//! every computation. Configuration travels as input 1; a computation in steps has one step.

use super::{Builder, Context, Input, Load, Strategy, Text, Wanted, call_for_value};
use crate::plan::{
    Call, Expression, Failure, Field, Gives, Operand, Operation, Sequence, Variable,
};
use anyhow::Result;

/// Where WIT error resources come from.
pub(super) const ERRORS: &str = "wasi:nn/errors";

/// The input that WasmEdge's language models take options from.
pub(super) const CONFIGURATION_INPUT: u32 = 1;

pub(super) struct Lists;

impl Strategy for Lists {
    fn load(&self, b: &mut Builder<'_>, load: &Load) -> Result<Variable> {
        load_graph(b, load)
    }

    fn load_by_name(
        &self,
        b: &mut Builder<'_>,
        name: Text,
        _configuration: Option<Text>,
    ) -> Result<Variable> {
        load_graph_by_name(b, name)
    }

    fn configure(
        &self,
        b: &mut Builder<'_>,
        record: Variable,
        configuration: Text,
        give_up: Vec<Operation>,
    ) -> Result<()> {
        keep_configuration(b, record, configuration, give_up)
    }

    fn forget_configuration(&self, b: &mut Builder<'_>, record: Variable) {
        release_configuration(b, record);
    }

    fn open(&self, b: &mut Builder<'_>, graph: Variable) -> Result<Variable> {
        open_context(b, graph)
    }

    fn configure_context(
        &self,
        b: &mut Builder<'_>,
        graph_record: Variable,
        record: Variable,
        give_up: Vec<Operation>,
    ) -> Result<()> {
        let input = configuration_as_input(b, graph_record)?;
        let configured = input.data;
        let then = b.nested(|b| {
            let kept = keep(b, record, &input);
            b.if_zero(kept, give_up);
            Ok(())
        })?;
        b.push(Operation::If {
            condition: configured,
            then,
        });
        Ok(())
    }

    fn set_input(&self, b: &mut Builder<'_>, context: Context, input: &Input) -> Result<()> {
        let errno = b.mapping.errno.out_of_memory.clone();
        let kept = keep(b, context.record, input);
        let then = b.nested(|b| {
            b.fail(&errno);
            Ok(())
        })?;
        b.if_zero(kept, then);
        begin_steps(b, context);
        Ok(())
    }

    fn compute(&self, b: &mut Builder<'_>, context: Context) -> Result<()> {
        compute(b, context)
    }

    fn compute_step(&self, b: &mut Builder<'_>, context: Context) -> Result<()> {
        end_if_stepped(b, context)?;
        compute(b, context)?;
        b.put(context.record, Field::StepsEnded, Operand::Constant(1));
        Ok(())
    }

    fn finish_steps(&self, b: &mut Builder<'_>, context: Context) -> Result<()> {
        begin_steps(b, context);
        Ok(())
    }

    fn get_output(
        &self,
        b: &mut Builder<'_>,
        context: Context,
        output: &Wanted,
    ) -> Result<Variable> {
        let otherwise = b.mapping.errno.no_output.clone();
        let found = b.variable("output");
        b.push(Operation::FindOutput {
            into: found,
            context: context.record.into(),
            index: output.index,
            otherwise,
        });
        let tensor = b.get("tensor", found, Field::OutputTensor);
        tensor_data(b, tensor, output, Vec::new())
    }

    fn close(&self, b: &mut Builder<'_>, context: Context) -> Result<()> {
        replace_outputs(b, context, Operand::Constant(0), Operand::Constant(0))?;
        b.push(Operation::ReleaseInputs {
            context: context.record.into(),
        });
        b.drop(
            "wasi:nn/inference",
            "graph-execution-context",
            context.resource,
        )
    }
}

/// Loads from bytes; the same in both releases of `wasi:nn`.
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

/// Loads by name; the same in both releases of `wasi:nn`.
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

/// Makes a context; the same in both releases of `wasi:nn`.
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
    b.push(Operation::If {
        condition: configuration.length,
        then,
    });
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
        b.push(Operation::If {
            condition: ended.into(),
            then,
        });
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

fn keep(b: &mut Builder<'_>, record: Variable, input: &Input) -> Variable {
    let kept = b.variable("kept");
    b.push(Operation::KeepInput {
        context: record.into(),
        index: input.index,
        dimensions: input.dimensions,
        rank: input.rank,
        ty: input.ty,
        data: input.data,
        length: input.length,
        kept,
    });
    kept
}

fn compute(b: &mut Builder<'_>, context: Context) -> Result<()> {
    let layout = b.named_tensor()?;
    let room = b.longest_name();
    let count = b.get("inputs", context.record, Field::InputCount);
    let size = b.variable("size");
    b.set(size, Expression::Product(count.into(), layout.size + room));
    let list = b.allocate("list", size.into())?;
    let at = b.variable("at");
    b.set(at, Expression::Is(list.into()));
    let names = b.variable("names");
    b.set(names, Expression::Product(count.into(), layout.size));
    b.set(names, Expression::Sum(names.into(), list.into()));
    let item = b.variable("input");
    let body = b.nested(|b| {
        let index = b.get("index", item, Field::InputIndex);
        let length = b.variable("name length");
        b.push(Operation::WriteName {
            at: names.into(),
            index: index.into(),
            input: true,
            length,
        });
        let input = Input {
            index: index.into(),
            dimensions: b.get("dimensions", item, Field::InputDimensions).into(),
            rank: b.get("rank", item, Field::InputRank).into(),
            ty: b.get("type", item, Field::InputType).into(),
            data: b.get("data", item, Field::InputData).into(),
            length: b.get("length", item, Field::InputLength).into(),
        };
        let tensor = make_tensor(b, &input)?;
        let poke = |offset, value: Variable| Operation::Poke {
            at: at.into(),
            offset,
            value: value.into(),
        };
        b.push(poke(layout.name, names));
        b.push(poke(layout.name + 4, length));
        b.push(poke(layout.tensor, tensor));
        b.set(
            at,
            Expression::Sum(at.into(), Operand::Constant(layout.size)),
        );
        b.set(
            names,
            Expression::Sum(names.into(), Operand::Constant(room)),
        );
        Ok(())
    })?;
    b.push(Operation::ForEach {
        sequence: Sequence::Inputs,
        context: context.record.into(),
        item,
        body,
    });
    let import = b.import(
        "wasi:nn/inference",
        "[method]graph-execution-context.compute",
    )?;
    let failure = Failure::Error(b.errors(ERRORS)?);
    let outputs = b.variable("outputs");
    let output_count = b.variable("output count");
    b.push(Operation::Call(Call {
        import,
        arguments: vec![context.resource.into(), list.into(), count.into()],
        gives: Gives::List {
            pointer: outputs,
            length: output_count,
        },
        finally: vec![Operation::Release { block: list.into() }],
        failure,
    }));
    replace_outputs(b, context, outputs.into(), output_count.into())
}

/// The earlier outputs stay readable until here, so a failed computation leaves them.
fn replace_outputs(
    b: &mut Builder<'_>,
    context: Context,
    list: Operand,
    length: Operand,
) -> Result<()> {
    let item = b.variable("earlier output");
    let body = b.nested(|b| {
        let tensor = b.get("earlier tensor", item, Field::OutputTensor);
        b.drop("wasi:nn/tensor", "tensor", tensor)
    })?;
    b.push(Operation::ForEach {
        sequence: Sequence::Outputs,
        context: context.record.into(),
        item,
        body,
    });
    b.push(Operation::KeepOutputs {
        context: context.record.into(),
        list,
        length,
    });
    Ok(())
}
