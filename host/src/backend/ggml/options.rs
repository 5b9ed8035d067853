//! The options of language models, under WasmEdge's names and with its defaults.
//!
//! [`TABLE`] is the one list: it parses, checks, explains. A new option is a field and a row.

use crate::Error;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// What a language model is told beside its prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Log what the model does at level `info` instead of `debug`.
    pub enable_log: bool,
    /// Log more.
    pub enable_debug_log: bool,
    /// Write the text to standard output as it is generated.
    pub stream_stdout: bool,
    /// Compute an embedding instead of text.
    pub embedding: bool,
    /// The most tokens that `compute` generates; no limit if negative.
    pub n_predict: i64,
    /// `compute` ends once the text contains this; never if empty.
    pub reverse_prompt: String,
    /// Size of the context in tokens; 0 is the size the model was trained with.
    pub ctx_size: u32,
    /// The most tokens in one call of llama.cpp.
    pub batch_size: u32,
    /// The most tokens that llama.cpp computes at once.
    pub ubatch_size: u32,
    /// Threads for one token; half of the logical processors if not positive.
    pub threads: i32,
    /// Threads for a prompt; as for one token if not positive.
    pub threads_batch: i32,
    /// Layers that a GPU computes; what fits if negative.
    pub n_gpu_layers: i32,
    /// The only or the first GPU.
    pub main_gpu: i32,
    /// How a model is spread over several GPUs.
    pub split_mode: SplitMode,
    /// Map the file instead of reading it.
    pub use_mmap: bool,
    /// Keep the weights in memory.
    pub use_mlock: bool,
    /// Temperature; greedy if not positive.
    pub temp: f32,
    /// Nucleus sampling.
    pub top_p: f32,
    /// Sample from this many best tokens; all if 0.
    pub top_k: i32,
    /// Sample from tokens with this part of the best one's probability.
    pub min_p: f32,
    /// Locally typical sampling.
    pub typ_p: f32,
    /// Penalty for tokens that occurred; 1 is none.
    pub repeat_penalty: f32,
    /// Penalty for having occurred at all.
    pub presence_penalty: f32,
    /// Penalty for each occurrence.
    pub frequency_penalty: f32,
    /// How many tokens the penalties look back on.
    pub last_n_penalty: i32,
    /// 0 for none, else the version of Mirostat.
    pub mirostat: i32,
    /// Mirostat's learning rate.
    pub mirostat_eta: f32,
    /// Seed of the sampler; random if negative.
    pub seed: i64,
    /// A GBNF grammar that the text obeys; none if empty.
    pub grammar: String,
}

/// How a model is spread over several GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SplitMode {
    /// One GPU has all of it.
    None,
    /// Each has some layers.
    Layer,
    /// Each has a part of every layer.
    Row,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            enable_log: false,
            enable_debug_log: false,
            stream_stdout: false,
            embedding: false,
            n_predict: -1,
            reverse_prompt: String::new(),
            ctx_size: 0,
            batch_size: 2048,
            ubatch_size: 512,
            threads: -1,
            threads_batch: -1,
            n_gpu_layers: -1,
            main_gpu: 0,
            split_mode: SplitMode::Layer,
            use_mmap: true,
            use_mlock: false,
            temp: 0.8,
            top_p: 0.95,
            top_k: 40,
            min_p: 0.05,
            typ_p: 1.0,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            last_n_penalty: 64,
            mirostat: 0,
            mirostat_eta: 0.1,
            seed: -1,
            grammar: String::new(),
        }
    }
}

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
    /// A whole number from a range.
    Integer(i64, i64, fn(&mut Options, i64)),
    /// A number from a range.
    Number(f64, f64, fn(&mut Options, f64)),
    /// A string.
    Text(fn(&mut Options, String)),
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
    option("n-predict", integer!(n_predict: i64, -2, i64::MAX), "-1", "the most tokens that are generated, in steps too; negative is no limit"),
    option("reverse-prompt", text!(reverse_prompt), "\"\"", "compute ends once the text contains this"),
    option("ctx-size", integer!(ctx_size: u32, 0, 1 << 24), "0", "tokens of prompt and text together; 0 is what the model was trained with"),
    option("batch-size", integer!(batch_size: u32, 1, 1 << 16), "2048", "the most tokens of a prompt in one call of llama.cpp"),
    option("ubatch-size", integer!(ubatch_size: u32, 1, 1 << 16), "512", "the most tokens that llama.cpp computes at once"),
    option("threads", integer!(threads: i32, -1, 512), "-1", "threads that generate; 0 or less is half of the logical processors"),
    option("threads-batch", integer!(threads_batch: i32, -1, 512), "-1", "threads that evaluate a prompt; 0 or less is as many as generate"),
    option("n-gpu-layers", integer!(n_gpu_layers: i32, -1, 1 << 16), "-1", "layers on the GPU, when the model is loaded; negative is all that fit"),
    option("use-mmap", flag!(use_mmap), "true", "map the model's file into memory, when the model is loaded"),
    option("use-mlock", flag!(use_mlock), "false", "keep the weights from being swapped out, when the model is loaded"),
    option("temp", number!(temp, -100.0, 100.0), "0.8", "temperature; 0 or less always takes the likeliest token"),
    option("top-p", number!(top_p, 0.0, 1.0), "0.95", "sample from the likeliest tokens that make up this probability; 1 is off"),
    option("top-k", Kind::Integer(-1, i32::MAX as i64, |options, value| options.top_k = narrow(value)), "40", "sample from this many likeliest tokens; 0 or less is off"),
    option("min-p", number!(min_p, 0.0, 1.0), "0.05", "leave out tokens below this part of the likeliest one's probability; 0 is off"),
    option("typ-p", number!(typ_p, 0.0, 1.0), "1.0", "locally typical sampling; 1 is off"),
    option("typical", number!(typ_p, 0.0, 1.0), "1.0", "another name of typ-p"),
    option("repeat-penalty", number!(repeat_penalty, 0.001, 100.0), "1.0", "penalty for tokens that occurred; 1 is off"),
    option("presence-penalty", number!(presence_penalty, -100.0, 100.0), "0.0", "penalty for tokens that occurred, however often; 0 is off"),
    option("frequency-penalty", number!(frequency_penalty, -100.0, 100.0), "0.0", "penalty for each time a token occurred; 0 is off"),
    option("last-n-penalty", integer!(last_n_penalty: i32, -1, 1 << 20), "64", "how many tokens the penalties look back on; 0 is off, -1 the whole context"),
    option("mirostat", integer!(mirostat: i32, 0, 2), "0", "version of Mirostat sampling; 0 is off"),
    option("mirostat-eta", number!(mirostat_eta, 0.0, 1.0), "0.1", "Mirostat's learning rate"),
    option("seed", integer!(seed: i64, -1, u32::MAX as i64), "-1", "seed of the sampler; -1 takes a random one"),
    option("grammar", text!(grammar), "\"\"", "a GBNF grammar, with rule `root`, that the text obeys"),
];

/// Options that WasmEdge knows and that change nothing here.
#[rustfmt::skip]
pub static WITHOUT_EFFECT: &[&str] = &[
    "always-regenerate-image-embd", "attention-type", "batched-bench-output-jsonl", "cache-type-k",
    "cache-type-v", "chat-template", "check-tensors", "chunk-separator", "chunk-size", "compute-ppl",
    "cont-batching", "context-files", "control-vector-layer-end", "control-vector-layer-start", "cpu-moe",
    "ctx-shift", "cvector-dimre-method", "cvector-negative-file", "cvector-positive-file", "display-prompt",
    "dry-allowed-length", "dry-base", "dry-last-n-penalty", "dry-multipier", "dynatemp-exponent",
    "dynatemp-range", "embd-normalize", "embd-out", "embd-sep", "enable-chat-template", "endpoint-metrics",
    "endpoint-props", "endpoint-slots", "escape", "flash-attn", "grp-attn-n", "grp-attn-w", "hellaswag",
    "hellaswag-tasks", "hf-file", "hf-file-vocoder", "hf-repo", "hf-repo-vocoder", "hf-token", "hostname",
    "i-chunk", "i-pos", "ignore-eos", "image", "input-prefix", "input-prefix-bos", "input-suffix", "interactive",
    "interactive-first", "is-pp-shared", "json-schema", "kl-divergence", "load-mode", "log-json", "logits-file",
    "lookup-cache-dynamic", "lookup-cache-static", "lora-init-without-apply", "main-gpu", "mask-valid",
    "mask-valid-batch", "min-keep", "mmproj", "model-alias", "model-url", "model-url-vocoder", "model-vocoder",
    "multiline-input", "multiple-choice", "multiple-choice-tasks", "n-cache-reuse", "n-chunks", "n-cpu-moe",
    "n-ctx-speculative", "n-gpu-layers-speculative", "n-junk", "n-keep", "n-max-speculative",
    "n-min-speculative", "n-out-freq", "n-parallel", "n-pca-batch", "n-pca-iterations", "n-pl", "n-pp", "n-prev",
    "n-print", "n-probs", "n-save-freq", "n-sequences", "n-tg", "n-threads-http", "no-kv-offload", "no-perf",
    "no-perf-sampling", "numa", "out-file", "p-min-speculative", "p-split-speculative", "path-prompt-cache",
    "poll", "poll-batch", "pooling-type", "port", "ppl-output-type", "ppl-stride", "priority", "priority-batch",
    "process-output", "prompt-cache-all", "prompt-cache-ro", "prompt-file", "public-path", "reranking",
    "rope-freq-base", "rope-freq-scale", "rope-scaling-type", "simple-io", "slot-prompt-similarity",
    "slot-save-path", "special", "split-mode", "spm-infill", "ssl-file-cert", "ssl-file-key", "strict-cpu",
    "strict-cpu-batch", "tensor-split", "timeout-read", "timeout-write", "timing-per-token", "tts",
    "tts-output-file", "tts-speaker-file", "usage", "use-color", "verbose-prompt", "verbosity", "warmup",
    "webui", "winogrande", "winogrande-tasks", "xtc-probability", "xtc-threshold", "yarn-attn-factor",
    "yarn-beta-fast", "yarn-beta-slow", "yarn-ext-factor", "yarn-orig-ctx",
];

impl Options {
    /// Sets what the JSON object names and leaves the rest. On failure nothing is changed.
    pub fn apply(&mut self, json: &[u8]) -> Result<(), Error> {
        let object: Map<String, Value> = serde_json::from_slice(json).map_err(|error| {
            Error::invalid(format!(
                "expected the options as a JSON object, such as {{\"n-predict\": 100}}: {error}"
            ))
        })?;
        let mut options = self.clone();
        for (name, value) in &object {
            match TABLE.iter().find(|spec| spec.name == name) {
                Some(spec) => spec.set(&mut options, value)?,
                None => log_without_effect(name),
            }
        }
        *self = options;
        Ok(())
    }
}

impl OptionSpec {
    /// Type and range for people.
    pub fn allowed(&self) -> String {
        match self.kind {
            Kind::Flag(_) => "true or false".to_owned(),
            Kind::Integer(min, i64::MAX, _) => format!("a whole number, {min} or more"),
            Kind::Integer(min, max, _) => format!("a whole number from {min} to {max}"),
            Kind::Number(min, max, _) => format!("a number from {min} to {max}"),
            Kind::Text(_) => "a string".to_owned(),
        }
    }

    fn set(&self, options: &mut Options, value: &Value) -> Result<(), Error> {
        let accepted = match self.kind {
            Kind::Flag(set) => value.as_bool().map(|value| set(options, value)),
            Kind::Integer(min, max, set) => value
                .as_i64()
                .filter(|value| (min..=max).contains(value))
                .map(|value| set(options, value)),
            Kind::Number(min, max, set) => value
                .as_f64()
                .filter(|value| (min..=max).contains(value))
                .map(|value| set(options, value)),
            Kind::Text(set) => value.as_str().map(|value| set(options, value.to_owned())),
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

/// Logs an option that changes nothing, each name once.
fn log_without_effect(name: &str) {
    /// Guests choose the names: remember only so many.
    const LIMIT: usize = 1000;
    static LOGGED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    if name.len() > 100 || logged.len() >= LIMIT || !logged.insert(name.to_owned()) {
        return;
    }
    if WITHOUT_EFFECT.contains(&name) {
        tracing::warn!("option `{name}` has no effect in this host");
    } else {
        let nearest = nearest(name);
        tracing::warn!("option `{name}` is unknown and has no effect: is `{nearest}` meant?");
    }
}

/// The known name that the fewest changes of letters lead to.
pub fn nearest(name: &str) -> &'static str {
    TABLE
        .iter()
        .map(|spec| spec.name)
        .chain(WITHOUT_EFFECT.iter().copied())
        .min_by_key(|known| distance(name, known))
        .unwrap_or_default()
}

/// Levenshtein's distance.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;

    #[test]
    fn defaults_in_the_table_are_the_defaults() {
        for spec in TABLE {
            let json = format!("{{\"{}\": {}}}", spec.name, spec.default);
            let mut options = Options::default();
            options.apply(json.as_bytes()).unwrap();
            assert_eq!(options, Options::default(), "{}", spec.name);
        }
    }

    #[test]
    fn names_are_unique_and_every_option_sets_something() {
        let mut names = BTreeSet::new();
        for spec in TABLE {
            assert!(names.insert(spec.name), "{} twice", spec.name);
            let other = match spec.kind {
                Kind::Flag(_) => (spec.default == "false").to_string(),
                Kind::Integer(min, _, _) if spec.default != min.to_string() => min.to_string(),
                Kind::Integer(_, max, _) => max.to_string(),
                Kind::Number(min, _, _) if spec.default != format!("{min:?}") => format!("{min:?}"),
                Kind::Number(_, max, _) => format!("{max:?}"),
                Kind::Text(_) => "\"x\"".to_owned(),
            };
            let mut options = Options::default();
            let json = format!("{{\"{}\": {other}}}", spec.name);
            options.apply(json.as_bytes()).unwrap();
            assert_ne!(options, Options::default(), "{}", spec.name);
        }
        for name in WITHOUT_EFFECT {
            assert!(names.insert(name), "{name} twice");
        }
    }

    #[test]
    fn wrong_values_name_option_value_and_what_is_allowed() {
        let cases = [
            (
                r#"{"temp": "hot"}"#,
                "option `temp`: expected a number from -100 to 100, found \"hot\"",
            ),
            (
                r#"{"ctx-size": -1}"#,
                "option `ctx-size`: expected a whole number from 0 to 16777216, found -1",
            ),
            (
                r#"{"ctx-size": 1.5}"#,
                "option `ctx-size`: expected a whole number from 0 to 16777216, found 1.5",
            ),
            (
                r#"{"top-p": 1.01}"#,
                "option `top-p`: expected a number from 0 to 1, found 1.01",
            ),
            (
                r#"{"enable-log": 1}"#,
                "option `enable-log`: expected true or false, found 1",
            ),
            (
                r#"{"grammar": null}"#,
                "option `grammar`: expected a string, found null",
            ),
            (
                r#"{"n-predict": -3}"#,
                "option `n-predict`: expected a whole number, -2 or more, found -3",
            ),
        ];
        for (json, message) in cases {
            let error = Options::default().apply(json.as_bytes()).unwrap_err();
            assert_eq!(error, Error::new(ErrorCode::InvalidArgument, message));
        }
    }

    #[test]
    fn failure_changes_nothing_and_other_json_is_refused() {
        let mut options = Options::default();
        assert!(options.apply(br#"{"temp": 0, "top-p": 7}"#).is_err());
        assert_eq!(options, Options::default());
        for json in [&b"[]"[..], b"7", b"", b"{", b"\xff\xfe", b"{\"temp\": 0} x"] {
            let error = options.apply(json).unwrap_err();
            assert!(
                error
                    .message
                    .starts_with("expected the options as a JSON object"),
                "{error}"
            );
        }
    }

    #[test]
    fn unknown_options_are_accepted_and_the_nearest_is_known() {
        let mut options = Options::default();
        options
            .apply(br#"{"n-predcit": 5, "port": 80, "temp": 0.5}"#)
            .unwrap();
        assert_eq!(options.temp, 0.5);
        assert_eq!(nearest("n-predcit"), "n-predict");
        assert_eq!(nearest("temperature"), "temp");
        assert_eq!(nearest("ctx_size"), "ctx-size");
    }
}
