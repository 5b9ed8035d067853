//! How guests share a model.

/// How computations with one model share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// How many run at once; further ones wait. A language model takes memory for as many contexts as run.
    pub parallel: usize,
    /// How many wait; further ones fail with [`ErrorCode::Busy`](crate::ErrorCode::Busy).
    pub queue: usize,
    /// How many bytes of keys and values are kept, for each language model, of what guests have left: who begins
    /// with the same tokens need not evaluate them again. What was not used for the longest time goes first.
    pub prefixes: usize,
    /// How many rows of models of tensors are computed at once, if computations wait and the first dimension of all
    /// that the model takes and gives is open: those of several computations together. 1 is each for itself.
    pub batch: usize,
}

impl Default for Scheduling {
    fn default() -> Self {
        Self {
            parallel: 8,
            queue: 1024,
            prefixes: 256 << 20,
            batch: 1,
        }
    }
}
