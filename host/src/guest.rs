//! One guest: what it holds at the moment, and what it may hold.

use crate::figures::Figure;
use crate::limits::position;
use crate::{Error, ErrorCode, Limits, Metrics};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// What the host knows of a guest. Everything that is limited by counting is counted here.
pub(crate) struct Guest {
    /// No other guest has it.
    pub(crate) number: u64,
    pub(crate) limits: Limits,
    metrics: Metrics,
    held: [AtomicUsize; KINDS],
    /// The limits whose excess was logged, one bit each.
    told: AtomicU32,
}

/// What is counted.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Graphs,
    Contexts,
    /// In bytes.
    Tensors,
}

const KINDS: usize = 3;

/// Something that a guest holds, counted until this is dropped.
pub(crate) struct Permit {
    guest: Arc<Guest>,
    kind: Kind,
    amount: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.guest.held[self.kind as usize].fetch_sub(self.amount, Ordering::Relaxed);
    }
}

impl Guest {
    pub(crate) fn new(limits: Limits, metrics: Metrics) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self {
            number: LAST.fetch_add(1, Ordering::Relaxed),
            limits,
            metrics,
            held: Default::default(),
            told: AtomicU32::new(0),
        }
    }

    /// Counts one more of what a guest holds, or refuses it.
    pub(crate) fn hold(self: &Arc<Self>, kind: Kind, amount: usize) -> Result<Permit, Error> {
        let limits = &self.limits;
        let (name, most) = match kind {
            Kind::Graphs => ("graphs", limits.graphs),
            Kind::Contexts => ("contexts", limits.contexts),
            Kind::Tensors => ("tensors", limits.tensors),
        };
        let held = &self.held[kind as usize];
        let before = held.fetch_add(amount, Ordering::Relaxed);
        let permit = Permit {
            guest: self.clone(),
            kind,
            amount,
        };
        match before.checked_add(amount) {
            Some(now) if now <= most => Ok(permit),
            _ => Err(self.refuse(name, most, before.saturating_add(amount))),
        }
    }

    /// Checks what is limited each time for itself.
    pub(crate) fn check(&self, name: &'static str, most: usize, found: usize) -> Result<(), Error> {
        if found > most {
            return Err(self.refuse(name, most, found));
        }
        Ok(())
    }

    /// The failure of a guest that has exceeded a limit. The log hears of it once.
    fn refuse(&self, name: &'static str, most: usize, found: usize) -> Error {
        self.note(name, &format!("at most {most}, found {found}"));
        Error::new(
            ErrorCode::TooLarge,
            format!(
                "expected at most {most} for limit `{name}`, found {found}: the host can set a larger limit"
            ),
        )
    }

    /// Counts an excess of which nobody has to be told: the guest has ended with it.
    pub(crate) fn count(&self, name: &'static str) {
        if let Some(limit) = position(name) {
            self.metrics.count(Figure::Refused(limit));
        }
    }

    /// Counts an excess, and logs the first one of each limit.
    pub(crate) fn note(&self, name: &'static str, what: &str) {
        self.count(name);
        let bit = position(name).map_or(1 << 31, |position| 1_u32 << position);
        if self.told.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            tracing::warn!(guest = self.number, "limit `{name}`: {what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_held_again() {
        let limits = Limits {
            contexts: 2,
            tensors: 100,
            ..Limits::default()
        };
        let guest = Arc::new(Guest::new(limits, Metrics::default()));
        let one = guest.hold(Kind::Contexts, 1).unwrap();
        let _two = guest.hold(Kind::Contexts, 1).unwrap();
        let refused = guest.hold(Kind::Contexts, 1).err().unwrap();
        assert_eq!(refused.code, ErrorCode::TooLarge);
        assert_eq!(
            refused.message,
            "expected at most 2 for limit `contexts`, found 3: the host can set a larger limit"
        );
        drop(one);
        guest.hold(Kind::Contexts, 1).unwrap();
        guest.hold(Kind::Tensors, 100).unwrap();
        assert!(guest.hold(Kind::Tensors, 101).is_err());
        assert!(guest.hold(Kind::Tensors, usize::MAX).is_err());
        guest.hold(Kind::Tensors, 100).unwrap();
    }
}
