//! Where the time of a run went.

use llm_wasi_host::{Metrics, Phase};
use std::fmt::Write;
use std::time::Duration;

/// Prints the time of each phase on standard error. Phases of many instances overlap.
pub(crate) fn print(metrics: &Metrics, all: Duration, overlap: bool) {
    let mut text = String::from(match overlap {
        false => "time of the run\n",
        true => "time of the run; phases of several instances overlap, and each counts\n",
    });
    let mut line = |what: &str, time: Duration| {
        let part = time.as_secs_f64() / all.as_secs_f64().max(1e-9) * 100.0;
        let milliseconds = time.as_secs_f64() * 1e3;
        // A string takes everything.
        let _ = writeln!(text, "  {what:<32} {milliseconds:>11.1} ms {part:>6.1} %");
    };
    let mut known = Duration::ZERO;
    for phase in Phase::ALL {
        let time = metrics.spent(phase);
        known += time;
        line(name(phase), time);
    }
    line(
        "the program, and everything else",
        all.saturating_sub(known),
    );
    line("in all", all);
    // What is told here is not worth failing for.
    let _ = std::io::Write::write_all(&mut anstream::stderr(), text.as_bytes());
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Compile => "compiling the program",
        Phase::Load => "loading models",
        Phase::Prefill => "prefill: evaluating prompts",
        Phase::Decode => "decode: generating tokens",
        Phase::Compute => "computing with other models",
        Phase::Copy => "copying inputs",
    }
}
