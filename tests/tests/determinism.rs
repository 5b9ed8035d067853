//! The same input gives the same bytes.

use llm_wasi_adapter::{Options, Profile, Target, dialects, find, generate};
use llm_wasi_componentize::componentize;
use llm_wasi_tests::machine::Way;

#[test]
fn adapters() {
    let mut made = 0;
    for dialect in dialects() {
        for profile in Profile::ALL {
            for target in Target::ALL {
                let options = Options {
                    dialect: dialect.name.to_string(),
                    profile,
                    target,
                    input_names: Vec::new(),
                    zero_max_is_unlimited: false,
                };
                let Some(stock) = find(dialect.name, profile, target) else {
                    assert!(generate(&options).is_err(), "{options:?}");
                    continue;
                };
                // By the build script, which is another process, and here twice.
                for _ in 0..2 {
                    let fresh = generate(&options).expect("a stock adapter can be made anew");
                    assert!(fresh == stock, "{options:?}");
                }
                made += 1;
                let other = Options {
                    input_names: vec![(3, "data".to_string())],
                    ..options
                };
                assert!(
                    generate(&other).expect("names are fine") != stock,
                    "{other:?}"
                );
            }
        }
    }
    // Every dialect in both profiles, and the portable one for the earlier WIT.
    assert_eq!(made, dialects().len() * 3);
}

#[test]
fn components() {
    let module = crate::fixtures::fixture("wasm/all_functions.wasm");
    let options = Way::portable("wasmedge").options();
    let make = || {
        componentize(&module, &options)
            .expect("it can be adapted")
            .bytes
    };
    assert!(make() == make());
}
