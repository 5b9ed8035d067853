//! What a runner passes on to its registry.

use llm_wasi_host::runner::{Ended, Runner};
use llm_wasi_host::testing::TinyModel;
use llm_wasi_host::{Activity, Limits, Monitor, Progress};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[test]
fn the_monitor_hears_of_loading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    TinyModel::new().write(&path).unwrap();
    let heard: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let monitor = Monitor::new({
        let heard = heard.clone();
        move |progress| heard.lock().unwrap().push(progress)
    });
    let preload = format!("tiny:GGML:CPU:{}", path.display());
    let runner = Runner::builder()
        .cache(false)
        .preload(preload.parse().unwrap())
        .monitor(monitor)
        .build()
        .unwrap();
    runner.registry().load_by_name("tiny", None).unwrap();
    let heard = heard.lock().unwrap();
    let last = heard.last().expect("a report");
    assert_eq!(last.activity, Activity::Load);
    assert_eq!((last.done, last.total), (1000, 1000));
}

/// A program of one core module, as a component.
fn program(body: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(component
            (core module $m
                (memory (export "memory") 1)
                (table (export "table") 1 funcref)
                (func (export "run") (result i32) {body}))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance (export "wasi:cli/run@0.2.0") (export "run" (func $run))))"#
    ))
    .unwrap()
}

fn with(limits: Limits) -> Runner {
    Runner::builder()
        .cache(false)
        .limits(limits)
        .build()
        .unwrap()
}

#[test]
fn memory_and_tables_do_not_grow_beyond_their_limits() {
    let limits = Limits {
        memory: 3 << 16,
        table_elements: 10,
        ..Limits::default()
    };
    let runner = with(limits);
    // Gives success (0) if the growth is refused.
    for (body, code) in [
        ("(i32.ne (memory.grow (i32.const 2)) (i32.const 1))", 0),
        ("(i32.ne (memory.grow (i32.const 3)) (i32.const -1))", 0),
        ("(i32.ne (memory.grow (i32.const 3)) (i32.const 1))", 1),
        (
            "(i32.ne (table.grow (ref.null func) (i32.const 9)) (i32.const 1))",
            0,
        ),
        (
            "(i32.ne (table.grow (ref.null func) (i32.const 10)) (i32.const -1))",
            0,
        ),
    ] {
        assert_eq!(runner.run_blocking(&program(body)).unwrap(), code, "{body}");
    }
}

#[test]
fn fuel_and_time_end_a_program_that_does_not() {
    let endless = program("(loop (br 0)) (i32.const 0)");
    let ended = |limits: Limits| {
        let error = with(limits).run_blocking(&endless).unwrap_err();
        *error.downcast_ref::<Ended>().unwrap()
    };
    let fuel = Limits {
        fuel: Some(1000),
        ..Limits::default()
    };
    assert_eq!(ended(fuel), Ended::OutOfFuel(1000));
    let limit = Duration::from_millis(50);
    let time = Limits {
        time: Some(limit),
        ..Limits::default()
    };
    assert_eq!(ended(time), Ended::TimedOut(limit));
}

#[test]
fn prepared_programs_run_many_at_once() {
    let runner = Runner::builder()
        .cache(false)
        .instances(50)
        .build()
        .unwrap();
    let fine = runner.prepare(&program("(i32.const 0)")).unwrap();
    let fails = runner.prepare(&program("(i32.const 1)")).unwrap();
    let traps = runner.prepare(&program("unreachable")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut instances = Vec::new();
        for _ in 0..50 {
            instances.push(runner.instantiate(&fine, |_| {}).await.unwrap());
        }
        // As many as were reserved.
        assert!(runner.instantiate(&fine, |_| {}).await.is_err());
        for instance in instances {
            assert_eq!(instance.run().await.unwrap(), 0);
        }
        for _ in 0..100 {
            assert_eq!(runner.run_prepared(&fails, |_| {}).await.unwrap(), 1);
            let error = runner.run_prepared(&traps, |_| {}).await.unwrap_err();
            assert_eq!(*error.downcast_ref::<Ended>().unwrap(), Ended::Trapped);
        }
    });
}

#[test]
fn how_programs_have_ended_is_counted_and_which_limits_have_ended_them() {
    let endless = program("(loop (br 0)) (i32.const 0)");
    let figures = |limits: Limits, program: &[u8]| {
        let runner = with(limits);
        let _ = runner.run_blocking(program);
        runner.registry().metrics().encode()
    };
    let limits = Limits::default;
    for (limits, program, outcome, limit) in [
        (limits(), program("(i32.const 0)"), "success", None),
        (limits(), program("(i32.const 1)"), "failure", None),
        (limits(), program("unreachable"), "trap", None),
        (
            Limits {
                fuel: Some(1000),
                ..limits()
            },
            endless.clone(),
            "fuel",
            Some("fuel"),
        ),
        (
            Limits {
                time: Some(Duration::from_millis(50)),
                ..limits()
            },
            endless,
            "time",
            Some("time"),
        ),
        (
            Limits {
                memory: 1,
                ..limits()
            },
            program("(i32.const 0)"),
            "not-started",
            Some("memory"),
        ),
        (
            Limits {
                instances: 0,
                ..limits()
            },
            program("(i32.const 0)"),
            "not-started",
            Some("instances"),
        ),
    ] {
        let figures = figures(limits, &program);
        let counted = |prefix: &str| {
            let lines = figures.lines().filter_map(|line| line.strip_prefix(prefix));
            let counted = lines.filter(|line| !line.ends_with(" 0"));
            counted.map(str::to_owned).collect::<Vec<_>>()
        };
        let ended = counted("llm_wasi_ended_total{outcome=");
        assert_eq!(ended, [format!("\"{outcome}\"}} 1")]);
        let refused = counted("llm_wasi_refused_total{limit=");
        let expected: Vec<_> = limit
            .iter()
            .map(|limit| format!("\"{limit}\"}} 1"))
            .collect();
        assert_eq!(refused, expected);
    }
}
