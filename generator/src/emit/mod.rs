//! From a plan to a core module.
//!
//! Nothing here knows witx, WIT or a dialect: operations become instructions, import names are opaque
//! strings. The module has what wit-component allows an adapter: imported functions and one imported
//! memory, own globals, functions, exports, and the custom sections `name` and `component-type`.

mod layout;
mod lookup;
mod runtime;
mod tee;

use crate::interface::Width;
use crate::place::Place;
use crate::plan::{
    Call, ErrorPath, Expression, Failure, Field, FunctionPlan, Gives, ImportId, Operand, Operation,
    Plan, Sequence, Table, Translation,
};
use anyhow::{Result, ensure};
use layout::{State, input, record};
use runtime::{Runtime, bits, global, unaligned, word};
use wasm_encoder::{
    BlockType, CodeSection, CustomSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, ImportSection, InstructionSink, MemoryType, Module,
    NameMap, NameSection, TypeSection, ValType,
};

/// Name of the canonical ABI's realloc for what imports give.
pub(crate) const REALLOC: &str = "cabi_import_realloc";

/// Encodes a plan; `component_type` is the custom section for wit-component.
pub(crate) fn emit(plan: &Plan, component_type: &[u8]) -> Result<Vec<u8>> {
    let imports = u32::try_from(plan.imports.len())?;
    let runtime = Runtime::new(imports);
    let state = State::new(plan.longest_name());
    let helpers = runtime.functions(&state, plan.named_tensor, &plan.input_names);
    let errors_base = imports + u32::try_from(helpers.len())?;
    let functions_base = errors_base + u32::try_from(plan.errors.len())?;

    let mut types = Types::default();
    let mut import_section = ImportSection::new();
    import_section.import(
        "env",
        "memory",
        EntityType::Memory(MemoryType {
            minimum: 0,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        }),
    );
    let mut names = NameMap::new();
    // Imports have names already.
    for import in &plan.imports {
        ensure!(
            import.payload <= layout::RETURN_AREA - 12,
            "{} {}: its result does not fit into the return area",
            import.module,
            import.name
        );
        let ty = types.index(import.params, import.gives);
        import_section.import(&import.module, &import.name, EntityType::Function(ty));
    }

    let mut function_section = FunctionSection::new();
    let mut code = CodeSection::new();
    for (index, helper) in (imports..).zip(helpers) {
        function_section.function(types.index(helper.params as usize, helper.gives));
        code.raw(&tee::body(helper.function)?);
        names.append(index, helper.name);
    }
    for (index, path) in (errors_base..).zip(&plan.errors) {
        function_section.function(types.index(1, true));
        code.raw(&tee::body(error_path(path)?)?);
        names.append(index, "errno");
    }
    let mut exports = ExportSection::new();
    exports.export(REALLOC, ExportKind::Func, runtime.host_realloc());
    for (index, function) in (functions_base..).zip(&plan.functions) {
        function_section.function(types.index(function.params, true));
        let emitter = Emitter {
            plan,
            function,
            runtime,
            state: &state,
            errors_base,
        };
        code.raw(&tee::body(emitter.emit()?)?);
        names.append(index, &function.name);
        exports.export(&function.name, ExportKind::Func, index);
    }

    let mut globals = GlobalSection::new();
    let mut global_names = NameMap::new();
    for index in 0..global::COUNT {
        globals.global(
            GlobalType {
                val_type: ValType::I32,
                mutable: true,
                shared: false,
            },
            &wasm_encoder::ConstExpr::i32_const(0),
        );
        global_names.append(index, global::NAMES[index as usize]);
    }
    let mut name_section = NameSection::new();
    name_section.functions(&names);
    name_section.globals(&global_names);

    let mut module = Module::new();
    module
        .section(&types.section)
        .section(&import_section)
        .section(&function_section)
        .section(&globals)
        .section(&exports)
        .section(&code)
        .section(&CustomSection {
            name: "component-type:llm-wasi:adapter".into(),
            data: component_type.into(),
        })
        .section(&name_section);
    Ok(module.finish())
}

/// Function types of `i32`s, each once.
#[derive(Default)]
struct Types {
    section: TypeSection,
    known: Vec<(usize, bool)>,
}

impl Types {
    fn index(&mut self, params: usize, gives: bool) -> u32 {
        let found = self
            .known
            .iter()
            .position(|known| *known == (params, gives));
        let index = found.unwrap_or_else(|| {
            self.known.push((params, gives));
            self.section.ty().function(
                std::iter::repeat_n(ValType::I32, params),
                gives.then_some(ValType::I32),
            );
            self.known.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }
}

/// `(error resource) -> errno`: reads the code, drops the resource.
fn error_path(path: &ErrorPath) -> Result<Function> {
    const ERROR: u32 = 0;
    const CODE: u32 = 1;
    let mut f = Function::new([(1, ValType::I32)]);
    let mut sink = f.instructions();
    sink.local_get(ERROR)
        .call(u32::try_from(path.code.0)?)
        .local_set(CODE)
        .local_get(ERROR)
        .call(u32::try_from(path.drop.0)?);
    let errnos: Vec<u32> = path.errnos.iter().map(|(_, errno)| errno.tag).collect();
    lookup::bytes(&mut sink, CODE, &errnos)?;
    sink.end();
    Ok(f)
}

/// Emits one function.
struct Emitter<'a> {
    plan: &'a Plan,
    function: &'a FunctionPlan,
    runtime: Runtime,
    state: &'a State,
    errors_base: u32,
}

impl Emitter<'_> {
    fn emit(&self) -> Result<Function> {
        let locals = self.function.variables.len() - self.function.params;
        let mut f = Function::new([(u32::try_from(locals)?, ValType::I32)]);
        let mut sink = f.instructions();
        self.operations(&mut sink, &self.function.body)?;
        // The last operation returns, so nothing is reached here and no value is missing.
        sink.end();
        Ok(f)
    }

    fn operations(&self, sink: &mut InstructionSink<'_>, body: &[Operation]) -> Result<()> {
        body.iter()
            .try_for_each(|operation| self.operation(sink, operation))
    }

    fn operation(&self, sink: &mut InstructionSink<'_>, operation: &Operation) -> Result<()> {
        match operation {
            Operation::Prepare { otherwise } => {
                sink.call(self.runtime.prepare());
                return_if_zero(sink, otherwise.tag);
            }
            Operation::Read { into, from, .. } => {
                self.read(sink, from);
                sink.local_set(into.0);
            }
            Operation::Write { to, value, .. } => self.write(sink, to, *value)?,
            Operation::Let { into, value } => {
                self.expression(sink, value)?;
                sink.local_set(into.0);
            }
            Operation::Find {
                into,
                table,
                handle,
                otherwise,
            } => {
                self.table(sink, *table);
                self.operand(sink, *handle);
                sink.call(self.runtime.find()).local_tee(into.0);
                return_if_zero(sink, otherwise.tag);
            }
            Operation::Reserve { table, otherwise } => {
                self.table(sink, *table);
                sink.call(self.runtime.reserve());
                return_if_zero(sink, otherwise.tag);
            }
            Operation::Append {
                table,
                handle,
                record,
                resource,
            } => {
                self.table(sink, *table);
                self.operand(sink, *resource);
                sink.call(self.runtime.append())
                    .local_tee(record.0)
                    .i32_load(word(record::HANDLE))
                    .local_set(handle.0);
            }
            Operation::Remove { table, record } => {
                self.table(sink, *table);
                self.operand(sink, *record);
                sink.call(self.runtime.remove());
            }
            Operation::Get {
                into,
                record,
                field,
            } => {
                self.get(sink, *record, *field);
                sink.local_set(into.0);
            }
            Operation::Set {
                record,
                field,
                value,
            } => {
                self.operand(sink, *record);
                self.operand(sink, *value);
                sink.i32_store(word(offset(*field)));
            }
            Operation::Poke { at, offset, value } => {
                self.operand(sink, *at);
                self.operand(sink, *value);
                sink.i32_store(word(*offset));
            }
            Operation::Translate { into, from, table } => {
                let table = &self.plan.translations[*table];
                self.operand(sink, *from);
                sink.local_set(into.0);
                translate(sink, into.0, table)?;
            }
            Operation::RequireText {
                pointer,
                length,
                otherwise,
            } => {
                self.operand(sink, *pointer);
                self.operand(sink, *length);
                sink.call(self.runtime.is_text());
                return_if_zero(sink, otherwise.tag);
            }
            Operation::Align {
                pointer,
                length,
                element,
                copy,
            } => {
                sink.local_get(pointer.0);
                self.operand(sink, *length);
                sink.i32_const(bits(*element))
                    .call(self.runtime.align())
                    .local_tee(copy.0)
                    .if_(BlockType::Empty)
                    .local_get(copy.0)
                    .local_set(pointer.0)
                    .end();
            }
            Operation::Allocate { into, size } => {
                self.operand(sink, *size);
                sink.call(self.runtime.allocate()).local_set(into.0);
            }
            Operation::Release { block } => {
                self.operand(sink, *block);
                sink.call(self.runtime.release());
            }
            Operation::Copy { to, from, length } => {
                self.operand(sink, *to);
                self.operand(sink, *from);
                self.operand(sink, *length);
                sink.memory_copy(0, 0);
            }
            Operation::Call(call) => self.call(sink, call)?,
            Operation::KeepInput {
                context,
                index,
                dimensions,
                rank,
                ty,
                data,
                length,
                kept,
            } => {
                for operand in [context, index, dimensions, rank, ty, data, length] {
                    self.operand(sink, *operand);
                }
                sink.call(self.runtime.keep_input()).local_set(kept.0);
            }
            Operation::ReleaseInputs { context } => {
                self.operand(sink, *context);
                sink.call(self.runtime.release_inputs());
            }
            Operation::WriteName {
                at,
                index,
                input,
                length,
            } => {
                self.operand(sink, *at);
                self.operand(sink, *index);
                let write = if *input && !self.plan.input_names.is_empty() {
                    self.runtime.write_input_name()
                } else {
                    self.runtime.write_decimal()
                };
                sink.call(write).local_set(length.0);
            }
            Operation::ForEach {
                sequence,
                context,
                item,
                body,
            } => {
                self.for_each(sink, *sequence, *context, item.0, body)?;
            }
            Operation::KeepOutputs {
                context,
                list,
                length,
            } => {
                for operand in [context, list, length] {
                    self.operand(sink, *operand);
                }
                sink.call(self.runtime.keep_outputs());
            }
            Operation::FindOutput {
                into,
                context,
                index,
                otherwise,
            } => {
                self.operand(sink, *context);
                self.operand(sink, *index);
                sink.call(self.runtime.find_output()).local_tee(into.0);
                return_if_zero(sink, otherwise.tag);
            }
            Operation::If { condition, then } => {
                self.expression(sink, condition)?;
                sink.if_(BlockType::Empty);
                self.operations(sink, then)?;
                sink.end();
            }
            Operation::Return(errno) => {
                sink.i32_const(bits(errno.tag)).return_();
            }
        }
        Ok(())
    }

    fn operand(&self, sink: &mut InstructionSink<'_>, operand: Operand) {
        match operand {
            Operand::Variable(variable) => sink.local_get(variable.0),
            Operand::Constant(value) => sink.i32_const(bits(value)),
        };
    }

    fn table(&self, sink: &mut InstructionSink<'_>, table: Table) {
        let offset = match table {
            Table::Graphs => self.state.graphs,
            Table::Contexts => self.state.contexts,
        };
        sink.global_get(global::STATE)
            .i32_const(bits(offset))
            .i32_add();
    }

    fn expression(&self, sink: &mut InstructionSink<'_>, expression: &Expression) -> Result<()> {
        match expression {
            Expression::Is(operand) => self.operand(sink, *operand),
            Expression::Product(operand, factor) => {
                self.operand(sink, *operand);
                sink.i32_const(bits(*factor)).i32_mul();
            }
            Expression::Sum(a, b) => {
                self.operand(sink, *a);
                self.operand(sink, *b);
                sink.i32_add();
            }
            Expression::Greater(a, b) => {
                self.operand(sink, *a);
                self.operand(sink, *b);
                sink.i32_gt_u();
            }
            Expression::Equal(a, b) => {
                self.operand(sink, *a);
                self.operand(sink, *b);
                sink.i32_eq();
            }
            Expression::IsZero(operand) => {
                self.operand(sink, *operand);
                sink.i32_eqz();
            }
            Expression::OrUnlimited(operand) => {
                self.operand(sink, *operand);
                sink.i32_const(-1);
                self.operand(sink, *operand);
                sink.select();
            }
            Expression::ShapeSize {
                dimensions,
                rank,
                ty,
                element_sizes,
            } => {
                self.operand(sink, *dimensions);
                self.operand(sink, *rank);
                let Operand::Variable(ty) = ty else {
                    anyhow::bail!("the type of a tensor is not known when the adapter is made");
                };
                lookup::bytes(sink, ty.0, element_sizes)?;
                sink.call(self.runtime.shape_size());
            }
            Expression::FitsShape {
                dimensions,
                rank,
                element,
                length,
            } => {
                self.operand(sink, *dimensions);
                self.operand(sink, *rank);
                sink.i32_const(bits(*element))
                    .call(self.runtime.shape_size());
                self.operand(sink, *length);
                sink.i32_eq();
            }
            Expression::Scratch => {
                sink.global_get(global::STATE)
                    .i32_const(bits(self.state.scratch))
                    .i32_add();
            }
        }
        Ok(())
    }

    fn read(&self, sink: &mut InstructionSink<'_>, place: &Place) {
        match place {
            Place::Parameter(index) => {
                sink.local_get(*index);
            }
            Place::Memory {
                base,
                offset,
                width,
            } => {
                self.read(sink, base);
                let at = unaligned(*offset);
                match width {
                    Width::One => sink.i32_load8_u(at),
                    Width::Two => sink.i32_load16_u(at),
                    Width::Four => sink.i32_load(at),
                };
            }
        }
    }

    fn write(&self, sink: &mut InstructionSink<'_>, place: &Place, value: Operand) -> Result<()> {
        let Place::Memory {
            base,
            offset,
            width: Width::Four,
        } = place
        else {
            anyhow::bail!("a result is 32 bits in memory");
        };
        self.read(sink, base);
        self.operand(sink, value);
        sink.i32_store(unaligned(*offset));
        Ok(())
    }

    fn get(&self, sink: &mut InstructionSink<'_>, record: Operand, field: Field) {
        self.operand(sink, record);
        match field {
            Field::OutputTensor => {
                let tensor = self.plan.named_tensor.map_or(0, |named| named.tensor);
                sink.i32_load(word(tensor));
            }
            _ => {
                sink.i32_load(word(offset(field)));
            }
        }
    }

    fn for_each(
        &self,
        sink: &mut InstructionSink<'_>,
        sequence: Sequence,
        context: Operand,
        item: u32,
        body: &[Operation],
    ) -> Result<()> {
        let (list, count, size) = match sequence {
            Sequence::Inputs => (record::INPUTS, record::INPUT_COUNT, input::SIZE),
            Sequence::Outputs => (
                record::OUTPUTS,
                record::OUTPUT_COUNT,
                self.plan.named_tensor.map_or(0, |named| named.size),
            ),
        };
        self.operand(sink, context);
        sink.i32_load(word(list))
            .local_set(item)
            .block(BlockType::Empty)
            .loop_(BlockType::Empty)
            .local_get(item);
        // The end is computed anew, so that no variable is needed for it.
        self.operand(sink, context);
        sink.i32_load(word(list));
        self.operand(sink, context);
        sink.i32_load(word(count))
            .i32_const(bits(size))
            .i32_mul()
            .i32_add()
            .i32_eq()
            .br_if(1);
        self.operations(sink, body)?;
        sink.local_get(item)
            .i32_const(bits(size))
            .i32_add()
            .local_set(item)
            .br(0)
            .end()
            .end();
        Ok(())
    }

    fn call(&self, sink: &mut InstructionSink<'_>, call: &Call) -> Result<()> {
        let ImportId(index) = call.import;
        let import = &self.plan.imports[index];
        let arguments = call.arguments.len() + usize::from(import.retptr);
        ensure!(
            arguments == import.params,
            "{} {} takes {} i32, but the plan passes {arguments}",
            import.module,
            import.name,
            import.params
        );
        if let Gives::Bytes { buffer, max, .. } = &call.gives {
            self.operand(sink, *buffer);
            sink.global_set(global::BUFFER);
            self.operand(sink, *max);
            sink.global_set(global::BUFFER_MAX)
                .i32_const(1)
                .global_set(global::BUFFER_STATE);
        }
        for argument in &call.arguments {
            self.operand(sink, *argument);
        }
        if import.retptr {
            sink.global_get(global::STATE);
        }
        sink.call(u32::try_from(index)?);
        match (&call.gives, import.gives) {
            (Gives::Value(value), true) => {
                sink.local_set(value.0);
            }
            (_, true) => {
                sink.drop();
            }
            (_, false) => {}
        }
        if let Gives::Bytes { .. } = call.gives {
            sink.i32_const(0).global_set(global::BUFFER_STATE);
        }
        self.operations(sink, &call.finally)?;
        self.failure(sink, call, import.payload);
        let at = |offset| word(import.payload + offset);
        match &call.gives {
            Gives::Nothing => {}
            Gives::Value(value) => {
                if import.retptr {
                    sink.global_get(global::STATE)
                        .i32_load(at(0))
                        .local_set(value.0);
                }
            }
            Gives::List { pointer, length } => {
                sink.global_get(global::STATE)
                    .i32_load(at(0))
                    .local_set(pointer.0)
                    .global_get(global::STATE)
                    .i32_load(at(4))
                    .local_set(length.0);
            }
            Gives::Bytes {
                buffer,
                max,
                length,
            } => {
                sink.global_get(global::STATE).i32_load(at(0));
                sink.global_get(global::STATE)
                    .i32_load(at(4))
                    .local_tee(length.0);
                self.operand(sink, *buffer);
                self.operand(sink, *max);
                sink.call(self.runtime.settle());
            }
        }
        if let Failure::TooSmall { .. } = call.failure {
            // The branch for the size that would be needed ends here.
            sink.end();
        }
        Ok(())
    }

    /// Returns an errno if the call failed. After [`Failure::TooSmall`] a block is open, in which the
    /// call has succeeded.
    fn failure(&self, sink: &mut InstructionSink<'_>, call: &Call, payload: u32) {
        let errno_of = |sink: &mut InstructionSink<'_>, error: usize, at: u32| {
            let index = u32::try_from(error).unwrap_or(u32::MAX);
            sink.global_get(global::STATE)
                .i32_load(word(at))
                .call(self.errors_base + index)
                .return_();
        };
        match &call.failure {
            Failure::Never => {}
            Failure::Error(error) => {
                sink.global_get(global::STATE)
                    .i32_load8_u(unaligned(0))
                    .if_(BlockType::Empty);
                errno_of(sink, error.0, payload);
                sink.end();
            }
            Failure::TooSmall {
                payload: inner,
                length,
                error,
            } => {
                sink.global_get(global::STATE)
                    .i32_load8_u(unaligned(0))
                    .if_(BlockType::Empty)
                    .global_get(global::STATE)
                    .i32_load8_u(unaligned(payload))
                    .if_(BlockType::Empty);
                errno_of(sink, error.0, payload + inner);
                sink.end()
                    .global_get(global::STATE)
                    .i32_load(word(payload + inner))
                    .local_set(length.0)
                    .else_();
            }
        }
    }
}

/// Offset of a field that lies where it is asked for.
fn offset(field: Field) -> u32 {
    match field {
        Field::Resource => record::RESOURCE,
        Field::Configuration => record::CONFIGURATION,
        Field::ConfigurationLength => record::CONFIGURATION_LENGTH,
        Field::InputCount => record::INPUT_COUNT,
        Field::StepsEnded => record::STEPS_ENDED,
        Field::InputIndex => input::INDEX,
        Field::InputDimensions => input::BLOCK,
        Field::InputData => input::DATA,
        Field::InputRank => input::RANK,
        Field::InputType => input::TYPE,
        Field::InputLength => input::LENGTH,
        // Depends on the WIT; `Emitter::get` knows.
        Field::OutputTensor => 0,
    }
}

/// Returns the errno if the value on the stack is 0.
fn return_if_zero(sink: &mut InstructionSink<'_>, errno: u32) {
    sink.i32_eqz()
        .if_(BlockType::Empty)
        .i32_const(bits(errno))
        .return_()
        .end();
}

/// Replaces the tag in a local by its discriminant, or returns the errno for one without.
fn translate(sink: &mut InstructionSink<'_>, local: u32, table: &Translation) -> Result<()> {
    /// Stands for a tag without a counterpart.
    const NONE: u32 = u8::MAX as u32;
    let end = table
        .cases
        .iter()
        .map(|case| case.tag + 1)
        .max()
        .unwrap_or(0);
    ensure!(
        end < NONE && table.cases.iter().all(|case| case.discriminant < NONE),
        "{}: expected fewer than {NONE} tags, found {end}",
        table.name
    );
    let mut discriminants = vec![NONE; end as usize];
    for case in &table.cases {
        discriminants[case.tag as usize] = case.discriminant;
    }
    sink.local_get(local)
        .i32_const(bits(end))
        .i32_ge_u()
        .if_(BlockType::Empty)
        .i32_const(bits(table.otherwise.tag))
        .return_()
        .end();
    let same = (0..).zip(&discriminants).all(|(tag, found)| tag == *found);
    if same {
        return Ok(());
    }
    lookup::bytes(sink, local, &discriminants)?;
    sink.local_set(local);
    if discriminants.contains(&NONE) {
        sink.local_get(local).i32_const(bits(NONE)).i32_ne();
        return_if_zero(sink, table.otherwise.tag);
    }
    Ok(())
}
