//! A session with a sequence in the context of a scheduler.

use super::Settings;
use crate::backend::ggml::scheduler::{self, Evaluated, Key, Scheduler, new_key};
use crate::backend::ggml::weights::Loaded;
use crate::{Error, Monitor};
use llama_cpp_2::token::LlamaToken;
use std::sync::Arc;
use tokio::sync::oneshot;

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
    /// An allocation for the next ones.
    spare: Vec<f32>,
    /// The answer to come for the token behind those.
    ahead: Option<oneshot::Receiver<Result<Evaluated, Error>>>,
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
            spare: Vec::new(),
            ahead: None,
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
        self.ahead = None;
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

    /// Has the token behind the others evaluated, without waiting for it: [`Self::advance`] with the same one does.
    pub(super) fn begin_advance(&mut self, token: LlamaToken) {
        if self.ahead.is_none() {
            let spare = std::mem::take(&mut self.spare);
            self.ahead = Some(self.scheduler.advance(self.key, token, spare));
        }
    }

    pub(super) async fn advance(&mut self, token: LlamaToken) -> Result<(), Error> {
        self.begin_advance(token);
        // Whoever stops waiting for the answer drops it, and the scheduler forgets the work.
        if let Some(ahead) = self.ahead.take() {
            let evaluated = scheduler::answered(ahead).await?;
            self.keep(evaluated);
        }
        Ok(())
    }

    fn keep(&mut self, evaluated: Evaluated) -> usize {
        self.spare = std::mem::replace(&mut self.logits, evaluated.logits);
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
        let length = self.ahead.take().map(|_| self.length);
        if std::mem::take(&mut self.running) {
            self.scheduler.rest(self.key, length);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.rest();
        self.scheduler.close(self.key);
    }
}
