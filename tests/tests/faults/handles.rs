//! Programs that give nothing back leave nothing behind.

use crate::support::{alone, program, start, tiny};
use llm_wasi_adapter::Profile;
use llm_wasi_host::Registry;
use llm_wasi_tests::calls::{load_by_name, open, set_input};
use llm_wasi_tests::extended;
use llm_wasi_tests::machine::{Machine, Outcome};
use llm_wasi_tests::process::Held;

/// How many percent more may be allocated: threads keep some of what they gave back.
const PERCENT: u64 = 2;

#[test]
fn ten_thousand_programs_that_leak_every_handle() {
    let _alone = alone();
    let (registry, counters) = extended::registry();
    for profile in [Profile::Extended, Profile::Portable] {
        let program = program("wasmedge", profile);
        let leak = || {
            let mut machine = start(&program, &registry);
            for name in ["echo", "big", "renamed"] {
                let context = open(&mut machine, name);
                assert_eq!(
                    set_input(&mut machine, context, 0, &[7; 1000]),
                    Outcome::Errno(0)
                );
                assert_eq!(machine.call("compute", &[context]), Outcome::Errno(0));
            }
            // Failures are resources as well.
            assert_eq!(load_by_name(&mut machine, "nobody"), Outcome::Errno(8));
            assert!(counters.graphs() >= 3 && counters.contexts() == 3);
        };
        for _ in 0..500 {
            leak();
        }
        let first = Held::now();
        for _ in 0..5_000 {
            leak();
        }
        assert_eq!((counters.graphs(), counters.contexts()), (0, 0));
        Held::check_soon(first, PERCENT).expect("as much as before");
    }
}

#[test]
fn programs_that_leak_contexts_of_a_language_model() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let preload = tiny(
        folder.path(),
        r#"{"threads":1,"ctx-size":64,"n-predict":4}"#,
    );
    let registry = Registry::with_default_backends().preload(preload).build();
    let program = program("wasmedge", Profile::Extended);
    let leak = || {
        let mut machine = start(&program, &registry);
        for _ in 0..2 {
            let context = open(&mut machine, "tiny");
            assert_eq!(
                set_input(&mut machine, context, 0, b"abc"),
                Outcome::Errno(0)
            );
            assert_eq!(
                machine.call("compute_single", &[context]),
                Outcome::Errno(0)
            );
        }
    };
    for _ in 0..300 {
        leak();
    }
    let first = Held::now();
    for _ in 0..300 {
        leak();
    }
    Held::check_soon(first, PERCENT).expect("as much as before");
}
