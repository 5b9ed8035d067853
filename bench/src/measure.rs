//! Timing several things in turns.

use anyhow::Result;
use std::time::{Duration, Instant};

/// How long to measure.
pub(crate) struct Effort {
    /// How often each thing gets its turn.
    pub(crate) rounds: usize,
    /// How long a turn should take.
    pub(crate) turn: Duration,
    /// Whether to leave out what takes long.
    pub(crate) quick: bool,
}

impl Effort {
    pub(crate) const FULL: Effort = Effort {
        rounds: 60,
        turn: Duration::from_millis(5),
        quick: false,
    };
    pub(crate) const QUICK: Effort = Effort {
        rounds: 5,
        turn: Duration::from_millis(1),
        quick: true,
    };
}

/// Something that can be done so many times.
pub(crate) type Repeat<'a> = Box<dyn FnMut(u32) -> Result<()> + 'a>;

/// Microseconds for doing it once.
#[derive(Clone, Copy)]
pub(crate) struct Time {
    /// In the best round.
    pub(crate) best: f64,
    /// In the middle one.
    pub(crate) median: f64,
}

/// Does each in turn, in all rounds, and gives the time that each takes.
pub(crate) fn in_turns(effort: &Effort, things: &mut [Repeat<'_>]) -> Result<Vec<Time>> {
    let mut counts = Vec::new();
    for thing in things.iter_mut() {
        counts.push(calibrate(effort, thing)?);
    }
    let mut samples = vec![Vec::with_capacity(effort.rounds); things.len()];
    for _ in 0..effort.rounds {
        for ((thing, count), samples) in things.iter_mut().zip(&counts).zip(&mut samples) {
            let taken = time(thing, *count)?;
            samples.push(taken.as_secs_f64() * 1e6 / f64::from(*count));
        }
    }
    Ok(samples.into_iter().map(summarize).collect())
}

/// How often it fits into a turn; warms everything up on the way.
fn calibrate(effort: &Effort, thing: &mut Repeat<'_>) -> Result<u32> {
    let mut count = 1;
    while time(thing, count)? < effort.turn && count < 1 << 24 {
        count *= 2;
    }
    Ok(count)
}

fn time(thing: &mut Repeat<'_>, count: u32) -> Result<Duration> {
    let start = Instant::now();
    thing(count)?;
    Ok(start.elapsed())
}

/// The median of the ratios of what ran one after the other: it had the same from the machine, which other programs
/// use too.
pub(crate) fn median_ratio(above: &[f64], below: &[f64]) -> f64 {
    let mut ratios: Vec<_> = above.iter().zip(below).map(|(a, b)| a / b).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
}

fn summarize(mut samples: Vec<f64>) -> Time {
    samples.sort_by(f64::total_cmp);
    Time {
        best: samples[0],
        median: samples[samples.len() / 2],
    }
}
