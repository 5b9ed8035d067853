//! How guests share a model.

/// How computations with one model share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// How many run at once; further ones wait. A language model takes memory for as many contexts as run.
    pub parallel: usize,
    /// How many wait; further ones fail with [`ErrorCode::Busy`](crate::ErrorCode::Busy).
    pub queue: usize,
}

impl Default for Scheduling {
    fn default() -> Self {
        Self {
            parallel: 8,
            queue: 1024,
        }
    }
}
