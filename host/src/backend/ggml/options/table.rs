//! The list of options: names, types, ranges, defaults and meanings.

use super::{CacheType, Case, FlashAttention, Options, Pooling, RopeScaling, SplitMode};
use crate::Error;
use serde_json::Value;

/// One option.
pub struct OptionSpec {
    /// The name that guests use.
    pub name: &'static str,
    /// Type and range, and where the value goes.
    pub kind: Kind,
    /// The default as JSON.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// Type and range of an option, and where its value goes.
pub enum Kind {
    /// `true` or `false`.
    Flag(fn(&mut Options, bool)),
    /// `false`: what `true` asks for is not here.
    OnlyFalse,
    /// A whole number from a range.
    Integer(i64, i64, fn(&mut Options, i64)),
    /// A number from a range.
    Number(f64, f64, fn(&mut Options, f64)),
    /// A string.
    Text(fn(&mut Options, String)),
    /// One of some cases, by name or number; the setter gets its index.
    Choice(&'static [Case], fn(&mut Options, usize)),
    /// As `Choice`; `true` and `false` stand for the numbers 1 and 0.
    Switch(&'static [Case], fn(&mut Options, usize)),
}

/// As `i32`; the rows that use it have ranges inside.
fn narrow(value: i64) -> i32 {
    value.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

macro_rules! flag {
    ($field:ident) => {
        Kind::Flag(|options, value| options.$field = value)
    };
}
macro_rules! integer {
    ($field:ident: $ty:ty, $min:expr, $max:expr) => {
        Kind::Integer($min, $max, |options, value| {
            options.$field = <$ty>::try_from(value).unwrap_or(<$ty>::MAX)
        })
    };
}
macro_rules! number {
    ($field:ident, $min:expr, $max:expr) => {
        Kind::Number($min, $max, |options, value| options.$field = value as f32)
    };
}
macro_rules! text {
    ($field:ident) => {
        Kind::Text(|options, value| options.$field = value)
    };
}

macro_rules! choice {
    ($kind:ident $field:ident: $ty:ty) => {
        Kind::$kind(<$ty>::CASES, |options, index| {
            options.$field = <$ty>::VALUES[index]
        })
    };
}

const fn option(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    meaning: &'static str,
) -> OptionSpec {
    OptionSpec {
        name,
        kind,
        default,
        meaning,
    }
}

/// Every option that has a meaning here.
#[rustfmt::skip]
pub static TABLE: &[OptionSpec] = &[
    option("enable-log", flag!(enable_log), "false", "log what the model does at level info instead of debug"),
    option("enable-debug-log", flag!(enable_debug_log), "false", "log every step of a computation"),
    option("stream-stdout", flag!(stream_stdout), "false", "compute writes the text to standard output as it is generated"),
    option("embedding", flag!(embedding), "false", "output 0 is an embedding as JSON instead of text"),
    option("reranking", Kind::Flag(|options, value| if value { options.embedding = true; options.pooling = Pooling::Rank }), "false", "the same as embedding with pooling-type rank"),
    option("pooling-type", choice!(Choice pooling: Pooling), "\"model\"", "how the embeddings of tokens become one; model is as it says itself"),
    option("embd-normalize", integer!(embd_normalize: i32, -1, 100), "2", "norm of an embedding: 2 is Euclidean, 1 taxicab, 0 the largest element becomes 32760, -1 leaves it as it is"),
    option("n-predict", integer!(n_predict: i64, i64::MIN, i64::MAX), "-1", "the most tokens that compute generates; negative is no limit, and steps have none"),
    option("reverse-prompt", text!(reverse_prompt), "\"\"", "compute ends once the text contains this"),
    option("ctx-size", integer!(ctx_size: u32, 0, 1 << 24), "0", "tokens of prompt and text together, of which llama.cpp makes the next multiple of 256; 0 is what the model was trained with"),
    option("batch-size", integer!(batch_size: u32, 1, 1 << 16), "2048", "the most tokens of a prompt in one call of llama.cpp"),
    option("ubatch-size", integer!(ubatch_size: u32, 0, 1 << 16), "512", "the most tokens that llama.cpp computes at once; 0 is batch-size"),
    option("threads", integer!(threads: i32, i32::MIN as i64, i32::MAX as i64), "-1", "threads that generate, at most one for each logical processor; 0 or less is half of them"),
    option("threads-batch", integer!(threads_batch: i32, i32::MIN as i64, i32::MAX as i64), "-1", "threads that evaluate a prompt, at most one for each logical processor; 0 or less is as many as generate"),
    option("n-gpu-layers", integer!(n_gpu_layers: i32, i32::MIN as i64, i32::MAX as i64), "-1", "layers on the GPU, when the model is loaded; negative is all that fit"),
    option("main-gpu", integer!(main_gpu: i32, 0, 15), "0", "the GPU that computes all with split-mode none, else the first one, when the model is loaded"),
    option("split-mode", choice!(Choice split_mode: SplitMode), "\"layer\"", "how several GPUs share the model, when it is loaded; `row` is for CUDA"),
    option("use-mmap", flag!(use_mmap), "true", "map the model's file into memory, when the model is loaded"),
    option("use-mlock", flag!(use_mlock), "false", "keep the weights from being swapped out, when the model is loaded"),
    option("warmup", flag!(warmup), "false", "evaluate a token as soon as a context is made"),
    option("ctx-shift", flag!(ctx_shift), "false", "when the context is full, forget the older half of it instead of ending with context-full"),
    option("flash-attn", choice!(Switch flash_attention: FlashAttention), "\"auto\"", "compute attention in one step"),
    option("cache-type-k", choice!(Choice cache_type_k: CacheType), "\"f16\"", "type of the keys in the KV cache"),
    option("cache-type-v", choice!(Choice cache_type_v: CacheType), "\"f16\"", "type of the values in the KV cache; a quantized one needs flash-attn"),
    option("rope-freq-base", number!(rope_freq_base, 0.0, 1e9), "0.0", "base frequency of rotary position embeddings; 0 is the model's own"),
    option("rope-freq-scale", number!(rope_freq_scale, 0.0, 1e3), "0.0", "factor of their frequencies; 0 is the model's own"),
    option("rope-scaling-type", choice!(Choice rope_scaling: RopeScaling), "\"model\"", "how rotary position embeddings reach beyond the trained length"),
    option("yarn-ext-factor", number!(yarn_ext_factor, -1.0, 100.0), "-1.0", "YaRN's mix of extrapolation; negative is the model's own"),
    option("yarn-attn-factor", number!(yarn_attn_factor, -1.0, 100.0), "-1.0", "YaRN's scale of attention; negative is the model's own"),
    option("yarn-beta-slow", number!(yarn_beta_slow, -1.0, 1e6), "-1.0", "YaRN's lower border of corrections; negative is the model's own"),
    option("yarn-beta-fast", number!(yarn_beta_fast, -1.0, 1e6), "-1.0", "YaRN's upper border of corrections; negative is the model's own"),
    option("yarn-orig-ctx", integer!(yarn_orig_ctx: u32, 0, 1 << 24), "0", "the length that YaRN starts from; 0 is the model's own"),
    option("no-kv-offload", flag!(no_kv_offload), "false", "keep the KV cache with the processor when a GPU computes"),
    option("temp", number!(temp, -100.0, 100.0), "0.8", "temperature; 0 or less always takes the likeliest token"),
    option("top-p", number!(top_p, 0.0, 1.0), "0.95", "sample from the likeliest tokens that make up this probability; 1 is off"),
    option("top-k", Kind::Integer(i32::MIN as i64, i32::MAX as i64, |options, value| options.top_k = narrow(value)), "40", "sample from this many likeliest tokens; 0 or less is off"),
    option("min-p", number!(min_p, 0.0, 1.0), "0.05", "leave out tokens below this part of the likeliest one's probability; 0 is off"),
    option("typ-p", number!(typ_p, 0.0, 1.0), "1.0", "locally typical sampling; 1 is off"),
    option("typical", number!(typ_p, 0.0, 1.0), "1.0", "another name of typ-p"),
    option("min-keep", integer!(min_keep: u32, 0, 1 << 20), "0", "how many tokens top-p, min-p and typ-p leave at least"),
    option("dynatemp-range", number!(dynatemp_range, 0.0, 100.0), "0.0", "by how much the temperature follows the entropy of the tokens; 0 is off"),
    option("dynatemp-exponent", number!(dynatemp_exponent, 0.0, 100.0), "1.0", "how the entropy maps to the temperature"),
    option("xtc-probability", number!(xtc_probability, 0.0, 1.0), "0.0", "probability of leaving out the likeliest tokens; 0 is off"),
    option("xtc-threshold", number!(xtc_threshold, 0.0, 1.0), "0.1", "from which probability on tokens count as likeliest there"),
    option("repeat-penalty", number!(repeat_penalty, 0.001, 100.0), "1.0", "penalty for tokens that occurred; 1 is off"),
    option("presence-penalty", number!(presence_penalty, -100.0, 100.0), "0.0", "penalty for tokens that occurred, however often; 0 is off"),
    option("frequency-penalty", number!(frequency_penalty, -100.0, 100.0), "0.0", "penalty for each time a token occurred; 0 is off"),
    option("last-n-penalty", integer!(last_n_penalty: i32, -1, 1 << 20), "64", "how many tokens the penalties look back on; 0 is off, -1 the whole context"),
    option("dry-last-n-penalty", integer!(dry_last_n_penalty: i32, -1, 1 << 20), "64", "how many tokens DRY looks back on; 0 is off, -1 the whole context"),
    option("dry-multipier", number!(dry_multiplier, 0.0, 100.0), "0.0", "DRY's penalty for repeated sequences, in WasmEdge's spelling; 0 is off"),
    option("dry-base", number!(dry_base, 1.0, 100.0), "1.75", "how that penalty grows with the length of a sequence"),
    option("dry-allowed-length", integer!(dry_allowed_length: i32, 0, 1 << 20), "2", "sequences up to this long are free of it"),
    option("mirostat", integer!(mirostat: i32, 0, 2), "0", "version of Mirostat sampling; 0 is off"),
    option("mirostat-eta", number!(mirostat_eta, 0.0, 1.0), "0.1", "Mirostat's learning rate"),
    option("seed", integer!(seed: i64, i64::MIN, i64::MAX), "-1", "seed of the sampler, of which the lower 32 bits count; -1 takes a random one"),
    option("ignore-eos", flag!(ignore_eos), "false", "never end the text before a limit"),
    option("mmproj", text!(mmproj), "\"\"", "for images: the GGUF file of the projector that belongs to the model, by its path in a folder of the program; with the cargo feature `images`"),
    option("image", text!(image), "\"\"", "the file of the image that `<image>` in the prompt stands for, by its path in a folder of the program; with the cargo feature `images`"),
    option("tts", Kind::OnlyFalse, "false", "speech instead of text, which this host does not make"),
    option("grammar", Kind::Text(|options, value| { options.grammar = value; options.json_schema = String::new() }), "\"\"", "a GBNF grammar, with rule `root`, that the text obeys; replaces json-schema"),
    option("json-schema", Kind::Text(|options, value| { options.json_schema = value; options.grammar = String::new() }), "\"\"", "a JSON schema, as a string, that the text obeys; replaces grammar"),
];

/// Options that change nothing in a build without the cargo feature `images`.
pub(super) static OF_IMAGES: &[&str] = &["mmproj", "image"];

/// Options that WasmEdge knows and that change nothing here.
#[rustfmt::skip]
pub static WITHOUT_EFFECT: &[&str] = &[
    "always-regenerate-image-embd", "attention-type", "batched-bench-output-jsonl",
    "chat-template", "check-tensors", "chunk-separator", "chunk-size", "compute-ppl",
    "cont-batching", "context-files", "control-vector-layer-end", "control-vector-layer-start", "cpu-moe",
    "cvector-dimre-method", "cvector-negative-file", "cvector-outfile", "cvector-positive-file", "defrag-thold", "display-prompt",
    "embd-out", "embd-sep", "enable-chat-template", "endpoint-metrics",
    "endpoint-props", "endpoint-slots", "escape", "grp-attn-n", "grp-attn-w", "hellaswag",
    "hellaswag-tasks", "hf-file", "hf-file-vocoder", "hf-repo", "hf-repo-vocoder", "hf-token", "hostname",
    "i-chunk", "i-pos", "input-prefix", "input-prefix-bos", "input-suffix", "interactive",
    "interactive-first", "is-pp-shared", "kl-divergence", "load-mode", "log-json", "logits-file",
    "lookup-cache-dynamic", "lookup-cache-static", "lora-init-without-apply", "mask-valid",
    "mask-valid-batch", "model-alias", "model-url", "model-url-vocoder", "model-vocoder",
    "multiline-input", "multiple-choice", "multiple-choice-tasks", "n-cache-reuse", "n-chunks", "n-cpu-moe",
    "n-ctx-speculative", "n-gpu-layers-speculative", "n-junk", "n-keep", "n-max-speculative",
    "n-min-speculative", "n-out-freq", "n-parallel", "n-pca-batch", "n-pca-iterations", "n-pl", "n-pp", "n-prev",
    "n-print", "n-probs", "n-save-freq", "n-sequences", "n-tg", "n-threads-http", "no-perf",
    "no-perf-sampling", "numa", "out-file", "p-min-speculative", "p-split-speculative", "path-prompt-cache",
    "poll", "poll-batch", "port", "ppl-output-type", "ppl-stride", "priority", "priority-batch",
    "process-output", "prompt-cache-all", "prompt-cache-ro", "prompt-file", "public-path",
    "simple-io", "slot-prompt-similarity",
    "slot-save-path", "special", "spm-infill", "ssl-file-cert", "ssl-file-key", "strict-cpu",
    "strict-cpu-batch", "tensor-split", "timeout-read", "timeout-write", "timing-per-token",
    "tts-output-file", "tts-speaker-file", "usage", "use-color", "verbose-prompt", "verbosity",
    "webui", "winogrande", "winogrande-tasks",
];

impl OptionSpec {
    /// Type and range for people.
    pub fn allowed(&self) -> String {
        match self.kind {
            Kind::Flag(_) => "true or false".to_owned(),
            Kind::OnlyFalse => "false".to_owned(),
            Kind::Integer(i64::MIN, i64::MAX, _) => "a whole number".to_owned(),
            Kind::Integer(min, i64::MAX, _) => format!("a whole number, {min} or more"),
            Kind::Integer(min, max, _)
                if min == i64::from(i32::MIN) && max == i64::from(i32::MAX) =>
            {
                "a whole number of 32 bits".to_owned()
            }
            Kind::Integer(min, max, _) => format!("a whole number from {min} to {max}"),
            Kind::Number(min, max, _) => format!("a number from {min} to {max}"),
            Kind::Text(_) => "a string".to_owned(),
            Kind::Choice(cases, _) => one_of(cases),
            Kind::Switch(cases, _) => format!("true, false, {}", one_of(cases)),
        }
    }

    pub(super) fn set(&self, options: &mut Options, value: &Value) -> Result<(), Error> {
        let accepted = match self.kind {
            Kind::Flag(set) => value.as_bool().map(|value| set(options, value)),
            Kind::OnlyFalse => (value == &Value::Bool(false)).then_some(()),
            Kind::Integer(min, max, set) => value
                .as_i64()
                .filter(|value| (min..=max).contains(value))
                .map(|value| set(options, value)),
            Kind::Number(min, max, set) => value
                .as_f64()
                .filter(|value| (min..=max).contains(value))
                .map(|value| set(options, value)),
            Kind::Text(set) => value.as_str().map(|value| set(options, value.to_owned())),
            Kind::Choice(cases, set) => find(cases, value).map(|index| set(options, index)),
            Kind::Switch(cases, set) => match value {
                Value::Bool(on) => find(cases, &i64::from(*on).into()),
                value => find(cases, value),
            }
            .map(|index| set(options, index)),
        };
        accepted.ok_or_else(|| {
            let mut found = value.to_string();
            if found.len() > 100 {
                found = found.chars().take(100).chain(['…']).collect();
            }
            Error::invalid(format!(
                "option `{}`: expected {}, found {found}",
                self.name,
                self.allowed()
            ))
        })
    }
}

/// The index of the case that a value names.
fn find(cases: &[Case], value: &Value) -> Option<usize> {
    cases.iter().position(|case| match value {
        Value::String(name) => case.names.contains(&name.as_str()),
        value => value.as_i64() == Some(case.number),
    })
}

/// Cases for a message.
fn one_of(cases: &[Case]) -> String {
    let mut text = String::new();
    for (position, case) in cases.iter().enumerate() {
        text.push_str(match position {
            0 => "",
            _ if position + 1 == cases.len() => " or ",
            _ => ", ",
        });
        text.push_str(&format!("\"{}\" ({})", case.names[0], case.number));
    }
    text
}
