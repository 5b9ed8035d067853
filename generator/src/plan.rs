//! What each function of an adapter does, one level above bytes.
//!
//! A [`Plan`] is made by a strategy and turned into WebAssembly by `emit`. It prints as text:
//! `llm-wasi adapter --explain` shows what a function reads, which WIT functions it calls and which
//! errno each failure gives.

use crate::place::Place;
use std::fmt::{self, Display, Formatter};

/// An adapter's functions and what they share.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The module whose functions are adapted.
    pub module: String,
    /// WIT functions and resource drops that the functions call.
    pub imports: Vec<Import>,
    /// Tables from witx tags to WIT discriminants.
    pub translations: Vec<Translation>,
    /// What happens to each kind of error resource.
    pub errors: Vec<ErrorPath>,
    /// How a tensor and its name lie in memory, where the WIT has lists of them.
    pub named_tensor: Option<NamedTensor>,
    /// Names of model inputs that differ from their decimal index.
    pub input_names: Vec<(u32, String)>,
    /// The functions, in the witx file's order.
    pub functions: Vec<FunctionPlan>,
}

/// A core import that stands for a WIT function or a resource drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Core module name.
    pub module: String,
    /// Core field name.
    pub name: String,
    /// How many `i32` it takes, the return pointer included.
    pub params: usize,
    /// Whether it gives an `i32`.
    pub gives: bool,
    /// Whether its last parameter is a return pointer.
    pub retptr: bool,
    /// Where the payload of its `result` lies behind the return pointer; 0 without one.
    pub payload: u32,
}

/// Layout of a `tuple<string, tensor>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedTensor {
    /// Where the name's address is; its length follows.
    pub name: u32,
    /// Where the tensor's handle is.
    pub tensor: u32,
    /// Distance to the next one in a list.
    pub size: u32,
}

/// Index into [`Plan::imports`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportId(pub usize);

/// A table from witx tags to WIT discriminants, made by case name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// What it translates, for people.
    pub name: String,
    /// Each case that has a counterpart: its name there and here, its tag and its discriminant.
    pub cases: Vec<TranslatedCase>,
    /// Every other tag gives this.
    pub otherwise: Errno,
}

/// One case of a [`Translation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranslatedCase {
    /// Name in the witx file.
    pub from: String,
    /// Its tag.
    pub tag: u32,
    /// Name in the WIT package.
    pub to: String,
    /// Its discriminant.
    pub discriminant: u32,
}

/// How an error resource becomes an errno.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPath {
    /// Gives the code.
    pub code: ImportId,
    /// Drops the resource.
    pub drop: ImportId,
    /// The errno of each code, by discriminant, with the code's name.
    pub errnos: Vec<(String, Errno)>,
}

/// Index into [`Plan::errors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorId(pub usize);

/// A case of the witx errno.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errno {
    /// Its name.
    pub name: String,
    /// Its tag.
    pub tag: u32,
}

/// One function.
#[derive(Clone, Debug)]
pub struct FunctionPlan {
    /// Its name.
    pub name: String,
    /// How many of the variables are flat parameters.
    pub params: usize,
    /// Names of the variables, flat parameters first. All are `i32`.
    pub variables: Vec<String>,
    /// What it does.
    pub body: Vec<Operation>,
}

/// An `i32` of a function: a flat parameter or a temporary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable(pub u32);

/// An `i32` that an operation uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The value of a variable.
    Variable(Variable),
    /// A constant.
    Constant(u32),
}

impl From<Variable> for Operand {
    fn from(variable: Variable) -> Operand {
        Operand::Variable(variable)
    }
}

/// How an `i32` is computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// The operand itself.
    Is(Operand),
    /// Product, modulo 2^32.
    Product(Operand, u32),
    /// Sum, modulo 2^32.
    Sum(Operand, Operand),
    /// 1 if the first is greater, unsigned.
    Greater(Operand, Operand),
    /// 1 if both are the same.
    Equal(Operand, Operand),
    /// 1 if the operand is 0.
    IsZero(Operand),
    /// The operand, or `u32::MAX` if it is 0.
    OrUnlimited(Operand),
    /// Bytes that a tensor of this shape holds; `u32::MAX` if they exceed it.
    ShapeSize {
        /// Address of the dimensions, each a `u32`.
        dimensions: Operand,
        /// How many dimensions.
        rank: Operand,
        /// Discriminant of the WIT tensor type.
        ty: Operand,
        /// Size of an element by discriminant.
        element_sizes: Vec<u32>,
    },
    /// 1 if a tensor of this shape has so many bytes.
    FitsShape {
        /// Address of the dimensions, each a `u32`.
        dimensions: Operand,
        /// How many dimensions.
        rank: Operand,
        /// Size of an element.
        element: u32,
        /// The bytes.
        length: Operand,
    },
    /// Address of memory for one number that the adapter passes on.
    Scratch,
}

/// The adapter's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Loaded models.
    Graphs,
    /// Execution contexts.
    Contexts,
}

/// A field of a record in a table, or of a context's inputs or outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The WIT resource's own handle.
    Resource,
    /// A graph's configuration: a block that the adapter owns, or 0.
    Configuration,
    /// Its length in bytes.
    ConfigurationLength,
    /// How many inputs a context has.
    InputCount,
    /// Whether a computation in steps has ended.
    StepsEnded,
    /// An input's index.
    InputIndex,
    /// Address of an input's dimensions.
    InputDimensions,
    /// How many there are.
    InputRank,
    /// WIT discriminant of its type.
    InputType,
    /// Address of its elements.
    InputData,
    /// Their length in bytes.
    InputLength,
    /// An output's tensor resource.
    OutputTensor,
}

/// What a [`Operation::ForEach`] goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// A context's inputs in the order of their indexes.
    Inputs,
    /// A context's outputs in the order the host gave.
    Outputs,
}

/// A step of a function.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Gets the page that the adapter keeps its state in, the first time.
    Prepare {
        /// If the memory cannot grow.
        otherwise: Errno,
    },
    /// Reads an argument.
    Read {
        /// Where it goes.
        into: Variable,
        /// Where it is.
        from: Place,
        /// Its path, for people.
        path: String,
    },
    /// Writes a result.
    Write {
        /// Where to.
        to: Place,
        /// Its path, for people.
        path: String,
        /// What.
        value: Operand,
    },
    /// Computes.
    Let {
        /// Where it goes.
        into: Variable,
        /// How.
        value: Expression,
    },
    /// Finds a handle's record.
    Find {
        /// Address of the record.
        into: Variable,
        /// Where to look.
        table: Table,
        /// What the guest passed.
        handle: Operand,
        /// If there is none.
        otherwise: Errno,
    },
    /// Makes room for one more record, so that `Append` cannot fail.
    Reserve {
        /// Where.
        table: Table,
        /// If memory cannot grow.
        otherwise: Errno,
    },
    /// Adds a record and gives it the next handle.
    Append {
        /// Where.
        table: Table,
        /// The new handle.
        handle: Variable,
        /// Address of the record.
        record: Variable,
        /// The WIT resource.
        resource: Operand,
    },
    /// Removes a record; its handle is never given again.
    Remove {
        /// Where.
        table: Table,
        /// Address of the record.
        record: Operand,
    },
    /// Reads a field of the adapter's state.
    Get {
        /// Where it goes.
        into: Variable,
        /// Address of the record.
        record: Operand,
        /// Which.
        field: Field,
    },
    /// Writes a field of the adapter's state.
    Set {
        /// Address of the record.
        record: Operand,
        /// Which.
        field: Field,
        /// What.
        value: Operand,
    },
    /// Writes a number into memory of the adapter's own.
    Poke {
        /// Address.
        at: Operand,
        /// Added to it, in bytes.
        offset: u32,
        /// What.
        value: Operand,
    },
    /// Translates a tag; index into [`Plan::translations`].
    Translate {
        /// Where the discriminant goes.
        into: Variable,
        /// What the guest passed.
        from: Operand,
        /// The table.
        table: usize,
    },
    /// A WIT string must be UTF-8, or the host traps.
    RequireText {
        /// Address.
        pointer: Operand,
        /// Length in bytes.
        length: Operand,
        /// If it is not.
        otherwise: Errno,
    },
    /// The canonical ABI traps on a list that is not aligned; the old ABI did not care.
    Align {
        /// Address of the list, replaced by that of a copy where necessary.
        pointer: Variable,
        /// How many elements.
        length: Operand,
        /// Size of an element in bytes.
        element: u32,
        /// The copy, or 0.
        copy: Variable,
    },
    /// Gets a block of memory.
    Allocate {
        /// Its address, or 0 if memory cannot grow.
        into: Variable,
        /// Size in bytes.
        size: Operand,
    },
    /// Gives a block back; 0 is none.
    Release {
        /// Its address.
        block: Operand,
    },
    /// Copies bytes.
    Copy {
        /// To here.
        to: Operand,
        /// From here.
        from: Operand,
        /// So many.
        length: Operand,
    },
    /// Calls a WIT function or drops a resource.
    Call(Call),
    /// Copies an input into the context, in place of one with the same index.
    KeepInput {
        /// Record of the context.
        context: Operand,
        /// Index of the input.
        index: Operand,
        /// Address of the dimensions.
        dimensions: Operand,
        /// How many.
        rank: Operand,
        /// WIT discriminant of the type.
        ty: Operand,
        /// Address of the elements.
        data: Operand,
        /// Their length in bytes.
        length: Operand,
        /// 1, or 0 if memory cannot grow.
        kept: Variable,
    },
    /// Gives back the memory of a context's inputs.
    ReleaseInputs {
        /// Record of the context.
        context: Operand,
    },
    /// Writes the name of the input or output with this index.
    WriteName {
        /// Where, with room for `Plan::longest_name` bytes.
        at: Operand,
        /// Which.
        index: Operand,
        /// Whether it is an input, which may have a name other than its index in decimal.
        input: bool,
        /// How long the name is.
        length: Variable,
    },
    /// Does something with each input or output of a context.
    ForEach {
        /// Which.
        sequence: Sequence,
        /// Record of the context.
        context: Operand,
        /// Address of the input or output.
        item: Variable,
        /// What.
        body: Vec<Operation>,
    },
    /// Takes over the list of outputs that a call gave, in place of the earlier one, whose memory is
    /// given back.
    KeepOutputs {
        /// Record of the context.
        context: Operand,
        /// Address of the list.
        list: Operand,
        /// How many outputs.
        length: Operand,
    },
    /// Finds the output whose name is the index in decimal, else the one at that position.
    FindOutput {
        /// Address of the output.
        into: Variable,
        /// Record of the context.
        context: Operand,
        /// Which.
        index: Operand,
        /// If there is none.
        otherwise: Errno,
    },
    /// Does something if the condition is not 0.
    If {
        /// The condition.
        condition: Expression,
        /// What.
        then: Vec<Operation>,
    },
    /// Ends the function.
    Return(Errno),
}

/// A call of an import.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Which.
    pub import: ImportId,
    /// Flat arguments, without the return pointer.
    pub arguments: Vec<Operand>,
    /// What it gives when it succeeds.
    pub gives: Gives,
    /// What to do when it has returned, whether it failed or not.
    pub finally: Vec<Operation>,
    /// How it can fail.
    pub failure: Failure,
}

/// What a call gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Gives {
    /// Nothing.
    Nothing,
    /// One flat value: the core result, or the payload of a `result`.
    Value(Variable),
    /// A list that the host puts into memory of the adapter's.
    List {
        /// Its address.
        pointer: Variable,
        /// How many elements.
        length: Variable,
    },
    /// Bytes that the host puts straight into the guest's buffer if they fit.
    Bytes {
        /// The guest's buffer.
        buffer: Operand,
        /// Its size; nothing is written there if the bytes are more.
        max: Operand,
        /// How many bytes there are.
        length: Variable,
    },
}

/// How a call fails.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// It does not.
    Never,
    /// With an error resource.
    Error(ErrorId),
    /// With a variant: either the size that would have been needed, or an error resource.
    TooSmall {
        /// Where the variant's payload lies, behind the result's payload.
        payload: u32,
        /// The variable that gets the size; the call then counts as a success.
        length: Variable,
        /// What happens to the error resource.
        error: ErrorId,
    },
}

impl Plan {
    /// Room that the name of an input or output may take, in bytes.
    pub fn longest_name(&self) -> u32 {
        let digits = u32::MAX.to_string().len();
        let longest = self.input_names.iter().map(|(_, name)| name.len()).max();
        // Names stay aligned, so that what follows them is.
        let room = longest.unwrap_or(0).max(digits).next_multiple_of(4);
        u32::try_from(room).unwrap_or(u32::MAX)
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "adapter for {}", self.module)?;
        for translation in &self.translations {
            writeln!(f, "\n{}:", translation.name)?;
            for case in &translation.cases {
                writeln!(
                    f,
                    "  {} ({}) is {} ({})",
                    case.from, case.tag, case.to, case.discriminant
                )?;
            }
            writeln!(f, "  anything else gives {}", translation.otherwise)?;
        }
        for path in &self.errors {
            let code = &self.imports[path.code.0];
            writeln!(
                f,
                "\nerrors of {}, read by {} and dropped:",
                code.module, code.name
            )?;
            for (name, errno) in &path.errnos {
                writeln!(f, "  {name} gives {errno}")?;
            }
        }
        if !self.input_names.is_empty() {
            writeln!(f, "\nnames of inputs (others by their index in decimal):")?;
            for (index, name) in &self.input_names {
                writeln!(f, "  {index} is {name:?}")?;
            }
        }
        for function in &self.functions {
            let names = &function.variables[..function.params];
            writeln!(f, "\n{}({}):", function.name, names.join(", "))?;
            let printer = Printer {
                plan: self,
                function,
            };
            printer.operations(f, &function.body, 1)?;
        }
        Ok(())
    }
}

impl Display for Errno {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.tag, self.name)
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Table::Graphs => "graphs",
            Table::Contexts => "contexts",
        })
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::Resource => "resource",
            Field::Configuration => "configuration",
            Field::ConfigurationLength => "configuration length",
            Field::InputCount => "number of inputs",
            Field::StepsEnded => "steps ended",
            Field::InputIndex => "index",
            Field::InputDimensions => "dimensions",
            Field::InputRank => "rank",
            Field::InputType => "type",
            Field::InputData => "data",
            Field::InputLength => "length",
            Field::OutputTensor => "tensor",
        })
    }
}

/// Prints one function's operations.
struct Printer<'a> {
    plan: &'a Plan,
    function: &'a FunctionPlan,
}

impl Printer<'_> {
    fn name(&self, variable: Variable) -> &str {
        &self.function.variables[variable.0 as usize]
    }

    fn operand(&self, operand: Operand) -> String {
        match operand {
            Operand::Variable(variable) => self.name(variable).to_string(),
            Operand::Constant(value) => value.to_string(),
        }
    }

    fn expression(&self, expression: &Expression) -> String {
        match expression {
            Expression::Is(a) => self.operand(*a),
            Expression::Product(a, b) => format!("{} × {b}", self.operand(*a)),
            Expression::Sum(a, b) => format!("{} + {}", self.operand(*a), self.operand(*b)),
            Expression::Greater(a, b) => format!("{} > {}", self.operand(*a), self.operand(*b)),
            Expression::Equal(a, b) => format!("{} is {}", self.operand(*a), self.operand(*b)),
            Expression::IsZero(a) => format!("{} is 0", self.operand(*a)),
            Expression::OrUnlimited(a) => format!("{0}, or no limit if {0} is 0", self.operand(*a)),
            Expression::ShapeSize {
                dimensions,
                rank,
                ty,
                ..
            } => format!(
                "bytes of {} dimensions at {} of type {}",
                self.operand(*rank),
                self.operand(*dimensions),
                self.operand(*ty)
            ),
            Expression::FitsShape {
                dimensions,
                rank,
                element,
                length,
            } => format!(
                "{} is {element} × the elements of {} dimensions at {}",
                self.operand(*length),
                self.operand(*rank),
                self.operand(*dimensions)
            ),
            Expression::Scratch => "the adapter's scratch memory".to_string(),
        }
    }

    fn operations(&self, f: &mut Formatter<'_>, body: &[Operation], depth: usize) -> fmt::Result {
        for operation in body {
            self.operation(f, operation, depth)?;
        }
        Ok(())
    }

    fn operation(&self, f: &mut Formatter<'_>, operation: &Operation, depth: usize) -> fmt::Result {
        let indent = "  ".repeat(depth);
        let o = |operand: &Operand| self.operand(*operand);
        let v = |variable: &Variable| self.name(*variable);
        let text = match operation {
            Operation::Prepare { otherwise } => {
                format!(
                    "get memory for the adapter's state once; if there is none, return {otherwise}"
                )
            }
            Operation::Read { into, path, .. } => format!("{} = read {path}", v(into)),
            Operation::Write { path, value, .. } => format!("write {} to {path}", o(value)),
            Operation::Let { into, value } => format!("{} = {}", v(into), self.expression(value)),
            Operation::Find {
                into,
                table,
                handle,
                otherwise,
            } => format!(
                "{} = {table}[{}]; if there is none, return {otherwise}",
                v(into),
                o(handle)
            ),
            Operation::Reserve { table, otherwise } => {
                format!("make room in {table}; if memory is full, return {otherwise}")
            }
            Operation::Append {
                table,
                handle,
                record,
                resource,
            } => format!(
                "{}, {} = next handle and record of {table}, for resource {}",
                v(handle),
                v(record),
                o(resource)
            ),
            Operation::Remove { table, record } => format!("remove {} from {table}", o(record)),
            Operation::Get {
                into,
                record,
                field,
            } => {
                format!("{} = {field} of {}", v(into), o(record))
            }
            Operation::Set {
                record,
                field,
                value,
            } => {
                format!("{field} of {} = {}", o(record), o(value))
            }
            Operation::Poke { at, offset, value } => {
                format!("memory at {} + {offset} = {}", o(at), o(value))
            }
            Operation::Translate { into, from, table } => {
                let translation = &self.plan.translations[*table];
                format!(
                    "{} = {} as {}; if it has no counterpart, return {}",
                    v(into),
                    o(from),
                    translation.name,
                    translation.otherwise
                )
            }
            Operation::RequireText {
                pointer,
                length,
                otherwise,
            } => format!(
                "if the {} bytes at {} are not UTF-8, return {otherwise}",
                o(length),
                o(pointer)
            ),
            Operation::Align {
                pointer,
                length,
                element,
                ..
            } => format!(
                "if {} is not aligned, copy its {} elements of {element} bytes to where they are",
                v(pointer),
                o(length)
            ),
            Operation::Allocate { into, size } => {
                format!(
                    "{} = block of {} bytes, or 0 if memory is full",
                    v(into),
                    o(size)
                )
            }
            Operation::Release { block } => format!("release block {}", o(block)),
            Operation::Copy { to, from, length } => {
                format!("copy {} bytes from {} to {}", o(length), o(from), o(to))
            }
            Operation::Call(call) => {
                writeln!(f, "{indent}{}", self.call(call))?;
                return self.operations(f, &call.finally, depth + 1);
            }
            Operation::KeepInput {
                context,
                index,
                rank,
                length,
                kept,
                ..
            } => format!(
                "{} = copy {} dimensions and {} bytes as input {} of {}, or 0 if memory is full",
                v(kept),
                o(rank),
                o(length),
                o(index),
                o(context)
            ),
            Operation::ReleaseInputs { context } => format!("release the inputs of {}", o(context)),
            Operation::WriteName {
                at,
                index,
                input,
                length,
            } => format!(
                "{} = length of the name of {} {}, written to {}",
                v(length),
                if *input { "input" } else { "output" },
                o(index),
                o(at)
            ),
            Operation::ForEach {
                sequence,
                context,
                item,
                body,
            } => {
                let what = match sequence {
                    Sequence::Inputs => "input",
                    Sequence::Outputs => "output",
                };
                writeln!(
                    f,
                    "{indent}for each {what} of {} as {}:",
                    o(context),
                    v(item)
                )?;
                return self.operations(f, body, depth + 1);
            }
            Operation::KeepOutputs {
                context,
                list,
                length,
            } => format!(
                "the {} outputs at {} are now those of {}",
                o(length),
                o(list),
                o(context)
            ),
            Operation::FindOutput {
                into,
                context,
                index,
                otherwise,
            } => format!(
                "{} = output of {} named {} in decimal, else at that position; if there is none, return {otherwise}",
                v(into),
                o(context),
                o(index)
            ),
            Operation::If { condition, then } => {
                writeln!(f, "{indent}if {}:", self.expression(condition))?;
                return self.operations(f, then, depth + 1);
            }
            Operation::Return(errno) => format!("return {errno}"),
        };
        writeln!(f, "{indent}{text}")
    }

    fn call(&self, call: &Call) -> String {
        let import = &self.plan.imports[call.import.0];
        let arguments: Vec<String> = call.arguments.iter().map(|a| self.operand(*a)).collect();
        let mut text = match &call.gives {
            Gives::Nothing => String::new(),
            Gives::Value(value) => format!("{} = ", self.name(*value)),
            Gives::List { pointer, length } => {
                format!("{}, {} = ", self.name(*pointer), self.name(*length))
            }
            Gives::Bytes { length, .. } => format!("{} = ", self.name(*length)),
        };
        text += &format!(
            "call {} {}({})",
            import.module,
            import.name,
            arguments.join(", ")
        );
        if let Gives::Bytes { buffer, max, .. } = &call.gives {
            text += &format!(
                " straight into {} if at most {} bytes",
                self.operand(*buffer),
                self.operand(*max)
            );
        }
        text += match &call.failure {
            Failure::Never => "",
            Failure::Error(_) | Failure::TooSmall { .. } => "; if it fails, return its errno",
        };
        text
    }
}
