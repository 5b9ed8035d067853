//! The texts of a model's special tokens, which chat templates ask for.

use llm_wasi_host::gguf::Gguf;
use llm_wasi_host::testing::TinyModel;
use std::io::Cursor;

const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";

fn read(file: &[u8]) -> Gguf {
    Gguf::read(Cursor::new(file), file.len() as u64).unwrap()
}

#[test]
fn texts_by_the_key_of_their_number() {
    let gguf = read(&TinyModel::new().to_gguf());
    let texts: Vec<_> = gguf
        .special_tokens
        .iter()
        .map(|(key, text)| (&**key, &**text))
        .collect();
    assert_eq!(texts, [(BOS, "<|bos|>"), (EOS, "<|eos|>")]);
}

#[test]
fn a_number_beyond_the_vocabulary_has_no_text() {
    let mut file = TinyModel::new().to_gguf();
    let key = file
        .windows(BOS.len())
        .position(|part| part == BOS.as_bytes());
    // After the key come the type and the number.
    let number = key.unwrap() + BOS.len() + 4;
    file[number..number + 4].copy_from_slice(&9_999_u32.to_le_bytes());
    let gguf = read(&file);
    assert_eq!(gguf.number(BOS), Some(9_999));
    assert_eq!(gguf.special_tokens.keys().collect::<Vec<_>>(), [EOS]);
}
