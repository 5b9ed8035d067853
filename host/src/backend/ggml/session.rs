//! Where a context's tokens are, and how more of them are evaluated.
//!
//! [`Shared`] sessions have a sequence in the llama.cpp context of a [`Scheduler`], and are computed in one
//! batch with others. [`Alone`] ones have a llama.cpp context of their own, for what does not fit into a
//! batch: embeddings, images, and models whose memory is no list of tokens or depends on its size.

mod alone;
mod shared;

pub(super) use alone::Alone;
pub(super) use shared::Shared;

use super::options::{CacheType, FlashAttention, Options, Pooling, RopeScaling, kv_cache_size};
use super::owned::OwnedContext;
use super::weights::Weights;
use super::{llama_backend, log, memory};
use crate::{Error, ErrorCode, Monitor};
use llama_cpp_2::context::params::{
    KvCacheType, LlamaContextParams, LlamaPoolingType, RopeScalingType,
};
use llama_cpp_2::model::RopeType;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_sys_2 as sys;
use std::num::NonZeroU32;
use std::sync::Arc;

pub(super) enum Session {
    Alone(Box<Alone>),
    Shared(Shared),
}

/// The options that a llama.cpp context is made with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Settings {
    ctx_size: u32,
    pub(super) batch_size: u32,
    pub(super) ubatch_size: u32,
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
    pub(super) warmup: bool,
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
            ubatch_size: match options.ubatch_size {
                _ if options.embedding => batch_size,
                0 => batch_size,
                ubatch_size => ubatch_size.min(batch_size),
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

    /// How many tokens a context has room for.
    pub(super) fn size(&self, weights: &Weights) -> usize {
        match self.ctx_size {
            0 => weights.model.n_ctx_train() as usize,
            size => size as usize,
        }
    }

    /// About how many bytes the keys and values of `tokens` tokens take.
    pub(super) fn kv_cache_size(&self, weights: &Weights, tokens: usize) -> u64 {
        let (keys, values) = (self.cache_type_k, self.cache_type_v);
        kv_cache_size(weights.cached, keys, values, tokens as u64)
    }

    /// The part of them that is in the system's memory. What a GPU with memory of its own computes with is there, where
    /// llama.cpp fails if there is too little.
    fn kv_cache_size_here(&self, weights: &Weights, tokens: usize) -> u64 {
        let size = self.kv_cache_size(weights, tokens);
        if self.no_kv_offload {
            return size;
        }
        let layers = u64::from(weights.model.n_layer()).max(1);
        (size / layers).saturating_mul(u64::from(weights.layers_in_system_memory()))
    }

    /// How many bytes `tokens` tokens take, and how many are free, if that is less.
    ///
    /// llama.cpp allocates and clears a whole context at once, and on systems that promise more memory than they have
    /// this ends the process. Guests choose `ctx-size`, so the host does the sum before.
    pub(super) fn excess(&self, weights: &Weights, tokens: usize) -> Option<(u64, u64)> {
        let needed = self.kv_cache_size_here(weights, tokens);
        let available = memory::available()?;
        (needed > available).then_some((needed, available))
    }

    /// Whether what is computed with these settings can share batches and a KV cache with others.
    pub(super) fn shares(&self, weights: &Weights) -> bool {
        let model = &weights.model;
        // Models with two sets of factors choose one by the size of the whole KV cache.
        let factors = format!(
            "{}.rope.scaling.original_context_length",
            super::language::architecture(model)
        );
        !self.embedding
            && !model.is_recurrent()
            && !model.is_hybrid()
            && model.meta_val_str(&factors).is_err()
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

/// A llama.cpp context for so many tokens, with parameters that `adjust` changes.
pub(super) fn new_context(
    weights: &Arc<Weights>,
    settings: &Settings,
    tokens: usize,
    adjust: impl FnOnce(LlamaContextParams) -> LlamaContextParams,
) -> Result<OwnedContext, Error> {
    if let Some((needed, available)) = settings.excess(weights, tokens) {
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
    let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
    let params = adjust(settings.params().with_n_ctx(NonZeroU32::new(tokens)));
    let (llama, reason) = log::capture(|| OwnedContext::new(backend, weights.clone(), params));
    llama.map_err(|error| {
        let reason = if reason.is_empty() { error.to_string() } else { reason };
        Error::new(
            ErrorCode::RuntimeError,
            format!(
                "llama.cpp cannot make a context of {tokens} tokens: {reason}; a smaller `ctx-size` \
                 or `batch-size` takes less memory"
            ),
        )
    })
}

/// Whether tokens can be moved to other positions, which makes room in a full context.
fn is_movable(weights: &Weights) -> bool {
    let model = &weights.model;
    matches!(model.rope_type(), Some(RopeType::Norm | RopeType::NeoX))
        && !model.is_recurrent()
        && !model.is_hybrid()
}

impl Session {
    /// How many tokens fit.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Alone(session) => session.size(),
            Self::Shared(session) => session.size(),
        }
    }

    /// The same as one with a context of its own, which whoever asks has made sure of.
    pub(super) fn alone(&mut self) -> Result<&mut Alone, Error> {
        match self {
            Self::Alone(session) => Ok(session),
            Self::Shared(_) => Err(Error::new(
                ErrorCode::RuntimeError,
                "expected a context of its own for this prompt, found one that is shared",
            )),
        }
    }

    /// How many tokens are evaluated.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Alone(session) => session.len(),
            Self::Shared(session) => session.len(),
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        match self {
            Self::Alone(session) => &session.settings,
            Self::Shared(session) => session.settings(),
        }
    }

    /// The logits behind the last token.
    pub(super) fn logits(&self) -> &[f32] {
        match self {
            Self::Alone(session) => session.context().get_logits_ith(-1),
            Self::Shared(session) => session.logits(),
        }
    }

    /// Evaluates a prompt in place of what there was. Gives how many of its tokens were there already.
    pub(super) async fn start(
        &mut self,
        prompt: &[LlamaToken],
        monitor: &Monitor,
    ) -> Result<usize, Error> {
        match self {
            Self::Alone(session) => {
                session.keep_prefix_of(prompt);
                let cached = session.len();
                session.evaluate(&prompt[cached..], monitor)?;
                Ok(cached)
            }
            Self::Shared(session) => session.start(prompt, monitor).await,
        }
    }

    /// Evaluates one token more.
    pub(super) async fn advance(&mut self, token: LlamaToken) -> Result<(), Error> {
        match self {
            Self::Alone(session) => session.evaluate(&[token], &Monitor::default()),
            Self::Shared(session) => session.advance(token).await,
        }
    }

    /// Has a token evaluated that [`Self::advance`] is going to ask for, where that costs nobody time.
    pub(super) fn begin_advance(&mut self, token: LlamaToken) {
        if let Self::Shared(session) = self {
            session.begin_advance(token);
        }
    }

    /// Makes room in a full context: forgets the older half of the tokens, but not the first one. Whether
    /// that could be done.
    pub(super) async fn shift(&mut self) -> bool {
        match self {
            Self::Alone(session) => session.shift(),
            Self::Shared(session) => session.shift().await,
        }
    }

    /// The computation is over: others may have its place.
    pub(super) fn rest(&mut self) {
        if let Self::Shared(session) = self {
            session.rest();
        }
    }
}

pub(super) fn failed(error: &dyn std::fmt::Display) -> Error {
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
