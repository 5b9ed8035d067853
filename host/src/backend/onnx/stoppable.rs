//! Options of inferences, which another thread can stop.

#![allow(
    unsafe_code,
    reason = "options that several threads see, which `ort` allows without selected outputs only"
)]

use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions};

/// Options that ask for some of a model's outputs.
pub(super) struct Stoppable(RunOptions<HasSelectedOutputs>);

// SAFETY: `ort` keeps these options to one thread since they may hold tensors for the outputs, which two inferences
// would write to. Here there are none, as `new` takes names only. What else there is are the names, which nobody
// changes, and the library's flag, which is made to be set while another thread computes.
unsafe impl Sync for Stoppable {}

impl Stoppable {
    /// Asks for the outputs with these names.
    pub(super) fn new<'n>(outputs: impl Iterator<Item = &'n str>) -> ort::Result<Self> {
        let none = OutputSelector::no_default();
        let selected = outputs.fold(none, |selector, name| selector.with(name));
        Ok(Self(RunOptions::new()?.with_outputs(selected)))
    }

    pub(super) fn options(&self) -> &RunOptions<HasSelectedOutputs> {
        &self.0
    }

    /// Ends what computes with these options, before its next operation, and all that follows until
    /// [`go_on`](Self::go_on).
    pub(super) fn stop(&self) {
        if let Err(error) = self.0.terminate() {
            tracing::debug!("an inference could not be ended: {error}");
        }
    }

    /// Lets the next inference compute.
    pub(super) fn go_on(&self) {
        if let Err(error) = self.0.unterminate() {
            tracing::warn!("inferences stay ended: {error}");
        }
    }
}
