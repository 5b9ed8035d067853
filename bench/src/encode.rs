//! The time to componentize, beside `wit-component` used as `wasm-tools component new` does.

use crate::measure::{Effort, Repeat, in_turns};
use crate::table::{Table, Target};
use anyhow::{Context, Result};
use llm_wasi_adapter::{Profile, Target as Wit, find};
use llm_wasi_componentize::{Options, componentize};
use std::hint::black_box;
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER;
use wit_component::ComponentEncoder;

/// A program of two megabytes: Go brings its runtime.
const MODULE: &[u8] = include_bytes!("../../fixtures/wasm/go_pressure.wasm");

const LIMIT: f64 = 1.3;

pub(crate) fn table(effort: &Effort) -> Result<Table> {
    let options = Options::default();
    let used = componentize(MODULE, &options)?.report;
    let choice = used.choice.context("the module needs an adapter")?;
    let adapter = find(&choice.dialect, Profile::Portable, Wit::Rc20241028)
        .with_context(|| format!("there is no adapter for {}", choice.dialect))?;
    let mut things: Vec<Repeat<'_>> = vec![
        Box::new(|count| {
            for _ in 0..count {
                let mut encoder = ComponentEncoder::default();
                encoder
                    .validate(true)
                    .module(MODULE)?
                    .adapter("wasi_ephemeral_nn", adapter)?
                    .adapter(
                        "wasi_snapshot_preview1",
                        WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
                    )?;
                black_box(encoder.encode()?);
            }
            Ok(())
        }),
        Box::new(|count| {
            for _ in 0..count {
                black_box(componentize(MODULE, &options)?);
            }
            Ok(())
        }),
    ];
    let times = in_turns(effort, &mut things)?;
    let (plain, ours) = (times[0], times[1]);
    let rows = [("wit-component, plainly", plain), ("componentize", ours)]
        .map(|(name, time)| {
            vec![
                name.to_string(),
                format!("{:.2} ms", time.best / 1e3),
                format!("{:.2} ms", time.median / 1e3),
                format!("{:.2}", time.best / plain.best),
            ]
        })
        .into();
    Ok(Table {
        title: format!(
            "a module of {} bytes becomes a component, with both adapters, validated",
            MODULE.len()
        ),
        columns: vec!["", "best", "median", "ratio"],
        rows,
        targets: vec![Target {
            what: "componentize / wit-component".into(),
            limit: LIMIT,
            found: ours.best / plain.best,
            unit: "×",
        }],
    })
}
