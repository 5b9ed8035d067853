//! A session with a sequence in the context of a scheduler.

use super::Settings;
use crate::backend::ggml::scheduler::{Evaluated, Key, Scheduler, new_key};
use crate::backend::ggml::weights::Loaded;
use crate::{Error, Monitor};
use llama_cpp_2::token::LlamaToken;
use std::sync::Arc;

pub(in crate::backend::ggml) struct Shared {
    settings: Settings,
    scheduler: Arc<Scheduler>,
    key: Key,
    guest: u64,
    size: usize,
    movable: bool,
    /// How many tokens it has.
    length: usize,
    /// Behind the last of them.
    logits: Vec<f32>,
    /// Whether the scheduler knows of a computation.
    running: bool,
}

impl Shared {
    /// A session of this guest, with no token yet.
    pub(in crate::backend::ggml) async fn new(
        loaded: &Loaded,
        settings: Settings,
        guest: u64,
    ) -> Result<Self, Error> {
        let scheduler = loaded.scheduler(settings)?;
        let size = match scheduler.open().await {
            Ok(size) => size,
            Err(error) => {
                loaded.forget(&scheduler);
                return Err(error);
            }
        };
        Ok(Self {
            settings,
            scheduler,
            key: new_key(),
            guest,
            size,
            movable: super::is_movable(&loaded.weights),
            length: 0,
            logits: Vec::new(),
            running: false,
        })
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn logits(&self) -> &[f32] {
        &self.logits
    }

    pub(super) async fn start(
        &mut self,
        prompt: &[LlamaToken],
        monitor: &Monitor,
    ) -> Result<usize, Error> {
        let logits = std::mem::take(&mut self.logits);
        self.length = 0;
        self.running = true;
        let evaluated = self
            .scheduler
            .start(
                self.key,
                self.guest,
                prompt.to_vec(),
                monitor.clone(),
                logits,
            )
            .await?;
        Ok(self.keep(evaluated))
    }

    pub(super) async fn advance(&mut self, token: LlamaToken) -> Result<(), Error> {
        let logits = std::mem::take(&mut self.logits);
        let evaluated = self.scheduler.advance(self.key, token, logits).await?;
        self.keep(evaluated);
        Ok(())
    }

    fn keep(&mut self, evaluated: Evaluated) -> usize {
        self.logits = evaluated.logits;
        self.length = evaluated.length;
        evaluated.cached
    }

    pub(super) async fn shift(&mut self) -> bool {
        if !self.movable {
            return false;
        }
        match self.scheduler.shift(self.key).await {
            Ok(length) => {
                self.length = length;
                true
            }
            Err(error) => {
                tracing::debug!("no room made in a full context: {}", error.message);
                false
            }
        }
    }

    pub(super) fn rest(&mut self) {
        if std::mem::take(&mut self.running) {
            self.scheduler.rest(self.key);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.scheduler.close(self.key);
    }
}
