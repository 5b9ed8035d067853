//! Tests of the whole: the same programs before and after adaptation.

mod sequences;
