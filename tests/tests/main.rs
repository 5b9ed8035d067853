//! Tests of the whole: the same programs before and after adaptation.

mod conformance;
mod determinism;
mod differences;
mod differential;
mod embedding_guide;
mod engine;
mod fixtures;
mod leaks;
mod matrix;
mod published;
mod releases;
mod snapshots;
mod wasmedge;
mod wit_reference;
