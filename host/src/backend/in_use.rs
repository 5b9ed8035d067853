//! Models in use, each once however often it is loaded.

use crate::Error;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The models in use, by what was asked for.
pub(super) struct InUse<K, M> {
    /// Each with a lock of its own: it is held while loading, so that two guests that ask for one model at once load it
    /// once, and no other one waits for it.
    loaded: Mutex<HashMap<K, Arc<Mutex<Weak<M>>>>>,
}

impl<K, M> Default for InUse<K, M> {
    fn default() -> Self {
        Self {
            loaded: Mutex::default(),
        }
    }
}

impl<K: Eq + Hash, M> InUse<K, M> {
    /// The model that was asked for in this way: one that is in use, else what `load` gives.
    pub(super) fn get_or_load(
        &self,
        asked: K,
        load: impl FnOnce() -> Result<Arc<M>, Error>,
    ) -> Result<Arc<M>, Error> {
        let entry = {
            let mut loaded = lock(&self.loaded);
            loaded.retain(|_, entry| {
                // One that somebody else has is being loaded.
                Arc::strong_count(entry) > 1 || lock(entry).strong_count() > 0
            });
            loaded.entry(asked).or_default().clone()
        };
        let mut entry = lock(&entry);
        if let Some(model) = entry.upgrade() {
            return Ok(model);
        }
        let model = load()?;
        *entry = Arc::downgrade(&model);
        Ok(model)
    }

    /// One that is in use, whatever was asked for.
    #[cfg(feature = "ggml")]
    pub(super) fn find(&self, is_it: impl Fn(&M) -> bool) -> Option<Arc<M>> {
        lock(&self.loaded)
            .values()
            // One that is locked is being loaded, or asked for at this moment.
            .filter_map(|entry| entry.try_lock().ok()?.upgrade())
            .find(|model| is_it(model))
    }
}

fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
