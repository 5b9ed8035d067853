//! Collects a function's variables and operations, and the plan's imports as they are needed.

use crate::mapping::{Action, Mapping, Number};
use crate::place::Place;
use crate::plan::{
    Call, Errno, ErrorId, ErrorPath, Expression, Failure, Field, Gives, Import, ImportId, Operand,
    Operation, Plan, Variable,
};
use crate::world::World;
use anyhow::{Context, Result};

/// One function in the making.
pub(super) struct Builder<'a> {
    plan: &'a mut Plan,
    world: &'a World,
    /// The mapping that is lowered.
    pub(super) mapping: &'a Mapping,
    variables: Vec<String>,
    body: Vec<Operation>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        plan: &'a mut Plan,
        world: &'a World,
        mapping: &'a Mapping,
        parameters: Vec<String>,
    ) -> Builder<'a> {
        Builder {
            plan,
            world,
            mapping,
            variables: parameters,
            body: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> (Vec<String>, Vec<Operation>) {
        (self.variables, self.body)
    }

    /// A new variable; the second of a name is told apart by a number.
    pub(super) fn variable(&mut self, name: &str) -> Variable {
        let mut unique = name.to_string();
        let mut count = 2;
        while self.variables.contains(&unique) {
            unique = format!("{name} {count}");
            count += 1;
        }
        self.variables.push(unique);
        Variable(u32::try_from(self.variables.len() - 1).unwrap_or(u32::MAX))
    }

    pub(super) fn push(&mut self, operation: Operation) {
        self.body.push(operation);
    }

    /// The operations that `make` pushes, apart from the rest.
    pub(super) fn nested(
        &mut self,
        make: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<Vec<Operation>> {
        let outer = std::mem::take(&mut self.body);
        let made = make(self);
        let inner = std::mem::replace(&mut self.body, outer);
        made.map(|()| inner)
    }

    /// Reads an argument; a flat parameter is a variable already.
    pub(super) fn read(&mut self, number: &Number) -> Operand {
        if let Place::Parameter(index) = number.place {
            return Variable(index).into();
        }
        let into = self.variable(&number.path);
        self.push(Operation::Read {
            into,
            from: number.place.clone(),
            path: number.path.clone(),
        });
        into.into()
    }

    pub(super) fn write(&mut self, number: &Number, value: Operand) {
        self.push(Operation::Write {
            to: number.place.clone(),
            path: number.path.clone(),
            value,
        });
    }

    pub(super) fn set(&mut self, into: Variable, value: Expression) {
        self.push(Operation::Let { into, value });
    }

    pub(super) fn get(&mut self, name: &str, record: Variable, field: Field) -> Variable {
        let into = self.variable(name);
        self.push(Operation::Get {
            into,
            record: record.into(),
            field,
        });
        into
    }

    pub(super) fn put(&mut self, record: Variable, field: Field, value: impl Into<Operand>) {
        self.push(Operation::Set {
            record: record.into(),
            field,
            value: value.into(),
        });
    }

    pub(super) fn translate(&mut self, name: &str, from: Operand, table: usize) -> Variable {
        let into = self.variable(&format!("WIT {name}"));
        self.push(Operation::Translate { into, from, table });
        into
    }

    /// Ends the function with an errno, which may be that of success.
    pub(super) fn fail(&mut self, errno: &Errno) {
        self.push(Operation::Return(errno.clone()));
    }

    /// Does something if a condition holds.
    pub(super) fn when(&mut self, condition: Expression, then: Vec<Operation>) {
        self.push(Operation::If { condition, then });
    }

    /// Does something if a variable is 0.
    pub(super) fn if_zero(&mut self, variable: Variable, then: Vec<Operation>) {
        self.when(Expression::IsZero(variable.into()), then);
    }

    /// A block of memory, or the errno for none.
    pub(super) fn allocate(&mut self, name: &str, size: Operand) -> Result<Variable> {
        let into = self.variable(name);
        self.push(Operation::Allocate { into, size });
        let errno = self.mapping.errno.out_of_memory.clone();
        let then = self.nested(|b| {
            b.fail(&errno);
            Ok(())
        })?;
        self.if_zero(into, then);
        Ok(into)
    }

    /// Drops a WIT resource.
    pub(super) fn drop(&mut self, interface: &str, resource: &str, handle: Variable) -> Result<()> {
        let import = self.world.drop(interface, resource)?;
        let import = self.intern(import);
        self.push(Operation::Call(Call {
            import,
            arguments: vec![handle.into()],
            gives: Gives::Nothing,
            finally: Vec::new(),
            failure: Failure::Never,
        }));
        Ok(())
    }

    pub(super) fn import(&mut self, interface: &str, function: &str) -> Result<ImportId> {
        let import = self.world.function(interface, function)?;
        Ok(self.intern(import))
    }

    /// What happens to error resources of an interface such as `wasi:nn/errors`.
    pub(super) fn errors(&mut self, interface: &str) -> Result<ErrorId> {
        let code = self.import(interface, "[method]error.code")?;
        if let Some(found) = self.plan.errors.iter().position(|path| path.code == code) {
            return Ok(ErrorId(found));
        }
        let drop = self.world.drop(interface, "error")?;
        let drop = self.intern(drop);
        let codes = self.world.enum_cases(interface, "error-code")?;
        let errnos = self.mapping.host_errnos(&codes)?;
        self.plan.errors.push(ErrorPath { code, drop, errnos });
        Ok(ErrorId(self.plan.errors.len() - 1))
    }

    /// Where the payload of a variant of an interface lies behind its start.
    pub(super) fn variant_payload(&self, interface: &str, name: &str) -> Result<u32> {
        self.world.variant_payload(interface, name)
    }

    /// Size of an element in bytes, by discriminant of the WIT tensor type.
    pub(super) fn element_sizes(&self) -> Result<Vec<u32>> {
        let sizes = self.world.element_sizes()?;
        Ok(sizes.into_iter().map(|(_, size)| size).collect())
    }

    /// The discriminant of a WIT enum's case.
    pub(super) fn discriminant(&self, interface: &str, name: &str, case: &str) -> Result<Operand> {
        let cases = self.world.enum_cases(interface, name)?;
        let found = cases
            .iter()
            .position(|found| found.eq_ignore_ascii_case(case))
            .with_context(|| format!("{interface} {name} has no case {case:?}"))?;
        Ok(Operand::Constant(u32::try_from(found)?))
    }

    /// Layout of a list element that is a tensor and its name.
    pub(super) fn named_tensor(&self) -> Result<crate::plan::NamedTensor> {
        self.plan
            .named_tensor
            .context("this WIT has no lists of named tensors")
    }

    /// Room that a name may take.
    pub(super) fn longest_name(&self) -> u32 {
        self.plan.longest_name()
    }

    /// Whether some function computes in steps.
    pub(super) fn has_steps(&self) -> bool {
        self.mapping.errno.end_of_sequence.is_some()
    }

    /// Whether some function loads a model together with a configuration.
    pub(super) fn has_configuration(&self) -> bool {
        self.mapping.functions.iter().any(|(_, action)| {
            matches!(
                action,
                Action::LoadByName {
                    configuration: Some(_),
                    ..
                }
            )
        })
    }

    fn intern(&mut self, import: Import) -> ImportId {
        let imports = &mut self.plan.imports;
        let found = imports.iter().position(|known| *known == import);
        ImportId(found.unwrap_or_else(|| {
            imports.push(import);
            imports.len() - 1
        }))
    }
}
