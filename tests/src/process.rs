//! What this process holds, as Linux tells it.

use crate::allocator::allocated;
use std::time::{Duration, Instant};
use std::{fmt, fs, thread};

/// Longer than the ten seconds for which Tokio keeps threads without work.
const SOON: Duration = Duration::from_secs(20);

/// How many percent more memory may be in use. The allocator keeps some of what was given back, now more and now less.
const KEPT: u64 = 25;

/// Memory, descriptors and threads at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Memory in use, in KiB.
    pub resident: u64,
    /// What the allocator has given out, in bytes, where it tells.
    pub allocated: Option<u64>,
    /// Open files.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
}

impl Held {
    /// Now.
    pub fn now() -> Held {
        let status =
            fs::read_to_string("/proc/self/status").expect("Linux's account of this process");
        let resident = status
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmRSS:")?
                    .trim()
                    .strip_suffix(" kB")?
                    .parse()
                    .ok()
            })
            .expect("the memory in use");
        let count = |folder| {
            fs::read_dir(folder)
                .expect("Linux's account of this process")
                .count()
        };
        Held {
            resident,
            allocated: allocated(),
            // Less the one with which they are counted.
            descriptors: count("/proc/self/fd") - 1,
            threads: count("/proc/self/task"),
        }
    }

    /// As [`check`](Self::check) of what is held soon: calls that were dropped end on threads of their own, and threads without
    /// work some seconds later.
    pub fn check_soon(first: Held, percent: u64) -> Result<(), String> {
        let started = Instant::now();
        loop {
            let result = Self::now().check(first, percent);
            if result.is_ok() || started.elapsed() > SOON {
                return result;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Fails if there is more of anything than at `first`, but for `percent` of what is allocated.
    pub fn check(self, first: Held, percent: u64) -> Result<(), String> {
        let more = |then: u64, percent: u64| then.saturating_add(then / 100 * percent);
        if let (Some(now), Some(then)) = (self.allocated, first.allocated)
            && now > more(then, percent)
        {
            return Err(format!(
                "expected at most {percent} % more than {then} bytes allocated, found {now}"
            ));
        }
        if self.resident > more(first.resident, KEPT) {
            return Err(format!(
                "expected at most {KEPT} % more than {} KiB in use, found {}",
                first.resident, self.resident
            ));
        }
        for (what, now, then) in [
            ("descriptors", self.descriptors, first.descriptors),
            ("threads", self.threads, first.threads),
        ] {
            if now > then {
                return Err(format!("expected {then} {what}, found {now}"));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Held {
            resident,
            descriptors,
            threads,
            ..
        } = self;
        if let Some(allocated) = self.allocated {
            write!(f, "{allocated:>9} bytes allocated, ")?;
        }
        write!(
            f,
            "{resident:>7} KiB in use, {descriptors:>3} descriptors, {threads:>3} threads"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_before_is_told() {
        let first = Held {
            resident: 1000,
            allocated: Some(1000),
            descriptors: 5,
            threads: 2,
        };
        let with = |allocated, resident, descriptors, threads| {
            Held {
                resident,
                allocated,
                descriptors,
                threads,
            }
            .check(first, 2)
        };
        with(Some(1020), 1250, 5, 2).unwrap();
        with(Some(900), 900, 4, 1).unwrap();
        with(None, 1000, 5, 2).unwrap();
        assert!(with(Some(1021), 1000, 5, 2).unwrap_err().contains("bytes"));
        assert!(with(Some(1000), 1251, 5, 2).unwrap_err().contains("KiB"));
        assert!(with(None, 1000, 6, 2).unwrap_err().contains("descriptors"));
        assert!(with(None, 1000, 5, 3).unwrap_err().contains("threads"));
    }
}
