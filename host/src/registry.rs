//! Finds backends by encoding and models by name.

use crate::backend::{Backend, Encoding, Graph, LoadRequest, Source, Target, shorten};
use crate::{Error, ErrorCode, Files, Monitor, Preload};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// How many of a model's first bytes [`Backend::recognizes`] gets to see.
const START: u64 = 4096;

/// The backends and the named models of a host. Cheap to clone; many stores may share one.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
    /// Not shared: each guest has its own.
    files: Files,
}

struct Inner {
    backends: Vec<Arc<dyn Backend>>,
    preloads: BTreeMap<String, Preload>,
    monitor: Monitor,
    /// Names of models whose failure to load has been logged.
    told: Mutex<BTreeSet<String>>,
}

/// Collects what a [`Registry`] holds.
#[derive(Default)]
pub struct RegistryBuilder {
    backends: Vec<Arc<dyn Backend>>,
    preloads: BTreeMap<String, Preload>,
    monitor: Monitor,
    #[cfg(target_os = "linux")]
    isolation: Option<crate::isolate::Isolation>,
}

impl RegistryBuilder {
    /// Adds a backend. Of two for the same encoding the one added first serves it.
    #[must_use]
    pub fn backend(mut self, backend: impl Backend + 'static) -> Self {
        self.backends.push(Arc::new(backend));
        self
    }

    /// Names a model. A file that is missing is logged here, and an error where a guest loads it: a
    /// guest that never asks for the model can run. Of two with the same name the first one counts, as in
    /// WasmEdge, and the other is logged.
    #[must_use]
    pub fn preload(mut self, preload: Preload) -> Self {
        if let Err(error) = check_files(&preload) {
            tracing::warn!("{}", error.message);
        }
        if self.preloads.contains_key(&preload.name) {
            tracing::warn!(
                "model `{}` is named twice: the first one counts",
                preload.name
            );
        } else {
            self.preloads.insert(preload.name.clone(), preload);
        }
        self
    }

    /// Hears of everything that takes long, and can end it.
    #[must_use]
    pub fn monitor(mut self, monitor: Monitor) -> Self {
        self.monitor = monitor;
        self
    }

    /// Loads models in processes of their own.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn isolate(mut self, isolation: crate::isolate::Isolation) -> Self {
        self.isolation = Some(isolation);
        self
    }

    /// The registry.
    #[must_use]
    #[cfg_attr(
        not(target_os = "linux"),
        expect(unused_mut, reason = "nothing isolates there")
    )]
    pub fn build(mut self) -> Registry {
        #[cfg(target_os = "linux")]
        if let Some(isolation) = self.isolation.take() {
            let isolate = |backend| -> Arc<dyn Backend> {
                Arc::new(crate::isolate::Isolated::new(backend, isolation.clone()))
            };
            self.backends = self.backends.into_iter().map(isolate).collect();
        }
        Registry {
            inner: Arc::new(Inner {
                backends: self.backends,
                preloads: self.preloads,
                monitor: self.monitor,
                told: Mutex::default(),
            }),
            files: Files::default(),
        }
    }
}

impl Registry {
    /// An empty builder.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// A builder with every backend that this crate has.
    pub fn with_default_backends() -> RegistryBuilder {
        let builder = Self::builder();
        #[cfg(feature = "ggml")]
        let builder = builder.backend(crate::backend::ggml::Ggml::new());
        #[cfg(feature = "onnx")]
        let builder = builder.backend(crate::backend::onnx::Onnx::new());
        #[cfg(feature = "openvino")]
        let builder = builder.backend(crate::backend::openvino::OpenVino::new());
        builder
    }

    /// The backends, in the order in which they were added.
    pub fn backends(&self) -> impl Iterator<Item = &dyn Backend> {
        self.inner.backends.iter().map(AsRef::as_ref)
    }

    /// The same registry for a guest that may name these files in options of its models. Without this it
    /// may name none.
    #[must_use]
    pub fn with_files(mut self, files: Files) -> Self {
        self.files = files;
        self
    }

    pub(crate) fn monitor(&self) -> &Monitor {
        &self.inner.monitor
    }

    /// The names that guests may load.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.inner.preloads.keys().map(String::as_str)
    }

    /// Loads a model from the bytes of its files.
    pub fn load(
        &self,
        builders: Vec<Vec<u8>>,
        encoding: Encoding,
        target: Target,
        configuration: Option<&str>,
    ) -> Result<Arc<dyn Graph>, Error> {
        let Some(first) = builders.first() else {
            return Err(Error::invalid(
                "expected the bytes of at least one file of the model, found none",
            ));
        };
        let start = &first[..first.len().min(START as usize)];
        let backend = self.backend(encoding, |backend| backend.recognizes(start))?;
        let configurations: Vec<_> = configuration.into_iter().collect();
        backend.load(LoadRequest {
            source: Source::Bytes(builders),
            target,
            configurations: &configurations,
            monitor: self.inner.monitor.clone(),
            files: self.files.clone(),
        })
    }

    /// Loads a model that the host knows by name.
    pub fn load_by_name(
        &self,
        name: &str,
        configuration: Option<&str>,
    ) -> Result<Arc<dyn Graph>, Error> {
        let Some(preload) = self.inner.preloads.get(name) else {
            return Err(self.unknown_name(name));
        };
        check_files(preload)?;
        let backend = self.backend(preload.encoding, |backend| {
            read_start(&preload.paths[0]).is_ok_and(|start| backend.recognizes(&start))
        })?;
        let configurations: Vec<_> = preload
            .configuration
            .as_deref()
            .into_iter()
            .chain(configuration)
            .collect();
        backend
            .load(LoadRequest {
                source: Source::Files(preload.paths.clone()),
                target: preload.target,
                configurations: &configurations,
                monitor: self.inner.monitor.clone(),
                files: self.files.clone(),
            })
            .map_err(|error| error.context(format_args!("model `{name}`")))
            .inspect_err(|error| self.tell(name, error))
    }

    /// Whoever started the host named this model, so its failure is for them too; once, since a guest
    /// may try as often as it likes.
    fn tell(&self, name: &str, error: &Error) {
        let mut told = self
            .inner
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if told.insert(name.to_owned()) {
            tracing::warn!("{}", error.message);
        }
    }

    fn backend(
        &self,
        encoding: Encoding,
        recognizes: impl Fn(&dyn Backend) -> bool,
    ) -> Result<&dyn Backend, Error> {
        let mut backends = self.backends();
        let found = match encoding {
            Encoding::Autodetect => backends.find(|backend| recognizes(*backend)),
            _ => backends.find(|backend| backend.encodings().contains(&encoding)),
        };
        found.ok_or_else(|| {
            let known: Vec<_> = self
                .backends()
                .flat_map(|backend| backend.encodings())
                .map(|encoding| encoding.name())
                .collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message = match encoding {
                Encoding::Autodetect => format!(
                    "no backend recognizes the model's first bytes: name the encoding; this host has {known}"
                ),
                _ => format!("expected an encoding that this host has ({known}), found {encoding}"),
            };
            Error::new(ErrorCode::InvalidEncoding, message)
        })
    }

    fn unknown_name(&self, name: &str) -> Error {
        let names: Vec<_> = self.names().map(|name| format!("`{name}`")).collect();
        let found = if names.is_empty() {
            "this host was started without any; start it with \
             --nn-preload NAME:ENCODING:TARGET:PATH"
                .to_owned()
        } else {
            format!("this host has {}", names.join(", "))
        };
        Error::new(
            ErrorCode::NotFound,
            format!("no model is called `{}`: {found}", shorten(name)),
        )
    }
}

fn read_start(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?.take(START).read_to_end(&mut start)?;
    Ok(start)
}

/// Fails if a file of the model is missing.
fn check_files(preload: &Preload) -> Result<(), Error> {
    let Preload { name, paths, .. } = preload;
    if paths.is_empty() {
        return Err(Error::new(
            ErrorCode::ModelNotFound,
            format!("model `{name}` was named without a file"),
        ));
    }
    for path in paths {
        if let Err(error) = std::fs::metadata(path) {
            return Err(Error::new(
                ErrorCode::ModelNotFound,
                format!(
                    "model `{name}`: expected a file at {}, found none to read ({error}): check the \
                     path given to --nn-preload",
                    path.display()
                ),
            ));
        }
    }
    Ok(())
}
