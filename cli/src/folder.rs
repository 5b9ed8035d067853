//! The program's folders in the user's cache folder.

use crate::failure::Failure;
use etcetera::BaseStrategy;
use std::path::PathBuf;

/// The folder called `name`, or the one that the variable names. It need not be there yet.
pub(crate) fn cache(name: &str, variable: &str) -> Result<PathBuf, Failure> {
    match std::env::var_os(variable) {
        Some(folder) if !folder.is_empty() => Ok(PathBuf::from(folder)),
        _ => match etcetera::base_strategy::choose_native_strategy() {
            Ok(folders) => Ok(folders.cache_dir().join("llm-wasi").join(name)),
            Err(error) => Err(Failure::new(format!("there is no folder for {name}"))
                .cause(&error)
                .next_step(format!("set {variable} to the path of one"))),
        },
    }
}
