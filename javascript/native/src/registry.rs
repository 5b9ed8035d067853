//! The models that components can load.

use crate::failure::{Result, exception};
use crate::graph::Graph;
use llm_wasi_host::backend::{Encoding, Target};
use llm_wasi_host::{Error, Preload};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use std::str::FromStr;

/// The backends and the named models.
#[napi]
pub struct Registry {
    registry: llm_wasi_host::Registry,
}

#[napi]
impl Registry {
    /// Every backend, and models in the notation `NAME:ENCODING:TARGET:PATH`.
    #[napi(constructor, catch_unwind)]
    pub fn new(preload: Vec<String>) -> Result<Self> {
        let mut builder = llm_wasi_host::Registry::with_default_backends();
        for text in preload {
            builder = builder.preload(parse::<Preload>(&text)?);
        }
        Ok(Self {
            registry: builder.build(),
        })
    }

    /// The names that can be loaded.
    #[napi(catch_unwind)]
    pub fn names(&self) -> Vec<String> {
        self.registry.names().map(str::to_owned).collect()
    }

    /// Loads a model from the bytes of its files.
    #[napi(catch_unwind)]
    pub fn load(
        &self,
        builders: Vec<Uint8Array>,
        encoding: String,
        target: String,
        configuration: Option<String>,
    ) -> Result<Graph> {
        self.registry
            .load(
                builders.iter().map(|builder| builder.to_vec()).collect(),
                parse::<Encoding>(&encoding)?,
                parse::<Target>(&target)?,
                configuration.as_deref(),
            )
            .map(Graph::new)
            .map_err(exception)
    }

    /// Loads a model by name.
    #[napi(catch_unwind)]
    pub fn load_by_name(&self, name: String, configuration: Option<String>) -> Result<Graph> {
        self.registry
            .load_by_name(&name, configuration.as_deref())
            .map(Graph::new)
            .map_err(exception)
    }
}

fn parse<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T> {
    text.parse()
        .map_err(|error: T::Err| exception(Error::invalid(error.to_string())))
}
