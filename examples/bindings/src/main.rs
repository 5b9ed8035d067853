//! Writes the bindings of an app for C or Go, as `wit-bindgen` does, without building all of its program.
//!
//! `bindings c|go WIT WORLD FOLDER`

use anyhow::{Context, Result, bail};
use std::path::Path;
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};

const USAGE: &str = "expected `c` or `go`, a folder of WIT, a world and a new folder";

fn main() -> Result<()> {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let [language, wit, world, folder] = &arguments[..] else {
        bail!("{USAGE}");
    };
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    let mut files = Files::default();
    generator(language)?.generate(&mut resolve, world, &mut files)?;
    for (name, contents) in files.iter() {
        let path = Path::new(folder).join(name);
        std::fs::create_dir_all(path.parent().expect("a file is in a folder"))
            .and_then(|()| std::fs::write(&path, contents))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn generator(language: &str) -> Result<Box<dyn WorldGenerator>> {
    match language {
        // `generation_stream_chat`, not `llm_wasi_llm_generation_stream_chat`.
        "c" => Ok(wit_bindgen_c::Opts {
            rename: ["types", "models", "generation"]
                .map(|name| (format!("llm-wasi:llm/{name}@0.1.0"), name.to_string()))
                .into(),
            ..Default::default()
        }
        .build()),
        "go" => Ok(wit_bindgen_go::Opts::default().build()),
        _ => bail!("{USAGE}, found `{language}`"),
    }
}
