//! A bar on the terminal while a model loads or reads its prompt.
//!
//! There is one bar for the process, on standard error. It comes when something has taken a while, and
//! is gone when that is done or anything is logged, so it never stands among other text.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use llm_wasi_host::{Activity, Monitor, Progress};
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long something may take without a bar.
const PATIENCE: Duration = Duration::from_millis(300);

static SCREEN: Mutex<Screen<fn() -> ProgressDrawTarget>> =
    Mutex::new(Screen::new(ProgressDrawTarget::stderr));

/// A monitor that draws what it hears; nothing where standard error is no terminal.
pub(crate) fn monitor() -> Monitor {
    if std::io::stderr().is_terminal() {
        Monitor::new(|progress| screen().show(progress, Instant::now()))
    } else {
        Monitor::default()
    }
}

/// Takes the bar away, if there is one: what it is about has ended without a word.
pub(crate) fn clear() {
    screen().clear();
}

/// Standard error for the log. What cannot be written there is lost: that is no reason for a program to end.
pub(crate) fn log() -> impl Write {
    Log
}

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        clear();
        // Each call has one entry, whose text may be a model's: lines within it do not look like entries.
        let (entry, end) = match bytes.strip_suffix(b"\n") {
            Some(entry) => (entry, &b"\n"[..]),
            None => (bytes, &b""[..]),
        };
        let lines: Vec<_> = entry.split(|byte| *byte == b'\n').collect();
        let mut written = lines.join(&b"\n    "[..]);
        written.extend_from_slice(end);
        let _ = std::io::stderr().write_all(&written);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn screen() -> MutexGuard<'static, Screen<fn() -> ProgressDrawTarget>> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is drawn where `target` says.
struct Screen<T> {
    target: T,
    /// What goes on, since when.
    running: Option<(Activity, Instant)>,
    bar: Option<ProgressBar>,
}

impl<T: Fn() -> ProgressDrawTarget> Screen<T> {
    const fn new(target: T) -> Screen<T> {
        Screen {
            target,
            running: None,
            bar: None,
        }
    }

    fn show(&mut self, progress: Progress, now: Instant) {
        let Progress {
            activity,
            done,
            total,
        } = progress;
        if done >= total {
            self.running = None;
            self.clear();
            return;
        }
        let since = match self.running {
            Some((running, since)) if running == activity => since,
            _ => {
                self.clear();
                self.running = Some((activity, now));
                now
            }
        };
        if now.duration_since(since) < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            ProgressBar::with_draw_target(Some(total), (self.target)()).with_style(style(activity))
        });
        bar.set_length(total);
        bar.set_position(done);
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn template(activity: Activity) -> &'static str {
    match activity {
        Activity::Load => "loading the model [{bar:30}] {percent}%",
        Activity::Prefill => "reading the prompt [{bar:30}] {pos}/{len} tokens",
    }
}

fn style(activity: Activity) -> ProgressStyle {
    ProgressStyle::with_template(template(activity))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::TermLike;
    use std::sync::Arc;

    /// A terminal that remembers what was written, and `[clear]` for each cleared line.
    #[derive(Clone, Debug, Default)]
    struct Paper(Arc<Mutex<String>>);

    impl Paper {
        fn take(&self) -> String {
            std::mem::take(&mut self.0.lock().unwrap())
        }

        fn put(&self, text: &str) -> std::io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
    }

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> std::io::Result<()> {
            self.put(text)
        }
        fn write_str(&self, text: &str) -> std::io::Result<()> {
            self.put(text)
        }
        fn clear_line(&self) -> std::io::Result<()> {
            self.put("[clear]")
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn screen(paper: &Paper) -> Screen<impl Fn() -> ProgressDrawTarget> {
        let paper = paper.clone();
        Screen::new(move || ProgressDrawTarget::term_like(Box::new(paper.clone())))
    }

    fn at(activity: Activity, done: u64, total: u64) -> Progress {
        Progress {
            activity,
            done,
            total,
        }
    }

    #[test]
    fn what_is_quick_is_not_shown() {
        let paper = Paper::default();
        let mut screen = screen(&paper);
        let start = Instant::now();
        for done in 0..=10 {
            let now = start + PATIENCE.mul_f64(0.09 * done as f64);
            screen.show(at(Activity::Load, done, 10), now);
        }
        assert_eq!(paper.take(), "");
    }

    #[test]
    fn what_takes_long_is_shown_and_gone_in_the_end() {
        let paper = Paper::default();
        let mut screen = screen(&paper);
        let start = Instant::now();
        screen.show(at(Activity::Prefill, 1, 8), start);
        assert_eq!(paper.take(), "");
        screen.show(at(Activity::Prefill, 2, 8), start + PATIENCE);
        let shown = paper.take();
        assert!(shown.contains("reading the prompt"), "{shown}");
        assert!(shown.contains("2/8 tokens"), "{shown}");
        screen.show(at(Activity::Prefill, 8, 8), start + 2 * PATIENCE);
        let gone = paper.take();
        assert!(gone.contains("[clear]"), "{gone}");
        assert!(!gone.contains("tokens"), "{gone}");
    }

    #[test]
    fn each_activity_has_its_own_patience() {
        let paper = Paper::default();
        let mut screen = screen(&paper);
        let start = Instant::now();
        screen.show(at(Activity::Load, 1, 1000), start);
        // The load failed, and nobody said so.
        screen.show(at(Activity::Prefill, 1, 8), start + PATIENCE);
        assert_eq!(paper.take(), "");
        screen.show(at(Activity::Prefill, 2, 8), start + 2 * PATIENCE);
        assert!(paper.take().contains("2/8 tokens"));
    }

    #[test]
    fn a_cleared_bar_comes_back_with_the_next_report() {
        let paper = Paper::default();
        let mut screen = screen(&paper);
        let start = Instant::now();
        screen.show(at(Activity::Load, 1, 1000), start);
        screen.show(at(Activity::Load, 20, 1000), start + PATIENCE);
        screen.clear();
        assert!(paper.take().ends_with("[clear]"));
        screen.show(at(Activity::Load, 500, 1000), start + 2 * PATIENCE);
        assert!(paper.take().contains("50%"));
    }

    #[test]
    fn the_templates_are_good() {
        for activity in [Activity::Load, Activity::Prefill] {
            ProgressStyle::with_template(template(activity)).unwrap();
        }
    }
}
