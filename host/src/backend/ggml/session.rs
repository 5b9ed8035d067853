//! llama.cpp's side of a context: its memory of tokens (the KV cache), and the evaluation of more.

use super::options::{CacheType, FlashAttention, Options, Pooling, RopeScaling};
use super::owned::OwnedContext;
use super::weights::Weights;
use super::{llama_backend, log, memory};
use crate::{Activity, Error, ErrorCode, Monitor};
use llama_cpp_2::DecodeError;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{
    KvCacheType, LlamaContextParams, LlamaPoolingType, RopeScalingType,
};
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::RopeType;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_sys_2 as sys;
use std::num::NonZeroU32;
use std::sync::Arc;

/// The only sequence.
const SEQUENCE: i32 = 0;

/// llama.cpp's side, made for these settings.
pub(super) struct Session {
    pub(super) settings: Settings,
    llama: OwnedContext,
    batch: LlamaBatch<'static>,
    /// How many tokens it holds.
    size: usize,
    /// The tokens in the KV cache, in the order of their positions.
    tokens: Vec<LlamaToken>,
    /// By how much there are more tokens than positions: some models give many tokens of an image one.
    surplus: usize,
}

/// The options that a llama.cpp context is made with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Settings {
    ctx_size: u32,
    batch_size: u32,
    ubatch_size: u32,
    threads: i32,
    pub(super) threads_batch: i32,
    embedding: bool,
    pooling: Pooling,
    flash_attention: FlashAttention,
    cache_type_k: CacheType,
    cache_type_v: CacheType,
    rope_freq_base: f32,
    rope_freq_scale: f32,
    rope_scaling: RopeScaling,
    yarn_ext_factor: f32,
    yarn_attn_factor: f32,
    yarn_beta_slow: f32,
    yarn_beta_fast: f32,
    yarn_orig_ctx: u32,
    no_kv_offload: bool,
    warmup: bool,
}

impl Settings {
    pub(super) fn new(options: &Options) -> Self {
        let batch_size = options.batch_size;
        let threads = match options.threads {
            ..=0 => default_threads(),
            threads => threads.min(processors()),
        };
        Self {
            ctx_size: options.ctx_size,
            batch_size,
            // llama.cpp aborts if an encoder gets more than this at once.
            ubatch_size: if options.embedding {
                batch_size
            } else {
                options.ubatch_size.min(batch_size)
            },
            threads,
            threads_batch: match options.threads_batch {
                ..=0 => threads,
                threads_batch => threads_batch.min(processors()),
            },
            embedding: options.embedding,
            pooling: options.pooling,
            flash_attention: options.flash_attention,
            cache_type_k: options.cache_type_k,
            cache_type_v: options.cache_type_v,
            rope_freq_base: options.rope_freq_base,
            rope_freq_scale: options.rope_freq_scale,
            rope_scaling: options.rope_scaling,
            yarn_ext_factor: options.yarn_ext_factor,
            yarn_attn_factor: options.yarn_attn_factor,
            yarn_beta_slow: options.yarn_beta_slow,
            yarn_beta_fast: options.yarn_beta_fast,
            yarn_orig_ctx: options.yarn_orig_ctx,
            no_kv_offload: options.no_kv_offload,
            warmup: options.warmup,
        }
    }

    fn params(&self) -> LlamaContextParams {
        LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(self.ctx_size))
            .with_n_batch(self.batch_size)
            .with_n_ubatch(self.ubatch_size)
            .with_n_threads(self.threads)
            .with_n_threads_batch(self.threads_batch)
            .with_embeddings(self.embedding)
            .with_pooling_type(match self.pooling {
                Pooling::Model => LlamaPoolingType::Unspecified,
                Pooling::None => LlamaPoolingType::None,
                Pooling::Mean => LlamaPoolingType::Mean,
                Pooling::Cls => LlamaPoolingType::Cls,
                Pooling::Last => LlamaPoolingType::Last,
                Pooling::Rank => LlamaPoolingType::Rank,
            })
            .with_flash_attention_policy(match self.flash_attention {
                FlashAttention::Auto => sys::LLAMA_FLASH_ATTN_TYPE_AUTO,
                FlashAttention::On => sys::LLAMA_FLASH_ATTN_TYPE_ENABLED,
                FlashAttention::Off => sys::LLAMA_FLASH_ATTN_TYPE_DISABLED,
            })
            .with_type_k(cache_type(self.cache_type_k))
            .with_type_v(cache_type(self.cache_type_v))
            .with_rope_freq_base(self.rope_freq_base)
            .with_rope_freq_scale(self.rope_freq_scale)
            .with_rope_scaling_type(match self.rope_scaling {
                RopeScaling::Model => RopeScalingType::Unspecified,
                RopeScaling::None => RopeScalingType::None,
                RopeScaling::Linear => RopeScalingType::Linear,
                RopeScaling::Yarn => RopeScalingType::Yarn,
            })
            .with_yarn_ext_factor(self.yarn_ext_factor)
            .with_yarn_attn_factor(self.yarn_attn_factor)
            .with_yarn_beta_slow(self.yarn_beta_slow)
            .with_yarn_beta_fast(self.yarn_beta_fast)
            .with_yarn_orig_ctx(self.yarn_orig_ctx)
            .with_offload_kqv(!self.no_kv_offload)
    }
}

fn cache_type(ty: CacheType) -> KvCacheType {
    match ty {
        CacheType::F32 => KvCacheType::F32,
        CacheType::F16 => KvCacheType::F16,
        CacheType::Bf16 => KvCacheType::BF16,
        CacheType::Q8_0 => KvCacheType::Q8_0,
        CacheType::Q4_0 => KvCacheType::Q4_0,
        CacheType::Q4_1 => KvCacheType::Q4_1,
        CacheType::Iq4Nl => KvCacheType::IQ4_NL,
        CacheType::Q5_0 => KvCacheType::Q5_0,
        CacheType::Q5_1 => KvCacheType::Q5_1,
    }
}

/// Half of the logical processors: on most machines the number of physical ones, and more threads than
/// free processors make llama.cpp very slow.
fn default_threads() -> i32 {
    (processors() / 2).max(1)
}

/// The logical processors, which is how many threads a program gets at most: llama.cpp's threads wait for each other
/// in loops, and with some dozens on two processors a token takes minutes, for every program of the host.
fn processors() -> i32 {
    let logical = std::thread::available_parallelism().map_or(2, usize::from);
    i32::try_from(logical).unwrap_or(i32::MAX)
}

impl Session {
    pub(super) fn new(weights: &Arc<Weights>, settings: Settings) -> Result<Self, Error> {
        let tokens = match settings.ctx_size {
            0 => weights.model.n_ctx_train(),
            size => size,
        };
        let needed = memory::context_size(&weights.model, tokens);
        if let Some(available) = memory::available()
            && needed > available
        {
            return Err(Error::new(
                ErrorCode::TooLarge,
                format!(
                    "a context of {tokens} tokens takes about {} MiB, and {} MiB are free: set a \
                     smaller `ctx-size`",
                    needed >> 20,
                    available >> 20
                ),
            ));
        }
        let backend = llama_backend()?;
        let (llama, reason) =
            log::capture(|| OwnedContext::new(backend, weights.clone(), settings.params()));
        let llama = llama.map_err(|error| {
            let reason = if reason.is_empty() { error.to_string() } else { reason };
            Error::new(
                ErrorCode::RuntimeError,
                format!(
                    "llama.cpp cannot make a context of {tokens} tokens: {reason}; a smaller `ctx-size` \
                     or `batch-size` takes less memory"
                ),
            )
        })?;
        let context = llama.context();
        let mut session = Self {
            settings,
            batch: LlamaBatch::new(context.n_batch() as usize, 1),
            size: context.n_ctx() as usize,
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
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// How many tokens are evaluated.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn context(&self) -> &LlamaContext<'static> {
        self.llama.context()
    }

    /// Forgets every token.
    pub(super) fn clear(&mut self) {
        self.llama.parts().1.clear_kv_cache();
        self.tokens.clear();
        self.surplus = 0;
    }

    /// Has `evaluate` fill the context in place of what it held. It gives how many tokens there are then,
    /// and how many positions they take.
    #[cfg(feature = "images")]
    pub(super) fn fill(
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
    pub(super) fn keep_prefix_of(&mut self, prompt: &[LlamaToken]) {
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
        if removed {
            self.tokens.truncate(kept);
        } else {
            self.clear();
        }
    }

    /// Makes room in a full context: forgets the older half of the tokens, but not the first one. Whether
    /// that could be done.
    pub(super) fn shift(&mut self) -> bool {
        let first = 1;
        let discarded = self.tokens.len().saturating_sub(first) / 2;
        let (model, context) = self.llama.parts();
        let movable = self.surplus == 0
            && matches!(model.rope_type(), Some(RopeType::Norm | RopeType::NeoX))
            && !model.is_recurrent()
            && !model.is_hybrid();
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
    pub(super) fn evaluate(
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
            match context.decode(&mut self.batch) {
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

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::new(
        ErrorCode::RuntimeError,
        format!("llama.cpp failed: {error}; RUST_LOG=llama_cpp=debug shows its log"),
    )
}

/// The failure for a context without room for another token.
pub(super) fn context_full(size: usize) -> Error {
    Error::new(
        ErrorCode::ContextFull,
        format!(
            "prompt and text have filled the context of {size} tokens: set a larger `ctx-size`, a \
             smaller `n-predict`, or `ctx-shift`"
        ),
    )
}
