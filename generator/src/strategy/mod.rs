//! From what a function does to the operations that do it.
//!
//! The old ABI's state (handles, inputs that stay set, outputs that stay readable) is common to all
//! targets and lowered here. How a target takes inputs and gives outputs is a [`Strategy`] of its own:
//! [`lists`] for `wasi:nn@0.2.0-rc-2024-10-28`, [`slots`] for `@0.2.0-rc-2024-08-19`, which share
//! [`portable`], and [`extended`] for `llm-wasi:nn`. Strategies give operations, never bytes.

mod builder;
mod extended;
mod lists;
mod portable;
mod slots;

use crate::Profile;
use crate::interface::Interface;
use crate::mapping::{Action, Length, List, Mapping, Number, Output};
use crate::plan::{
    Call, Errno, Expression, Failure, Field, FunctionPlan, Gives, Operand, Operation, Plan, Table,
    Variable,
};
use crate::world::World;
use anyhow::{Result, ensure};
use builder::Builder;

/// What differs between the targets. What both releases of `wasi:nn` do alike is the default.
trait Strategy {
    /// Loads a model; gives its resource.
    fn load(&self, b: &mut Builder<'_>, load: &Load) -> Result<Variable> {
        portable::load_graph(b, load)
    }

    /// Loads a model by name; gives its resource.
    fn load_by_name(
        &self,
        b: &mut Builder<'_>,
        name: Text,
        _configuration: Option<Text>,
    ) -> Result<Variable> {
        portable::load_graph_by_name(b, name)
    }

    /// What remains to be done with the configuration once the graph has a record. `give_up` undoes
    /// the graph and returns.
    fn configure(
        &self,
        b: &mut Builder<'_>,
        record: Variable,
        configuration: Text,
        give_up: Vec<Operation>,
    ) -> Result<()> {
        portable::keep_configuration(b, record, configuration, give_up)
    }

    /// Gives back what `configure` took.
    fn forget_configuration(&self, b: &mut Builder<'_>, record: Variable) {
        portable::release_configuration(b, record);
    }

    /// Makes a context; gives its resource.
    fn open(&self, b: &mut Builder<'_>, graph: Variable) -> Result<Variable> {
        portable::open_context(b, graph)
    }

    /// Hands a graph's configuration to a new context. `give_up` undoes the context and returns.
    fn configure_context(
        &self,
        b: &mut Builder<'_>,
        graph_record: Variable,
        record: Variable,
        give_up: Vec<Operation>,
    ) -> Result<()>;

    /// Sets an input.
    fn set_input(&self, b: &mut Builder<'_>, context: Context, input: &Input) -> Result<()>;

    /// Computes.
    fn compute(&self, b: &mut Builder<'_>, context: Context) -> Result<()>;

    /// Computes one step; without a notion of steps, everything is one step.
    fn compute_step(&self, b: &mut Builder<'_>, context: Context) -> Result<()> {
        portable::end_if_stepped(b, context)?;
        self.compute(b, context)?;
        b.put(context.record, Field::StepsEnded, Operand::Constant(1));
        Ok(())
    }

    /// Ends a computation in steps.
    fn finish_steps(&self, b: &mut Builder<'_>, context: Context) -> Result<()> {
        portable::begin_steps(b, context);
        Ok(())
    }

    /// Puts an output into the guest's buffer if it fits; gives its size.
    fn get_output(
        &self,
        b: &mut Builder<'_>,
        context: Context,
        output: &Wanted,
    ) -> Result<Variable>;

    /// Drops a context's resource and all that it holds.
    fn close(&self, b: &mut Builder<'_>, context: Context) -> Result<()>;
}

/// Pointer and length of a text.
#[derive(Clone, Copy)]
struct Text {
    pointer: Operand,
    length: Operand,
}

/// What `load` gets.
struct Load {
    builders: Operand,
    count: Operand,
    encoding: Operand,
    target: Operand,
    /// A copy of the builders' list to release afterwards, or 0.
    copy: Variable,
}

/// A context: its record and its resource.
#[derive(Clone, Copy)]
struct Context {
    record: Variable,
    resource: Variable,
}

/// An input as the guest passes it.
struct Input {
    index: Operand,
    dimensions: Operand,
    rank: Operand,
    ty: Operand,
    data: Operand,
    length: Operand,
}

/// An output as the guest asks for it.
struct Wanted {
    index: Operand,
    buffer: Operand,
    max: Operand,
    /// Whether the guest asks for what the last step added.
    step: bool,
}

/// Makes the plan of an adapter.
pub(crate) fn plan(
    interface: &Interface,
    mapping: &Mapping,
    world: &World,
    options: &crate::Options,
) -> Result<Plan> {
    let (strategy, named_tensor): (&dyn Strategy, _) = match options.profile {
        Profile::Extended => (&extended::Extended, None),
        Profile::Portable if slots::applies(world)? => (&slots::Slots, None),
        Profile::Portable => {
            let layout = world.named_tensor("wasi:nn/inference", "named-tensor")?;
            (&lists::Lists, Some(layout))
        }
    };
    let mut input_names = options.input_names.clone();
    input_names.sort();
    for pair in input_names.windows(2) {
        ensure!(
            pair[0].0 != pair[1].0,
            "input {} has two names: {:?} and {:?}",
            pair[0].0,
            pair[0].1,
            pair[1].1
        );
    }
    let mut plan = Plan {
        module: interface.module.clone(),
        imports: Vec::new(),
        translations: vec![
            mapping.encoding.clone(),
            mapping.target.clone(),
            mapping.tensor_type.clone(),
        ],
        errors: Vec::new(),
        named_tensor,
        input_names,
        functions: Vec::new(),
    };
    for (function, action) in &mapping.functions {
        let mut b = Builder::new(&mut plan, world, mapping, function.flat_names());
        lower(&mut b, strategy, action, options)?;
        let (variables, body) = b.finish();
        plan.functions.push(FunctionPlan {
            name: function.name.clone(),
            params: function.flat_params(),
            variables,
            body,
        });
    }
    Ok(plan)
}

/// Indexes into [`Plan::translations`].
const ENCODING: usize = 0;
const TARGET: usize = 1;
const TENSOR_TYPE: usize = 2;

fn lower(
    b: &mut Builder<'_>,
    strategy: &dyn Strategy,
    action: &Action,
    options: &crate::Options,
) -> Result<()> {
    let errno = b.mapping.errno.clone();
    match action {
        Action::Load {
            builders,
            encoding,
            target,
            graph,
        } => {
            let encoding = b.read(encoding);
            let encoding = b.translate("encoding", encoding, ENCODING);
            let target = b.read(target);
            let target = b.translate("target", target, TARGET);
            let (builders, count) = read_list(b, builders);
            prepare(b);
            reserve(b, Table::Graphs);
            let aligned = b.variable("builders");
            b.set(aligned, Expression::Is(builders));
            let copy = b.variable("copy");
            b.push(Operation::Align {
                pointer: aligned,
                length: count,
                // Pointer and length of the bytes.
                element: 8,
                copy,
            });
            let load = Load {
                builders: aligned.into(),
                count,
                encoding: encoding.into(),
                target: target.into(),
                copy,
            };
            let resource = strategy.load(b, &load)?;
            let (_, handle) = add_graph(b, resource);
            b.write(graph, handle.into());
        }
        Action::LoadByName {
            name,
            configuration,
            graph,
        } => {
            let name = read_text(b, name);
            let configuration = configuration.as_ref().map(|list| read_text(b, list));
            prepare(b);
            require_text(b, name);
            reserve(b, Table::Graphs);
            let resource = strategy.load_by_name(b, name, configuration)?;
            let (record, handle) = add_graph(b, resource);
            if let Some(configuration) = configuration {
                let give_up = b.nested(|b| {
                    drop_graph(b, record)?;
                    b.fail(&errno.out_of_memory);
                    Ok(())
                })?;
                strategy.configure(b, record, configuration, give_up)?;
            }
            // Last, since the configuration may lie where the handle goes.
            b.write(graph, handle.into());
        }
        Action::InitExecutionContext { graph, context } => {
            let handle = b.read(graph);
            prepare(b);
            let graph = find(b, Table::Graphs, handle, &errno.unknown_graph);
            let resource = b.get("graph resource", graph, Field::Resource);
            reserve(b, Table::Contexts);
            let opened = strategy.open(b, resource)?;
            let handle = b.variable("new context");
            let record = b.variable("context record");
            b.push(Operation::Append {
                table: Table::Contexts,
                handle,
                record,
                resource: opened.into(),
            });
            if b.has_configuration() {
                let made = Context {
                    record,
                    resource: opened,
                };
                let give_up = b.nested(|b| {
                    close(b, strategy, made)?;
                    b.fail(&errno.out_of_memory);
                    Ok(())
                })?;
                strategy.configure_context(b, graph, record, give_up)?;
            }
            b.write(context, handle.into());
        }
        Action::SetInput {
            context,
            index,
            dimensions,
            ty,
            data,
        } => {
            let handle = b.read(context);
            prepare(b);
            let context = find_context(b, handle);
            let ty = b.read(ty);
            let ty = b.translate("type", ty, TENSOR_TYPE);
            let (dimensions, rank) = read_list(b, dimensions);
            let pointer = b.read(&data.pointer);
            let length = match &data.length {
                Length::At(length) => b.read(length),
                Length::FromShape => {
                    let length = b.variable("length");
                    let element_sizes = b.element_sizes()?;
                    b.set(
                        length,
                        Expression::ShapeSize {
                            dimensions,
                            rank,
                            ty: ty.into(),
                            element_sizes,
                        },
                    );
                    length.into()
                }
            };
            let index = b.read(index);
            former_types(b, ty, (dimensions, rank), length)?;
            let input = Input {
                index,
                dimensions,
                rank,
                ty: ty.into(),
                data: pointer,
                length,
            };
            strategy.set_input(b, context, &input)?;
        }
        Action::Compute { context } => {
            let context = begin_with_context(b, context);
            strategy.compute(b, context)?;
        }
        Action::ComputeStep { context } => {
            let context = begin_with_context(b, context);
            strategy.compute_step(b, context)?;
        }
        Action::FinishSteps { context } => {
            let context = begin_with_context(b, context);
            strategy.finish_steps(b, context)?;
        }
        Action::GetOutput(output) => get_output(b, strategy, output, false, options)?,
        Action::GetStepOutput(output) => get_output(b, strategy, output, true, options)?,
        Action::Unload { graph } => {
            let handle = b.read(graph);
            prepare(b);
            let record = find(b, Table::Graphs, handle, &errno.unknown_graph);
            strategy.forget_configuration(b, record);
            drop_graph(b, record)?;
        }
        Action::FinalizeExecutionContext { context } => {
            let context = begin_with_context(b, context);
            close(b, strategy, context)?;
        }
        Action::Unsupported { errno } => {
            b.fail(errno);
            return Ok(());
        }
    }
    b.fail(&errno.success);
    Ok(())
}

fn prepare(b: &mut Builder<'_>) {
    let otherwise = b.mapping.errno.out_of_memory.clone();
    b.push(Operation::Prepare { otherwise });
}

fn reserve(b: &mut Builder<'_>, table: Table) {
    let otherwise = b.mapping.errno.out_of_memory.clone();
    b.push(Operation::Reserve { table, otherwise });
}

fn find(b: &mut Builder<'_>, table: Table, handle: Operand, otherwise: &Errno) -> Variable {
    let into = b.variable(match table {
        Table::Graphs => "graph record",
        Table::Contexts => "context record",
    });
    b.push(Operation::Find {
        into,
        table,
        handle,
        otherwise: otherwise.clone(),
    });
    into
}

fn find_context(b: &mut Builder<'_>, handle: Operand) -> Context {
    let otherwise = b.mapping.errno.unknown_context.clone();
    let record = find(b, Table::Contexts, handle, &otherwise);
    let resource = b.get("context resource", record, Field::Resource);
    Context { record, resource }
}

fn begin_with_context(b: &mut Builder<'_>, context: &Number) -> Context {
    let handle = b.read(context);
    prepare(b);
    find_context(b, handle)
}

fn read_list(b: &mut Builder<'_>, list: &List) -> (Operand, Operand) {
    let pointer = b.read(&list.pointer);
    let length = match &list.length {
        Length::At(length) => b.read(length),
        // The mapping allows this for a tensor's data only, which is read elsewhere.
        Length::FromShape => Operand::Constant(0),
    };
    (pointer, length)
}

fn read_text(b: &mut Builder<'_>, list: &List) -> Text {
    let (pointer, length) = read_list(b, list);
    Text { pointer, length }
}

fn require_text(b: &mut Builder<'_>, text: Text) {
    let otherwise = b.mapping.errno.bad_text.clone();
    b.push(Operation::RequireText {
        pointer: text.pointer,
        length: text.length,
        otherwise,
    });
}

/// The record and its handle.
fn add_graph(b: &mut Builder<'_>, resource: Variable) -> (Variable, Variable) {
    let handle = b.variable("new graph");
    let record = b.variable("graph record");
    b.push(Operation::Append {
        table: Table::Graphs,
        handle,
        record,
        resource: resource.into(),
    });
    (record, handle)
}

fn drop_graph(b: &mut Builder<'_>, record: Variable) -> Result<()> {
    let resource = b.get("graph resource", record, Field::Resource);
    b.drop("wasi:nn/graph", "graph", resource)?;
    b.push(Operation::Remove {
        table: Table::Graphs,
        record: record.into(),
    });
    Ok(())
}

fn close(b: &mut Builder<'_>, strategy: &dyn Strategy, context: Context) -> Result<()> {
    strategy.close(b, context)?;
    b.push(Operation::Remove {
        table: Table::Contexts,
        record: context.record.into(),
    });
    Ok(())
}

fn get_output(
    b: &mut Builder<'_>,
    strategy: &dyn Strategy,
    output: &Output,
    step: bool,
    options: &crate::Options,
) -> Result<()> {
    let errno = b.mapping.errno.clone();
    let context = begin_with_context(b, &output.context);
    let index = b.read(&output.index);
    let buffer = b.read(&output.buffer);
    let mut max = b.read(&output.max);
    if options.zero_max_is_unlimited {
        let unlimited = b.variable("limit");
        b.set(unlimited, Expression::OrUnlimited(max));
        max = unlimited.into();
    }
    let wanted = Wanted {
        index,
        buffer,
        max,
        step,
    };
    let length = strategy.get_output(b, context, &wanted)?;
    let then = b.nested(|b| {
        if output.size_when_too_small {
            b.write(&output.written, length.into());
        }
        b.fail(&errno.buffer_too_small);
        Ok(())
    })?;
    b.when(Expression::Greater(length.into(), max), then);
    b.write(&output.written, length.into());
    Ok(())
}

/// Replaces a tensor's type by what its tag stood for formerly, where its length in bytes is that of the former type.
fn former_types(
    b: &mut Builder<'_>,
    ty: Variable,
    (dimensions, rank): (Operand, Operand),
    length: Operand,
) -> Result<()> {
    for former in b.mapping.former_tensor_types.clone() {
        let is_former = b.nested(|b| {
            let was = Operand::Constant(former.was_discriminant);
            b.set(ty, Expression::Is(was));
            Ok(())
        })?;
        let if_enough = b.nested(|b| {
            let fits = Expression::FitsShape {
                dimensions,
                rank,
                element: former.element,
                length,
            };
            b.when(fits, is_former);
            Ok(())
        })?;
        let if_tag = b.nested(|b| {
            let too_few = Operand::Constant(former.element * former.fewest - 1);
            b.when(Expression::Greater(length, too_few), if_enough);
            Ok(())
        })?;
        let now = Operand::Constant(former.discriminant);
        b.when(Expression::Equal(ty.into(), now), if_tag);
    }
    Ok(())
}

/// A call that gives one value or fails with an error resource.
fn call_for_value(
    b: &mut Builder<'_>,
    interface: &str,
    function: &str,
    arguments: Vec<Operand>,
    name: &str,
    errors: &str,
) -> Result<Variable> {
    let import = b.import(interface, function)?;
    let failure = Failure::Error(b.errors(errors)?);
    let value = b.variable(name);
    b.push(Operation::Call(Call {
        import,
        arguments,
        gives: Gives::Value(value),
        finally: Vec::new(),
        failure,
    }));
    Ok(value)
}

/// A call that gives nothing and may fail with an error resource.
fn call_for_nothing(
    b: &mut Builder<'_>,
    interface: &str,
    function: &str,
    arguments: Vec<Operand>,
    finally: Vec<Operation>,
    errors: &str,
) -> Result<()> {
    let import = b.import(interface, function)?;
    let failure = Failure::Error(b.errors(errors)?);
    b.push(Operation::Call(Call {
        import,
        arguments,
        gives: Gives::Nothing,
        finally,
        failure,
    }));
    Ok(())
}
