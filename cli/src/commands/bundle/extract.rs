//! Files out of a bundle.

use super::Opts;
use crate::bundles::failure;
use crate::failure::Failure;
use crate::models::meter::Meter;
use crate::output::{Replacement, unwritable};
use crate::text::{note, size};
use llm_wasi_bundle::{Bundle, Model, ModelFile};
use std::fs::File;
use std::path::Path;

impl Opts {
    pub(super) fn extract_all(&self) -> Result<(), Failure> {
        let mut bundle = self.bundle()?;
        let output = self.output.as_deref().unwrap_or(Path::new("."));
        let mut models = Vec::new();
        for name in &self.extract {
            match bundle.index().model(name) {
                Some(model) => models.push(model.clone()),
                None => return Err(self.unknown(name, Some(&bundle))),
            }
        }
        let files: Vec<(&Model, &ModelFile)> = models
            .iter()
            .flat_map(|model| model.files.iter().map(move |file| (model, file)))
            .collect();
        if files.len() > 1 && !output.is_dir() {
            return Err(Failure::new(format!("{} is no folder", output.display()))
                .expected(format!("a folder for {} files", files.len()))
                .next_step("make the folder, or choose another -o"));
        }
        for (model, file) in files {
            let path = match output.is_dir() {
                true => output.join(&file.name),
                false => output.to_path_buf(),
            };
            self.extract_file(&mut bundle, model, file, &path)?;
            note(
                "wrote",
                &format!("{} ({})", path.display(), size(file.size)),
            );
        }
        Ok(())
    }

    fn extract_file(
        &self,
        bundle: &mut Bundle<File>,
        model: &Model,
        file: &ModelFile,
        path: &Path,
    ) -> Result<(), Failure> {
        let failed = |error: std::io::Error| unwritable(path, &error);
        let Some(mut replacement) = Replacement::begin(path).map_err(failed)? else {
            return Err(Failure::new(format!("{} is no file", path.display()))
                .expected("a path for a file")
                .next_step("choose another -o"));
        };
        let mut meter = Meter::new(format!("extracting {}", file.name));
        meter.start(0, Some(file.size));
        bundle
            .copy(model, file, replacement.file(), &mut |n| meter.advance(n))
            .map_err(|error| failure(self.input.path(), error))?;
        replacement.finish().map_err(failed)
    }
}
