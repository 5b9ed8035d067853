//! What `run` does for many instances and for whoever watches them.

pub(crate) mod instances;
pub(crate) mod metrics;
pub(crate) mod timings;
