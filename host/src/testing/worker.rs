//! Worker processes that are tests.

use crate::isolate::serve_beside;
use crate::{Error, Registry};

/// As [`serve`](crate::isolate::serve), but beside the thread on which the test harness waits for its tests.
pub fn serve_from_a_test(registry: &Registry) -> Result<(), Error> {
    serve_beside(0, registry)
}
