//! What is to be brought from where: the files of a model that a source leads to.

use crate::failure::Failure;
use crate::models::format::Format;
use crate::models::name::Name;
use crate::models::source::Source;
use llm_wasi_host::gguf::Part;
use std::path::Path;

/// A model to store.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: Name,
    pub(crate) format: Format,
    /// What the user gave.
    pub(crate) source: Source,
    pub(crate) files: Vec<PlannedFile>,
}

/// A file of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlannedFile {
    pub(crate) source: Source,
    /// What the file is called in the store.
    pub(crate) name: String,
}

impl Plan {
    pub(crate) fn new(source: Source, name: Option<Name>) -> Result<Plan, Failure> {
        let Some(file) = source.file_name() else {
            return Err(Failure::new(format!("{source} names no file"))
                .expected("the path of a model's file, or a URL that ends with its name")
                .next_step("give the file itself"));
        };
        let name = match name {
            Some(name) => name,
            None => Name::of_file(&file).map_err(|reason| {
                Failure::new(format!("{source} cannot give the model its name: {reason}"))
                    .next_step("choose a name with --name")
            })?,
        };
        let (format, sources) = files(&source, &file)?;
        let names = format.file_names(&name, sources.len());
        let files = sources
            .into_iter()
            .zip(names)
            .map(|(source, name)| PlannedFile { source, name })
            .collect();
        Ok(Plan {
            name,
            format,
            source,
            files,
        })
    }
}

/// The format and all files of the model whose only or first file is `source`, called `file`.
pub(crate) fn files(source: &Source, file: &str) -> Result<(Format, Vec<Source>), Failure> {
    let format = Format::of_name(file);
    let sources = match (format, Part::parse(file)) {
        (Format::Gguf, Some(part)) => parts(source, &part)?,
        (Format::Gguf | Format::Onnx, _) => vec![source.clone()],
        (Format::OpenVino, _) => {
            let weights = Path::new(file).with_extension("bin");
            vec![source.clone(), source.beside(&weights.to_string_lossy())]
        }
    };
    Ok((format, sources))
}

fn parts(source: &Source, part: &Part) -> Result<Vec<Source>, Failure> {
    if part.number != 1 {
        return Err(Failure::new(format!(
            "{source} is part {} of {} of a split model",
            part.number, part.count
        ))
        .expected("the first part; the others are found beside it")
        .next_step(format!("give {}", source.beside(&part.file(1)))));
    }
    Ok((1..=part.count)
        .map(|number| source.beside(&part.file(number)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs of where from and where to.
    fn plan(source: &str, name: Option<&str>) -> Result<Vec<(String, String)>, Failure> {
        let name = name.map(|name| name.parse().unwrap());
        let plan = Plan::new(source.parse().unwrap(), name)?;
        Ok(plan
            .files
            .iter()
            .map(|file| (file.source.to_string(), file.name.clone()))
            .collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(source, name)| (source.to_string(), name.to_string()))
            .collect()
    }

    #[test]
    fn files_of_models() {
        assert_eq!(
            plan("a/b.gguf", None).unwrap(),
            pairs(&[("a/b.gguf", "b.gguf")])
        );
        assert_eq!(
            plan("a/my model.ONNX", Some("m")).unwrap(),
            pairs(&[("a/my model.ONNX", "m.onnx")])
        );
        assert_eq!(
            plan("https://h/b.xml?x=1", None).unwrap(),
            pairs(&[("https://h/b.xml", "b.xml"), ("https://h/b.bin", "b.bin")])
        );
        assert_eq!(
            plan("https://h/b-00001-of-00002.gguf", Some("m")).unwrap(),
            pairs(&[
                ("https://h/b-00001-of-00002.gguf", "m-00001-of-00002.gguf"),
                ("https://h/b-00002-of-00002.gguf", "m-00002-of-00002.gguf")
            ])
        );
    }

    #[test]
    fn sources_that_lead_nowhere() {
        let told = |source| plan(source, None).unwrap_err().line();
        assert!(told("https://host/").contains("names no file"));
        assert!(told("my model.gguf").contains("--name"));
        assert!(told("a-00002-of-00003.gguf").contains("give a-00001-of-00003.gguf"));
    }
}
