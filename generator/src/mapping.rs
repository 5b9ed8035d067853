//! How a dialect maps onto WIT: which errno each failure gives, which cases correspond, what each
//! function does and where its arguments are. The format is described in `docs/mapping.md`.
//!
//! Reading a mapping checks it against the witx file and the WIT packages: everything in the witx
//! file must be mapped, and everything that is mapped must be there.

use crate::interface::{Function, Interface, Type};
use crate::place::{Argument, Place};
use crate::plan::{Errno, TranslatedCase, Translation};
use crate::world::World;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// A mapping file, as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    summary: String,
    module: String,
    errno: ErrnoTable,
    host_errors: BTreeMap<String, String>,
    enums: Enums,
    #[serde(default)]
    former_tensor_types: BTreeMap<String, FormerCase>,
    functions: BTreeMap<String, Does>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ErrnoTable {
    r#enum: String,
    success: String,
    unknown_graph: String,
    unknown_context: String,
    bad_encoding: String,
    bad_target: String,
    bad_tensor_type: String,
    bad_text: String,
    no_output: String,
    buffer_too_small: String,
    out_of_memory: String,
    end_of_sequence: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Enums {
    tensor_type: EnumTable,
    encoding: EnumTable,
    target: EnumTable,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct EnumTable {
    witx: String,
    #[serde(default)]
    unsupported: BTreeSet<String>,
    cases: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FormerCase {
    was: String,
    #[serde(default = "one")]
    fewest_elements: u32,
}

fn one() -> u32 {
    1
}

#[derive(Debug, Deserialize)]
#[serde(
    tag = "does",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
enum Does {
    Load {
        builders: ListPath,
        encoding: String,
        target: String,
        graph: String,
    },
    LoadByName {
        name: ListPath,
        configuration: Option<ListPath>,
        graph: String,
    },
    InitExecutionContext {
        graph: String,
        context: String,
    },
    SetInput {
        context: String,
        index: String,
        dimensions: ListPath,
        r#type: String,
        data: ListPath,
    },
    Compute {
        context: String,
    },
    GetOutput(GetOutput),
    GetStepOutput(GetOutput),
    ComputeStep {
        context: String,
    },
    FinishSteps {
        context: String,
    },
    Unload {
        graph: String,
    },
    FinalizeExecutionContext {
        context: String,
    },
    Unsupported {
        errno: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct GetOutput {
    context: String,
    index: String,
    buffer: String,
    max: String,
    written: String,
    #[serde(default)]
    size_when_too_small: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ListPath {
    One(String),
    Two(PointerAndLength),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PointerAndLength {
    pointer: String,
    length: String,
}

/// In place of a list's length: it follows from a tensor's dimensions and type.
const FROM_SHAPE: &str = "from-shape";

/// A mapping that has been checked.
#[derive(Debug)]
pub struct Mapping {
    /// One line for people.
    pub summary: String,
    /// What the adapter's own checks give.
    pub errno: Errnos,
    /// Errno by WIT error code.
    host_errors: BTreeMap<String, Errno>,
    /// Translation of tensor types.
    pub tensor_type: Translation,
    /// What some of them were in earlier editions of the dialect.
    pub former_tensor_types: Vec<FormerTensorType>,
    /// Translation of encodings.
    pub encoding: Translation,
    /// Translation of targets.
    pub target: Translation,
    /// What each function does, in the witx file's order.
    pub functions: Vec<(Function, Action)>,
}

/// What each failure that the adapter finds gives.
#[derive(Clone, Debug)]
pub struct Errnos {
    /// No failure.
    pub success: Errno,
    /// A handle that is no loaded graph.
    pub unknown_graph: Errno,
    /// A handle that is no context.
    pub unknown_context: Errno,
    /// A name or configuration that is not UTF-8.
    pub bad_text: Errno,
    /// No computation yet, or no output with this index.
    pub no_output: Errno,
    /// An output larger than the guest's buffer.
    pub buffer_too_small: Errno,
    /// The guest's memory cannot grow.
    pub out_of_memory: Errno,
    /// Steps after the last one; only dialects with steps have it.
    pub end_of_sequence: Option<Errno>,
}

/// A tensor type whose tag stood for another one formerly. A tensor is of that one if it has just as many bytes as the
/// former type's elements take.
#[derive(Clone, Debug)]
pub struct FormerTensorType {
    /// Name in the witx file.
    pub case: String,
    /// Its discriminant in WIT.
    pub discriminant: u32,
    /// What it was, by its name in WIT.
    pub was: String,
    /// The discriminant of that.
    pub was_discriminant: u32,
    /// Size of an element of that, in bytes.
    pub element: u32,
    /// How many elements a tensor has to have.
    pub fewest: u32,
}

/// What a function does, with its arguments' places.
#[derive(Clone, Debug)]
pub enum Action {
    /// Loads a model from bytes.
    Load {
        /// The model's files.
        builders: List,
        /// Tag of the encoding.
        encoding: Number,
        /// Tag of the target.
        target: Number,
        /// Gets the handle.
        graph: Number,
    },
    /// Loads a model by name.
    LoadByName {
        /// The name.
        name: List,
        /// Options in JSON.
        configuration: Option<List>,
        /// Gets the handle.
        graph: Number,
    },
    /// Makes a context.
    InitExecutionContext {
        /// The model.
        graph: Number,
        /// Gets the handle.
        context: Number,
    },
    /// Sets an input.
    SetInput {
        /// The context.
        context: Number,
        /// The input.
        index: Number,
        /// The dimensions, each a `u32`.
        dimensions: List,
        /// Tag of the type.
        ty: Number,
        /// The elements' bytes.
        data: List,
    },
    /// Computes.
    Compute {
        /// The context.
        context: Number,
    },
    /// Copies an output.
    GetOutput(Output),
    /// Copies what the last step added to an output.
    GetStepOutput(Output),
    /// Computes one step.
    ComputeStep {
        /// The context.
        context: Number,
    },
    /// Ends a computation in steps.
    FinishSteps {
        /// The context.
        context: Number,
    },
    /// Drops a model.
    Unload {
        /// The model.
        graph: Number,
    },
    /// Drops a context.
    FinalizeExecutionContext {
        /// The context.
        context: Number,
    },
    /// Always fails.
    Unsupported {
        /// With this.
        errno: Errno,
    },
}

/// The arguments of a function that copies an output.
#[derive(Clone, Debug)]
pub struct Output {
    /// The context.
    pub context: Number,
    /// The output.
    pub index: Number,
    /// The guest's buffer.
    pub buffer: Number,
    /// Its size in bytes.
    pub max: Number,
    /// Gets the output's size in bytes.
    pub written: Number,
    /// Whether it gets the size also when the buffer is too small.
    pub size_when_too_small: bool,
}

/// A number and its path.
#[derive(Clone, Debug)]
pub struct Number {
    /// For people.
    pub path: String,
    /// Where it is.
    pub place: Place,
}

/// A list.
#[derive(Clone, Debug)]
pub struct List {
    /// Its address.
    pub pointer: Number,
    /// How many elements.
    pub length: Length,
}

/// How long a list is.
#[derive(Clone, Debug)]
pub enum Length {
    /// It says so here.
    At(Number),
    /// As long as a tensor's dimensions and type make it.
    FromShape,
}

impl Mapping {
    /// Reads a mapping and checks it against the witx file's interface and the WIT packages. `file`
    /// names it in errors; `other_codes` are error codes of other targets, which it may map too.
    pub fn parse(
        file: &str,
        source: &str,
        interface: &Interface,
        world: &World,
        other_codes: &[String],
    ) -> Result<Mapping> {
        let parsed: File = toml::from_str(source)
            .map_err(|error| anyhow::anyhow!("{file} is not a valid mapping: {error}"))?;
        Self::check(parsed, interface, world, other_codes)
            .with_context(|| format!("{file} does not fit"))
    }

    fn check(
        file: File,
        interface: &Interface,
        world: &World,
        other_codes: &[String],
    ) -> Result<Mapping> {
        ensure!(
            file.module == interface.module,
            "module = {:?}, but the witx file has (module ${})",
            file.module,
            interface.module
        );
        let lookup = Lookup {
            interface,
            name: &file.errno.r#enum,
        };
        let mut codes = world.cases_anywhere("error-code");
        codes.extend_from_slice(other_codes);
        let host_errors = host_errors(&file.host_errors, &lookup, &codes)?;
        let translate = |role: &str, table: &EnumTable, wit: (&str, &str), otherwise: &str| {
            translation(interface, world, table, wit, lookup.errno(otherwise)?)
                .with_context(|| format!("[enums.{role}]"))
        };
        let tensor_type = translate(
            "tensor-type",
            &file.enums.tensor_type,
            ("wasi:nn/tensor", "tensor-type"),
            &file.errno.bad_tensor_type,
        )?;
        let former_tensor_types = file
            .former_tensor_types
            .iter()
            .map(|(case, former)| {
                former_type(world, &tensor_type, case, former)
                    .with_context(|| format!("[former-tensor-types] {case}"))
            })
            .collect::<Result<Vec<_>>>()?;
        let encoding = translate(
            "encoding",
            &file.enums.encoding,
            ("wasi:nn/graph", "graph-encoding"),
            &file.errno.bad_encoding,
        )?;
        let target = translate(
            "target",
            &file.enums.target,
            ("wasi:nn/graph", "execution-target"),
            &file.errno.bad_target,
        )?;
        let errno = Errnos {
            success: lookup.errno(&file.errno.success)?,
            unknown_graph: lookup.errno(&file.errno.unknown_graph)?,
            unknown_context: lookup.errno(&file.errno.unknown_context)?,
            bad_text: lookup.errno(&file.errno.bad_text)?,
            no_output: lookup.errno(&file.errno.no_output)?,
            buffer_too_small: lookup.errno(&file.errno.buffer_too_small)?,
            out_of_memory: lookup.errno(&file.errno.out_of_memory)?,
            end_of_sequence: file
                .errno
                .end_of_sequence
                .as_deref()
                .map(|name| lookup.errno(name))
                .transpose()?,
        };
        ensure!(
            errno.success.tag == 0,
            "[errno] success is {}: a legacy program takes only 0 for success",
            errno.success
        );
        for name in file.functions.keys() {
            ensure!(
                interface.functions.iter().any(|f| f.name == *name),
                "[functions.{name}]: the witx file has no function {name:?}"
            );
        }
        let mut functions = Vec::with_capacity(interface.functions.len());
        for function in &interface.functions {
            let Some(does) = file.functions.get(&function.name) else {
                bail!(
                    "the witx file's function {:?} has no [functions.{}]",
                    function.name,
                    function.name
                );
            };
            let roles = Roles {
                function,
                tables: &file.enums,
                lookup: &lookup,
            };
            let action = roles
                .action(does)
                .with_context(|| format!("[functions.{}]", function.name))?;
            if matches!(action, Action::ComputeStep { .. }) {
                ensure!(
                    errno.end_of_sequence.is_some(),
                    "[functions.{}] computes in steps: [errno] needs end-of-sequence",
                    function.name
                );
            }
            if let Action::SetInput { data, .. } = &action {
                ensure!(
                    former_tensor_types.is_empty() || matches!(data.length, Length::At(_)),
                    "[functions.{}] takes the length of a tensor from its shape: [former-tensor-types] needs one of its own",
                    function.name
                );
            }
            functions.push((function.clone(), action));
        }
        Ok(Mapping {
            summary: file.summary,
            errno,
            host_errors,
            tensor_type,
            former_tensor_types,
            encoding,
            target,
            functions,
        })
    }

    /// The errno of each of an enum of WIT error codes, by discriminant.
    pub fn host_errnos(&self, codes: &[String]) -> Result<Vec<(String, Errno)>> {
        codes
            .iter()
            .map(|code| {
                let errno = self.host_errors.get(code).with_context(|| {
                    format!("the WIT error code {code:?} has no entry in [host-errors]")
                })?;
                Ok((code.clone(), errno.clone()))
            })
            .collect()
    }
}

/// Finds cases of the witx errno.
struct Lookup<'a> {
    interface: &'a Interface,
    name: &'a str,
}

impl Lookup<'_> {
    fn errno(&self, case: &str) -> Result<Errno> {
        let found = find_enum(self.interface, self.name).context("[errno] enum")?;
        let tag = found.tag(case).with_context(|| {
            let names: Vec<&str> = found.cases.iter().map(|case| case.name.as_str()).collect();
            format!(
                "the witx file's enum {} has no case {case:?}: it has {}",
                self.name,
                names.join(", ")
            )
        })?;
        Ok(Errno {
            name: case.to_string(),
            tag,
        })
    }
}

fn find_enum<'a>(interface: &'a Interface, name: &str) -> Result<&'a crate::interface::Enum> {
    interface.enums.get(name).with_context(|| {
        let names: Vec<&str> = interface.enums.keys().map(String::as_str).collect();
        format!(
            "the witx file has no enum {name:?}: it has {}",
            names.join(", ")
        )
    })
}

/// A code may be in one WIT package and not in another, but it must be somewhere.
fn host_errors(
    entries: &BTreeMap<String, String>,
    lookup: &Lookup<'_>,
    known: &[String],
) -> Result<BTreeMap<String, Errno>> {
    let mut errors = BTreeMap::new();
    for (code, errno) in entries {
        ensure!(known.contains(code), {
            // Packages share most of them.
            let mut names: Vec<&str> = Vec::new();
            for name in known {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
            let names = names.join(", ");
            format!("[host-errors] {code}: no WIT package has this error code; there are {names}")
        });
        let errno = lookup
            .errno(errno)
            .with_context(|| format!("[host-errors] {code}"))?;
        errors.insert(code.clone(), errno);
    }
    Ok(errors)
}

fn translation(
    interface: &Interface,
    world: &World,
    table: &EnumTable,
    (wit_interface, wit_name): (&str, &str),
    otherwise: Errno,
) -> Result<Translation> {
    let witx = find_enum(interface, &table.witx)?;
    let wit = world.enum_cases(wit_interface, wit_name)?;
    for name in table.cases.keys().chain(&table.unsupported) {
        ensure!(
            witx.tag(name).is_some(),
            "the witx file's enum {} has no case {name:?}",
            table.witx
        );
    }
    let mut cases = Vec::with_capacity(witx.cases.len());
    for case in &witx.cases {
        match (
            table.cases.get(&case.name),
            table.unsupported.contains(&case.name),
        ) {
            (Some(_), true) => bail!("case {:?} is both mapped and unsupported", case.name),
            (None, false) => bail!(
                "case {:?} of the witx file's enum {} is not mapped: map it to a case of {wit_name} \
                 or list it as unsupported",
                case.name,
                table.witx
            ),
            (None, true) => {}
            (Some(to), false) => {
                let discriminant = wit.iter().position(|name| name == to).with_context(|| {
                    format!(
                        "case {:?}: {wit_interface} {wit_name} has no case {to:?}; it has {}",
                        case.name,
                        wit.join(", ")
                    )
                })?;
                cases.push(TranslatedCase {
                    from: case.name.clone(),
                    tag: case.tag,
                    to: to.clone(),
                    discriminant: u32::try_from(discriminant)?,
                });
            }
        }
    }
    Ok(Translation {
        name: format!("{} as {wit_name}", table.witx),
        cases,
        otherwise,
    })
}

/// Checks what a tensor type's tag stood for formerly.
fn former_type(
    world: &World,
    now: &Translation,
    case: &str,
    former: &FormerCase,
) -> Result<FormerTensorType> {
    let found = now
        .cases
        .iter()
        .find(|found| found.from == case)
        .with_context(|| format!("{case:?} is no case of [enums.tensor-type.cases]"))?;
    let sizes = world.element_sizes()?;
    let (was_discriminant, element) = sizes
        .iter()
        .position(|(name, _)| *name == former.was)
        .map(|at| (at, sizes[at].1))
        .with_context(|| {
            let names: Vec<&str> = sizes.iter().map(|(name, _)| name.as_str()).collect();
            format!(
                "was = {:?}: wasi:nn/tensor tensor-type has no such case; it has {}",
                former.was,
                names.join(", ")
            )
        })?;
    let size_now = sizes
        .get(usize::try_from(found.discriminant)?)
        .map(|(_, size)| *size);
    ensure!(
        size_now != Some(element),
        "{case} has elements of {element} bytes, as {} has: they cannot be told apart",
        former.was
    );
    ensure!(
        (1..=u32::from(u16::MAX)).contains(&former.fewest_elements),
        "fewest-elements = {}: expected a number from 1 to {}",
        former.fewest_elements,
        u16::MAX
    );
    Ok(FormerTensorType {
        case: case.to_string(),
        discriminant: found.discriminant,
        was: former.was.clone(),
        was_discriminant: u32::try_from(was_discriminant)?,
        element,
        fewest: former.fewest_elements,
    })
}

/// Finds a function's arguments and checks that each has the type that its role needs.
struct Roles<'a> {
    function: &'a Function,
    tables: &'a Enums,
    lookup: &'a Lookup<'a>,
}

impl Roles<'_> {
    fn action(&self, does: &Does) -> Result<Action> {
        Ok(match does {
            Does::Load {
                builders,
                encoding,
                target,
                graph,
            } => Action::Load {
                builders: self.list("builders", builders)?,
                encoding: self.tag("encoding", encoding, &self.tables.encoding)?,
                target: self.tag("target", target, &self.tables.target)?,
                graph: self.output("graph", graph)?,
            },
            Does::LoadByName {
                name,
                configuration,
                graph,
            } => Action::LoadByName {
                name: self.list("name", name)?,
                configuration: configuration
                    .as_ref()
                    .map(|path| self.list("configuration", path))
                    .transpose()?,
                graph: self.output("graph", graph)?,
            },
            Does::InitExecutionContext { graph, context } => Action::InitExecutionContext {
                graph: self.word("graph", graph)?,
                context: self.output("context", context)?,
            },
            Does::SetInput {
                context,
                index,
                dimensions,
                r#type,
                data,
            } => Action::SetInput {
                context: self.word("context", context)?,
                index: self.word("index", index)?,
                dimensions: self.list("dimensions", dimensions)?,
                ty: self.tag("type", r#type, &self.tables.tensor_type)?,
                data: self.list("data", data)?,
            },
            Does::Compute { context } => Action::Compute {
                context: self.word("context", context)?,
            },
            Does::GetOutput(output) => Action::GetOutput(self.get_output(output)?),
            Does::GetStepOutput(output) => Action::GetStepOutput(self.get_output(output)?),
            Does::ComputeStep { context } => Action::ComputeStep {
                context: self.word("context", context)?,
            },
            Does::FinishSteps { context } => Action::FinishSteps {
                context: self.word("context", context)?,
            },
            Does::Unload { graph } => Action::Unload {
                graph: self.word("graph", graph)?,
            },
            Does::FinalizeExecutionContext { context } => Action::FinalizeExecutionContext {
                context: self.word("context", context)?,
            },
            Does::Unsupported { errno } => Action::Unsupported {
                errno: self.lookup.errno(errno)?,
            },
        })
    }

    fn get_output(&self, output: &GetOutput) -> Result<Output> {
        Ok(Output {
            context: self.word("context", &output.context)?,
            index: self.word("index", &output.index)?,
            buffer: self.word("buffer", &output.buffer)?,
            max: self.word("max", &output.max)?,
            written: self.output("written", &output.written)?,
            size_when_too_small: output.size_when_too_small,
        })
    }

    /// Any number.
    fn number(&self, role: &str, path: &str) -> Result<(Number, Type)> {
        let argument = self.resolve(role, path)?;
        let place = argument.number().with_context(|| role.to_string())?;
        let number = Number {
            path: path.to_string(),
            place,
        };
        Ok((number, argument.ty))
    }

    /// A number of 32 bits.
    fn word(&self, role: &str, path: &str) -> Result<Number> {
        let (number, ty) = self.number(role, path)?;
        let word = match &ty {
            Type::Integer(width) => width.bytes() == 4,
            Type::Handle(_) | Type::Pointer(_) => true,
            _ => false,
        };
        ensure!(
            word,
            "{role} = {path:?}: expected a number of 32 bits, found a {}",
            ty.describe()
        );
        Ok(number)
    }

    /// A number of 32 bits that can be written.
    fn output(&self, role: &str, path: &str) -> Result<Number> {
        let number = self.word(role, path)?;
        ensure!(
            matches!(number.place, Place::Memory { .. }),
            "{role} = {path:?} gets a value: expected `result` or a place in memory, found a parameter"
        );
        Ok(number)
    }

    /// A tag of the witx enum that a table translates.
    fn tag(&self, role: &str, path: &str, table: &EnumTable) -> Result<Number> {
        let (number, ty) = self.number(role, path)?;
        ensure!(
            matches!(&ty, Type::Enum(name, _) if *name == table.witx),
            "{role} = {path:?}: expected a tag of enum {}, found a {}",
            table.witx,
            ty.describe()
        );
        Ok(number)
    }

    fn list(&self, role: &str, path: &ListPath) -> Result<List> {
        match path {
            ListPath::One(path) => {
                let argument = self.resolve(role, path)?;
                let (pointer, length) = argument.list().with_context(|| role.to_string())?;
                let part = |name: &str, place| Number {
                    path: format!("{path}.{name}"),
                    place,
                };
                Ok(List {
                    pointer: part("pointer", pointer),
                    length: Length::At(part("length", length)),
                })
            }
            ListPath::Two(PointerAndLength { pointer, length }) => Ok(List {
                pointer: self.word(role, pointer)?,
                length: if length == FROM_SHAPE {
                    ensure!(
                        role == "data",
                        "{role}: only a tensor's data has a length that follows from its shape"
                    );
                    Length::FromShape
                } else {
                    Length::At(self.word(role, length)?)
                },
            }),
        }
    }

    fn resolve(&self, role: &str, path: &str) -> Result<Argument> {
        Argument::resolve(self.function, path).with_context(|| format!("{role} = {path:?}"))
    }
}
