//! A program that is dropped in the middle of a stream: whoever runs it stops waiting for it.

use crate::support::{alone, tiny};
use llm_wasi_componentize::Options;
use llm_wasi_host::runner::Runner;
use llm_wasi_host::testing::TinyModel;
use llm_wasi_host::{Registry, Tensor};
use llm_wasi_tests::process::Held;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use wasmtime_wasi::cli::AsyncStdinStream;

/// Computes three tokens and then waits for its standard input, as a program does that asks whether to go on.
const STREAMING: &str = r#"(module
    (import "wasi_ephemeral_nn" "load_by_name" (func $load (param i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "init_execution_context" (func $init (param i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "set_input" (func $set (param i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "compute_single" (func $step (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "tiny")
    (data (i32.const 32) "Hello")
    ;; Dimensions at 96, of which there is one; type 3, data at 32 of 5 bytes.
    (data (i32.const 64) "\60\00\00\00\01\00\00\00\03\00\00\00\20\00\00\00\05\00\00\00")
    (data (i32.const 96) "\05\00\00\00")
    ;; 16 bytes at 256.
    (data (i32.const 128) "\00\01\00\00\10\00\00\00")
    (func $ok (param i32) local.get 0 if unreachable end)
    (func (export "_start")
        (call $ok (call $load (i32.const 0) (i32.const 4) (i32.const 16)))
        (call $ok (call $init (i32.load (i32.const 16)) (i32.const 16)))
        (call $ok (call $set (i32.load (i32.const 16)) (i32.const 0) (i32.const 64)))
        (call $ok (call $step (i32.load (i32.const 16))))
        (call $ok (call $step (i32.load (i32.const 16))))
        (call $ok (call $step (i32.load (i32.const 16))))
        (call $ok (call $read (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 160)))
        (call $ok (call $step (i32.load (i32.const 16))))))"#;

/// An input that never comes; counts who waits for it.
struct Never(Arc<AtomicU32>);

impl AsyncRead for Never {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Poll::Pending
    }
}

fn text(registry: &Registry) -> Vec<u8> {
    let graph = registry.load_by_name("tiny", None).expect("the model");
    let mut context = graph.init_execution_context().expect("a context");
    context
        .set_input(0, Tensor::bytes("Hello"))
        .expect("an input");
    context.compute().expect("a text");
    context.output(0).expect("a text").to_vec()
}

#[test]
fn a_program_dropped_in_the_middle_of_a_stream() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let preload = tiny(
        folder.path(),
        r#"{"temp":0,"threads":1,"ctx-size":64,"n-predict":8}"#,
    );
    let module = wat::parse_str(STREAMING).expect("a module");
    let component = llm_wasi_componentize::componentize(&module, &Options::default())
        .unwrap_or_else(|refusal| panic!("{refusal}"))
        .bytes;
    let runner = Runner::builder()
        .cache(false)
        .preload(preload)
        .build()
        .expect("a runner");
    let registry = runner.registry().clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let waiting = Arc::new(AtomicU32::new(0));
    let drop_one = || {
        let stdin = Never(waiting.clone());
        let before = waiting.load(Ordering::SeqCst);
        let run = runner.run_with(&component, |wasi| {
            wasi.stdin(AsyncStdinStream::new(stdin));
        });
        let until = async {
            while waiting.load(Ordering::SeqCst) == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        runtime.block_on(async {
            tokio::select! {
                ended = run => panic!("the program ended: {ended:?}"),
                () = until => {}
            }
        });
    };
    let expected = text(&registry);
    assert_eq!(expected, TinyModel::new().continuation(b'o', 8));
    for _ in 0..20 {
        drop_one();
    }
    let first = Held::now();
    for _ in 0..100 {
        drop_one();
    }
    Held::check_soon(first, 2).expect("as much as before");
    // The model computes as before.
    assert_eq!(text(&registry), expected);
}
