//! Tokens, their probabilities and their counts.

use super::GgmlGraph;
use super::context::Context;
use super::prompt::Prompt;
use super::tokenize::tokenize;
use super::weights::Weights;
use crate::backend::language::{
    Candidate, LanguageContext, LanguageDescription, LanguageModel, TokenUsage,
};
use crate::backend::large_text::{check_size, check_tokens, turn};
use crate::{Error, ErrorCode};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use pollster::block_on;
use std::cmp::Ordering;

impl LanguageModel for GgmlGraph {
    fn describe(&self) -> LanguageDescription {
        let model = &self.loaded.weights.model;
        let vocab = model.vocab();
        let text = |token: LlamaToken| {
            let bytes = if is_token(model, token) {
                vocab.token_to_piece(token, true, None)
            } else {
                Vec::new()
            };
            String::from_utf8_lossy(&bytes).into_owned()
        };
        LanguageDescription {
            architecture: architecture(model),
            parameters: model.n_params(),
            context_length: model.n_ctx_train(),
            embedding_length: u32::try_from(model.n_embd()).unwrap_or(0),
            vocabulary_size: u32::try_from(model.n_vocab()).unwrap_or(0),
            chat_template: model.meta_val_str("tokenizer.chat_template").ok(),
            tool_template: model.meta_val_str("tokenizer.chat_template.tool_use").ok(),
            begin_of_text: text(vocab.bos()),
            added_begin_of_text: (vocab.should_add_bos() && is_token(model, vocab.bos()))
                .then(|| vocab.bos().0.cast_unsigned()),
            end_of_text: text(vocab.eos()),
            generates: check_generates(model).is_ok(),
            takes_images: self.takes_images(),
        }
    }

    fn tokenize(&self, text: &str, special: bool) -> Result<Vec<u32>, Error> {
        check_length(text.len())?;
        check_size(text.len(), self.origin.most_prompt_tokens)?;
        let _turn = turn(text.len(), &self.origin.monitor)?;
        let tokens = tokenize(&self.loaded.weights.model, text, false, special)?;
        Ok(tokens.iter().map(|token| token.0.cast_unsigned()).collect())
    }

    fn detokenize(&self, tokens: &[u32]) -> Result<Vec<u8>, Error> {
        let model = &self.loaded.weights.model;
        check_tokens(tokens.len(), self.origin.most_prompt_tokens)?;
        let mut bytes = Vec::new();
        for token in checked(model, tokens)? {
            bytes.extend_from_slice(&model.vocab().token_to_piece(token, true, None));
        }
        Ok(bytes)
    }
}

impl LanguageContext for Context {
    fn set_prompt(&mut self, tokens: &[u32]) -> Result<(), Error> {
        check_tokens(tokens.len(), self.most_prompt_tokens())?;
        let tokens = checked(&self.loaded.weights.model, tokens)?;
        self.replace_prompt(Prompt::Text(tokens));
        Ok(())
    }

    fn context_length(&mut self) -> Result<u32, Error> {
        let session = block_on(self.session())?;
        Ok(u32::try_from(session.size()).unwrap_or(u32::MAX))
    }

    fn candidates(&self, most: usize) -> Result<(Candidate, Vec<Candidate>), Error> {
        let (Some(chosen), Some(session)) = (self.chosen, &self.session) else {
            return Err(Error::new(
                ErrorCode::RuntimeError,
                "expected a step before its candidates are asked for, found none",
            ));
        };
        Ok(candidates(
            &self.loaded.weights,
            session.logits(),
            chosen,
            most,
        ))
    }

    fn generated(&self) -> Vec<u32> {
        let tokens = self.generated.iter();
        tokens.map(|token| token.0.cast_unsigned()).collect()
    }

    fn usage(&self) -> TokenUsage {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        TokenUsage {
            prompt: count(self.prompt.as_ref().map_or(0, Prompt::text_tokens)),
            cached: count(self.cached),
            generated: count(self.generated.len()),
        }
    }
}

/// llama.cpp counts bytes of prompts in `i32`.
pub(super) fn check_length(bytes: usize) -> Result<(), Error> {
    if i32::try_from(bytes).is_err() {
        return Err(Error::new(
            ErrorCode::TooLarge,
            format!("expected a text below 2 GiB, found {bytes} bytes"),
        ));
    }
    Ok(())
}

pub(super) fn architecture(model: &LlamaModel) -> String {
    model
        .meta_val_str("general.architecture")
        .unwrap_or_default()
}

/// llama.cpp aborts when a model that only encodes is asked for a token.
pub(super) fn check_generates(model: &LlamaModel) -> Result<(), Error> {
    let architecture = architecture(model);
    let causal = model
        .meta_val_str(&format!("{architecture}.attention.causal"))
        .map_or(true, |value| value != "false");
    if architecture.starts_with("t5") {
        return Err(Error::new(
            ErrorCode::UnsupportedOperation,
            format!("models of architecture {architecture}, with an encoder, are not supported"),
        ));
    }
    if !causal || architecture.contains("bert") {
        return Err(Error::new(
            ErrorCode::UnsupportedOperation,
            format!(
                "a model of architecture {architecture} generates no text: set option `embedding` to \
                 true"
            ),
        ));
    }
    Ok(())
}

fn is_token(model: &LlamaModel, token: LlamaToken) -> bool {
    (0..model.n_vocab()).contains(&token.0)
}

/// The tokens, if the vocabulary has them: llama.cpp reads beyond its tables otherwise.
fn checked(model: &LlamaModel, tokens: &[u32]) -> Result<Vec<LlamaToken>, Error> {
    tokens
        .iter()
        .map(|token| match i32::try_from(*token) {
            Ok(number) if is_token(model, LlamaToken(number)) => Ok(LlamaToken(number)),
            _ => Err(Error::invalid(format!(
                "expected tokens below {}, found {token}",
                model.n_vocab()
            ))),
        })
        .collect()
}

/// The chosen token and the likeliest ones.
fn candidates(
    weights: &Weights,
    logits: &[f32],
    chosen: LlamaToken,
    most: usize,
) -> (Candidate, Vec<Candidate>) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // In 64 bits: a vocabulary has up to a quarter of a million tokens.
    let sum: f64 = logits
        .iter()
        .map(|logit| f64::from(logit - largest).exp())
        .sum();
    let total = f64::from(largest) + sum.ln();
    let candidate = |index: usize| Candidate {
        token: u32::try_from(index).unwrap_or(u32::MAX),
        bytes: i32::try_from(index).map_or_else(
            |_| Vec::new(),
            |token| {
                weights
                    .model
                    .vocab()
                    .token_to_piece(LlamaToken(token), true, None)
            },
        ),
        logprob: (f64::from(logits[index]) - total) as f32,
    };
    let most = most.min(logits.len());
    let mut order: Vec<usize> = (0..logits.len()).collect();
    // Of equals the first, so that the order is the same each time.
    let likelier = |a: &usize, b: &usize| -> Ordering {
        logits[*b].total_cmp(&logits[*a]).then_with(|| a.cmp(b))
    };
    if most > 0 && most < order.len() {
        order.select_nth_unstable_by(most - 1, likelier);
    }
    order.truncate(most);
    order.sort_by(likelier);
    let index = usize::try_from(chosen.0).unwrap_or(0).min(logits.len() - 1);
    (candidate(index), order.into_iter().map(candidate).collect())
}
