//! The GGML backend on a tiny model whose text is known beforehand.

use llm_wasi_host::backend::{Encoding, ExecutionContext, Graph, Target};
use llm_wasi_host::testing::TinyModel;
use llm_wasi_host::{Activity, Error, ErrorCode, Monitor, Preload, Progress, Registry, Tensor};
use std::sync::{Arc, Mutex};

/// One thread: the tests run beside each other, and more threads than processors make llama.cpp slow.
const GREEDY: &str = r#"{"temp": 0, "threads": 1, "ctx-size": 256, "n-predict": 20}"#;

fn load(model: &TinyModel, options: &str) -> Arc<dyn Graph> {
    load_bytes(model.to_gguf(), options).unwrap_or_else(|error| panic!("{error}"))
}

fn load_bytes(bytes: Vec<u8>, options: &str) -> Result<Arc<dyn Graph>, Error> {
    Registry::with_default_backends().build().load(
        vec![bytes, options.as_bytes().to_vec()],
        Encoding::Ggml,
        Target::Cpu,
        None,
    )
}

fn open(graph: &Arc<dyn Graph>) -> Box<dyn ExecutionContext> {
    graph.init_execution_context().unwrap()
}

fn set(context: &mut dyn ExecutionContext, index: u32, text: &str) {
    context.set_input(index, Tensor::bytes(text)).unwrap();
}

fn text(context: &dyn ExecutionContext) -> Vec<u8> {
    context.output(0).unwrap().to_vec()
}

fn counts(context: &dyn ExecutionContext) -> (u64, u64) {
    let metadata: serde_json::Value = serde_json::from_slice(&context.output(1).unwrap()).unwrap();
    assert!(metadata["llama_build_number"].is_u64());
    assert!(metadata["llama_commit"].is_string());
    (
        metadata["input_tokens"].as_u64().unwrap(),
        metadata["output_tokens"].as_u64().unwrap(),
    )
}

fn error_of<V>(result: Result<V, Error>) -> Error {
    match result {
        Ok(_) => panic!("expected a failure"),
        Err(error) => error,
    }
}

#[test]
fn greedy_text_follows_the_cycle() {
    let model = TinyModel::new();
    let mut context = open(&load(&model, GREEDY));
    set(&mut *context, 0, "Hello");
    context.compute().unwrap();
    assert_eq!(text(&*context), model.continuation(b'o', 20));
    assert_eq!(context.describe_output(0).unwrap().size, 20);
}

#[test]
fn counts_are_known_before_compute_and_text_is_not() {
    let mut context = open(&load(&TinyModel::new(), GREEDY));
    assert_eq!(counts(&*context), (0, 0));
    set(&mut *context, 0, "Hello");
    // One token for each byte, and one that begins every text.
    assert_eq!(counts(&*context), (6, 0));
    // As in WasmEdge, there is a text, and it is empty.
    assert_eq!(text(&*context), b"");
    assert_eq!(*context.step_output(0).unwrap(), b"");
    // An embedding was not asked for.
    assert_eq!(context.output(2).unwrap_err().code, ErrorCode::RuntimeError);
    assert_eq!(
        context.output(3).unwrap_err().code,
        ErrorCode::InvalidArgument
    );
    context.compute().unwrap();
    assert_eq!(counts(&*context), (6, 20));
}

#[test]
fn steps_make_the_same_text_and_finish_begins_anew() {
    let model = TinyModel::new();
    let mut context = open(&load(&model, GREEDY));
    set(&mut *context, 0, "abc");
    for _ in 0..2 {
        let mut steps = Vec::new();
        for _ in 0..20 {
            context.compute_step().unwrap();
            let piece = context.step_output(0).unwrap();
            assert_eq!(piece.len(), 1);
            steps.extend_from_slice(&piece);
            assert_eq!(text(&*context), steps);
        }
        assert_eq!(steps, model.continuation(b'c', 20));
        assert_eq!(counts(&*context), (4, 20));
        context.finish().unwrap();
        assert_eq!(text(&*context), b"");
        assert_eq!(counts(&*context), (4, 0));
    }
    context.compute().unwrap();
    assert_eq!(text(&*context), model.continuation(b'c', 20));
}

#[test]
fn n_predict_limits_compute_and_not_steps() {
    let model = TinyModel::new();
    let mut context = open(&load(&model, GREEDY));
    set(&mut *context, 0, "abc");
    for _ in 0..30 {
        context.compute_step().unwrap();
    }
    assert_eq!(text(&*context), model.continuation(b'c', 30));
    for limit in [0, 1] {
        set(&mut *context, 1, &format!(r#"{{"n-predict": {limit}}}"#));
        context.compute().unwrap();
        assert_eq!(text(&*context), model.continuation(b'c', limit));
    }
}

/// What a context has evaluated already is not evaluated again, and the text is the same.
#[test]
fn a_growing_prompt_gives_the_same_text_as_a_new_one() {
    let model = TinyModel::new();
    let graph = load(&model, GREEDY);
    let mut context = open(&graph);
    let mut prompt = "Hello".to_owned();
    for turn in 0..4 {
        set(&mut *context, 0, &prompt);
        context.compute().unwrap();
        let last = prompt.bytes().last().unwrap();
        assert_eq!(text(&*context), model.continuation(last, 20), "{turn}");
        prompt.push_str(&String::from_utf8(text(&*context)).unwrap());
        prompt.push_str(["?", "and", "", "!"][turn]);
    }
    // A prompt that the cache begins with, and one that it does not.
    for prompt in ["Hel", "Hello", "Jello"] {
        set(&mut *context, 0, prompt);
        context.compute().unwrap();
        let last = prompt.bytes().last().unwrap();
        assert_eq!(text(&*context), model.continuation(last, 20), "{prompt}");
    }
}

#[test]
fn a_shifted_context_goes_on_and_on() {
    let model = TinyModel::new();
    let options =
        r#"{"temp": 0, "threads": 1, "ctx-size": 256, "n-predict": 700, "ctx-shift": true}"#;
    let mut context = open(&load(&model, options));
    set(&mut *context, 0, "shift");
    context.compute().unwrap();
    assert_eq!(text(&*context), model.continuation(b't', 700));
    assert_eq!(counts(&*context), (6, 700));
}

#[test]
fn an_interrupt_ends_the_text() {
    let model = TinyModel::new();
    let monitor = Monitor::default();
    let registry = Registry::with_default_backends()
        .monitor(monitor.clone())
        .build();
    let graph = registry
        .load(
            vec![model.to_gguf(), GREEDY.into()],
            Encoding::Ggml,
            Target::Cpu,
            None,
        )
        .unwrap();
    let mut context = open(&graph);
    set(&mut *context, 0, "x");
    for _ in 0..3 {
        context.compute_step().unwrap();
    }
    monitor.interrupt();
    let error = context.compute_step().unwrap_err();
    assert_eq!(error.code, ErrorCode::EndOfSequence);
    assert_eq!(text(&*context), model.continuation(b'x', 3));
    context.compute().unwrap();
    assert_eq!(text(&*context), model.continuation(b'x', 20));
}

#[test]
fn loading_and_prefill_tell_how_far_they_are() {
    let seen: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let monitor = Monitor::new({
        let seen = seen.clone();
        move |progress| seen.lock().unwrap().push(progress)
    });
    let registry = Registry::with_default_backends().monitor(monitor).build();
    let options = r#"{"temp": 0, "threads": 1, "ctx-size": 256, "n-predict": 1, "batch-size": 8}"#;
    let graph = registry
        .load(
            vec![TinyModel::new().to_gguf(), options.into()],
            Encoding::Ggml,
            Target::Cpu,
            None,
        )
        .unwrap();
    let mut context = open(&graph);
    set(&mut *context, 0, &"a".repeat(19));
    context.compute().unwrap();
    let seen = seen.lock().unwrap();
    let load: Vec<_> = seen
        .iter()
        .filter(|progress| progress.activity == Activity::Load)
        .collect();
    assert_eq!(
        load.last().map(|last| (last.done, last.total)),
        Some((1000, 1000))
    );
    let prefill: Vec<_> = seen
        .iter()
        .filter(|progress| progress.activity == Activity::Prefill)
        .map(|progress| (progress.done, progress.total))
        .collect();
    assert_eq!(prefill, [(0, 20), (8, 20), (16, 20), (20, 20)]);
}

#[test]
fn a_json_schema_is_obeyed() {
    let options = r#"{"temp": 0, "threads": 1, "ctx-size": 256, "n-predict": 40,
        "json-schema": "{\"enum\": [\"left\", \"right\"]}"}"#;
    let mut context = open(&load(&TinyModel::new(), options));
    set(&mut *context, 0, "x");
    context.compute().unwrap();
    let text = String::from_utf8(text(&*context)).unwrap();
    assert!(
        [r#""left"<|eos|>"#, r#""right"<|eos|>"#].contains(&text.trim()),
        "{text}"
    );
    for (schema, reason) in [
        ("7", "found no object"),
        ("{", "EOF"),
        (r#"{\"$ref\": \"https://example.org/x\"}"#, "leads out"),
        (r#"{\"type\": \"no such type\"}"#, "option `json-schema`"),
    ] {
        set(
            &mut *context,
            1,
            &format!(r#"{{"json-schema": "{schema}"}}"#),
        );
        let error = context.compute().unwrap_err();
        assert!(error.message.contains(reason), "{schema}: {error}");
    }
}

/// Every sampler once: that llama.cpp takes the values, and the text is as long as asked for.
#[test]
fn every_option_of_sampling_computes() {
    let model = TinyModel::new();
    let graph = load(&model, GREEDY);
    for options in [
        r#"{"temp": 1.5, "dynatemp-range": 0.5, "dynatemp-exponent": 2, "seed": 1}"#,
        r#"{"temp": 1, "xtc-probability": 0.5, "xtc-threshold": 0.05, "min-keep": 3, "seed": 1}"#,
        r#"{"temp": 1, "dry-multipier": 0.8, "dry-base": 1.5, "dry-allowed-length": 1, "seed": 1}"#,
        r#"{"temp": 1, "mirostat": 1, "mirostat-eta": 0.2, "seed": 1}"#,
        r#"{"temp": 1, "mirostat": 2, "seed": 1}"#,
        r#"{"temp": 1, "typ-p": 0.7, "top-p": 0.5, "min-p": 0.2, "top-k": 5, "seed": 1}"#,
        r#"{"temp": 1, "repeat-penalty": 1.3, "presence-penalty": 0.5, "frequency-penalty": 0.5, "last-n-penalty": -1}"#,
        r#"{"temp": 0, "ignore-eos": true}"#,
    ] {
        let mut context = open(&graph);
        set(&mut *context, 0, "x");
        set(&mut *context, 1, options);
        context
            .compute()
            .unwrap_or_else(|error| panic!("{options}: {error}"));
        assert_eq!(counts(&*context).1, 20, "{options}");
    }
}

#[test]
fn ignore_eos_goes_on_behind_the_end() {
    let model = TinyModel::new();
    let last = model.continuation(b'A', 4)[3];
    let model = model.ending_after(last);
    let mut context = open(&load(&model, GREEDY));
    set(&mut *context, 0, "A");
    set(&mut *context, 1, r#"{"ignore-eos": true}"#);
    context.compute().unwrap();
    assert_eq!(counts(&*context), (2, 20));
    assert!(!text(&*context).windows(3).any(|part| part == b"eos"));
}

/// As those that stand for images in a model that writes text.
#[test]
fn tokens_that_the_model_suppresses_are_never_written() {
    let model = TinyModel::new();
    let second = model.continuation(b'A', 2)[1];
    let suppressing = model.clone().suppressing(second);
    for options in [
        "{}",
        r#"{"temp": 1.5, "seed": 3}"#,
        r#"{"ignore-eos": true}"#,
    ] {
        let write = |model: &TinyModel| {
            let mut context = open(&load(model, GREEDY));
            set(&mut *context, 0, "A");
            set(&mut *context, 1, options);
            context.compute().unwrap();
            text(&*context).to_vec()
        };
        let written = write(&suppressing);
        assert!(
            !written.contains(&second),
            "{options}: {}",
            written.escape_ascii()
        );
        assert!(options.contains("1.5") || write(&model)[1] == second);
    }
}

/// Mirostat and DRY stand for themselves, as in llama.cpp's programs.
#[test]
fn samplers_depend_on_their_own_options_alone() {
    let graph = load(&TinyModel::new(), GREEDY);
    let write = |options: &str| {
        let mut context = open(&graph);
        set(&mut *context, 0, "x");
        set(&mut *context, 1, options);
        context.compute().unwrap();
        text(&*context).to_vec()
    };
    assert_eq!(
        write(r#"{"temp": 1, "mirostat": 2, "seed": 1}"#),
        write(
            r#"{"temp": 1, "mirostat": 2, "seed": 1, "presence-penalty": 5, "dry-multipier": 5}"#
        )
    );
    let dry = r#""n-predict": 200, "dry-multipier": 50, "dry-base": 4"#;
    let without = write(r#"{"n-predict": 200}"#);
    assert_ne!(
        write(&format!("{{{dry}, \"dry-last-n-penalty\": -1}}")),
        without
    );
    assert_eq!(
        write(&format!("{{{dry}, \"dry-last-n-penalty\": 0}}")),
        without
    );
    assert_eq!(
        write(&format!(
            "{{{dry}, \"dry-last-n-penalty\": -1, \"last-n-penalty\": 0}}"
        )),
        write(&format!("{{{dry}, \"dry-last-n-penalty\": -1}}"))
    );
}

/// Options of the context: llama.cpp takes each, and greedy text is the same.
#[test]
fn every_option_of_a_context_computes() {
    let model = TinyModel::new();
    let graph = load(&model, GREEDY);
    for options in [
        r#"{"warmup": true}"#,
        r#"{"flash-attn": "on"}"#,
        r#"{"flash-attn": "off"}"#,
        r#"{"cache-type-k": "bf16", "cache-type-v": 0}"#,
        r#"{"rope-freq-base": 10000, "rope-freq-scale": 1}"#,
        r#"{"rope-scaling-type": "none", "no-kv-offload": true}"#,
        r#"{"batch-size": 4, "ubatch-size": 2, "threads-batch": 1}"#,
        r#"{"batch-size": 1, "ubatch-size": 1}"#,
        // llama.cpp rounds it up, to 256.
        r#"{"ctx-size": 1}"#,
        r#"{"use-mmap": false}"#,
        r#"{"split-mode": "none", "main-gpu": 0}"#,
    ] {
        let mut context = open(&graph);
        set(&mut *context, 0, "Hello");
        set(&mut *context, 1, options);
        context
            .compute()
            .unwrap_or_else(|error| panic!("{options}: {error}"));
        assert_eq!(text(&*context), model.continuation(b'o', 20), "{options}");
    }
    let mut context = open(&graph);
    set(&mut *context, 0, "Hello");
    // llama.cpp cannot do this one with so small a model; it must say so and not end the process.
    set(&mut *context, 1, r#"{"cache-type-k": "q8_0"}"#);
    let error = context.compute().unwrap_err();
    assert_eq!(error.code, ErrorCode::RuntimeError);
    assert!(error.message.contains("block size 32"), "{error}");
}

#[test]
fn embeddings_are_normalized_as_asked_and_a_tensor_too() {
    let graph = load(
        &TinyModel::new(),
        r#"{"embedding": true, "threads": 1, "ctx-size": 256}"#,
    );
    let mut embeddings = Vec::new();
    for options in [
        r#"{"embd-normalize": -1}"#,
        r#"{"embd-normalize": 2, "pooling-type": "mean"}"#,
        r#"{"pooling-type": 3}"#,
    ] {
        let mut context = open(&graph);
        set(&mut *context, 0, "Hello");
        set(&mut *context, 1, options);
        context.compute().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&context.output(0).unwrap()).unwrap();
        let from_json: Vec<f32> = json["embedding"]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap() as f32)
            .collect();
        let tensor = context.output(2).unwrap();
        let from_tensor: Vec<f32> = tensor
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        assert_eq!(from_json, from_tensor, "{options}");
        let description = context.describe_output(2).unwrap();
        assert_eq!(description.dimensions, [1, from_tensor.len() as u32]);
        let norm = from_tensor.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert_eq!(
            (norm - 1.0).abs() < 1e-4,
            options.find("-1").is_none(),
            "{options}: {norm}"
        );
        embeddings.push(from_tensor);
    }
    assert_ne!(embeddings[1], embeddings[2]);
}

#[test]
fn long_prompts_are_evaluated_in_pieces() {
    let model = TinyModel::new();
    let options =
        r#"{"temp":0,"threads":1,"ctx-size":256,"n-predict":5,"batch-size":7,"ubatch-size":3}"#;
    let mut context = open(&load(&model, options));
    set(&mut *context, 0, &"xyz".repeat(40));
    context.compute().unwrap();
    assert_eq!(text(&*context), model.continuation(b'z', 5));
}

#[test]
fn end_of_text_ends_compute_and_is_an_error_of_a_step() {
    let model = TinyModel::new();
    let last = model.continuation(b'A', 4)[3];
    let model = model.ending_after(last);
    let mut context = open(&load(&model, GREEDY));
    set(&mut *context, 0, "A");
    context.compute().unwrap();
    // As in WasmEdge, the token that ends the text is part of it.
    let end = b"<|eos|>";
    let expected = [&model.continuation(b'A', 20), &end[..]].concat();
    assert_eq!(expected.len(), 4 + end.len());
    assert_eq!(text(&*context), expected);
    assert_eq!(counts(&*context), (2, 5));
    for _ in 0..4 {
        context.compute_step().unwrap();
    }
    assert_eq!(
        context.compute_step().unwrap_err().code,
        ErrorCode::EndOfSequence
    );
    assert_eq!(text(&*context), expected);
    assert_eq!(*context.step_output(0).unwrap(), end);
    assert_eq!(counts(&*context), (2, 5));
    // The next step begins anew.
    context.compute_step().unwrap();
    assert_eq!(text(&*context), model.continuation(b'A', 1));
}

#[test]
fn full_context_is_an_error_and_the_text_stays() {
    let model = TinyModel::new();
    let mut context = open(&load(
        &model,
        r#"{"temp": 0, "threads": 1, "ctx-size": 256}"#,
    ));
    set(&mut *context, 0, &"ab".repeat(120));
    let error = context.compute().unwrap_err();
    assert_eq!(error.code, ErrorCode::ContextFull);
    assert!(error.message.contains("256 tokens"), "{error}");
    // 241 tokens of prompt, 15 more places, and one token that needs no place.
    assert_eq!(text(&*context), model.continuation(b'b', 16));
    assert_eq!(counts(&*context), (241, 16));
}

#[test]
fn too_long_a_prompt_says_how_long_it_may_be() {
    let mut context = open(&load(&TinyModel::new(), GREEDY));
    set(&mut *context, 0, &"a".repeat(252));
    for error in [
        context.compute().unwrap_err(),
        context.compute_step().unwrap_err(),
    ] {
        assert_eq!(error.code, ErrorCode::PromptTooLong);
        assert!(
            error.message.contains("at most 252 tokens, found 253"),
            "{error}"
        );
    }
    set(&mut *context, 0, &"a".repeat(251));
    context.compute_step().unwrap();
}

#[test]
fn pieces_may_split_a_character() {
    let model = TinyModel::new()
        .following(b'A', 0xc3)
        .following(0xc3, 0xa9)
        .ending_after(0xa9);
    let mut context = open(&load(&model, GREEDY));
    set(&mut *context, 0, "A");
    context.compute_step().unwrap();
    assert_eq!(**context.step_output(0).unwrap(), [0xc3]);
    context.compute_step().unwrap();
    assert_eq!(**context.step_output(0).unwrap(), [0xa9]);
    assert_eq!(text(&*context), "é".as_bytes());
}

#[test]
fn contexts_of_a_graph_are_independent() {
    let model = TinyModel::new();
    let graph = load(&model, GREEDY);
    let (mut a, mut b) = (open(&graph), open(&graph));
    drop(graph);
    set(&mut *a, 0, "a");
    set(&mut *b, 0, "b");
    let (mut from_a, mut from_b) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        a.compute_step().unwrap();
        b.compute_step().unwrap();
        from_a.extend_from_slice(&a.step_output(0).unwrap());
        from_b.extend_from_slice(&b.step_output(0).unwrap());
    }
    assert_eq!(from_a, model.continuation(b'a', 10));
    assert_eq!(from_b, model.continuation(b'b', 10));
}

#[test]
fn contexts_on_threads_at_once() {
    let model = TinyModel::new();
    let graph = load(&model, GREEDY);
    std::thread::scope(|scope| {
        for byte in *b"abcd" {
            let (graph, model) = (&graph, &model);
            scope.spawn(move || {
                let mut context = open(graph);
                set(&mut *context, 0, &char::from(byte).to_string());
                context.compute().unwrap();
                assert_eq!(text(&*context), model.continuation(byte, 20));
            });
        }
    });
}

#[test]
fn a_prompt_set_again_starts_anew() {
    let model = TinyModel::new();
    let mut context = open(&load(&model, GREEDY));
    set(&mut *context, 0, "first");
    context.compute_step().unwrap();
    set(&mut *context, 0, "go");
    // As in WasmEdge, what was computed stays until the next computation.
    assert_eq!(text(&*context), model.continuation(b't', 1));
    assert_eq!(counts(&*context), (3, 1));
    context.compute_step().unwrap();
    assert_eq!(text(&*context), model.continuation(b'o', 1));
    context.compute().unwrap();
    context.compute().unwrap();
    assert_eq!(text(&*context), model.continuation(b'o', 20));
}

#[test]
fn input_1_replaces_the_options_it_names_and_survives_bad_ones() {
    let model = TinyModel::new();
    let graph = load(&model, GREEDY);
    let mut context = open(&graph);
    set(&mut *context, 0, "x");
    set(&mut *context, 1, r#"{"n-predict": 3}"#);
    let error = context
        .set_input(1, Tensor::bytes(r#"{"n-predict": "many"}"#))
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    context.compute().unwrap();
    assert_eq!(text(&*context), model.continuation(b'x', 3));
    // Options that it does not name stay as they are.
    set(&mut *context, 1, r#"{"ctx-size": 512}"#);
    context.compute().unwrap();
    assert_eq!(text(&*context), model.continuation(b'x', 3));
    // Another context has those of the graph.
    let mut other = open(&graph);
    set(&mut *other, 0, "x");
    other.compute().unwrap();
    assert_eq!(text(&*other), model.continuation(b'x', 20));
}

#[test]
fn reverse_prompt_ends_the_text() {
    let model = TinyModel::new();
    let expected = model.continuation(b'x', 9);
    let stop = String::from_utf8(expected[7..].to_vec()).unwrap();
    let options =
        serde_json::json!({"temp": 0, "threads": 1, "ctx-size": 256, "reverse-prompt": stop});
    let mut context = open(&load(&model, &options.to_string()));
    set(&mut *context, 0, "x");
    context.compute().unwrap();
    assert_eq!(text(&*context), expected);
}

#[test]
fn sampled_text_repeats_with_its_seed() {
    let graph = load(&TinyModel::new(), GREEDY);
    let run = |options: &str| {
        let mut context = open(&graph);
        set(&mut *context, 0, "x");
        set(&mut *context, 1, options);
        context.compute().unwrap();
        text(&*context)
    };
    let hot = r#""temp": 50, "top-k": 0, "top-p": 1, "min-p": 0, "repeat-penalty": 1.1"#;
    let first = run(&format!("{{{hot}, \"seed\": 1}}"));
    assert_eq!(first, run(&format!("{{{hot}, \"seed\": 1}}")));
    assert_ne!(first, run(&format!("{{{hot}, \"seed\": 2}}")));
    for mirostat in [1, 2] {
        let options = format!("{{\"temp\": 1, \"mirostat\": {mirostat}, \"seed\": 3}}");
        assert_eq!(run(&options).len(), run(&options).len());
    }
}

#[test]
fn a_grammar_is_obeyed() {
    let mut context = open(&load(&TinyModel::new(), GREEDY));
    set(&mut *context, 0, "x");
    set(
        &mut *context,
        1,
        r#"{"temp": 0, "grammar": "root ::= \"yes\" | \"no\""}"#,
    );
    context.compute().unwrap();
    let answer = text(&*context);
    assert!(
        answer == b"yes<|eos|>" || answer == b"no<|eos|>",
        "{}",
        answer.escape_ascii()
    );
    for grammar in ["root ::= (", "other ::= \"x\"", "\0"] {
        let options = serde_json::json!({ "temp": 0, "grammar": grammar }).to_string();
        set(&mut *context, 1, &options);
        let error = context.compute().unwrap_err();
        assert_eq!(
            error.code,
            ErrorCode::InvalidArgument,
            "{grammar:?}: {error}"
        );
        assert!(error.message.contains("`grammar`"), "{error}");
    }
}

#[test]
fn what_would_exhaust_the_host_is_too_large() {
    let mut context = open(&load(&TinyModel::new(), GREEDY));
    set(&mut *context, 0, "x");
    let deep = format!(
        "root ::= {}\"a\"{}",
        "(".repeat(100_000),
        ")".repeat(100_000)
    );
    let long: String = (0..5000)
        .map(|i| format!("r{i} ::= r{}\n", i + 1))
        .collect();
    for grammar in [deep, long] {
        let options = serde_json::json!({ "grammar": grammar }).to_string();
        set(&mut *context, 1, &options);
        let error = context.compute().unwrap_err();
        assert_eq!(error.code, ErrorCode::TooLarge, "{error}");
    }
}

#[test]
fn embeddings_have_length_one_and_depend_on_the_prompt() {
    let graph = load(
        &TinyModel::new(),
        r#"{"embedding": true, "threads": 1, "ctx-size": 256}"#,
    );
    let embed = |prompt: &str| {
        let mut context = open(&graph);
        set(&mut *context, 0, prompt);
        context.compute().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&text(&*context)).unwrap();
        let values: Vec<f64> = json["embedding"]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap())
            .collect();
        assert_eq!(json["n_embedding"], values.len());
        let norm: f64 = values.iter().map(|x| x * x).sum();
        assert!((norm - 1.0).abs() < 1e-4, "{norm}");
        assert_eq!(
            context.compute_step().unwrap_err().code,
            ErrorCode::UnsupportedOperation
        );
        values
    };
    assert_eq!(embed("abc"), embed("abc"));
    assert_ne!(embed("abc"), embed("abd"));
    let mut context = open(&graph);
    set(&mut *context, 1, r#"{"batch-size": 16}"#);
    set(&mut *context, 0, &"a".repeat(100));
    let error = context.compute().unwrap_err();
    assert_eq!(error.code, ErrorCode::PromptTooLong, "{error}");
}

#[test]
fn what_is_not_set_or_not_there_is_named() {
    let mut context = open(&load(&TinyModel::new(), GREEDY));
    let error = context.compute().unwrap_err();
    assert_eq!(error, Error::invalid("the prompt (input 0) is not set"));
    assert!(context.compute_step().is_err());
    let error = context.set_input(2, Tensor::bytes("x")).unwrap_err();
    assert!(error.message.contains("found input 2"), "{error}");
    let error = context.input_index("prompt").unwrap_err();
    assert!(error.message.contains("found `prompt`"), "{error}");
    let index = context.input_index("0").unwrap();
    context.set_input(index, Tensor::bytes("x")).unwrap();
    context.compute_step().unwrap();
    context.clear_inputs();
    assert!(context.compute().is_err());
    // Bytes that are no UTF-8 are taken all the same.
    context
        .set_input(0, Tensor::bytes(&b"\xff\xfe\0x"[..]))
        .unwrap();
    context.compute_step().unwrap();
}

#[test]
fn broken_models_are_errors_that_say_why() {
    let good = TinyModel::new().to_gguf();
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("empty", Vec::new(), "the file ends inside the magic"),
        (
            "other",
            b"PK\x03\x04 and so on".to_vec(),
            "starts with `GGUF`, found `PK\\x03\\x04`",
        ),
        (
            "version",
            [&b"GGUF\x09\0\0\0"[..], &good[8..]].concat(),
            "GGUF version 2 or 3",
        ),
        ("header", good[..1000].to_vec(), "the file ends inside"),
        (
            "data",
            good[..good.len() - 100].to_vec(),
            "the file ends inside the tensors' data",
        ),
        (
            "counts",
            [&good[..8], &[0xff; 16], &good[24..]].concat(),
            "more than a file of",
        ),
        (
            "key",
            [&good[..24], &[0xff; 8], &good[32..]].concat(),
            "the file is corrupt",
        ),
    ];
    for (name, bytes, expected) in cases {
        let error = error_of(load_bytes(bytes, "{}"));
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{name}: {error}");
        assert!(error.message.contains(expected), "{name}: {error}");
        assert!(!error.message.contains("null result"), "{name}: {error}");
    }
}

#[test]
fn every_truncation_of_the_header_is_an_error() {
    let good = TinyModel::new().to_gguf();
    for length in (0..8000).step_by(61) {
        assert!(
            load_bytes(good[..length].to_vec(), "{}").is_err(),
            "{length}"
        );
    }
}

#[test]
fn bad_builders_targets_and_options_are_named() {
    let registry = Registry::with_default_backends().build();
    let model = TinyModel::new().to_gguf();
    let load = |builders, encoding, target, configuration| {
        error_of(registry.load(builders, encoding, target, configuration))
    };
    let error = load(vec![], Encoding::Ggml, Target::Cpu, None);
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    let error = load(vec![model.clone()], Encoding::Ggml, Target::Tpu, None);
    assert_eq!(error.code, ErrorCode::UnsupportedOperation);
    let error = load(vec![model.clone()], Encoding::PyTorch, Target::Cpu, None);
    assert_eq!(error.code, ErrorCode::InvalidEncoding);
    assert!(
        error.message.contains("OpenVINO), found PyTorch"),
        "{error}"
    );
    let error = load(
        vec![b"ONNX?".to_vec()],
        Encoding::Autodetect,
        Target::Cpu,
        None,
    );
    assert_eq!(error.code, ErrorCode::InvalidEncoding);
    let error = load(
        vec![model.clone(), b"{".to_vec()],
        Encoding::Ggml,
        Target::Cpu,
        None,
    );
    assert!(
        error
            .message
            .starts_with("the second builder: expected the options"),
        "{error}"
    );
    let error = load(
        vec![model.clone()],
        Encoding::Ggml,
        Target::Cpu,
        Some(r#"{"temp": []}"#),
    );
    assert!(error.message.contains("option `temp`"), "{error}");
    registry
        .load(vec![model], Encoding::Autodetect, Target::Auto, None)
        .unwrap();
}

#[test]
fn named_models_load_unload_and_load_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    let model = TinyModel::new();
    model.write(&path).unwrap();
    let preload: Preload = format!("tiny:ggml:auto:{}", path.display())
        .parse()
        .unwrap();
    let registry = Registry::with_default_backends().preload(preload).build();
    for _ in 0..3 {
        let graph = registry.load_by_name("tiny", Some(GREEDY)).unwrap();
        let mut context = open(&graph);
        set(&mut *context, 0, "x");
        context.compute().unwrap();
        assert_eq!(text(&*context), model.continuation(b'x', 20));
    }
    // While one is in use, another load shares its weights and takes no time.
    let first = registry.load_by_name("tiny", None).unwrap();
    let started = std::time::Instant::now();
    let second = registry.load_by_name("tiny", Some(GREEDY)).unwrap();
    assert!(started.elapsed().as_millis() < 50);
    drop(first);
    let mut context = open(&second);
    set(&mut *context, 0, "x");
    context.compute().unwrap();
    drop((second, context));
    std::fs::remove_file(&path).unwrap();
    let error = error_of(registry.load_by_name("tiny", None));
    assert_eq!(error.code, ErrorCode::ModelNotFound);
}

#[test]
fn a_split_model_loads_by_its_first_part_or_all() {
    let folder = tempfile::tempdir().unwrap();
    let model = TinyModel::new();
    let parts: Vec<_> = (1..=3)
        .map(|number| {
            folder
                .path()
                .join(format!("tiny-{number:05}-of-00003.gguf"))
        })
        .collect();
    for (path, bytes) in parts.iter().zip(model.to_split_gguf(3)) {
        std::fs::write(path, bytes).unwrap();
    }
    let load = |named: &[usize]| {
        let paths: Vec<_> = named.iter().map(|i| parts[*i].to_str().unwrap()).collect();
        let preload = format!("tiny:GGML:CPU:{}", paths.join(":"))
            .parse()
            .unwrap();
        let registry = Registry::with_default_backends().preload(preload).build();
        registry.load_by_name("tiny", Some(GREEDY))
    };
    for named in [&[0][..], &[0, 1, 2]] {
        let mut context = open(&load(named).unwrap());
        set(&mut *context, 0, "x");
        context.compute().unwrap();
        assert_eq!(text(&*context), model.continuation(b'x', 20));
    }
    for named in [&[1, 0, 2][..], &[0, 1]] {
        let error = error_of(load(named));
        assert!(error.message.contains("of a split model"), "{error}");
    }
    std::fs::remove_file(&parts[2]).unwrap();
    let error = error_of(load(&[0]));
    assert!(
        error.message.contains("tiny-00003-of-00003.gguf"),
        "{error}"
    );
}

/// Changed bytes of a header either load or are an error; an abort of the process is the failure.
///
/// `LLM_WASI_FUZZ_CASES` tries more of them; then the one that is tried is in a file, whose name is
/// printed, since an abort leaves no other trace.
#[test]
fn changed_headers_load_or_are_errors() {
    let cases = std::env::var("LLM_WASI_FUZZ_CASES").map(|text| text.parse::<u32>().unwrap());
    let trace = cases.is_ok().then(|| {
        let file = std::env::temp_dir().join("llm-wasi-fuzz-gguf");
        eprintln!("the file that is tried: {}", file.display());
        file
    });
    let good = TinyModel::new().to_gguf();
    let header = good
        .windows(18)
        .position(|w| w == b"token_embd.weight\x02")
        .unwrap_or(9000)
        + 1500;
    let mut state = 1_u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let mut loaded = 0;
    for _ in 0..cases.unwrap_or(3000) {
        let mut bytes = good.clone();
        for _ in 0..=random() % 3 {
            let at = random() % header;
            bytes[at] = [0, 1, 0xff, bytes[at] ^ (1 << (random() % 8))][random() % 4];
        }
        if let Some(file) = &trace {
            std::fs::write(file, &bytes).unwrap();
        }
        if let Ok(graph) = load_bytes(bytes, GREEDY) {
            loaded += 1;
            let mut context = open(&graph);
            set(&mut *context, 0, "abc");
            // Any result will do.
            let _ = context.compute();
        }
    }
    assert!(loaded > 0);
}
