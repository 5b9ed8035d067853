//! One cycle of inference: set_input of N bytes, compute, get_output of 4,004 bytes.

use crate::guests::{Guests, Variant};
use crate::load::Line;
use crate::measure::{Effort, Repeat, Time, in_turns};
use crate::table::{Table, Target};
use anyhow::Result;
use std::hint::black_box;

/// Sizes of the input; the first is the least, the third an image of 224 × 224 in `f32`.
const SIZES: [u32; 4] = [16, 4_096, 602_112, 6_021_120];

/// From here on copying is what a cycle consists of.
const LARGE: u32 = 100_000;

/// One table for each size of the input.
pub(crate) fn tables(effort: &Effort, sizes: &[u32]) -> Result<Vec<Table>> {
    let guests = Guests::compile()?;
    let sizes = match sizes {
        [] if effort.quick => &SIZES[..3],
        [] => &SIZES,
        sizes => sizes,
    };
    sizes
        .iter()
        .map(|size| table(effort, &guests, *size))
        .collect()
}

/// One cycle over the size of the input: a table, and the lines of a plot.
pub(crate) fn growth(effort: &Effort) -> Result<(Table, Vec<Line>)> {
    let guests = Guests::compile()?;
    let exponents = if effort.quick { 12..=14 } else { 10..=24 };
    let mut lines: Vec<_> = ["plain memcpy"]
        .into_iter()
        .chain(Variant::ALL.map(Variant::name))
        .map(|name| Line {
            name,
            points: Vec::new(),
        })
        .collect();
    let mut rows = Vec::new();
    for exponent in exponents.step_by(2) {
        let size = 1_u32 << exponent;
        let from = vec![1_u8; size as usize];
        let mut to = from.clone();
        let mut things: Vec<Repeat<'_>> = vec![Box::new(|count| {
            for _ in 0..count {
                black_box(&mut to).copy_from_slice(black_box(&from));
            }
            Ok(())
        })];
        for variant in Variant::ALL {
            let mut guest = guests.start(variant, size)?;
            things.push(Box::new(move |count| guest.run(count)));
        }
        let times = in_turns(effort, &mut things)?;
        for (line, time) in lines.iter_mut().zip(&times) {
            line.points.push((f64::from(size) / 1024.0, time.best));
        }
        let cells = times.iter().map(|time| format!("{:.2} µs", time.best));
        rows.push(
            [format!("{} KiB", size >> 10)]
                .into_iter()
                .chain(cells)
                .collect(),
        );
    }
    let table = Table {
        title: "a cycle, by the size of the input".into(),
        columns: ["input"]
            .into_iter()
            .chain(lines.iter().map(|line| line.name))
            .collect(),
        rows,
        targets: Vec::new(),
    };
    Ok((table, lines))
}

fn table(effort: &Effort, guests: &Guests, size: u32) -> Result<Table> {
    let from = vec![1_u8; size as usize];
    let mut to = vec![0_u8; size as usize];
    let [mut kept, mut taken] = [to.clone(), to.clone()];
    let mut things: Vec<Repeat<'_>> = vec![
        Box::new(|count| {
            for _ in 0..count {
                black_box(&mut to).copy_from_slice(black_box(&from));
            }
            Ok(())
        }),
        // What nobody can do without who keeps a copy and then passes the input on by value.
        Box::new(|count| {
            for _ in 0..count {
                black_box(&mut kept).copy_from_slice(black_box(&from));
                black_box(&mut taken).copy_from_slice(black_box(&kept));
            }
            Ok(())
        }),
    ];
    for variant in Variant::ALL {
        let mut guest = guests.start(variant, size)?;
        things.push(Box::new(move |count| guest.run(count)));
    }
    let times = in_turns(effort, &mut things)?;
    let core = times[2].best;
    let names = [
        "plain memcpy of N",
        "plain memcpy of N to a copy, and on from there",
    ]
    .into_iter()
    .chain(Variant::ALL.map(Variant::name));
    let rows = names
        .zip(&times)
        .map(|(name, time)| {
            vec![
                name.to_string(),
                format!("{:.2} µs", time.best),
                format!("{:.2} µs", time.median),
                format!("{:.2}", time.best / core),
            ]
        })
        .collect();
    Ok(Table {
        title: format!("cycle, N = {size} bytes"),
        columns: vec!["", "best", "median", "× (a)"],
        rows,
        targets: targets(size, &times),
    })
}

fn targets(size: u32, times: &[Time]) -> Vec<Target> {
    let [copy, core, portable, bindgen, extended] =
        [0, 2, 3, 4, 5].map(|position: usize| times[position].best);
    let target = |what: &str, limit, found| Target {
        what: what.to_string(),
        limit,
        found,
        unit: "µs",
    };
    let mut targets = vec![target("(b) ≤ (c) + memcpy", bindgen + copy, portable)];
    if size >= LARGE {
        let what = "(b) ≤ 0.75 × (a) + memcpy";
        targets.push(target(what, 0.75 * core + copy, portable));
        targets.push(target("(d) ≤ 0.75 × (a)", 0.75 * core, extended));
    } else {
        targets.push(target("(d) ≤ 1.0 µs", 1.0, extended));
    }
    targets
}
