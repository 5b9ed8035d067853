//! Texts that are made to take long or to go deep.

use super::{Format, Parser, Piece};
use std::time::{Duration, Instant};

/// So many bytes of it, in parts as a model's tokens are. Gives what came out, and takes no longer than
/// something linear does in the slowest of builds.
fn parse(format: Format, unit: &str, size: usize) -> Vec<Piece> {
    let text = unit.repeat(size / unit.len());
    let from = Instant::now();
    let mut parser = Parser::new(format, &[]);
    let mut pieces = Vec::new();
    let characters: Vec<char> = text.chars().collect();
    for part in characters.chunks(4) {
        pieces.extend(parser.push(&part.iter().collect::<String>()));
    }
    pieces.extend(parser.end());
    let took = from.elapsed();
    assert!(
        took < Duration::from_secs(20),
        "{format:?} {unit:?}: {took:?}"
    );
    let out: usize = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Call(_) => 0,
        })
        .sum();
    if pieces.iter().all(|piece| matches!(piece, Piece::Text(_))) {
        assert_eq!(out, text.len(), "{format:?} {unit:?}");
    }
    pieces
}

#[test]
fn a_long_text_of_anything_takes_no_quadratic_time() {
    for unit in ["{", "[", "\"", " ", "a", "<", ">"] {
        for format in [
            Format::Hermes,
            Format::Llama,
            Format::Mistral,
            Format::Functionary,
        ] {
            parse(format, unit, 1 << 17);
        }
    }
    for (format, unit) in [
        (Format::Hermes, "<tool_call>"),
        (Format::Hermes, "<tool_call>{\""),
        (Format::Hermes, "<tool_call>{</tool_call>"),
        (
            Format::Hermes,
            "<tool_call>                                        ",
        ),
        (Format::QwenCoder, "<tool_call><function=f><parameter=a>"),
        (Format::QwenCoder, "<function="),
        (Format::Llama, "<|python_tag|>{"),
        (Format::Mistral, "[TOOL_CALLS]f[ARGS]"),
        (
            Format::Mistral,
            "[TOOL_CALLS]ffffffffffffffffffffffffffffffffffffffffffffffff",
        ),
        (Format::DeepSeek, "<｜tool▁call▁begin｜>"),
        (Format::DeepSeek, "<｜tool▁calls▁begin｜>{"),
        (Format::Command, "Action: ```json{\"\n"),
        (Format::Functionary, ">>>"),
        (Format::Functionary, ">>>f"),
    ] {
        parse(format, unit, 1 << 18);
    }
    parse(Format::Llama, "{", 1 << 20);
    parse(Format::Hermes, "<tool_call>{", 1 << 20);
    let calls = parse(
        Format::Hermes,
        "<tool_call>{\"name\": \"f\"}</tool_call>",
        1 << 18,
    );
    assert!(calls.len() > 5_000, "{}", calls.len());
}

/// Wasm has a stack of a mebibyte; this one is smaller, and the builds of tests use more of it.
#[test]
fn nothing_goes_as_deep_as_the_text() {
    let deep = |open: &str, close: &str| open.repeat(10_000) + &close.repeat(10_000);
    let thread = std::thread::Builder::new().stack_size(512 << 10);
    let thread = thread.spawn(move || {
        for json in [
            deep("[", "]"),
            deep("{\"a\":", "}"),
            deep("[{\"name\":", "}]"),
        ] {
            for (format, opening) in [
                (Format::Hermes, "<tool_call>"),
                (Format::Mistral, "[TOOL_CALLS]f"),
                (Format::Llama, "<|python_tag|>"),
                (Format::QwenCoder, "<function=f><parameter=a>"),
            ] {
                let text = format!("{opening}{json}");
                let mut parser = Parser::new(format, &[]);
                let mut pieces = parser.push(&text);
                pieces.extend(parser.end());
                assert!(pieces.iter().all(|piece| matches!(piece, Piece::Text(_))));
            }
            let whole = format!("<function=f><parameter=a>{json}</parameter></function>");
            let mut parser = Parser::new(Format::QwenCoder, &[]);
            // What is too deep for JSON is a text.
            assert!(matches!(&parser.push(&whole)[..], [Piece::Call(_)]));
        }
    });
    thread.unwrap().join().unwrap();
}
