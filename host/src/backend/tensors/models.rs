//! Models in use, each once however often it is loaded.

use super::options::Options;
use crate::Error;
use crate::backend::Target;
use crate::backend::file_identity::FileIdentity;
use crate::backend::in_use::InUse;
use std::path::Path;
use std::sync::Arc;

/// The models in use, by what was asked for.
pub(in crate::backend) struct Models<M>(InUse<Request, M>);

/// What makes two loads the same.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Request {
    files: Vec<FileIdentity>,
    target: Target,
    options: Options,
}

impl<M> Default for Models<M> {
    fn default() -> Self {
        Self(InUse::default())
    }
}

impl<M> Models<M> {
    /// The model of these files: one that is in use, else what `load` gives.
    pub(in crate::backend) fn get_or_load(
        &self,
        files: &[&Path],
        target: Target,
        options: Options,
        load: impl FnOnce() -> Result<M, Error>,
    ) -> Result<Arc<M>, Error> {
        let request = Request {
            files: files
                .iter()
                .map(|path| FileIdentity::of(path))
                .collect::<Result<_, _>>()?,
            target,
            options,
        };
        self.0.get_or_load(request, || load().map(Arc::new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_shared_and_what_differs_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        std::fs::write(&path, "1").unwrap();
        let models = Models::default();
        let mut count = 0;
        let mut get = |target, threads| {
            let load = || {
                count += 1;
                Ok(count)
            };
            let options = Options { threads };
            models.get_or_load(&[&path], target, options, load).unwrap()
        };
        let first = get(Target::Cpu, 0);
        assert_eq!(*get(Target::Cpu, 0), 1);
        assert_eq!(*get(Target::Auto, 0), 2);
        assert_eq!(*get(Target::Cpu, 1), 3);
        drop(first);
        assert_eq!(*get(Target::Cpu, 0), 4);
        let kept = get(Target::Cpu, 0);
        std::fs::write(&path, "22").unwrap();
        assert_ne!(*get(Target::Cpu, 0), *kept);
    }
}
