//! A model that goes into a bundle: `--model PATH`, `--model NAME=PATH`, or as in `--nn-preload`.

use crate::failure::Failure;
use crate::models::format::Format;
use crate::models::name::Name;
use crate::models::{copy, locate, resolve_preload};
use llm_wasi_bundle::{Digest, Model, ModelFile};
use llm_wasi_host::Preload;
use llm_wasi_host::backend::{Encoding, Target};
use std::path::{Path, PathBuf};

/// The name of a model that is given none.
const DEFAULT: &str = "default";

/// A model's description, and its files.
pub(crate) struct Source {
    pub(crate) model: Model,
    pub(crate) files: Vec<PathBuf>,
}

impl Source {
    pub(crate) fn find(text: &str) -> Result<Source, Failure> {
        if Path::new(text).exists() {
            return Source::of_path(DEFAULT, text, None);
        }
        if text.matches(':').count() >= 3 {
            let preload = text.parse::<Preload>().map_err(|error| {
                Failure::new(format!("--model {text}: {error}")).next_step(
                    "give PATH, NAME=PATH, or NAME:ENCODING:TARGET:PATH as for --nn-preload",
                )
            })?;
            return Source::of_preload(&preload);
        }
        match text.split_once('=') {
            Some((name, path)) => Source::of_path(name, path, None),
            None => Source::of_path(DEFAULT, text, None),
        }
    }

    fn of_preload(preload: &Preload) -> Result<Source, Failure> {
        let Preload {
            name,
            encoding,
            target,
            paths,
            ..
        } = preload;
        match paths.as_slice() {
            [path] if path.to_str().is_some() => {
                let path = path.to_string_lossy();
                Source::of_path(name, &path, Some((*encoding, *target)))
            }
            _ => {
                let files = resolve_preload(preload)?.paths;
                Source::of_files(name, *encoding, *target, files)
            }
        }
    }

    fn of_path(
        name: &str,
        path: &str,
        given: Option<(Encoding, Target)>,
    ) -> Result<Source, Failure> {
        let located = locate(path)?;
        let (encoding, target) = given.unwrap_or((located.format.encoding(), Target::Auto));
        Source::of_files(name, encoding, target, located.files)
    }

    fn of_files(
        name: &str,
        encoding: Encoding,
        target: Target,
        files: Vec<PathBuf>,
    ) -> Result<Source, Failure> {
        let name: Name = name
            .parse()
            .map_err(|error| Failure::new(format!("the name of a model in a bundle: {error}")))?;
        let format = match encoding {
            Encoding::Ggml => Format::Gguf,
            Encoding::Onnx => Format::Onnx,
            Encoding::OpenVino => Format::OpenVino,
            _ => Format::of_name(&files[0].to_string_lossy()),
        };
        let names = format.file_names(&name, files.len());
        if names.len() != files.len() {
            return Err(
                Failure::new(format!("the model `{name}` has {} files", files.len()))
                    .expected(format!("{} for {}", names.len(), format.encoding()))
                    .next_step("give each model in a --model of its own"),
            );
        }
        format.check(&files)?;
        let mut described = Vec::new();
        for (path, name) in files.iter().zip(names) {
            described.push(ModelFile {
                name,
                size: copy::open(path)?.1,
                // Known when it has been read.
                sha256: Digest::of(&[]),
                parts: Vec::new(),
            });
        }
        let model = Model {
            name: name.to_string(),
            encoding: encoding.name().to_string(),
            target: target.name().to_string(),
            files: described,
        };
        Ok(Source { model, files })
    }
}
