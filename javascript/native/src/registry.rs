//! The models that components can load.

use crate::failure::{Result, exception};
use crate::graph::Graph;
use crate::monitor::Monitor;
use llm_wasi_host::backend::{Encoding, Target};
use llm_wasi_host::{Error, Preload};
use napi::bindgen_prelude::{Either, Uint8Array};
use napi_derive::napi;
use std::path::PathBuf;
use std::str::FromStr;

/// The backends and the named models.
#[napi]
pub struct Registry {
    registry: llm_wasi_host::Registry,
}

/// A model in parts: in the notation a path ends at the next colon.
#[napi(object, object_to_js = false)]
pub struct NamedModel {
    pub name: String,
    pub encoding: String,
    pub target: String,
    pub paths: Vec<String>,
}

impl TryFrom<NamedModel> for Preload {
    type Error = napi::Error<&'static str>;

    fn try_from(model: NamedModel) -> Result<Self> {
        Ok(Self {
            encoding: parse::<Encoding>(&model.encoding)?,
            target: parse::<Target>(&model.target)?,
            name: model.name,
            paths: model.paths.into_iter().map(PathBuf::from).collect(),
            configuration: None,
        })
    }
}

#[napi]
impl Registry {
    /// Every backend, and models in the notation `NAME:ENCODING:TARGET:PATH` or in parts. What is computed can be ended by
    /// the monitor.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        preload: Vec<Either<String, NamedModel>>,
        monitor: Option<&Monitor>,
    ) -> Result<Self> {
        let mut builder = llm_wasi_host::Registry::with_default_backends();
        if let Some(monitor) = monitor {
            builder = builder.monitor(monitor.monitor());
        }
        for model in preload {
            builder = builder.preload(match model {
                Either::A(text) => parse::<Preload>(&text)?,
                Either::B(model) => model.try_into()?,
            });
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
