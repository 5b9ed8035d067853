//! `wasi:nn@0.2.0-rc-2024-10-28`: `compute` consumes a list of named tensors and gives one.
//!
//! The old ABI's inputs stay set, so the adapter keeps a copy of each and makes tensors of them for
//! every computation.

use super::portable::{self, ERRORS};
use super::{Builder, Context, Input, Strategy, Wanted};
use crate::plan::{
    Call, Expression, Failure, Field, Gives, Operand, Operation, Sequence, Variable,
};
use anyhow::Result;

pub(super) struct Lists;

impl Strategy for Lists {
    fn configure_context(
        &self,
        b: &mut Builder<'_>,
        graph_record: Variable,
        record: Variable,
        give_up: Vec<Operation>,
    ) -> Result<()> {
        let input = portable::configuration_as_input(b, graph_record)?;
        let configured = input.data;
        let then = b.nested(|b| {
            let kept = keep(b, record, &input);
            b.if_zero(kept, give_up);
            Ok(())
        })?;
        b.when(Expression::Is(configured), then);
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
        portable::begin_steps(b, context);
        Ok(())
    }

    fn compute(&self, b: &mut Builder<'_>, context: Context) -> Result<()> {
        compute(b, context)
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
        portable::tensor_data(b, tensor, output, Vec::new())
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
        let tensor = portable::make_tensor(b, &input)?;
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
