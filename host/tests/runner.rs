//! What a runner passes on to its registry.

use llm_wasi_host::runner::Runner;
use llm_wasi_host::testing::TinyModel;
use llm_wasi_host::{Activity, Monitor, Progress};
use std::sync::{Arc, Mutex};

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
