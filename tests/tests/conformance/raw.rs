//! The component itself: functions by their names, arguments and results as values of the component model.

use super::cases::{Argument, Outcome, Subject};
use super::values::{lift, lower};
use anyhow::{Context, Result};
use llm_wasi_host::{NnView, Registry, add_to_linker};
use wasmtime::component::{Component, Instance, Linker, ResourceAny, ResourceTable, Val};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    registry: Registry,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl State {
    fn nn(&mut self) -> NnView<'_> {
        NnView {
            registry: &self.registry,
            table: &mut self.table,
        }
    }
}

pub(super) struct Raw {
    store: Store<State>,
    instance: Instance,
}

impl Raw {
    pub(super) fn start(component: &[u8], registry: Registry) -> Result<Self> {
        let engine = Engine::default();
        let component = Component::new(&engine, component)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        add_to_linker(&mut linker, State::nn)?;
        let state = State {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
            registry,
        };
        let mut store = Store::new(&engine, state);
        let instance = linker.instantiate(&mut store, &component)?;
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
        Ok(match results.as_slice() {
            [] => Outcome::Value(serde_json::Value::Null),
            [Val::Result(Ok(Some(value)))] if matches!(**value, Val::Resource(_)) => {
                match **value {
                    Val::Resource(resource) => Outcome::Resource(resource),
                    _ => unreachable!("it was one"),
                }
            }
            [value] => Outcome::Value(lift(&types[0], value)?),
            _ => anyhow::bail!("expected one result, found {}", results.len()),
        })
    }

    fn drop(&mut self, resource: ResourceAny) -> Result<()> {
        Ok(resource.resource_drop(&mut self.store)?)
    }
}
