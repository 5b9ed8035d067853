//! What the engine takes for sampling, and what a configuration may have, are told in two places: they are
//! compared here, just inside and just outside of each range.

use super::host::{Error, Llm, NO_SAMPLING, Options, Sampling, options, tiny};
use llm_wasi_compose::Defaults;
use llm_wasi_host::testing::TinyModel;

const STEP: f32 = 1e-3;

/// A field, its range, and how a request and a configuration set it.
type Field = (
    &'static str,
    [f32; 2],
    fn(&mut Sampling, f32),
    fn(&mut Defaults, f32),
);

#[test]
fn of_requests_and_of_configurations_are_the_same() {
    let fields: [Field; 6] = [
        (
            "temperature",
            [0.0, 2.0],
            |it, value| it.temperature = Some(value),
            |it, value| it.temperature = Some(value),
        ),
        (
            "top-p",
            [0.0, 1.0],
            |it, value| it.top_p = Some(value),
            |it, value| it.top_p = Some(value),
        ),
        (
            "min-p",
            [0.0, 1.0],
            |it, value| it.min_p = Some(value),
            |it, value| it.min_p = Some(value),
        ),
        (
            "repeat-penalty",
            [0.01, 10.0],
            |it, value| it.repeat_penalty = Some(value),
            |it, value| it.repeat_penalty = Some(value),
        ),
        (
            "presence-penalty",
            [-2.0, 2.0],
            |it, value| it.presence_penalty = Some(value),
            |it, value| it.presence_penalty = Some(value),
        ),
        (
            "frequency-penalty",
            [-2.0, 2.0],
            |it, value| it.frequency_penalty = Some(value),
            |it, value| it.frequency_penalty = Some(value),
        ),
    ];
    let (_folder, registry) = tiny(&TinyModel::new());
    let mut llm = Llm::new(registry);
    let model = llm.open(None, None).unwrap();
    for (name, [least, most], request, configure) in fields {
        for (value, fits) in [
            (least, true),
            (most, true),
            (least - STEP, false),
            (most + STEP, false),
        ] {
            let mut sampling = NO_SAMPLING;
            request(&mut sampling, value);
            let asked = Options {
                sampling: Some(sampling),
                ..options()
            };
            match llm.complete(model, "a", &asked) {
                Ok(_) => assert!(fits, "the engine takes {name} {value}"),
                Err(Error::InvalidRequest(invalid)) => {
                    assert_eq!(invalid.field, format!("sampling.{name}"));
                    assert!(!fits, "the engine refuses {name} {value}");
                }
                Err(error) => panic!("{name} {value}: {error:?}"),
            }
            let mut defaults = Defaults::default();
            configure(&mut defaults, value);
            match defaults.check() {
                Ok(()) => assert!(fits, "a configuration takes {name} {value}"),
                Err(bad) => {
                    assert_eq!(bad.field, name);
                    assert!(!fits, "a configuration refuses {name} {value}");
                }
            }
        }
    }
}
