//! What the header of a GGUF file tells.

use llm_wasi_host::gguf::Gguf;
use llm_wasi_host::testing::TinyModel;
use std::io::Cursor;

fn read(bytes: &[u8]) -> Gguf {
    Gguf::read(Cursor::new(bytes), bytes.len() as u64).unwrap()
}

#[test]
fn facts_about_a_model() {
    let gguf = read(&TinyModel::new().to_gguf());
    assert_eq!(gguf.architecture(), Some("llama"));
    assert_eq!(gguf.quantization(), Some("F32"));
    assert_eq!(gguf.architecture_number("context_length"), Some(512));
    assert_eq!(gguf.vocabulary(), Some(258));
    // Two layers with two heads, whose keys and values have 16 elements of 2 bytes each.
    assert_eq!(gguf.kv_cache_size(256), Some(2 * 2 * 32 * 2 * 256));
    assert_eq!(
        gguf.compute_buffer_size(256),
        Some(((258 + 64) * 4 + 256 * 2) * 512)
    );
}

#[test]
fn short_lists_of_numbers_are_kept() {
    let gguf = read(&TinyModel::new().to_gguf());
    let types = &gguf.lists["tokenizer.ggml.token_type"];
    assert_eq!(gguf.arrays["tokenizer.ggml.token_type"], 258);
    assert_eq!(types.len(), 258);
    assert_eq!((types[0], types[257]), (1, 3));
    assert!(!gguf.lists.contains_key("tokenizer.ggml.tokens"));
}

#[test]
fn parts_of_a_split_model_have_the_whole_together() {
    let whole = read(&TinyModel::new().to_gguf());
    let parts = TinyModel::new().to_split_gguf(3);
    let parts: Vec<Gguf> = parts.iter().map(|part| read(part)).collect();
    let sum = |of: fn(&Gguf) -> u64| parts.iter().map(of).sum::<u64>();
    assert_eq!(sum(|part| part.tensors), whole.tensors);
    assert_eq!(sum(|part| part.parameters), whole.parameters);
    assert_eq!(parts[0].architecture(), Some("llama"));
    assert_eq!(parts[2].number("split.no"), Some(2));
    assert_eq!(parts[2].number("split.count"), Some(3));
}

#[test]
fn a_file_that_is_cut_short_is_refused_wherever_that_is() {
    let whole = TinyModel::new().to_gguf();
    let data = usize::try_from(read(&whole).end).unwrap();
    // Anywhere in the header, anywhere in the data, and where only a byte is missing.
    let lengths = (0..data)
        .step_by(7)
        .chain((data..whole.len()).step_by(1009));
    for length in lengths.chain([whole.len() - 1]) {
        let read = Gguf::read(Cursor::new(&whole[..length]), length as u64);
        assert!(read.is_err(), "{length} of {} bytes", whole.len());
    }
    let error = Gguf::read(Cursor::new(&whole), whole.len() as u64 - 1).unwrap_err();
    let expected = format!("it has {} bytes of {}", whole.len() - 1, whole.len());
    assert!(error.to_string().contains(&expected), "{error}");
}

/// llama.cpp would end the process.
#[test]
fn an_epsilon_is_not_negative() {
    let good = TinyModel::new().to_gguf();
    let key = b"llama.attention.layer_norm_rms_epsilon";
    let at = good.windows(key.len()).position(|w| w == key).unwrap() + key.len() + 4;
    for (epsilon, is_good) in [
        (1e-6_f32, true),
        (0.0, true),
        (-1e-5, false),
        (f32::NAN, false),
        (f32::NEG_INFINITY, false),
    ] {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&epsilon.to_le_bytes());
        let result = Gguf::read(Cursor::new(&bytes), bytes.len() as u64);
        assert_eq!(result.is_ok(), is_good, "{epsilon}");
    }
}

#[test]
fn weights_have_types_that_can_be_multiplied_with() {
    let good = TinyModel::new().to_gguf();
    let name = b"blk.0.attn_q.weight";
    // Behind the name its number of dimensions, and two of them.
    let at = good.windows(name.len()).position(|w| w == name).unwrap() + name.len() + 20;
    for (ty, is_good) in [(0_u32, true), (28, false), (26, false), (9, false)] {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&ty.to_le_bytes());
        let result = Gguf::read(Cursor::new(&bytes), bytes.len() as u64);
        assert_eq!(result.is_ok(), is_good, "{ty}");
    }
}
