//! How far the transfer of a file is: a bar on a terminal, now and then a line elsewhere.

use crate::models::name::Name;
use crate::text::size;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How long to be silent between lines.
const PAUSE: Duration = Duration::from_secs(10);

const KNOWN: &str =
    "{prefix} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
const UNKNOWN: &str = "{prefix} {spinner} {binary_bytes} {binary_bytes_per_sec}";

/// Shows the progress of one file; what it drew is gone when it is dropped.
pub(crate) struct Meter {
    label: String,
    bar: Option<ProgressBar>,
    done: u64,
    total: Option<u64>,
    told: Instant,
}

impl Meter {
    pub(crate) fn new(label: String) -> Meter {
        Meter {
            label,
            bar: None,
            done: 0,
            total: None,
            told: Instant::now(),
        }
    }

    /// Of one of a model's files.
    pub(crate) fn of_file(model: &Name, index: usize, count: usize) -> Meter {
        Meter::new(match count {
            1 => model.to_string(),
            _ => format!("{model} ({} of {count})", index + 1),
        })
    }

    /// Begins, also anew, where `done` of `total` bytes are there.
    pub(crate) fn start(&mut self, done: u64, total: Option<u64>) {
        self.done = done;
        self.total = total;
        self.clear();
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr())
                .with_style(style(total))
                .with_prefix(self.label.clone())
                .with_position(done);
            bar.reset_eta();
            self.bar = Some(bar);
        }
    }

    pub(crate) fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        match &self.bar {
            Some(bar) => bar.set_position(self.done),
            None if self.told.elapsed() >= PAUSE => self.tell(),
            None => {}
        }
    }

    fn tell(&mut self) {
        self.told = Instant::now();
        // There is nobody left to tell if this fails.
        let _ = writeln!(std::io::stderr(), "{}", self.line());
    }

    fn line(&self) -> String {
        let of = match self.total {
            Some(total) => format!(" of {}", size(total)),
            None => String::new(),
        };
        format!("{}: {}{of}", self.label, size(self.done))
    }

    /// Takes away what is drawn, until the next start.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style(total: Option<u64>) -> ProgressStyle {
    let template = if total.is_some() { KNOWN } else { UNKNOWN };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_good() {
        for template in [KNOWN, UNKNOWN] {
            ProgressStyle::with_template(template).unwrap();
        }
    }

    #[test]
    fn lines() {
        let mut meter = Meter::new("tiny (1 of 3)".to_string());
        meter.start(1 << 20, Some(3 << 20));
        meter.advance(1 << 20);
        assert_eq!(meter.line(), "tiny (1 of 3): 2.0 MiB of 3.0 MiB");
        meter.start(0, None);
        assert_eq!(meter.line(), "tiny (1 of 3): 0 bytes");
    }
}
