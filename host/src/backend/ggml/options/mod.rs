//! The options of language models, under WasmEdge's names and with its defaults.
//!
//! [`TABLE`] is the one list: it parses, checks, explains. A new option is a field and a row.

mod document;
mod table;

pub use document::markdown;
pub use table::{Kind, OptionSpec, TABLE, WITHOUT_EFFECT};

use crate::gguf::CachedElements;
use crate::{Error, ErrorCode};
use serde_json::Value;
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
    /// Evaluate a token when a context is made.
    pub warmup: bool,
    /// When a context is full, forget the older half of it instead of ending.
    pub ctx_shift: bool,
    /// Whether attention is computed in one step.
    pub flash_attention: FlashAttention,
    /// Type of the KV cache's keys.
    pub cache_type_k: CacheType,
    /// Type of the KV cache's values.
    pub cache_type_v: CacheType,
    /// Base frequency of rotary position embeddings; the model's if 0.
    pub rope_freq_base: f32,
    /// Factor of their frequencies; the model's if 0.
    pub rope_freq_scale: f32,
    /// How they reach beyond the trained length.
    pub rope_scaling: RopeScaling,
    /// YaRN's mix of extrapolation; the model's if negative.
    pub yarn_ext_factor: f32,
    /// YaRN's scale of attention; the model's if negative.
    pub yarn_attn_factor: f32,
    /// YaRN's lower border of corrections; the model's if negative.
    pub yarn_beta_slow: f32,
    /// YaRN's upper border of corrections; the model's if negative.
    pub yarn_beta_fast: f32,
    /// The length that YaRN starts from; the model's if 0.
    pub yarn_orig_ctx: u32,
    /// Keep the KV cache with the processor.
    pub no_kv_offload: bool,
    /// How the embeddings of tokens become one.
    pub pooling: Pooling,
    /// How embeddings are normalized: -1 not, 0 to a largest element of 32760, 2 to length 1, any other `p` by
    /// the p-norm.
    pub embd_normalize: i32,
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
    /// How many tokens the samplers leave at least.
    pub min_keep: u32,
    /// By how much the temperature may differ from `temp`, by the entropy of the tokens.
    pub dynatemp_range: f32,
    /// How the entropy maps to the temperature.
    pub dynatemp_exponent: f32,
    /// Probability of leaving out the likeliest tokens.
    pub xtc_probability: f32,
    /// From which probability on tokens count as likeliest.
    pub xtc_threshold: f32,
    /// Penalty for tokens that occurred; 1 is none.
    pub repeat_penalty: f32,
    /// Penalty for having occurred at all.
    pub presence_penalty: f32,
    /// Penalty for each occurrence.
    pub frequency_penalty: f32,
    /// How many tokens the penalties look back on.
    pub last_n_penalty: i32,
    /// How many tokens DRY looks back on.
    pub dry_last_n_penalty: i32,
    /// DRY's penalty for repeated sequences; none if 0.
    pub dry_multiplier: f32,
    /// How DRY's penalty grows with their length.
    pub dry_base: f32,
    /// Sequences up to this long are free.
    pub dry_allowed_length: i32,
    /// 0 for none, else the version of Mirostat.
    pub mirostat: i32,
    /// Mirostat's learning rate.
    pub mirostat_eta: f32,
    /// Never end the text before a limit.
    pub ignore_eos: bool,
    /// Seed of the sampler; random if negative.
    pub seed: i64,
    /// The guest's path of the projector's file; none if empty.
    pub mmproj: String,
    /// The guest's path of the image's file; none if empty.
    pub image: String,
    /// A GBNF grammar that the text obeys; none if empty.
    pub grammar: String,
    /// A JSON schema that the text obeys, in place of a grammar; none if empty.
    pub json_schema: String,
}

/// A case of an option with a fixed set of values: the names that guests use, and WasmEdge's number.
pub struct Case {
    /// The first one is the one in documents.
    pub names: &'static [&'static str],
    /// The number that stands for it as well.
    pub number: i64,
}

/// Declares an enum whose cases have names and numbers in JSON.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$case_meta:meta])* $case:ident = $number:literal $($text:literal)+,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$case_meta])* $case,)*
        }

        impl $name {
            /// The cases, in the order of [`CASES`](Self::CASES).
            const VALUES: &[Self] = &[$(Self::$case),*];

            /// Their names and numbers.
            pub const CASES: &[Case] = &[$(Case { names: &[$($text),+], number: $number }),*];
        }
    };
}

choice! {
    /// How a model is spread over several GPUs.
    SplitMode {
        /// One GPU has all of it.
        None = 0 "none",
        /// Each has some layers.
        Layer = 1 "layer",
        /// Each has a part of every layer.
        Row = 2 "row",
    }
}

choice! {
    /// Whether attention is computed in one step.
    FlashAttention {
        /// Where the device can.
        Auto = -1 "auto",
        /// Never.
        Off = 0 "off" "disabled",
        /// Always.
        On = 1 "on" "enabled",
    }
}

choice! {
    /// Type of an element of the KV cache; the numbers are those of `ggml_type`.
    CacheType {
        /// Single precision.
        F32 = 0 "f32",
        /// Half precision.
        F16 = 1 "f16",
        /// About 4.5 bits.
        Q4_0 = 2 "q4_0",
        /// About 5 bits.
        Q4_1 = 3 "q4_1",
        /// About 5.5 bits.
        Q5_0 = 6 "q5_0",
        /// About 6 bits.
        Q5_1 = 7 "q5_1",
        /// About 8.5 bits.
        Q8_0 = 8 "q8_0",
        /// About 4.5 bits, with levels that are not equally spaced.
        Iq4Nl = 20 "iq4_nl",
        /// The upper half of single precision.
        Bf16 = 30 "bf16",
    }
}

impl CacheType {
    /// How many bytes so many elements take: ggml packs the small ones in blocks of 32.
    pub fn size(self, elements: u64) -> u64 {
        let block = match self {
            Self::F32 => 128,
            Self::F16 | Self::Bf16 => 64,
            Self::Q8_0 => 34,
            Self::Q5_1 => 24,
            Self::Q5_0 => 22,
            Self::Q4_1 => 20,
            Self::Q4_0 | Self::Iq4Nl => 18,
        };
        elements.div_ceil(32).saturating_mul(block)
    }
}

/// About how many bytes the keys and values of `tokens` tokens take in caches of these types.
pub(super) fn kv_cache_size(
    cached: CachedElements,
    keys: CacheType,
    values: CacheType,
    tokens: u64,
) -> u64 {
    keys.size(cached.keys.saturating_mul(tokens))
        .saturating_add(values.size(cached.values.saturating_mul(tokens)))
}

choice! {
    /// How the embeddings of tokens become one.
    Pooling {
        /// As the model says.
        Model = -1 "model",
        /// Not: the last token's is taken.
        None = 0 "none",
        /// Their mean.
        Mean = 1 "mean",
        /// The first token's.
        Cls = 2 "cls",
        /// The last token's.
        Last = 3 "last",
        /// A score, by a model that ranks.
        Rank = 4 "rank",
    }
}

choice! {
    /// How rotary position embeddings reach beyond the trained length.
    RopeScaling {
        /// As the model says.
        Model = -1 "model",
        /// Not.
        None = 0 "none",
        /// By equal factors.
        Linear = 1 "linear",
        /// By YaRN.
        Yarn = 2 "yarn",
    }
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
            warmup: false,
            ctx_shift: false,
            flash_attention: FlashAttention::Auto,
            cache_type_k: CacheType::F16,
            cache_type_v: CacheType::F16,
            rope_freq_base: 0.0,
            rope_freq_scale: 0.0,
            rope_scaling: RopeScaling::Model,
            yarn_ext_factor: -1.0,
            yarn_attn_factor: -1.0,
            yarn_beta_slow: -1.0,
            yarn_beta_fast: -1.0,
            yarn_orig_ctx: 0,
            no_kv_offload: false,
            pooling: Pooling::Model,
            embd_normalize: 2,
            temp: 0.8,
            top_p: 0.95,
            top_k: 40,
            min_p: 0.05,
            typ_p: 1.0,
            min_keep: 0,
            dynatemp_range: 0.0,
            dynatemp_exponent: 1.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            last_n_penalty: 64,
            dry_last_n_penalty: 64,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2,
            mirostat: 0,
            mirostat_eta: 0.1,
            ignore_eos: false,
            seed: -1,
            mmproj: String::new(),
            image: String::new(),
            grammar: String::new(),
            json_schema: String::new(),
        }
    }
}

impl Options {
    /// Whether a model is loaded in the same way with both.
    pub(super) fn load_alike(&self, other: &Self) -> bool {
        let loads = |options: &Self| {
            (
                options.n_gpu_layers,
                options.main_gpu,
                options.split_mode,
                options.use_mmap,
                options.use_mlock,
            )
        };
        loads(self) == loads(other)
    }

    /// Sets what the JSON object names and leaves the rest. On failure nothing is changed.
    ///
    /// Options are set in the order of the table, whatever theirs is in the object.
    pub fn apply(&mut self, json: &[u8]) -> Result<(), Error> {
        let wrong = |code, reason: &dyn std::fmt::Display| {
            Error::new(
                code,
                format!(
                    "expected the options as a JSON object, such as {{\"n-predict\": 100}}: {reason}"
                ),
            )
        };
        // Of text that is no JSON, WasmEdge says that it cannot be read.
        let value: Value = serde_json::from_slice(json)
            .map_err(|error| wrong(ErrorCode::InvalidEncoding, &error))?;
        let Value::Object(object) = value else {
            return Err(wrong(ErrorCode::InvalidArgument, &"found no object"));
        };
        let mut options = self.clone();
        for spec in TABLE {
            if let Some(value) = object.get(spec.name) {
                spec.set(&mut options, value)?;
                if cfg!(not(feature = "images")) && table::OF_IMAGES.contains(&spec.name) {
                    log_without_effect(spec.name);
                }
            }
        }
        for name in object.keys() {
            if !TABLE.iter().any(|spec| spec.name == name) {
                log_without_effect(name);
            }
        }
        *self = options;
        Ok(())
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
    if table::OF_IMAGES.contains(&name) {
        tracing::warn!(
            "option `{name}` has no effect in this build, which is without the feature `images`"
        );
    } else if WITHOUT_EFFECT.contains(&name) {
        tracing::warn!("option `{name}` has no effect in this host");
    } else {
        let meant = nearest(name).map_or(String::new(), |known| format!(": is `{known}` meant?"));
        tracing::warn!("option `{name}` is unknown and has no effect{meant}");
    }
}

/// The known name that the fewest changes of letters lead to, if they leave most of it.
pub fn nearest(name: &str) -> Option<&'static str> {
    TABLE
        .iter()
        .map(|spec| spec.name)
        .chain(WITHOUT_EFFECT.iter().copied())
        .map(|known| (distance(name, known), known))
        .filter(|(changes, known)| *changes <= 2.max(known.len() / 3) || name.starts_with(known))
        .min()
        .map(|(_, known)| known)
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
    fn sizes_of_cached_elements() {
        let sizes = [
            (CacheType::F32, 4.0),
            (CacheType::F16, 2.0),
            (CacheType::Q8_0, 1.0625),
            (CacheType::Q5_1, 0.75),
            (CacheType::Iq4Nl, 0.5625),
        ];
        for (ty, each) in sizes {
            assert_eq!(ty.size(64_000), (64_000.0 * each) as u64, "{ty:?}");
        }
        assert_eq!(CacheType::Q8_0.size(33), 68);
        assert_eq!(CacheType::F16.size(u64::MAX), u64::MAX);
    }

    #[test]
    fn names_are_unique_and_every_option_sets_something() {
        let mut names = BTreeSet::new();
        for spec in TABLE {
            assert!(names.insert(spec.name), "{} twice", spec.name);
            let other = match spec.kind {
                Kind::OnlyFalse => continue,
                Kind::Flag(_) => (spec.default == "false").to_string(),
                Kind::Integer(min, _, _) if spec.default != min.to_string() => min.to_string(),
                Kind::Integer(_, max, _) => max.to_string(),
                Kind::Number(min, _, _) if spec.default != format!("{min:?}") => format!("{min:?}"),
                Kind::Number(_, max, _) => format!("{max:?}"),
                Kind::Text(_) => "\"x\"".to_owned(),
                Kind::Choice(cases, _) | Kind::Switch(cases, _) => {
                    let quoted = cases.iter().map(|case| format!("\"{}\"", case.names[0]));
                    quoted.rev().find(|name| name != spec.default).unwrap()
                }
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
                r#"{"split-mode": "rows"}"#,
                r#"option `split-mode`: expected "none" (0), "layer" (1) or "row" (2), found "rows""#,
            ),
            (
                r#"{"flash-attn": 2}"#,
                r#"option `flash-attn`: expected true, false, "auto" (-1), "off" (0) or "on" (1), found 2"#,
            ),
            (
                r#"{"grammar": null}"#,
                "option `grammar`: expected a string, found null",
            ),
            (
                r#"{"n-predict": "3"}"#,
                "option `n-predict`: expected a whole number, found \"3\"",
            ),
            (
                r#"{"n-gpu-layers": 3000000000}"#,
                "option `n-gpu-layers`: expected a whole number of 32 bits, found 3000000000",
            ),
            (
                r#"{"tts": true}"#,
                "option `tts`: expected false, found true",
            ),
        ];
        for (json, message) in cases {
            let error = Options::default().apply(json.as_bytes()).unwrap_err();
            assert_eq!(error, Error::new(ErrorCode::InvalidArgument, message));
        }
    }

    /// What guests of WasmEdge send where it takes whatever it gets.
    #[test]
    fn values_that_can_only_mean_one_thing_are_taken() {
        for json in [
            r#"{"n-predict": -3}"#,
            r#"{"n-gpu-layers": 99999}"#,
            r#"{"n-gpu-layers": -2}"#,
            r#"{"seed": 12345678901234}"#,
            r#"{"threads": 1000}"#,
            r#"{"threads-batch": -5}"#,
            r#"{"top-k": -2}"#,
            r#"{"ubatch-size": 0}"#,
            r#"{"tts": false}"#,
        ] {
            let applied = Options::default().apply(json.as_bytes());
            assert_eq!(applied, Ok(()), "{json}");
        }
    }

    #[test]
    fn switches_take_truth_values_and_names() {
        for (value, expected) in [
            ("true", FlashAttention::On),
            ("false", FlashAttention::Off),
            ("\"auto\"", FlashAttention::Auto),
            ("\"enabled\"", FlashAttention::On),
            ("0", FlashAttention::Off),
        ] {
            let mut options = Options::default();
            let json = format!("{{\"flash-attn\": {value}}}");
            options.apply(json.as_bytes()).unwrap();
            assert_eq!(options.flash_attention, expected);
        }
    }

    #[test]
    fn the_document_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/options.md");
        let text = markdown();
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == text,
            "docs/options.md is not what the code says: BLESS=1 writes it"
        );
    }

    #[test]
    fn failure_changes_nothing_and_other_json_is_refused() {
        let mut options = Options::default();
        assert!(options.apply(br#"{"temp": 0, "top-p": 7}"#).is_err());
        assert_eq!(options, Options::default());
        for (json, code) in [
            (&b"[]"[..], ErrorCode::InvalidArgument),
            (b"7", ErrorCode::InvalidArgument),
            (b"", ErrorCode::InvalidEncoding),
            (b"{", ErrorCode::InvalidEncoding),
            (b"\xff\xfe", ErrorCode::InvalidEncoding),
            (b"{\"temp\": 0} x", ErrorCode::InvalidEncoding),
        ] {
            let error = options.apply(json).unwrap_err();
            assert_eq!(error.code, code, "{error}");
            assert!(
                error
                    .message
                    .starts_with("expected the options as a JSON object"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_grammar_and_a_schema_replace_each_other_and_the_schema_wins() {
        let mut options = Options::default();
        let mut after = |json: &str| {
            options.apply(json.as_bytes()).unwrap();
            (options.grammar.clone(), options.json_schema.clone())
        };
        let pair = |grammar: &str, schema: &str| (grammar.to_owned(), schema.to_owned());
        assert_eq!(
            after(r#"{"json-schema": "{}", "grammar": "g"}"#),
            pair("", "{}")
        );
        assert_eq!(after(r#"{"grammar": "g"}"#), pair("g", ""));
        assert_eq!(after(r#"{"json-schema": "{}"}"#), pair("", "{}"));
        assert_eq!(after(r#"{"grammar": ""}"#), pair("", ""));
    }

    #[test]
    fn unknown_options_are_accepted_and_the_nearest_is_known() {
        let mut options = Options::default();
        options
            .apply(br#"{"n-predcit": 5, "port": 80, "temp": 0.5}"#)
            .unwrap();
        assert_eq!(options.temp, 0.5);
        assert_eq!(nearest("n-predcit"), Some("n-predict"));
        assert_eq!(nearest("temperature"), Some("temp"));
        assert_eq!(nearest("ctx_size"), Some("ctx-size"));
        assert_eq!(nearest("llama3"), None);
    }
}
