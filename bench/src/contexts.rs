//! One cycle against the number of live contexts.

use crate::guests::{Guests, Variant};
use crate::measure::{Effort, Repeat, in_turns};
use crate::table::{Table, Target};
use anyhow::Result;

const COUNTS: [u32; 5] = [1, 10, 100, 1_000, 10_000];

/// Small, so that a search would show.
const INPUT_BYTES: u32 = 16;

/// What counts as the same: the machine's own unrest is about a tenth.
const FLAT: f64 = 1.2;

/// One row for each number of contexts; the guest by hand has one context only and is left out.
pub(crate) fn table(effort: &Effort) -> Result<Table> {
    let guests = Guests::compile()?;
    let variants = [Variant::Core, Variant::Portable, Variant::Extended];
    let mut things: Vec<Repeat<'_>> = Vec::new();
    for count in COUNTS {
        for variant in variants {
            let mut guest = guests.start(variant, INPUT_BYTES)?;
            // The start has opened the first.
            guest.open(count - 1)?;
            things.push(Box::new(move |cycles| guest.run(cycles)));
        }
    }
    let times = in_turns(effort, &mut things)?;
    let by_count: Vec<_> = times.chunks(variants.len()).collect();
    let rows = COUNTS
        .iter()
        .zip(&by_count)
        .map(|(count, times)| {
            let mut row = vec![count.to_string()];
            row.extend(times.iter().map(|time| format!("{:.2} µs", time.best)));
            row
        })
        .collect();
    let targets = [(1, "(b)"), (2, "(d)")]
        .map(|(column, name)| {
            let best = |row: &&[crate::measure::Time]| row[column].best;
            let longest = by_count.iter().map(best).fold(0.0, f64::max);
            let shortest = by_count.iter().map(best).fold(f64::MAX, f64::min);
            Target {
                what: format!("{name} is flat: longest / shortest"),
                limit: FLAT,
                found: longest / shortest,
                unit: "×",
            }
        })
        .into();
    Ok(Table {
        title: format!("cycle against live contexts, N = {INPUT_BYTES} bytes"),
        columns: vec!["contexts", "(a)", "(b)", "(d)"],
        rows,
        targets,
    })
}
