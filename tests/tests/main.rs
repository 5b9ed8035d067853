//! Tests of the whole: the same programs before and after adaptation.

mod determinism;
mod differences;
mod differential;
mod fixtures;
mod leaks;
mod matrix;
mod published;
mod snapshots;
mod wasmedge;
