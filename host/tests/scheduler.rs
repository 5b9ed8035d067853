//! Many contexts of one model, computed in batches: each has the text that it would have alone.

use llm_wasi_host::backend::{Encoding, ExecutionContext, Graph, Steps, Target};
use llm_wasi_host::testing::TinyModel;
use llm_wasi_host::{
    Error, ErrorCode, Files, Limits, Metrics, Monitor, Preload, Registry, Scheduling, Tensor,
};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

const OPTIONS: &str = r#"{"temp": 0, "threads": 1, "ctx-size": 256, "n-predict": 20}"#;
/// What llama.cpp makes of that size.
const CONTEXT: usize = 256;

/// A model whose text depends on all tokens before, loaded by hosts that let so many computations run at once.
struct Host {
    registry: Registry,
    graph: Arc<dyn Graph>,
}

impl Host {
    fn new(parallel: usize) -> Self {
        Self::with(Scheduling {
            parallel,
            ..Scheduling::default()
        })
    }

    fn with(scheduling: Scheduling) -> Self {
        let registry = Registry::with_default_backends()
            .scheduling(scheduling)
            .build();
        let graph = registry
            .load(
                vec![
                    TinyModel::new().attentive().to_gguf(),
                    OPTIONS.as_bytes().to_vec(),
                ],
                Encoding::Ggml,
                Target::Cpu,
                None,
            )
            .unwrap();
        Self { registry, graph }
    }

    fn open(&self, prompt: &str) -> Box<dyn ExecutionContext> {
        let mut context = self.graph.init_execution_context().unwrap();
        context.set_input(0, Tensor::bytes(prompt)).unwrap();
        context
    }

    fn metrics(&self) -> &Metrics {
        self.registry.metrics()
    }

    /// Waits until a gauge of the text form has this value.
    fn wait_for(&self, line: &str) {
        let started = Instant::now();
        while !self.metrics().encode().lines().any(|found| found == line) {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "expected `{line}` in {}",
                self.metrics().encode()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// What a model says that has nothing else to do.
fn alone(prompt: &str) -> Vec<u8> {
    let mut context = Host::new(1).open(prompt);
    context.compute().unwrap();
    context.output(0).unwrap().to_vec()
}

fn prompt(number: usize) -> String {
    let letter = char::from(b'a' + u8::try_from(number % 26).unwrap());
    format!("{number}{}", letter.to_string().repeat(1 + number % 7))
}

fn steps(context: &mut dyn ExecutionContext, count: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..count {
        context.compute_step().unwrap();
        text.extend_from_slice(&context.step_output(0).unwrap());
    }
    text
}

fn cached(context: &mut dyn ExecutionContext) -> u32 {
    context.language().unwrap().usage().cached
}

/// One poll of a computation: it is sent, and nobody waits for it.
fn poll_once(context: &mut dyn ExecutionContext) -> Poll<Result<(), Error>> {
    let mut computing = context.compute_async(Steps::One).expect("a shared context");
    computing
        .as_mut()
        .poll(&mut TaskContext::from_waker(Waker::noop()))
}

#[test]
fn contexts_at_once_have_the_text_of_each_alone() {
    let host = Host::new(8);
    std::thread::scope(|scope| {
        for number in 0..12 {
            let mut context = host.open(&prompt(number));
            scope.spawn(move || {
                let expected = alone(&prompt(number));
                if number % 2 == 0 {
                    context.compute().unwrap();
                    assert_eq!(*context.output(0).unwrap(), expected, "{number}");
                } else {
                    assert_eq!(steps(&mut *context, 20), expected, "{number}");
                    context.finish().unwrap();
                }
            });
        }
    });
    assert_eq!(host.metrics().generated_tokens(), 12 * 20);
    host.wait_for("llm_wasi_running 0");
}

#[test]
fn steps_in_turns_have_the_text_of_each_alone_whatever_runs_at_once() {
    for parallel in [1, 2, 3, 8] {
        let host = Host::new(parallel);
        let mut contexts: Vec<_> = (0..4).map(|number| host.open(&prompt(number))).collect();
        let mut texts = vec![Vec::new(); contexts.len()];
        for _ in 0..12 {
            for (context, text) in contexts.iter_mut().zip(&mut texts) {
                text.extend(steps(&mut **context, 1));
            }
        }
        for (number, text) in texts.iter().enumerate() {
            assert_eq!(*text, alone(&prompt(number))[..12], "{parallel}, {number}");
        }
    }
}

#[test]
fn computations_at_once_share_batches() {
    let host = Host::new(4);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let mut context = host.open(&prompt(number));
            scope.spawn(move || steps(&mut *context, 200));
        }
    });
    let text = host.metrics().encode();
    let sum: f64 = value(&text, "llm_wasi_batch_tokens_sum");
    let count: f64 = value(&text, "llm_wasi_batch_tokens_count");
    assert!(sum / count > 1.5, "{sum} tokens in {count} batches");
}

fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn what_others_have_evaluated_is_not_evaluated_again() {
    let host = Host::new(4);
    let system = "You answer in one short sentence. ".repeat(3);
    let mut first = host.open(&format!("{system}One?"));
    steps(&mut *first, 3);
    assert_eq!(cached(&mut *first), 0);
    // While that one runs.
    let mut second = host.open(&format!("{system}Two?"));
    assert_eq!(steps(&mut *second, 3), alone(&format!("{system}Two?"))[..3]);
    // One token begins every text.
    assert_eq!(cached(&mut *second) as usize, 1 + system.len());
    // When both are gone.
    drop((first, second));
    let mut third = host.open(&format!("{system}Two?"));
    steps(&mut *third, 3);
    // But for the last token, whose logits are wanted.
    assert_eq!(cached(&mut *third) as usize, system.len() + 4);
    assert_eq!(
        host.metrics().prompt_tokens().1,
        2 * system.len() as u64 + 5
    );
}

#[test]
fn a_growing_conversation_evaluates_what_is_new_though_others_compute_between() {
    let host = Host::new(2);
    let mut text = "A conversation".to_owned();
    let mut context = host.open(&text);
    for turn in 0..4 {
        context.set_input(0, Tensor::bytes(text.as_str())).unwrap();
        let answer = steps(&mut *context, 5);
        assert_eq!(answer, alone(&text)[..5], "{turn}");
        if turn > 0 {
            // All but what was added to the last answer, and the token before.
            let new = " and so on".len() + 1;
            assert_eq!(
                cached(&mut *context) as usize,
                1 + text.len() - new,
                "{turn}"
            );
        }
        context.finish().unwrap();
        text.push_str(&String::from_utf8(answer).unwrap());
        text.push_str(" and so on");
        steps(&mut *host.open(&prompt(turn)), 2);
    }
}

/// Texts that each fill most of a context, none of which is the beginning of another one.
fn long_prompts() -> impl Iterator<Item = String> {
    (0..10).map(|number| format!("{number}{}", prompt(number).repeat(100))[..200].to_owned())
}

#[test]
fn prefixes_make_room_for_what_runs() {
    let host = Host::with(Scheduling {
        parallel: 2,
        prefixes: 0,
        ..Scheduling::default()
    });
    for text in long_prompts() {
        assert_eq!(steps(&mut *host.open(&text), 5), alone(&text)[..5]);
    }
    let evicted = value(&host.metrics().encode(), "llm_wasi_evicted_tokens_total");
    assert!(evicted > 1000.0, "{evicted}");
}

#[test]
fn what_has_left_the_cache_comes_back() {
    let host = Host::new(2);
    for text in long_prompts() {
        steps(&mut *host.open(&text), 5);
    }
    // Two of them would fill the cache.
    for text in long_prompts() {
        let mut again = host.open(&text);
        assert_eq!(steps(&mut *again, 5), alone(&text)[..5]);
        assert_eq!(cached(&mut *again) as usize, text.len());
        // What is there in part is taken in part.
        let other = format!("{}?", &text[..100]);
        let mut in_part = host.open(&other);
        assert_eq!(steps(&mut *in_part, 5), alone(&other)[..5]);
        assert!(cached(&mut *in_part) > 100);
    }
    let evicted = value(&host.metrics().encode(), "llm_wasi_evicted_tokens_total");
    assert_eq!(evicted, 0.0);
}

#[test]
fn who_goes_on_is_left_whole_when_many_have_gone() {
    let host = Host::new(8);
    let mut stays = host.open("Who stays");
    let mut text = steps(&mut *stays, 3);
    for round in 0..3 {
        let mut others: Vec<_> = (0..7)
            .map(|number| host.open(&format!("{round}{number}{}", "x".repeat(200))))
            .collect();
        for other in &mut others {
            steps(&mut **other, 2);
        }
        drop(others);
        // What is left has been moved together.
        text.extend(steps(&mut *stays, 3));
    }
    assert_eq!(text, alone("Who stays")[..12]);
    let mut again = host.open("Who stays");
    assert_eq!(steps(&mut *again, 12), text);
}

#[test]
fn full_contexts_at_once_end_each_for_itself() {
    let host = Host::new(3);
    std::thread::scope(|scope| {
        for number in 0..6 {
            let mut context = host.open(&prompt(number));
            scope.spawn(move || {
                let error = (0..=CONTEXT)
                    .find_map(|_| context.compute_step().err())
                    .unwrap();
                assert_eq!(error.code, ErrorCode::ContextFull, "{error}");
                let text = context.output(0).unwrap();
                assert_eq!(text.len() + 1 + prompt(number).len(), CONTEXT + 1);
            });
        }
    });
}

#[test]
fn a_shared_beginning_moves_in_one_of_two_contexts_only() {
    let host = Host::new(2);
    let begin = "The same beginning. ".repeat(8);
    let mut still = host.open(&begin);
    let before = steps(&mut *still, 2);
    let mut moving = host.open(&begin);
    moving
        .set_input(1, Tensor::bytes(r#"{"ctx-shift": true}"#))
        .unwrap();
    // Far beyond what fits: the context moves again and again.
    steps(&mut *moving, 2 * CONTEXT);
    let mut text = before;
    text.extend(steps(&mut *still, 10));
    assert_eq!(text, alone(&begin)[..12]);
}

#[test]
fn a_full_queue_is_busy_and_later_it_is_not() {
    let host = Host::with(Scheduling {
        parallel: 1,
        queue: 1,
        ..Scheduling::default()
    });
    let mut contexts: Vec<_> = (0..3).map(|number| host.open(&prompt(number))).collect();
    let mut polled: Vec<_> = contexts
        .iter_mut()
        .map(|context| context.compute_async(Steps::All).unwrap())
        .collect();
    // The scheduler answers what can be answered meanwhile.
    let mut results = vec![None; 3];
    let started = Instant::now();
    let mut busy = 0;
    while results.iter().any(Option::is_none) {
        assert!(started.elapsed() < Duration::from_secs(20));
        for (computing, result) in polled.iter_mut().zip(&mut results) {
            if result.is_some() {
                continue;
            }
            let mut task = TaskContext::from_waker(Waker::noop());
            if let Poll::Ready(done) = computing.as_mut().poll(&mut task) {
                busy += usize::from(matches!(&done, Err(error) if error.code == ErrorCode::Busy));
                *result = Some(done);
            }
        }
    }
    // Which ones depends on when the first one has begun.
    assert!(busy <= 2, "{results:?}");
    drop(polled);
}

#[test]
fn without_a_queue_only_what_can_run_is_not_busy() {
    let host = Host::with(Scheduling {
        parallel: 1,
        queue: 0,
        ..Scheduling::default()
    });
    let mut first = host.open("first");
    steps(&mut *first, 1);
    let mut second = host.open("second");
    let error = second.compute_step().unwrap_err();
    assert_eq!(error.code, ErrorCode::Busy);
    assert!(error.message.contains("try again later"), "{error}");
    drop(first);
    host.wait_for("llm_wasi_running 0");
    assert_eq!(steps(&mut *second, 3), alone("second")[..3]);
}

#[test]
fn who_is_dropped_leaves_its_place() {
    let host = Host::new(1);
    let mut first = host.open("first");
    steps(&mut *first, 1);
    host.wait_for("llm_wasi_running 1");
    drop(first);
    host.wait_for("llm_wasi_running 0");
    // In the middle of a step.
    let mut second = host.open("second");
    let _ = poll_once(&mut *second);
    drop(second);
    host.wait_for("llm_wasi_running 0");
    // One that is not dropped, but asks for nothing, has to wait when others want its place.
    let mut third = host.open("third");
    let text = steps(&mut *third, 1);
    let mut fourth = host.open("fourth");
    assert_eq!(steps(&mut *fourth, 3), alone("fourth")[..3]);
    let mut whole = text;
    whole.extend(steps(&mut *third, 9));
    assert_eq!(whole, alone("third")[..10]);
}

#[test]
fn a_computation_that_is_given_up_can_be_begun_again() {
    let host = Host::new(2);
    let mut context = host.open("again");
    for _ in 0..20 {
        let _ = poll_once(&mut *context);
    }
    context.finish().unwrap();
    context.set_input(0, Tensor::bytes("again")).unwrap();
    assert_eq!(steps(&mut *context, 10), alone("again")[..10]);
}

#[test]
fn an_interrupt_reaches_the_guest_that_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    TinyModel::new().write(&path).unwrap();
    let preload: Preload = format!("tiny:GGML:CPU:{}", path.display()).parse().unwrap();
    let monitor = Monitor::default();
    let host = Registry::with_default_backends()
        .monitor(monitor.clone())
        .preload(preload)
        .build();
    let guests = [0, 1].map(|_| host.clone().with_files(Files::default()));
    let mut contexts = guests.map(|guest| {
        let graph = guest.load_by_name("tiny", Some(OPTIONS)).unwrap();
        let mut context = graph.init_execution_context().unwrap();
        context.set_input(0, Tensor::bytes("abc")).unwrap();
        context.compute_step().unwrap();
        context
    });
    monitor.interrupt();
    let ended = contexts
        .iter_mut()
        .filter_map(|context| context.compute_step().err());
    let codes: Vec<_> = ended.map(|error| error.code).collect();
    assert_eq!(codes, [ErrorCode::EndOfSequence]);
}

#[test]
fn limits_of_prompts_and_options() {
    let limits = Limits {
        prompt_tokens: 10,
        options: 40,
        ..Limits::default()
    };
    let registry = Registry::with_default_backends().limits(limits).build();
    let graph = registry
        .load(
            vec![TinyModel::new().to_gguf()],
            Encoding::Ggml,
            Target::Cpu,
            Some(r#"{"ctx-size": 256, "n-predict": 2}"#),
        )
        .unwrap();
    let mut context = graph.init_execution_context().unwrap();
    context.set_input(0, Tensor::bytes("123456789")).unwrap();
    context.compute().unwrap();
    context.set_input(0, Tensor::bytes("1234567890")).unwrap();
    let error = context.compute().unwrap_err();
    assert_eq!(error.code, ErrorCode::PromptTooLong);
    assert!(
        error.message.contains("at most 10 tokens, found 11"),
        "{error}"
    );
    let long = format!(r#"{{"grammar": "{}"}}"#, "a".repeat(40));
    let error = context.set_input(1, Tensor::bytes(long)).unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge);
    let error = registry
        .load_by_name("tiny", Some(&" ".repeat(41)))
        .err()
        .unwrap();
    assert_eq!(error.code, ErrorCode::TooLarge);
    assert!(error.message.contains("limit `options`"), "{error}");
    let figures = registry.metrics().encode();
    for counted in ["{limit=\"options\"} 2", "{limit=\"prompt-tokens\"} 1"] {
        let line = format!("llm_wasi_refused_total{counted}");
        assert!(figures.contains(&line), "{figures}");
    }
}

/// In some layers such a model keeps only what the next token behind the end needs: a text that was cut back cannot go on.
#[test]
fn models_with_a_sliding_window_use_again_what_is_whole_only() {
    let model = TinyModel::new().sliding(16);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sliding.gguf");
    model.write(&path).unwrap();
    let registry = Registry::with_default_backends()
        .preload(format!("tiny:GGML:CPU:{}", path.display()).parse().unwrap())
        .build();
    // Held, so that the model stays.
    let graph = registry.load_by_name("tiny", Some(OPTIONS)).unwrap();
    let open = || graph.init_execution_context().unwrap();
    let begin = "The beginning of a text, long enough for its window to be only a part of it. ";
    let mut one = open();
    let mut text = format!("{begin}One");
    one.set_input(0, Tensor::bytes(text.as_str())).unwrap();
    text.push_str(&String::from_utf8(steps(&mut *one, 5)).unwrap());
    // Its tokens are moved out of the KV cache now.
    drop(one);
    let mut other = open();
    let two = format!("{begin}Two");
    other.set_input(0, Tensor::bytes(two.as_str())).unwrap();
    let found = steps(&mut *other, 5);
    assert_eq!(cached(&mut *other), 0);
    drop(other);
    let fresh = Registry::with_default_backends()
        .preload(format!("tiny:GGML:CPU:{}", path.display()).parse().unwrap())
        .build();
    let graph = fresh.load_by_name("tiny", Some(OPTIONS)).unwrap();
    let mut alone = graph.init_execution_context().unwrap();
    alone.set_input(0, Tensor::bytes(two)).unwrap();
    assert_eq!(found, steps(&mut *alone, 5));
    // What only grows is gone on from; the last token had not been evaluated.
    let mut next = open();
    next.set_input(0, Tensor::bytes(format!("{text} and more")))
        .unwrap();
    steps(&mut *next, 1);
    assert_eq!(cached(&mut *next) as usize, text.len());
}
