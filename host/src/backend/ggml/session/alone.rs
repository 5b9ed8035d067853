//! A session with a llama.cpp context of its own.

use super::{Settings, context_full, failed, is_movable};
use crate::backend::ggml::exit::decode;
use crate::backend::ggml::owned::OwnedContext;
use crate::backend::ggml::weights::Weights;
use crate::{Activity, Error, Monitor};
use llama_cpp_2::DecodeError;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;
use std::sync::Arc;

/// The only sequence.
const SEQUENCE: i32 = 0;

/// llama.cpp's side, made for these settings.
pub(in crate::backend::ggml) struct Alone {
    pub(in crate::backend::ggml) settings: Settings,
    llama: OwnedContext,
    batch: LlamaBatch<'static>,
    /// How many tokens it holds.
    size: usize,
    movable: bool,
    /// The tokens in the KV cache, in the order of their positions.
    tokens: Vec<LlamaToken>,
    /// By how much there are more tokens than positions: some models give many tokens of an image one.
    surplus: usize,
}

impl Alone {
    pub(in crate::backend::ggml) fn new(
        weights: &Arc<Weights>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let size = settings.size(weights);
        let llama = super::new_context(weights, &settings, size, |params| params)?;
        let context = llama.context();
        let mut session = Self {
            settings,
            batch: LlamaBatch::new(context.n_batch() as usize, 1),
            size: context.n_ctx() as usize,
            movable: is_movable(weights),
            llama,
            tokens: Vec::new(),
            surplus: 0,
        };
        if settings.warmup {
            session.warm_up(weights)?;
        }
        Ok(session)
    }

    /// Evaluates one token, so that what is done once is done before anyone waits for an answer.
    fn warm_up(&mut self, weights: &Weights) -> Result<(), Error> {
        let bos = weights.model.vocab().bos();
        if (0..weights.model.n_vocab()).contains(&bos.0) {
            self.evaluate(&[bos], &Monitor::default())?;
            self.clear();
        }
        Ok(())
    }

    /// How many tokens fit.
    pub(in crate::backend::ggml) fn size(&self) -> usize {
        self.size
    }

    /// How many tokens are evaluated.
    pub(in crate::backend::ggml) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(in crate::backend::ggml) fn context(&self) -> &LlamaContext<'static> {
        self.llama.context()
    }

    /// Forgets every token.
    pub(in crate::backend::ggml) fn clear(&mut self) {
        self.llama.parts().1.clear_kv_cache();
        self.tokens.clear();
        self.surplus = 0;
    }

    /// Has `evaluate` fill the context in place of what it held. It gives how many tokens there are then,
    /// and how many positions they take.
    #[cfg(feature = "images")]
    pub(in crate::backend::ggml) fn fill(
        &mut self,
        evaluate: impl FnOnce(&mut LlamaContext<'static>) -> Result<(usize, usize), Error>,
    ) -> Result<(), Error> {
        self.clear();
        match evaluate(self.llama.parts().1) {
            Ok((tokens, positions)) => {
                // No prompt begins with such a token: nothing of this is taken for a part of another.
                self.tokens.resize(tokens, LlamaToken(-1));
                self.surplus = tokens.saturating_sub(positions);
                Ok(())
            }
            Err(error) => {
                // What the cache holds now is unknown.
                self.clear();
                Err(error)
            }
        }
    }

    /// Forgets the tokens that a prompt does not begin with, and at least its last one, whose logits are
    /// wanted. What is left need not be evaluated again.
    pub(in crate::backend::ggml) fn keep_prefix_of(&mut self, prompt: &[LlamaToken]) {
        let same = self.tokens.iter().zip(prompt).take_while(|(a, b)| a == b);
        let kept = same.count().min(prompt.len().saturating_sub(1));
        let removed = match u32::try_from(kept) {
            // A model whose memory is no list of tokens cannot forget some of them.
            Ok(1..) => self
                .llama
                .parts()
                .1
                .kv_cache_seq_rm(SEQUENCE, u32::try_from(kept).ok(), None)
                .is_ok(),
            _ => false,
        };
        // Models with a sliding window keep, in some layers, only what the next token behind the end needs.
        let is_cut = kept < self.tokens.len();
        let (_, context) = self.llama.parts();
        let is_whole = !is_cut || context.kv_cache_seq_pos_min(SEQUENCE) == 0;
        if removed && is_whole {
            self.tokens.truncate(kept);
        } else {
            self.clear();
        }
    }

    /// Makes room in a full context: forgets the older half of the tokens, but not the first one. Whether
    /// that could be done.
    pub(in crate::backend::ggml) fn shift(&mut self) -> bool {
        let first = 1;
        let discarded = self.tokens.len().saturating_sub(first) / 2;
        let movable = self.movable && self.surplus == 0;
        let (_, context) = self.llama.parts();
        let (Ok(from), Ok(to), Ok(by)) = (
            u32::try_from(first),
            u32::try_from(first + discarded),
            i32::try_from(discarded),
        ) else {
            return false;
        };
        if !movable || discarded == 0 {
            return false;
        }
        let shifted = context
            .kv_cache_seq_rm(SEQUENCE, Some(from), Some(to))
            .and_then(|()| context.kv_cache_seq_add(SEQUENCE, Some(to), None, -by));
        if shifted.is_ok() {
            self.tokens.drain(first..first + discarded);
        }
        shifted.is_ok()
    }

    /// Evaluates tokens behind those that are there, in pieces that fit into a batch. The logits of the
    /// last one are there afterwards. Ends early if the monitor says so.
    pub(in crate::backend::ggml) fn evaluate(
        &mut self,
        tokens: &[LlamaToken],
        monitor: &Monitor,
    ) -> Result<(), Error> {
        // More than this at once and llama.cpp aborts.
        let most = (self.llama.context().n_batch() as usize).max(1);
        let total = tokens.len();
        let mut done = 0;
        for piece in tokens.chunks(most) {
            if total > 1 {
                monitor.report(Activity::Prefill, done as u64, total as u64);
                monitor.check()?;
            }
            self.llama.check_files()?;
            self.batch.clear();
            for (place, token) in (self.tokens.len() - self.surplus..).zip(piece) {
                let position = i32::try_from(place).map_err(|_| context_full(self.size))?;
                done += 1;
                let wanted = self.settings.embedding || done == total;
                self.batch
                    .add(*token, position, &[SEQUENCE], wanted)
                    .map_err(|error| failed(&error))?;
            }
            let (_, context) = self.llama.parts();
            match decode(context, &mut self.batch) {
                Ok(()) => self.tokens.extend_from_slice(piece),
                Err(DecodeError::NoKvCacheSlot) => return Err(context_full(self.size)),
                Err(error) => {
                    // What the cache holds now is unknown.
                    self.clear();
                    return Err(failed(&error));
                }
            }
        }
        if total > 1 {
            monitor.report(Activity::Prefill, total as u64, total as u64);
        }
        Ok(())
    }
}
