//! Requests on the tiny model, whose text is known beforehand: limits, stop texts, errors.

use super::host::{
    EmbeddingOptions, Error, FinishReason, Format, Limits, Llm, NO_SAMPLING, Options, Sampling,
    limits, options, text_of, tiny, user,
};
use llm_wasi_host::testing::TinyModel;

fn continuation(model: &TinyModel, byte: u8, count: usize) -> String {
    String::from_utf8_lossy(&model.continuation(byte, count)).into_owned()
}

#[test]
fn the_configured_limit_and_the_request_s_own() {
    let model = TinyModel::new();
    let (_folder, registry) = tiny(&model);
    let mut llm = Llm::new(registry);
    let handle = llm.open(None, None).unwrap();
    for (asked, expected) in [(None, 32), (Some(limits(7)), 7), (Some(limits(0)), 0)] {
        let answer = llm
            .complete(
                handle,
                "Hello",
                &Options {
                    limits: asked,
                    ..options()
                },
            )
            .unwrap();
        assert_eq!(answer.finish.reason, FinishReason::Length);
        assert_eq!(answer.finish.usage.generated_tokens, expected);
        assert_eq!(answer.text, continuation(&model, b'o', expected as usize));
    }
}

#[test]
fn a_stop_text_ends_it_across_tokens_and_is_no_part_of_it() {
    let model = TinyModel::new();
    let (_folder, registry) = tiny(&model);
    let mut llm = Llm::new(registry);
    let handle = llm.open(None, None).unwrap();
    let whole = continuation(&model, b'o', 32);
    // Each byte is a token of its own.
    let stop: String = whole.chars().skip(5).take(3).collect();
    let before = &whole[..whole.find(&stop).unwrap()];
    let answer = llm
        .complete(
            handle,
            "Hello",
            &Options {
                limits: Some(Limits {
                    max_tokens: None,
                    stop: Some(vec!["not there".into(), stop]),
                    time_limit: None,
                }),
                ..options()
            },
        )
        .unwrap();
    assert_eq!(answer.text, before);
    assert_eq!(answer.finish.reason, FinishReason::Stop);
}

#[test]
fn a_full_context_ends_text_and_fails_a_format() {
    let model = TinyModel::new();
    let (_folder, registry) = tiny(&model);
    let mut llm = Llm::new(registry);
    let handle = llm.open(None, Some(100)).unwrap();
    assert_eq!(llm.info(handle).context_length, 256);
    let asked = Options {
        limits: Some(limits(100_000)),
        ..options()
    };
    let answer = llm.complete(handle, "Hello", &asked).unwrap();
    assert_eq!(answer.finish.reason, FinishReason::ContextFull);
    let usage = answer.finish.usage;
    assert_eq!(usage.prompt_tokens + usage.generated_tokens, 257);
    let formatted = Options {
        format: Some(Format::Grammar("root ::= [^~]*".into())),
        ..asked
    };
    match llm.complete(handle, "Hello", &formatted).unwrap_err() {
        Error::ContextFull(full) => {
            assert_eq!(full.context_length, 256);
            assert_eq!(full.prompt_tokens, 6);
            assert_eq!(full.generated_tokens, 251);
        }
        error => panic!("{error:?}"),
    }
}

#[test]
fn a_prompt_that_is_too_long_tells_both_numbers() {
    let (_folder, registry) = tiny(&TinyModel::new());
    let mut llm = Llm::new(registry);
    let handle = llm.open(None, Some(256)).unwrap();
    match llm
        .complete(handle, &"a".repeat(500), &options())
        .unwrap_err()
    {
        Error::PromptTooLong(long) => assert_eq!((long.prompt_tokens, long.most), (501, 252)),
        error => panic!("{error:?}"),
    }
    // And the next one is none the worse.
    llm.complete(handle, "a", &options()).unwrap();
}

#[test]
fn a_model_that_is_not_there_gets_the_names_there_are() {
    let (_folder, registry) = tiny(&TinyModel::new());
    let mut llm = Llm::new(registry);
    match llm.open(Some("other"), None).unwrap_err() {
        Error::ModelNotFound(missing) => {
            assert_eq!(missing.name, "other");
            assert_eq!(missing.available, ["default"]);
        }
        error => panic!("{error:?}"),
    }
}

#[test]
fn a_model_whose_file_is_not_there_is_told_from_an_unknown_name() {
    let (folder, registry) = tiny(&TinyModel::new());
    folder.close().unwrap();
    let mut llm = Llm::new(registry);
    match llm.open(None, None).unwrap_err() {
        Error::Backend(text) => assert!(text.contains("tiny.gguf"), "{text}"),
        error => panic!("{error:?}"),
    }
}

#[test]
fn each_field_that_makes_no_sense_is_named() {
    let (_folder, registry) = tiny(&TinyModel::new());
    let mut llm = Llm::new(registry);
    let handle = llm.open(None, None).unwrap();
    let sampling = |sampling: Sampling| Options {
        sampling: Some(sampling),
        ..options()
    };
    let cases = [
        (
            sampling(Sampling {
                temperature: Some(-1.0),
                ..NO_SAMPLING
            }),
            "sampling.temperature",
        ),
        (
            sampling(Sampling {
                top_p: Some(f32::NAN),
                ..NO_SAMPLING
            }),
            "sampling.top-p",
        ),
        (
            sampling(Sampling {
                top_k: Some(u32::MAX),
                ..NO_SAMPLING
            }),
            "sampling.top-k",
        ),
        (
            Options {
                logprobs: Some(21),
                ..options()
            },
            "logprobs",
        ),
        (
            Options {
                limits: Some(Limits {
                    max_tokens: None,
                    stop: Some(vec!["a".into(), String::new()]),
                    time_limit: None,
                }),
                ..options()
            },
            "limits.stop[1]",
        ),
        (
            Options {
                format: Some(Format::JsonSchema("[".into())),
                ..options()
            },
            "format",
        ),
        // Only llama.cpp knows that these make no sense.
        (
            Options {
                format: Some(Format::Grammar("root ::= nowhere".into())),
                ..options()
            },
            "format",
        ),
        (
            Options {
                format: Some(Format::JsonSchema(r#"{"type": "nothing"}"#.into())),
                ..options()
            },
            "format",
        ),
    ];
    for (asked, expected) in cases {
        match llm.complete(handle, "Hello", &asked).unwrap_err() {
            Error::InvalidRequest(invalid) => assert_eq!(invalid.field, expected),
            error => panic!("{expected}: {error:?}"),
        }
    }
    match llm.chat(handle, &[], &options()).unwrap_err() {
        Error::InvalidRequest(invalid) => assert_eq!(invalid.field, "messages"),
        error => panic!("{error:?}"),
    }
    match llm.open(None, Some(0)).unwrap_err() {
        Error::InvalidRequest(invalid) => assert_eq!(invalid.field, "options.context-length"),
        error => panic!("{error:?}"),
    }
}

#[test]
fn a_time_limit() {
    let (_folder, registry) = tiny(&TinyModel::new());
    let mut llm = Llm::new(registry);
    let handle = llm.open(None, None).unwrap();
    let asked = Options {
        limits: Some(Limits {
            max_tokens: Some(u32::MAX),
            stop: None,
            time_limit: Some(0),
        }),
        ..options()
    };
    assert_eq!(
        llm.complete(handle, "Hello", &asked).unwrap_err(),
        Error::Timeout
    );
}

#[test]
fn embeddings_of_several_texts() {
    let (_folder, registry) = tiny(&TinyModel::new());
    let mut llm = Llm::new(registry);
    let handle = llm.open(None, None).unwrap();
    let whole = EmbeddingOptions {
        normalize: None,
        dimensions: None,
    };
    let found = llm.embed(handle, &["one", "two", "one"], whole).unwrap();
    let length = llm.info(handle).embedding_length as usize;
    assert_eq!(found.vectors.len(), 3);
    assert_eq!(found.tokens, 12);
    assert_eq!(found.vectors[0], found.vectors[2]);
    assert_ne!(found.vectors[0], found.vectors[1]);
    for vector in &found.vectors {
        assert_eq!(vector.len(), length);
        let norm: f32 = vector.iter().map(|value| value * value).sum();
        assert!((norm - 1.0).abs() < 1e-4, "{norm}");
    }
    let short = EmbeddingOptions {
        normalize: Some(false),
        dimensions: Some(4),
    };
    assert_eq!(
        llm.embed(handle, &["one"], short).unwrap().vectors[0].len(),
        4
    );
    for (texts, options, field) in [
        (["one", ""], whole, "texts[1]"),
        (
            ["one", "two"],
            EmbeddingOptions {
                normalize: None,
                dimensions: Some(0),
            },
            "options.dimensions",
        ),
    ] {
        match llm.embed(handle, &texts, options).unwrap_err() {
            Error::InvalidRequest(invalid) => assert_eq!(invalid.field, field),
            error => panic!("{error:?}"),
        }
    }
}

#[test]
fn the_longest_text_of_an_embedding_is_told() {
    let model = TinyModel::new();
    let (_folder, registry) = tiny(&model);
    let mut llm = Llm::new(registry);
    let handle = llm.open(None, Some(256)).unwrap();
    let asked = EmbeddingOptions {
        dimensions: None,
        normalize: None,
    };
    // Each byte is a token, and one begins the text.
    let embeddings = llm.embed(handle, &[&"x".repeat(251)], asked).unwrap();
    assert_eq!(embeddings.tokens, 252);
    match llm.embed(handle, &[&"x".repeat(252)], asked).unwrap_err() {
        Error::PromptTooLong(found) => assert_eq!((found.prompt_tokens, found.most), (253, 252)),
        error => panic!("{error:?}"),
    }
}

#[test]
fn a_conversation_keeps_what_a_dropped_stream_gave_and_nothing_of_a_failure() {
    let model = TinyModel::new();
    let (_folder, registry) = tiny(&model);
    let mut llm = Llm::new(registry);
    let handle = llm.open(None, Some(512)).unwrap();
    let conversation = llm.begin(handle, &[], &options()).unwrap();
    let stream = llm.stream_answer(conversation, &user("Hi")).unwrap();
    llm.next(stream).unwrap();
    // One at a time.
    match llm.say(conversation, &user("Hm")).unwrap_err() {
        Error::InvalidRequest(invalid) => assert_eq!(invalid.field, "message"),
        error => panic!("{error:?}"),
    }
    llm.drop(stream);
    assert_eq!(llm.messages(conversation).len(), 2);
    assert!(matches!(
        llm.say(conversation, &user(&"x".repeat(600))).unwrap_err(),
        Error::PromptTooLong(_)
    ));
    assert_eq!(llm.messages(conversation).len(), 2);
    let stream = llm.stream_answer(conversation, &user("Hm")).unwrap();
    let (_, finish) = text_of(&llm.events(stream));
    assert_eq!(finish.reason, FinishReason::Length);
    assert_eq!(llm.messages(conversation).len(), 4);
    for state in [&b""[..], b"{}", b"\xff", br#"{"version": 2}"#] {
        match llm.restore(handle, state).unwrap_err() {
            Error::InvalidRequest(invalid) => assert_eq!(invalid.field, "state"),
            error => panic!("{error:?}"),
        }
    }
}

#[test]
fn a_model_without_a_template_gets_chatml() {
    // ChatML's prompts end with a line end.
    let model = TinyModel::new().following(b'\n', b'a');
    let (_folder, registry) = tiny(&model);
    let mut llm = Llm::new(registry);
    let handle = llm.open(None, None).unwrap();
    assert_eq!(llm.info(handle).chat_template, None);
    let messages = [user("Hello")];
    let prompt = llm.render(handle, &messages, &options()).unwrap();
    assert_eq!(
        prompt,
        "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    );
    let tokens = llm.tokenize(handle, &prompt, true);
    assert_eq!(llm.detokenize(handle, &tokens).unwrap(), prompt.as_bytes());
    let answer = llm.chat(handle, &messages, &options()).unwrap();
    assert_eq!(answer.text, continuation(&model, b'\n', 32));
}
