//! Chooses the next token.

use super::options::Options;
use crate::{Error, ErrorCode};
use llama_cpp_2::json_schema_to_grammar;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;
use llama_cpp_2::token::logit_bias::LlamaLogitBias;

/// The target entropy of Mirostat; WasmEdge has no option for it.
const MIROSTAT_TAU: f32 = 5.0;
/// How many tokens Mirostat 1 looks at, as in its paper.
const MIROSTAT_M: i32 = 100;
/// What ends a sequence for DRY, as in llama.cpp's own programs.
const DRY_BREAKERS: [&str; 4] = ["\n", ":", "\"", "*"];
/// How deep the groups of a grammar may nest.
const MAX_GROUPS: usize = 100;
/// How many rules a grammar may have.
const MAX_RULES: usize = 2000;

/// A chain of llama.cpp's samplers, and a grammar that comes before them.
pub(super) struct Sampler {
    chain: LlamaSampler,
    /// Filled anew for each token.
    candidates: LlamaTokenDataArray,
    grammar: Option<LlamaSampler>,
    /// Whether the likeliest token is all that is asked for.
    likeliest: bool,
}

impl Sampler {
    /// The order and the conditions are those of llama.cpp's own programs.
    pub(super) fn new(model: &LlamaModel, options: &Options) -> Result<Self, Error> {
        let whole_context = i32::try_from(model.n_ctx_train()).unwrap_or(i32::MAX);
        let window = |tokens| if tokens < 0 { whole_context } else { tokens };
        // llama.cpp takes the lower half; all of its bits set ask for a random seed.
        let seed = options.seed as u32;
        let mut samplers = Vec::new();
        let impossible = impossible(model, options.ignore_eos);
        if !impossible.is_empty() {
            samplers.push(LlamaSampler::logit_bias(model.n_vocab(), &impossible));
        }
        // Mirostat keeps texts from repeating themselves by its own means.
        let is_mirostat = options.mirostat != 0;
        let penalizes = options.repeat_penalty != 1.0
            || options.presence_penalty != 0.0
            || options.frequency_penalty != 0.0;
        if penalizes && options.last_n_penalty != 0 && !is_mirostat {
            samplers.push(LlamaSampler::penalties(
                model.n_vocab(),
                window(options.last_n_penalty),
                options.repeat_penalty,
                options.frequency_penalty,
                options.presence_penalty,
            ));
        }
        if options.dry_multiplier > 0.0 && options.dry_last_n_penalty != 0 && !is_mirostat {
            samplers.push(LlamaSampler::dry(
                model,
                options.dry_multiplier,
                options.dry_base,
                options.dry_allowed_length,
                window(options.dry_last_n_penalty),
                DRY_BREAKERS,
            ));
        }
        // These leave the likeliest token out.
        let may_skip_likeliest = options.typ_p < 1.0 || options.xtc_probability > 0.0;
        if options.temp <= 0.0 && (is_mirostat || !may_skip_likeliest) {
            samplers.push(LlamaSampler::greedy());
        } else {
            let min_keep = options.min_keep as usize;
            let eta = options.mirostat_eta;
            match options.mirostat {
                1 => samplers.extend([
                    LlamaSampler::temp(options.temp),
                    LlamaSampler::mirostat(model.n_vocab(), seed, MIROSTAT_TAU, eta, MIROSTAT_M),
                ]),
                2 => samplers.extend([
                    LlamaSampler::temp(options.temp),
                    LlamaSampler::mirostat_v2(seed, MIROSTAT_TAU, eta),
                ]),
                _ => samplers.extend([
                    LlamaSampler::top_k(options.top_k),
                    LlamaSampler::typical(options.typ_p, min_keep),
                    LlamaSampler::top_p(options.top_p, min_keep),
                    LlamaSampler::min_p(options.min_p, min_keep),
                    LlamaSampler::xtc(
                        options.xtc_probability,
                        options.xtc_threshold,
                        min_keep,
                        seed,
                    ),
                    LlamaSampler::temp_ext(
                        options.temp,
                        options.dynatemp_range,
                        options.dynatemp_exponent,
                    ),
                    LlamaSampler::dist(seed),
                ]),
            }
        }
        // Setting one of the two has cleared the other.
        let grammar = match (options.grammar.as_str(), options.json_schema.as_str()) {
            ("", "") => None,
            ("", schema) => Some(make_grammar(model, "json-schema", &of_schema(schema)?)?),
            (grammar, _) => Some(make_grammar(model, "grammar", grammar)?),
        };
        Ok(Self {
            likeliest: options.temp <= 0.0 && samplers.len() == 1 && grammar.is_none(),
            chain: LlamaSampler::chain(samplers, true),
            candidates: LlamaTokenDataArray::new(Vec::new(), false),
            grammar,
        })
    }

    /// Chooses from the logits of a place: one for each token of the vocabulary.
    pub(super) fn sample(&mut self, logits: &[f32]) -> Result<LlamaToken, Error> {
        if self.likeliest
            && let Some(token) = likeliest(logits)
        {
            return Ok(token);
        }
        let candidates = &mut self.candidates;
        candidates.data.clear();
        candidates.data.extend(
            (0..)
                .zip(logits)
                .map(|(token, logit)| LlamaTokenData::new(LlamaToken(token), *logit, 0.0)),
        );
        candidates.sorted = false;
        candidates.selected = None;
        if let Some(grammar) = &mut self.grammar {
            candidates.apply_sampler(grammar);
            // llama.cpp aborts if a token that the grammar forbids is accepted.
            candidates
                .data
                .retain(|candidate| candidate.logit() > f32::NEG_INFINITY);
        }
        if candidates.data.is_empty() {
            return Err(Error::new(
                ErrorCode::RuntimeError,
                "no token of the model fits the grammar here: check option `grammar`",
            ));
        }
        candidates.apply_sampler(&mut self.chain);
        let token = candidates.selected_token().ok_or_else(|| {
            Error::new(
                ErrorCode::RuntimeError,
                "llama.cpp's samplers chose no token",
            )
        })?;
        for sampler in self.grammar.iter_mut().chain([&mut self.chain]) {
            sampler.try_accept(token).map_err(|error| {
                Error::new(
                    ErrorCode::RuntimeError,
                    format!("the grammar does not accept the token that was chosen: {error}"),
                )
            })?;
        }
        Ok(token)
    }
}

/// The first of the likeliest tokens, as llama.cpp's greedy sampler has it, without a list of candidates.
fn likeliest(logits: &[f32]) -> Option<LlamaToken> {
    // Several at once, which compilers make one instruction of.
    let mut most = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = logits.as_chunks::<16>();
    for chunk in chunks {
        for (most, logit) in most.iter_mut().zip(chunk) {
            *most = if *logit > *most { *logit } else { *most };
        }
    }
    let most = most
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::NEG_INFINITY, f32::max);
    let token = logits.iter().position(|logit| *logit == most)?;
    i32::try_from(token).ok().map(LlamaToken)
}

/// Makes the tokens impossible that the model says are none of a text, and those that end one, if that must `never_end`.
fn impossible(model: &LlamaModel, never_end: bool) -> Vec<LlamaLogitBias> {
    let vocab = model.vocab();
    let suppressed = vocab.suppress_tokens().iter().copied();
    let ends = vocab
        .tokens()
        .filter(|token| never_end && vocab.is_eog(*token));
    suppressed
        .chain(ends)
        .map(|token| LlamaLogitBias::new(token, f32::NEG_INFINITY))
        .collect()
}

/// The grammar of texts that a JSON schema describes. llama.cpp's translation recurses, so nesting is
/// limited, as in a grammar.
fn of_schema(schema: &str) -> Result<String, Error> {
    let wrong = |reason: &dyn std::fmt::Display| {
        Error::invalid(format!(
            "option `json-schema`: expected a JSON schema such as {{\"type\": \"object\"}}: {reason}"
        ))
    };
    let parsed: serde_json::Value = serde_json::from_str(schema).map_err(|error| wrong(&error))?;
    if !parsed.is_object() {
        return Err(wrong(&"found no object"));
    }
    // References to other places would make llama.cpp fetch them.
    if has_remote_reference(&parsed) {
        return Err(wrong(&"found a `$ref` that leads out of the schema"));
    }
    json_schema_to_grammar(schema).map_err(|_| {
        wrong(
            &"llama.cpp can make no grammar of this one: check that its types are JSON's, each `enum` has \
              values, and each `$ref` leads to another place in it",
        )
    })
}

fn has_remote_reference(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Object(object) => object.iter().any(|(key, value)| {
            let remote = key == "$ref" && value.as_str().is_none_or(|to| !to.starts_with('#'));
            remote || has_remote_reference(value)
        }),
        serde_json::Value::Array(values) => values.iter().any(has_remote_reference),
        _ => false,
    }
}

/// Parses a grammar. llama.cpp recurses into groups and from rule to rule, so both are limited.
fn make_grammar(model: &LlamaModel, option: &str, grammar: &str) -> Result<LlamaSampler, Error> {
    let mut depth = 0_usize;
    let mut deepest = 0;
    for byte in grammar.bytes() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    let rules = grammar.matches("::=").count();
    if deepest > MAX_GROUPS || rules > MAX_RULES {
        return Err(Error::new(
            ErrorCode::TooLarge,
            format!(
                "option `{option}`: expected at most {MAX_RULES} rules and groups nested {MAX_GROUPS} \
                 deep, found {rules} rules and {deepest} deep"
            ),
        ));
    }
    LlamaSampler::grammar(model, grammar, "root").map_err(|error| {
        Error::invalid(format!(
            "option `{option}`: expected a GBNF grammar with a rule `root`: {error}; llama.cpp's log says where"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_token_is_that_of_llama_cpp() {
        let mut logits: Vec<f32> = (0..100_u32).map(|i| (i * 37 % 101) as f32).collect();
        for (at, logit) in [(50, 200.0), (99, 300.0), (0, 300.0), (17, f32::INFINITY)] {
            logits[at] = logit;
            for length in [1, 16, 18, 51, 100] {
                let logits = &logits[..length];
                let mut candidates = LlamaTokenDataArray::from_iter(
                    (0..)
                        .zip(logits)
                        .map(|(token, logit)| LlamaTokenData::new(LlamaToken(token), *logit, 0.0)),
                    false,
                );
                candidates.apply_sampler(&mut LlamaSampler::greedy());
                assert_eq!(likeliest(logits), candidates.selected_token());
            }
        }
        assert_eq!(likeliest(&[]), None);
        // What is no number is nothing to compare with: llama.cpp's sampler decides.
        assert_eq!(likeliest(&[f32::NAN]), None);
    }
}
