//! Vocabularies on which llama.cpp would end the process, with the first text that it takes apart.

use super::{BadGguf, Gguf};
use std::collections::HashMap;

/// Tokenizers without a token of their own that begins every text.
const WITHOUT_BEGIN: [&str; 3] = ["t5", "plamo2", "gemma4"];

/// Fails for a vocabulary that the tokenizer cannot work with. `tokens` are the vocabulary's texts.
pub(super) fn check(gguf: &Gguf, tokens: &HashMap<Vec<u8>, u64>) -> Result<(), BadGguf> {
    // Projectors and the further parts of split models have none.
    let Some(tokenizer) = gguf.text("tokenizer.ggml.model") else {
        return Ok(());
    };
    if matches!(tokenizer, "none" | "no_vocab") {
        return Err(BadGguf(format!(
            "expected a model with a vocabulary, found the tokenizer `{tokenizer}`: this host has no use for models \
             that do not take texts"
        )));
    }
    if tokenizer == "llama" {
        let is_there = |byte: u8| {
            tokens.contains_key(format!("<0x{byte:02X}>").as_bytes())
                || tokens.contains_key(&[byte][..])
        };
        // Tokens are kept up to their first 0; a text has none either.
        if let Some(byte) = (1..=u8::MAX).find(|byte| !is_there(*byte)) {
            return Err(BadGguf(format!(
                "expected a vocabulary with a token for each byte, as the tokenizer `llama` needs it, found none for \
                 <0x{byte:02X}>: convert the model again"
            )));
        }
    }
    let begins = matches!(
        gguf.metadata.get("tokenizer.ggml.add_bos_token"),
        Some(super::Value::Flag(true))
    );
    if begins && WITHOUT_BEGIN.contains(&tokenizer) {
        let known = gguf.number("tokenizer.ggml.bos_token_id");
        if known.is_none_or(|token| token >= gguf.vocabulary().unwrap_or_default()) {
            return Err(BadGguf(format!(
                "expected the number of the token that begins every text, since tokenizer.ggml.add_bos_token is \
                 true, found {}: convert the model again",
                known.map_or("none".to_owned(), |token| token.to_string())
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Value;

    fn model(tokenizer: &str, others: &[(&str, Value)]) -> Gguf {
        let mut gguf = Gguf::default();
        let tokenizer = Value::Text(tokenizer.to_owned());
        gguf.metadata
            .insert("tokenizer.ggml.model".to_owned(), tokenizer);
        for (key, value) in others {
            gguf.metadata.insert((*key).to_owned(), value.clone());
        }
        gguf.arrays.insert("tokenizer.ggml.tokens".to_owned(), 3);
        gguf
    }

    fn bytes(from: u8) -> HashMap<Vec<u8>, u64> {
        (from..=u8::MAX)
            .map(|byte| (format!("<0x{byte:02X}>").into_bytes(), byte.into()))
            .collect()
    }

    #[test]
    fn a_model_without_a_vocabulary() {
        for name in ["none", "no_vocab"] {
            let error = check(&model(name, &[]), &bytes(0)).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        check(&Gguf::default(), &HashMap::new()).unwrap();
        check(&model("gpt2", &[]), &HashMap::new()).unwrap();
    }

    #[test]
    fn a_byte_without_a_token() {
        check(&model("llama", &[]), &bytes(1)).unwrap();
        let mut tokens = bytes(1);
        tokens.remove(&b"<0x41>"[..]);
        let error = check(&model("llama", &[]), &tokens)
            .unwrap_err()
            .to_string();
        assert!(error.contains("<0x41>"), "{error}");
        tokens.insert(b"A".to_vec(), 0);
        check(&model("llama", &[]), &tokens).unwrap();
    }

    #[test]
    fn a_text_that_begins_with_no_token() {
        let add = ("tokenizer.ggml.add_bos_token", Value::Flag(true));
        let number = |number| ("tokenizer.ggml.bos_token_id", Value::Integer(number));
        let tokens = HashMap::new();
        assert!(check(&model("t5", std::slice::from_ref(&add)), &tokens).is_err());
        assert!(check(&model("t5", &[add.clone(), number(3)]), &tokens).is_err());
        assert!(check(&model("t5", &[add.clone(), number(-1)]), &tokens).is_err());
        check(&model("t5", &[add.clone(), number(2)]), &tokens).unwrap();
        check(&model("t5", &[]), &tokens).unwrap();
        check(&model("gpt2", &[add]), &tokens).unwrap();
    }
}
