//! `wasi:nn@0.2.0-rc-2024-08-19`: inputs are set and outputs read one by one, by name.
//!
//! The host's context keeps inputs and outputs, so the adapter keeps none.

use super::portable::{self, ERRORS};
use super::{Builder, Context, Input, Strategy, Wanted, call_for_nothing, call_for_value};
use crate::plan::{Expression, Field, Operand, Operation, Variable};
use crate::world::World;
use anyhow::Result;

const SET_INPUT: &str = "[method]graph-execution-context.set-input";

/// Whether the WIT is of this shape.
pub(super) fn applies(world: &World) -> Result<bool> {
    world.has_function("wasi:nn/inference", SET_INPUT)
}

pub(super) struct Slots;

impl Strategy for Slots {
    fn configure_context(
        &self,
        b: &mut Builder<'_>,
        graph_record: Variable,
        record: Variable,
        _give_up: Vec<Operation>,
    ) -> Result<()> {
        let input = portable::configuration_as_input(b, graph_record)?;
        let configured = input.data;
        let then = b.nested(|b| {
            let resource = b.get("context resource", record, Field::Resource);
            set_input(b, resource, &input, Vec::new())
        })?;
        b.when(Expression::Is(configured), then);
        Ok(())
    }

    fn set_input(&self, b: &mut Builder<'_>, context: Context, input: &Input) -> Result<()> {
        let (dimensions, copy) = super::extended::align_dimensions(b, input);
        let aligned = Input {
            dimensions: dimensions.into(),
            ..*input
        };
        let release = vec![Operation::Release { block: copy.into() }];
        set_input(b, context.resource, &aligned, release)?;
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
        let (name, length) = write_name(b, output.index, false);
        let tensor = call_for_value(
            b,
            "wasi:nn/inference",
            "[method]graph-execution-context.get-output",
            vec![context.resource.into(), name.into(), length.into()],
            "tensor",
            ERRORS,
        )?;
        let drop = b.nested(|b| b.drop("wasi:nn/tensor", "tensor", tensor))?;
        portable::tensor_data(b, tensor, output, drop)
    }

    fn close(&self, b: &mut Builder<'_>, context: Context) -> Result<()> {
        b.drop(
            "wasi:nn/inference",
            "graph-execution-context",
            context.resource,
        )
    }
}

fn write_name(b: &mut Builder<'_>, index: Operand, input: bool) -> (Variable, Variable) {
    let name = b.variable("name");
    b.set(name, Expression::Scratch);
    let length = b.variable("name length");
    b.push(Operation::WriteName {
        at: name.into(),
        index,
        input,
        length,
    });
    (name, length)
}

fn set_input(
    b: &mut Builder<'_>,
    context: Variable,
    input: &Input,
    then: Vec<Operation>,
) -> Result<()> {
    // The tensor first: a configuration's dimensions share the scratch memory with the name.
    let tensor = portable::make_tensor(b, input)?;
    for operation in then {
        b.push(operation);
    }
    let (name, length) = write_name(b, input.index, true);
    call_for_nothing(
        b,
        "wasi:nn/inference",
        SET_INPUT,
        vec![context.into(), name.into(), length.into(), tensor.into()],
        Vec::new(),
        ERRORS,
    )
}

fn compute(b: &mut Builder<'_>, context: Context) -> Result<()> {
    call_for_nothing(
        b,
        "wasi:nn/inference",
        "[method]graph-execution-context.compute",
        vec![context.resource.into()],
        Vec::new(),
        ERRORS,
    )
}
