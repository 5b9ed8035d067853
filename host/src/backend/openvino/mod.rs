//! Models in OpenVINO's intermediate representation (IR), computed by OpenVINO, whose library is loaded
//! at run time.
//!
//! 1. `sys` is the library's C interface, as much of it as is needed, made safe.
//! 2. `runtime` loads the library and chooses a device.
//! 3. `ir` looks through a model that a guest passed, before the library sees it.
//! 4. `compiled` loads a model for its device, and computes.

mod compiled;
mod ir;
mod runtime;
mod sys;

use super::tensors::context::TensorContext;
use super::tensors::guard;
use super::tensors::models::Models;
use super::tensors::options::Options;
use super::{Backend, Device, Encoding, ExecutionContext, Graph, LoadRequest, Source};
use crate::{Activity, Error, Metrics, Monitor, Scheduling};
use compiled::{Compiled, Run};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The library's name, for messages.
const TITLE: &str = "OpenVINO";

/// The model's file in a folder that was named instead; its weights lie beside it.
const MODEL_FILE: &str = "model.xml";

/// The backend for [`Encoding::OpenVino`].
#[derive(Default)]
pub struct OpenVino {
    models: Models<Compiled>,
}

struct OpenVinoGraph {
    model: Arc<Compiled>,
    scheduling: Scheduling,
    monitor: Monitor,
    metrics: Metrics,
}

impl OpenVino {
    /// The backend. The library is looked for when the first model is loaded.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Backend for OpenVino {
    fn name(&self) -> &str {
        TITLE
    }

    fn encodings(&self) -> &[Encoding] {
        &[Encoding::OpenVino]
    }

    fn recognizes(&self, start: &[u8]) -> bool {
        starts_like_ir(start)
    }

    fn devices(&self) -> Result<Vec<Device>, Error> {
        guard(TITLE, || runtime::runtime()?.devices())
    }

    fn load(&self, request: LoadRequest<'_>) -> Result<Arc<dyn Graph>, Error> {
        let LoadRequest {
            source,
            target,
            configurations,
            monitor,
            metrics,
            scheduling,
            ..
        } = request;
        let options = Options::parse(configurations)?;
        monitor.report(Activity::Load, 0, 1);
        let model = match source {
            Source::Files(paths) => {
                let (xml, weights) = files(paths)?;
                let both: Vec<&Path> = [Some(xml.as_path()), weights.as_deref()]
                    .into_iter()
                    .flatten()
                    .collect();
                self.models.get_or_load(&both, target, options, || {
                    guard(TITLE, || {
                        Compiled::from_files(&xml, weights.as_deref(), target, options)
                    })
                })?
            }
            Source::Bytes(builders) => {
                let (xml, weights) = parts(&builders)?;
                ir::check(xml)?;
                let model = guard(TITLE, || {
                    Compiled::from_bytes(xml, weights, target, options)
                });
                Arc::new(model?)
            }
        };
        monitor.report(Activity::Load, 1, 1);
        Ok(Arc::new(OpenVinoGraph {
            model,
            scheduling,
            monitor,
            metrics,
        }))
    }
}

impl Graph for OpenVinoGraph {
    fn init_execution_context(&self) -> Result<Box<dyn ExecutionContext>, Error> {
        let run = guard(TITLE, || Run::new(self.model.clone()))?;
        Ok(Box::new(TensorContext::new(
            self.model.signature.clone(),
            self.scheduling,
            self.monitor.clone(),
            self.metrics.clone(),
            run,
        )))
    }

    fn may_block(&self) -> bool {
        // The library makes room for a further computation when none is running.
        true
    }
}

/// Whether a file that starts with these bytes is IR: XML whose element is called `net`.
fn starts_like_ir(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let start = start.trim_ascii_start();
    let is_net = |at: &[u8]| {
        at.strip_prefix(b"<net")
            .and_then(|rest| rest.first())
            .is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'>')
    };
    is_net(start) || start.starts_with(b"<?xml") && start.windows(5).any(is_net)
}

/// The model's file, and that of its weights if there is one.
fn files(mut paths: Vec<PathBuf>) -> Result<(PathBuf, Option<PathBuf>), Error> {
    let expected = |found: &str| {
        Error::invalid(format!(
            "expected the paths of a model's .xml and .bin, in this order, its .xml alone, or the folder of \
             model.xml and model.bin; found {found}"
        ))
    };
    if paths.is_empty() || paths.len() > 2 {
        return Err(expected(&format!("{} paths", paths.len())));
    }
    let weights = if paths.len() == 2 { paths.pop() } else { None };
    let mut xml = paths.remove(0);
    if xml.is_dir() {
        xml.push(MODEL_FILE);
    }
    for path in [Some(&xml), weights.as_ref()].into_iter().flatten() {
        if !path.is_file() {
            return Err(expected(&format!("no file at {}", path.display())));
        }
    }
    let weights = weights.or_else(|| Some(xml.with_extension("bin")).filter(|path| path.is_file()));
    Ok((xml, weights))
}

/// The bytes of the model's XML and of its weights.
fn parts(builders: &[Vec<u8>]) -> Result<(&[u8], &[u8]), Error> {
    let (xml, weights): (&[u8], &[u8]) = match builders {
        [xml] => (xml, &[]),
        [xml, weights] => (xml, weights),
        _ => {
            return Err(Error::invalid(format!(
                "expected two builders, a model's XML and its weights, found {}",
                builders.len()
            )));
        }
    };
    // The library reads other formats as well, some of which refer to files.
    if !starts_like_ir(xml) {
        return Err(Error::invalid(
            "expected builder 0 to be a model in OpenVINO's IR, which is XML with the element <net>, and \
             builder 1 its weights",
        ));
    }
    Ok((xml, weights))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ir_is_told_from_other_xml() {
        for ir in [
            "<net name=\"a\" version=\"11\">",
            "<net>",
            "<?xml version=\"1.0\"?>\n<net name=\"a\"",
            "\u{feff}<?xml version=\"1.0\"?><!-- a --><net\n",
            " \n<net\t",
        ] {
            assert!(starts_like_ir(ir.as_bytes()), "{ir}");
        }
        for other in [
            "",
            "<",
            "<net",
            "<network>",
            "<?xml version=\"1.0\"?><svg>",
            "a <net >",
            "GGUF<net >",
        ] {
            assert!(!starts_like_ir(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn files_are_found_beside_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let error = files(vec![folder.path().to_owned()]).unwrap_err();
        assert!(error.message.contains("no file at"), "{error}");
        std::fs::write(at("model.xml"), "").unwrap();
        let alone = Ok((at("model.xml"), None));
        assert_eq!(files(vec![at("model.xml")]), alone);
        std::fs::write(at("model.bin"), "").unwrap();
        let both = Ok((at("model.xml"), Some(at("model.bin"))));
        assert_eq!(files(vec![at("model.xml")]), both);
        assert_eq!(files(vec![folder.path().to_owned()]), both);
        assert_eq!(files(vec![at("model.xml"), at("model.bin")]), both);
        for wrong in [
            vec![],
            vec![at("model.xml"), at("missing.bin")],
            vec![at("model.xml"), at("model.bin"), at("model.bin")],
        ] {
            assert!(files(wrong.clone()).is_err(), "{wrong:?}");
        }
    }
}
