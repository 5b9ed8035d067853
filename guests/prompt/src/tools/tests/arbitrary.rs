//! Texts of parts in any order, which no model wrote.

use super::*;

const FORMATS: [Format; 8] = [
    Format::Hermes,
    Format::QwenCoder,
    Format::Llama,
    Format::Mistral,
    Format::DeepSeek,
    Format::Granite,
    Format::Command,
    Format::Functionary,
];

/// Parts of all formats in any order: the parts they arrive in make no difference, nothing is lost of
/// a text without calls, and nothing panics.
#[test]
fn arbitrary_texts() {
    let words = [
        "<tool_call>",
        "</tool_call>",
        "<function=",
        "f>",
        "</function>",
        "<parameter=a>",
        "</parameter>",
        "<|python_tag|>",
        "[TOOL_CALLS]",
        "[ARGS]",
        "[CALL_ID]",
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁sep｜>",
        "<｜tool▁call▁end｜>",
        "<|tool_call|>",
        "<|/tool_call|>",
        "Action:",
        "```json",
        "```",
        "<|START_ACTION|>",
        ">>>",
        "all\n",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\",
        ":",
        ";",
        ",",
        "\n",
        " ",
        "ä",
        "𝄞",
        "<",
        "name",
        "{\"name\": \"f\", \"parameters\": {}}",
        "[{\"name\": \"g\"}]",
        "{}",
    ];
    let mut random = Random(1);
    let (mut with_calls, mut without) = (0, 0);
    for round in 0..4_000 {
        let format = FORMATS[round % FORMATS.len()];
        let openings = format.openings();
        let word = |random: &mut Random| match random.below(3) {
            0 => openings[random.below(openings.len())].text,
            1 => words[words.len() - 1 - random.below(3)],
            _ => words[random.below(words.len())],
        };
        let count = random.below(12);
        let text: String = (0..count).map(|_| word(&mut random)).collect();
        let whole = parse(format, [&*text]);
        for longest in [1, 5, 30] {
            let parts = parts(&text, &mut random, longest);
            assert_eq!(
                parse(format, parts.iter().copied()),
                whole,
                "{format:?} {parts:?}"
            );
        }
        if whole.iter().any(|piece| matches!(piece, Piece::Call(_))) {
            with_calls += 1;
        } else if format != Format::Functionary {
            let expected = if text.is_empty() {
                vec![]
            } else {
                vec![Piece::Text(text)]
            };
            assert_eq!(whole, expected, "{format:?}");
            without += 1;
        }
    }
    assert!(
        with_calls > 200 && without > 1_000,
        "{with_calls} {without}"
    );
}

#[test]
fn texts_without_an_opening_come_out_as_they_are() {
    let mut random = Random(2);
    for round in 0..2_000 {
        // Of a part of Unicode each, without the characters that openings begin with.
        let low = [0x20, 0x80, 0x2500, 0x1_f000][round % 4];
        let text: String = (0..random.below(60))
            .filter_map(|_| char::from_u32(low + random.below(0x100) as u32))
            .filter(|character| !"<[{>A".contains(*character))
            .collect();
        for format in FORMATS {
            let expected = if text.is_empty() {
                vec![]
            } else {
                vec![Piece::Text(text.clone())]
            };
            assert_eq!(parse(format, [&*text]), expected, "{format:?}");
        }
    }
}
