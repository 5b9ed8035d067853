//! What programs for WasmEdge rely on, beyond what every language model does: when outputs and counts
//! change, and their exact form.

use llm_wasi_host::backend::{Encoding, ExecutionContext, Target};
use llm_wasi_host::testing::TinyModel;
use llm_wasi_host::{ErrorCode, Preload, Registry, Tensor};

const GREEDY: &str = r#"{"temp": 0, "threads": 1, "ctx-size": 256, "n-predict": 20}"#;

fn open(model: &TinyModel, options: &str) -> Box<dyn ExecutionContext> {
    let builders = vec![model.to_gguf(), options.as_bytes().to_vec()];
    Registry::with_default_backends()
        .build()
        .load(builders, Encoding::Ggml, Target::Cpu, None)
        .unwrap_or_else(|error| panic!("{error}"))
        .init_execution_context()
        .unwrap()
}

fn set(context: &mut dyn ExecutionContext, index: u32, text: &str) {
    context.set_input(index, Tensor::bytes(text)).unwrap();
}

fn output(context: &dyn ExecutionContext, index: u32) -> String {
    String::from_utf8(context.output(index).unwrap().to_vec()).unwrap()
}

fn step_output(context: &dyn ExecutionContext, index: u32) -> String {
    String::from_utf8(context.step_output(index).unwrap().to_vec()).unwrap()
}

/// What a model says after this letter.
fn says(model: &TinyModel, letter: u8, count: usize) -> String {
    String::from_utf8(model.continuation(letter, count)).unwrap()
}

/// Output 1 for these counts.
#[track_caller]
fn assert_counts(context: &dyn ExecutionContext, input: usize, output: usize) {
    let found = self::output(context, 1);
    let start =
        format!(r#"{{"input_tokens": {input}, "output_tokens": {output}, "llama_build_number": "#);
    let rest = found
        .strip_prefix(&start)
        .unwrap_or_else(|| panic!("{found}, expected {start}"));
    let (number, commit) = rest
        .split_once(r#", "llama_commit": ""#)
        .unwrap_or_else(|| panic!("{found}"));
    assert!(number.parse::<u32>().is_ok(), "{found}");
    assert!(commit.ends_with(r#""}"#), "{found}");
    // A step's output 1 is the same.
    assert_eq!(step_output(context, 1), found);
}

#[test]
fn counts_at_every_moment() {
    let model = TinyModel::new();
    let mut context = open(&model, GREEDY);
    assert_counts(&*context, 0, 0);
    set(&mut *context, 0, "Hello");
    assert_counts(&*context, 6, 0);
    set(&mut *context, 0, "Hello");
    assert_counts(&*context, 6, 0);
    context.compute().unwrap();
    assert_counts(&*context, 6, 20);
    // The text and its length stay until the next computation, whatever the inputs are.
    set(&mut *context, 0, "Hi");
    set(&mut *context, 1, r#"{"n-predict": 3}"#);
    assert_counts(&*context, 3, 20);
    assert_eq!(output(&*context, 0), says(&model, b'o', 20));
    assert_eq!(step_output(&*context, 0), says(&model, b'o', 20)[19..]);
    context.compute_step().unwrap();
    context.compute_step().unwrap();
    assert_counts(&*context, 3, 2);
    context.compute().unwrap();
    assert_counts(&*context, 3, 3);
    assert_eq!(output(&*context, 0), says(&model, b'i', 3));
}

#[test]
fn a_computation_that_fails_leaves_no_older_text() {
    let model = TinyModel::new();
    let long = "a".repeat(300);
    for in_steps in [false, true] {
        let mut context = open(&model, GREEDY);
        set(&mut *context, 0, "Hello");
        context.compute().unwrap();
        set(&mut *context, 0, &long);
        let result = if in_steps {
            context.compute_step()
        } else {
            context.compute()
        };
        assert_eq!(result.unwrap_err().code, ErrorCode::PromptTooLong);
        assert_eq!(output(&*context, 0), "");
        assert_eq!(step_output(&*context, 0), "");
        assert_counts(&*context, 301, 0);
    }
}

#[test]
fn finish_is_allowed_at_any_time() {
    let model = TinyModel::new();
    let mut context = open(&model, GREEDY);
    let finish = |context: &mut dyn ExecutionContext, input| {
        context.finish().unwrap();
        assert_eq!(output(context, 0), "");
        assert_eq!(step_output(context, 0), "");
        assert_counts(context, input, 0);
    };
    finish(&mut *context, 0);
    set(&mut *context, 0, "Hello");
    finish(&mut *context, 6);
    context.compute_step().unwrap();
    finish(&mut *context, 6);
    finish(&mut *context, 6);
    // The prompt is still there.
    context.compute_step().unwrap();
    assert_eq!(output(&*context, 0), says(&model, b'o', 1));
    context.compute().unwrap();
    finish(&mut *context, 6);
    context.compute().unwrap();
    assert_eq!(output(&*context, 0), says(&model, b'o', 20));
}

#[test]
fn options_may_come_before_the_prompt_behind_it_or_between_steps() {
    let model = TinyModel::new();
    let options = r#"{"n-predict": 5}"#;
    for options_first in [true, false] {
        let mut context = open(&model, GREEDY);
        if options_first {
            set(&mut *context, 1, options);
        }
        set(&mut *context, 0, "Hello");
        if !options_first {
            set(&mut *context, 1, options);
        }
        context.compute().unwrap();
        assert_eq!(output(&*context, 0), says(&model, b'o', 5));
        // Steps go on as if nothing was set.
        context.compute_step().unwrap();
        set(&mut *context, 1, options);
        context.compute_step().unwrap();
        assert_eq!(output(&*context, 0), says(&model, b'o', 2));
    }
}

#[test]
fn a_repeated_computation_gives_the_same_text() {
    let model = TinyModel::new();
    let grammar =
        r#"{"temp": 0, "threads": 1, "ctx-size": 256, "grammar": "root ::= \"(\" [a-f] \")\""}"#;
    let seeded = r#"{"temp": 50, "top-k": 0, "top-p": 1, "min-p": 0, "seed": 7, "threads": 1,
        "ctx-size": 256, "n-predict": 20}"#;
    for options in [GREEDY, grammar, seeded] {
        let mut context = open(&model, options);
        set(&mut *context, 0, "Hello");
        let mut text = || {
            context.compute().unwrap();
            context.output(0).unwrap().to_vec()
        };
        let first = text();
        assert!(first.len() >= 3, "{options}");
        assert_eq!(text(), first, "{options}");
        let mut steps = Vec::new();
        for _ in 0..3 {
            context.compute_step().unwrap();
            steps.extend_from_slice(&context.step_output(0).unwrap());
        }
        assert!(first.starts_with(&steps), "{options}");
    }
}

#[test]
fn an_embedding_has_the_form_of_wasmedge() {
    let options = r#"{"embedding": true, "threads": 1, "ctx-size": 256}"#;
    let mut context = open(&TinyModel::new(), options);
    set(&mut *context, 0, "Hello");
    context.compute().unwrap();
    let json = output(&*context, 0);
    let numbers = json
        .strip_prefix(r#"{"n_embedding": 64, "embedding": ["#)
        .and_then(|rest| rest.strip_suffix("]}"))
        .unwrap_or_else(|| panic!("{json}"));
    let numbers: Vec<_> = numbers.split(',').collect();
    assert_eq!(numbers.len(), 64);
    for number in numbers {
        assert!(number.parse::<f32>().is_ok_and(f32::is_finite), "{number}");
    }
    assert_counts(&*context, 6, 0);
    // The context has to have room, even where a batch has.
    set(&mut *context, 0, &"a".repeat(254));
    let error = context.compute().unwrap_err();
    assert_eq!(error.code, ErrorCode::PromptTooLong);
    assert!(
        error.message.contains("at most 252 tokens, found 255"),
        "{error}"
    );
    assert_eq!(output(&*context, 0), "");
    assert!(context.output(2).is_err());
}

#[test]
fn an_empty_configuration_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    TinyModel::new().write(&path).unwrap();
    let preload: Preload = format!("tiny:GGML:CPU:{}", path.display()).parse().unwrap();
    let registry = Registry::with_default_backends().preload(preload).build();
    assert!(registry.load_by_name("tiny", Some("")).is_ok());
    let result = registry.load_by_name("tiny", Some(" "));
    assert_eq!(
        result.err().map(|error| error.code),
        Some(ErrorCode::InvalidEncoding)
    );
}
