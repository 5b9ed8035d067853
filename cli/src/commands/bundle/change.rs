//! Making bundles, and other ones of them.

use super::Opts;
use crate::bundles::failure;
use crate::bundles::source::Source;
use crate::commands::run;
use crate::failure::Failure;
use crate::models::copy;
use crate::models::meter::Meter;
use crate::output::{Replacement, unwritable};
use crate::text::{note, size};
use llm_wasi_bundle::sign::SigningKey;
use llm_wasi_bundle::{Bundle, Model, Writer};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The variable with the password of a key.
const PASSWORD: &str = "LLM_WASI_KEY_PASSWORD";

/// Where a model's bytes come from.
enum From {
    Bundle,
    Files(Vec<PathBuf>),
}

impl Opts {
    pub(super) fn change(&self) -> Result<(), Failure> {
        let mut old = self.open()?;
        let component = match &mut old {
            Some(bundle) => bundle
                .component()
                .map_err(|error| failure(self.input.path(), error))?,
            None => run::component(&self.input, &self.input.read()?, self.adapter.options()?)?,
        };
        let models = self.models(old.as_ref())?;
        let output = self.output.as_deref().unwrap_or(Path::new("-"));
        if models.is_empty() && self.sign.is_some() {
            return Err(Failure::new("there is no model, and so no bundle to sign")
                .next_step("sign the file of a component as any other, with minisign"));
        }
        let key = self.sign.as_deref().map(key).transpose()?;
        let failed = |error: std::io::Error| unwritable(output, &error);
        let Some(mut replacement) = Replacement::begin(output).map_err(failed)? else {
            return Err(Failure::new(format!("{} is no file", output.display()))
                .expected(
                    "a path for a file: a bundle is not written from its beginning to its end",
                )
                .next_step("choose another -o"));
        };
        if models.is_empty() {
            replacement.file().write_all(&component).map_err(failed)?;
        } else {
            let file = replacement.file();
            self.write(file, &component, models, old.as_mut(), key.as_ref())?;
        }
        if let Some(old) = &old
            && old.signature().is_some()
            && key.is_none()
        {
            note("note:", "the signature is gone; --sign makes another one");
        }
        // Some systems do not replace a file that is open.
        drop(old);
        let length = replacement.file().metadata().map_err(failed)?.len();
        replacement.finish().map_err(failed)?;
        note("wrote", &format!("{} ({})", output.display(), size(length)));
        Ok(())
    }

    /// The models of the new bundle: those of the old one that stay, and then the others.
    fn models(&self, old: Option<&Bundle<File>>) -> Result<Vec<(Model, From)>, Failure> {
        let mut models = Vec::new();
        for name in &self.remove {
            if old.is_none_or(|old| old.index().model(name).is_none()) {
                return Err(self.unknown(name, old));
            }
        }
        for model in old.map(|old| &old.index().models[..]).unwrap_or_default() {
            if !self.remove.contains(&model.name) {
                models.push((model.clone(), From::Bundle));
            }
        }
        for text in &self.models {
            let Source { model, files } = Source::find(text)?;
            if models.iter().any(|(other, _)| other.name == model.name) {
                return Err(Failure::new(format!(
                    "there is a model called `{}` already",
                    model.name
                ))
                .expected("another name for each model")
                .next_step(format!(
                    "choose one with --model NAME=PATH, or replace it with --remove {}",
                    model.name
                )));
            }
            models.push((model, From::Files(files)));
        }
        Ok(models)
    }

    fn write(
        &self,
        file: &mut File,
        component: &[u8],
        models: Vec<(Model, From)>,
        mut old: Option<&mut Bundle<File>>,
        key: Option<&SigningKey>,
    ) -> Result<(), Failure> {
        let output = self.output.as_deref().unwrap_or(Path::new("-"));
        let refused = |error| failure(output, error);
        let described = models.iter().map(|(model, _)| model.clone()).collect();
        let mut writer =
            Writer::new(file, component, described, self.part_size, key).map_err(refused)?;
        for (model, from) in &models {
            let total = model.files.iter().map(|file| file.size).sum();
            let mut meter = Meter::new(format!("bundling {}", model.name));
            meter.start(0, Some(total));
            match (from, &mut old) {
                (From::Files(paths), _) => {
                    for (file, path) in model.files.iter().zip(paths) {
                        pour(path, file.size, output, &mut writer, &mut meter)?;
                    }
                }
                (From::Bundle, Some(old)) => {
                    for file in &model.files {
                        old.copy(model, file, &mut writer, &mut |n| meter.advance(n))
                            .map_err(|error| failure(self.input.path(), error))?;
                    }
                }
                (From::Bundle, None) => {}
            }
        }
        writer.finish().map_err(refused)?;
        Ok(())
    }
}

/// Writes so many bytes of a file.
fn pour(
    path: &Path,
    size: u64,
    output: &Path,
    to: &mut impl Write,
    meter: &mut Meter,
) -> Result<(), Failure> {
    let mut from = copy::open(path)?.0.take(size);
    let mut piece = vec![0; llm_wasi_bundle::PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                to.write_all(&piece[..n])
                    .map_err(|error| unwritable(output, &error))?;
                meter.advance(n as u64);
            }
            Err(error) => return Err(copy::unreadable(path, &error)),
        }
    }
}

fn key(path: &Path) -> Result<SigningKey, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(format!("cannot read the key {}", path.display()))
            .cause(&error)
            .expected("a secret key, as `minisign -G` makes it")
            .next_step("check the path and its permissions")
    })?;
    let password = std::env::var(PASSWORD).ok();
    SigningKey::parse(&text, password).map_err(|error| {
        failure(path, error).next_step(format!(
            "check the key, and its password, which is asked for on a terminal or taken from {PASSWORD}"
        ))
    })
}
