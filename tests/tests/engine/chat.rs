//! Chats with a real model.

use super::host::{
    Capabilities, Error, Event, FinishReason, Format, Llm, Options, Role, Tool, ToolChoice, limits,
    message, options, smollm2, text_of, user,
};

#[test]
fn a_model_says_what_it_is() {
    let Some(registry) = smollm2() else { return };
    let mut llm = Llm::new(registry);
    assert_eq!(llm.names(), ["default"]);
    let model = llm.open(None, None).unwrap();
    let info = llm.info(model);
    assert_eq!(
        (info.name.as_str(), info.architecture.as_str()),
        ("default", "llama")
    );
    assert_eq!(
        (info.context_length, info.trained_context_length),
        (4096, 8192)
    );
    assert_eq!((info.embedding_length, info.vocabulary_size), (576, 49152));
    assert!(info.chat_template.unwrap().contains("<|im_start|>"));
    assert!(info.capabilities.contains(Capabilities::GENERATE));
    assert!(info.capabilities.contains(Capabilities::SYSTEM_PROMPT));
    assert!(!info.capabilities.contains(Capabilities::IMAGES));
}

#[test]
fn tokens_and_texts() {
    let Some(registry) = smollm2() else { return };
    let mut llm = Llm::new(registry);
    let model = llm.open(Some("default"), None).unwrap();
    let text = "The Zugspitze – 2962 m – é<|im_end|>";
    let plain = llm.tokenize(model, text, false);
    let special = llm.tokenize(model, text, true);
    assert!(special.len() < plain.len());
    for tokens in [&plain, &special] {
        assert_eq!(llm.detokenize(model, tokens).unwrap(), text.as_bytes());
    }
    assert_eq!(llm.count(model, text) as usize, plain.len());
    assert!(matches!(
        llm.detokenize(model, &[u32::MAX]).unwrap_err(),
        Error::InvalidRequest(invalid) if invalid.field == "tokens[0]"
    ));
}

#[test]
fn an_answer_whole_and_streamed() {
    let Some(registry) = smollm2() else { return };
    let mut llm = Llm::new(registry);
    let model = llm.open(None, None).unwrap();
    let messages = [
        message(Role::System, "You answer in one word."),
        user("What is the capital of France?"),
    ];
    let rendered = llm.render(model, &messages, &options()).unwrap();
    assert_eq!(
        rendered,
        "<|im_start|>system\nYou answer in one word.<|im_end|>\n<|im_start|>user\nWhat is the capital of \
         France?<|im_end|>\n<|im_start|>assistant\n"
    );
    let answer = llm.chat(model, &messages, &options()).unwrap();
    assert!(answer.text.contains("Paris"), "{answer:?}");
    assert_eq!(answer.finish.reason, FinishReason::End);
    let usage = answer.finish.usage;
    let tokens = llm.tokenize(model, &rendered, true).len();
    assert_eq!(usage.prompt_tokens as usize, tokens);
    assert_eq!(usage.cached_tokens, 0);
    assert!(usage.first_token_time > 0 && usage.total_time >= usage.first_token_time);

    let stream = llm.stream_completion(model, &rendered, &options()).unwrap();
    let events = llm.events(stream);
    assert!(events.len() > 1);
    llm.drop(stream);
    // The prompt is text now, with special tokens read as text.
    let (_, finish) = text_of(&events);
    assert!(finish.usage.prompt_tokens > usage.prompt_tokens);
}

#[test]
fn a_second_turn_evaluates_only_what_is_new() {
    let Some(registry) = smollm2() else { return };
    let mut llm = Llm::new(registry);
    let model = llm.open(None, None).unwrap();
    let begun = [message(Role::System, "You are a helpful assistant.")];
    let conversation = llm
        .begin(
            model,
            &begun,
            &Options {
                limits: Some(limits(24)),
                ..options()
            },
        )
        .unwrap();
    let first = llm
        .say(conversation, &user("My name is Ada. What is 2 + 2?"))
        .unwrap();
    let one = first.finish.usage;
    assert_eq!(one.cached_tokens, 0);
    let second = llm.say(conversation, &user("What is my name?")).unwrap();
    let two = second.finish.usage;
    // All that the context held is there still, but for the last token, which was never evaluated.
    let held = one.prompt_tokens + one.generated_tokens;
    assert!(
        two.cached_tokens >= held - 1,
        "{held} tokens were there, {two:?}"
    );
    let new = "\n<|im_start|>user\nWhat is my name?<|im_end|>\n<|im_start|>assistant\n<|im_end|>";
    let new = u32::try_from(llm.tokenize(model, new, true).len()).unwrap();
    assert!(
        two.prompt_tokens - two.cached_tokens <= new + 1,
        "{new} new ones: {two:?}"
    );
    let said = llm.messages(conversation);
    assert_eq!(said.len(), 5);
    assert_eq!(said[4], message(Role::Assistant, &second.text));

    // Saved and restored, it goes on in the same way.
    let state = llm.save(conversation);
    let restored = llm.restore(model, &state).unwrap();
    assert_eq!(llm.messages(restored), said);
    let question = user("And what is 3 + 3?");
    let here = llm.say(conversation, &question).unwrap();
    let there = llm.say(restored, &question).unwrap();
    assert_eq!(here.text, there.text);
    // The host has not yet forgotten what the other one has evaluated.
    assert!(there.finish.usage.cached_tokens > 0);
    assert!(here.finish.usage.cached_tokens > 0);
}

#[test]
fn json_that_a_schema_describes() {
    let Some(registry) = smollm2() else { return };
    let mut llm = Llm::new(registry);
    let model = llm.open(None, None).unwrap();
    let schema = r#"{"type": "object", "properties": {"city": {"type": "string", "maxLength": 20},
        "people": {"type": "integer"}}, "required": ["city", "people"]}"#;
    let answer = llm
        .chat(
            model,
            &[user("Name a city and how many people live there.")],
            &Options {
                format: Some(Format::JsonSchema(schema.to_owned())),
                limits: Some(limits(100)),
                ..options()
            },
        )
        .unwrap();
    let value: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
    assert!(
        value["city"].is_string() && value["people"].is_i64(),
        "{value}"
    );
}

#[test]
fn log_probabilities() {
    let Some(registry) = smollm2() else { return };
    let mut llm = Llm::new(registry);
    let model = llm.open(None, None).unwrap();
    let answer = llm
        .complete(
            model,
            "The capital of France is",
            &Options {
                logprobs: Some(3),
                limits: Some(limits(5)),
                ..options()
            },
        )
        .unwrap();
    assert_eq!(answer.logprobs.len(), 5);
    let bytes: Vec<u8> = answer
        .logprobs
        .iter()
        .flat_map(|token| token.chosen.bytes.clone())
        .collect();
    assert_eq!(bytes, answer.text.as_bytes());
    for token in &answer.logprobs {
        assert_eq!(token.top.len(), 3);
        // Greedy: the likeliest one.
        assert_eq!(token.top[0], token.chosen);
        assert!(token.top.is_sorted_by(|a, b| a.logprob >= b.logprob));
        let sum: f32 = token.top.iter().map(|top| top.logprob.exp()).sum();
        assert!(sum > 0.0 && sum <= 1.0001, "{sum}");
    }
}

#[test]
fn a_call_of_a_tool_is_demanded_where_the_template_has_tools() {
    let Some(registry) = smollm2() else { return };
    let mut llm = Llm::new(registry);
    let model = llm.open(None, None).unwrap();
    let tool = Tool {
        name: "weather".into(),
        description: "The weather in a city".into(),
        parameters: r#"{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}"#
            .into(),
    };
    let asked = Options {
        tools: Some(vec![tool]),
        tool_choice: Some(ToolChoice::Required),
        ..options()
    };
    let tools = llm.info(model).capabilities.contains(Capabilities::TOOLS);
    let answer = llm.chat(model, &[user("How is the weather in Rome?")], &asked);
    // SmolLM2's own template has none.
    assert!(!tools);
    assert!(
        matches!(&answer, Err(Error::Unsupported(text)) if text.contains("no place for tools")),
        "{answer:?}"
    );
}

#[test]
fn cancelled_before_its_first_token_and_after() {
    let Some(registry) = smollm2() else { return };
    let mut llm = Llm::new(registry);
    let model = llm.open(None, None).unwrap();
    let prompt = "Once upon a time";
    let stream = llm.stream_completion(model, prompt, &options()).unwrap();
    llm.cancel(stream);
    let (text, finish) = text_of(&llm.events(stream));
    assert_eq!(
        (text.as_str(), finish.reason),
        ("", FinishReason::Cancelled)
    );
    let stream = llm.stream_completion(model, prompt, &options()).unwrap();
    let Ok(Some(Event::Text(piece))) = llm.next(stream) else {
        panic!("expected text")
    };
    assert!(!piece.text.is_empty());
    llm.cancel(stream);
    let (text, finish) = text_of(&llm.events(stream));
    assert_eq!(
        (text.as_str(), finish.reason),
        ("", FinishReason::Cancelled)
    );
    assert_eq!(finish.usage.generated_tokens, 1);
    assert_eq!(llm.next(stream).unwrap(), None);
}
