//! The component itself: functions by their names, arguments and results as values of the component model.

use super::cases::{Argument, Outcome, Subject};
use super::values::{lift, lower};
use crate::engine::host::{State, linked};
use anyhow::{Context, Result};
use llm_wasi_host::Registry;
use serde_json::Value;
use wasmtime::Store;
use wasmtime::component::{Component, Instance, ResourceAny, Val};

pub(super) struct Raw {
    store: Store<State>,
    instance: Instance,
}

impl Raw {
    pub(super) fn start(component: &Component, registry: Registry) -> Result<Self> {
        let (mut store, linker) = linked(component.engine(), registry);
        let instance = linker.instantiate(&mut store, component)?;
        Ok(Self { store, instance })
    }
}

impl Subject for Raw {
    fn call(&mut self, function: &str, arguments: &[Argument]) -> Result<Outcome> {
        let (interface, name) = function
            .split_once('.')
            .with_context(|| format!("expected INTERFACE.FUNCTION, found {function}"))?;
        let store = &mut self.store;
        let interface = format!("llm-wasi:llm/{interface}@0.1.0");
        let exported = self
            .instance
            .get_export_index(&mut *store, None, &interface)
            .and_then(|index| {
                self.instance
                    .get_export_index(&mut *store, Some(&index), name)
            })
            .with_context(|| format!("no function {name} in {interface}"))?;
        let function = self
            .instance
            .get_func(&mut *store, exported)
            .context("expected a function")?;
        let ty = function.ty(&*store);
        let parameters: Vec<Val> = ty
            .params()
            .zip(arguments)
            .map(|((_, ty), argument)| match argument {
                Argument::Value(value) => lower(&ty, value),
                Argument::Resource(resource) => Ok(Val::Resource(*resource)),
            })
            .collect::<Result<_>>()?;
        let types: Vec<_> = ty.results().collect();
        let mut results = vec![Val::Bool(false); types.len()];
        function.call(&mut *store, &parameters, &mut results)?;
        if let [Val::Result(Ok(Some(value)))] = results.as_slice()
            && let Val::Resource(resource) = **value
        {
            return Ok(Outcome::Resource(resource));
        }
        Ok(match results.as_slice() {
            [] => Outcome::Value(Value::Null),
            [value] => Outcome::Value(lift(&types[0], value)?),
            _ => anyhow::bail!("expected one result, found {}", results.len()),
        })
    }

    fn drop(&mut self, resource: ResourceAny) -> Result<()> {
        Ok(resource.resource_drop(&mut self.store)?)
    }
}
