//! A backend whose models are in processes of their own.

use super::graph::IsolatedGraph;
use super::message::Load;
use super::supervisor::Supervisor;
use super::{Isolation, NamedModels};
use crate::Error;
use crate::backend::file_identity::FileIdentity;
use crate::backend::{Backend, Device, Encoding, Graph, LoadRequest, Source, Target};
use crate::external_data::external_data;
use crate::gguf::Part;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What a model of bytes is called in messages.
const OF_BYTES: &str = "the program's own";

/// Stands in for a backend. It has its name and its formats; what it loads is in a worker.
pub struct Isolated {
    backend: Arc<dyn Backend>,
    isolation: Isolation,
    models: Mutex<HashMap<Model, Arc<Supervisor>>>,
}

/// What makes two models one. Options do not: a backend has a model in memory once, whatever they are.
#[derive(PartialEq, Eq, Hash)]
struct Model {
    files: Vec<FileIdentity>,
    target: Target,
}

impl Isolated {
    /// The backend with this isolation. A worker needs a backend of the same name.
    pub fn new(backend: Arc<dyn Backend>, isolation: Isolation) -> Self {
        Self {
            backend,
            isolation,
            models: Mutex::default(),
        }
    }

    /// What starts the workers of these files.
    fn supervisor(&self, paths: &[PathBuf], target: Target) -> Result<Arc<Supervisor>, Error> {
        let files = paths.iter().map(|path| FileIdentity::of(path));
        let model = Model {
            files: files.collect::<Result<_, Error>>()?,
            target,
        };
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever holds one besides the map is about to use it.
        models.retain(|known, supervisor| {
            *known == model || Arc::strong_count(supervisor) > 1 || !supervisor.is_idle()
        });
        let new = || {
            let name = paths.first().and_then(|path| path.file_name());
            let name = name.unwrap_or_default().to_string_lossy().into_owned();
            Arc::new(self.new_supervisor(name, target, readable(paths), false))
        };
        Ok(models.entry(model).or_insert_with(new).clone())
    }

    fn new_supervisor(
        &self,
        model: String,
        target: Target,
        readable: Vec<PathBuf>,
        scratch: bool,
    ) -> Supervisor {
        let backend = self.backend.name().to_owned();
        Supervisor::new(
            self.isolation.clone(),
            model,
            backend,
            target,
            readable,
            scratch,
        )
    }
}

impl Isolated {
    /// Whether a named model gets a process.
    fn isolates_named(&self, request: &LoadRequest<'_>) -> bool {
        let on_gpu = || self.backend.prepare(request.target).unwrap_or_default();
        // The others are many small calls, and a process for each costs those more.
        let is_language = || self.backend.encodings().contains(&Encoding::Ggml);
        match self.isolation.named_models {
            NamedModels::None => false,
            NamedModels::Language => is_language() && !on_gpu(),
            NamedModels::All => true,
        }
    }
}

impl Backend for Isolated {
    fn name(&self) -> &str {
        self.backend.name()
    }

    fn encodings(&self) -> &[Encoding] {
        self.backend.encodings()
    }

    fn recognizes(&self, start: &[u8]) -> bool {
        self.backend.recognizes(start)
    }

    fn devices(&self) -> Result<Vec<Device>, Error> {
        self.backend.devices()
    }

    fn prepare(&self, target: Target) -> Result<bool, Error> {
        self.backend.prepare(target)
    }

    fn load(&self, request: LoadRequest<'_>) -> Result<Arc<dyn Graph>, Error> {
        let is_named = matches!(request.source, Source::Files(_));
        if is_named && !self.isolates_named(&request) {
            return self.backend.load(request);
        }
        let mut load = Load {
            files: None,
            target: request.target,
            configurations: request
                .configurations
                .iter()
                .map(|text| (*text).to_owned())
                .collect(),
            progress: request.monitor.has_listener(),
            guest: request.guest,
            parallel: request.scheduling.parallel,
            queue: request.scheduling.queue,
            prefixes: request.scheduling.prefixes,
            batch: request.scheduling.batch,
            prompt_tokens: request.limits.prompt_tokens,
            options: request.limits.options,
            timings: request.metrics.takes_timings(),
        };
        let (supervisor, bytes) = match request.source {
            Source::Files(paths) => {
                let paths: Vec<PathBuf> = paths
                    .into_iter()
                    .map(|path| std::path::absolute(&path).unwrap_or(path))
                    .collect();
                load.files = Some(paths.iter().map(|path| path.as_path().into()).collect());
                (self.supervisor(&paths, request.target)?, Vec::new())
            }
            Source::Bytes(builders) => {
                let name = OF_BYTES.to_owned();
                let supervisor = self.new_supervisor(name, request.target, Vec::new(), true);
                (Arc::new(supervisor), builders)
            }
        };
        let most_output = request.limits.tensor as u64;
        IsolatedGraph::load(supervisor, load, bytes, request.monitor, most_output)
    }
}

/// The files that belong to a model: those that are named, and those that a backend finds beside them.
fn readable(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for path in paths {
        all.push(path.clone());
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if let Some(part) = Part::parse(name) {
            let others = (1..=part.count.min(10_000)).filter(|number| *number != part.number);
            all.extend(others.map(|number| path.with_file_name(part.file(number))));
        } else if !name.ends_with(".gguf") && path.is_file() {
            all.extend(external_data(path));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_a_model_is_readable() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "a.onnx",
            "a.onnx_data",
            "a.onnx.data",
            "a.data",
            "ab.onnx",
            "secret",
            "m.xml",
            "m.bin",
            "g.gguf",
            "g.key",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let names = |model: &str| {
            let mut names: Vec<_> = readable(&[folder.path().join(model)])
                .iter()
                .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
                .collect();
            names.sort();
            names
        };
        assert_eq!(
            names("a.onnx"),
            ["a.data", "a.onnx", "a.onnx.data", "a.onnx_data"]
        );
        assert_eq!(names("m.xml"), ["m.bin", "m.xml"]);
        assert_eq!(names("g.gguf"), ["g.gguf"]);
        assert_eq!(
            names("s-00001-of-00002.gguf"),
            ["s-00001-of-00002.gguf", "s-00002-of-00002.gguf"]
        );
    }
}
