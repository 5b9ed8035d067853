//! Failures that end other hosts, and failures from outside: what a program sees of them, and that the host and
//! other programs go on.

mod device;
mod handles;
mod panics;
mod stream;
mod support;
