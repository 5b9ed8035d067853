//! What this process holds, as Linux tells it.

use std::time::{Duration, Instant};
use std::{fs, thread};

/// Longer than the ten seconds for which Tokio keeps threads without work.
const SOON: Duration = Duration::from_secs(20);

/// Among how many rounds there must be one after which there is as much as before it.
const ROUNDS: u32 = 5;

/// Memory, descriptors and threads at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Memory in use, in KiB.
    pub resident: u64,
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
            // Less the one with which they are counted.
            descriptors: count("/proc/self/fd") - 1,
            threads: count("/proc/self/task"),
        }
    }

    /// Runs rounds until one ends with as much as there was before it, as [`check_soon`](Self::check_soon) tells it, and fails
    /// if none does. A leak grows in each; what the allocator keeps goes up and down, more so on a busy machine.
    pub fn check_rounds(percent: u64, mut round: impl FnMut()) -> Result<(), String> {
        let mut result = Ok(());
        for _ in 0..ROUNDS {
            let first = Self::now();
            round();
            result = Self::check_soon(first, percent);
            if result.is_ok() {
                break;
            }
        }
        result
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

    /// Fails if there is more of anything than at `first`, but for `percent` of the memory.
    pub fn check(self, first: Held, percent: u64) -> Result<(), String> {
        let limit = first.resident + first.resident * percent / 100;
        if self.resident > limit {
            return Err(format!(
                "expected at most {limit} KiB, {percent} % more than {}, found {}",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_before_is_told() {
        let first = Held {
            resident: 1000,
            descriptors: 5,
            threads: 2,
        };
        let with = |resident, descriptors, threads| {
            Held {
                resident,
                descriptors,
                threads,
            }
            .check(first, 2)
        };
        with(1020, 5, 2).unwrap();
        with(900, 4, 1).unwrap();
        assert!(with(1021, 5, 2).is_err());
        assert!(with(1000, 6, 2).unwrap_err().contains("descriptors"));
        assert!(with(1000, 5, 3).unwrap_err().contains("threads"));
    }
}
