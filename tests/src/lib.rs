//! What the tests of the whole share.
//!
//! 1. [`guest`] makes modules that import nn functions and export each again.
//! 2. [`machine`] runs one as a core module on Wasmtime's host for core modules, or adapted on its WIT
//!    host, and makes the same calls on either.
//! 3. [`backend`] is the one deterministic backend below both; [`extended`] has the same models on this
//!    project's host, [`slots`] on one of an earlier WIT, [`steps`] computations in steps.
//! 4. [`calls`] has single calls with everything that they need in memory.
//! 5. [`script`] generates calls, [`hazards`] says what is odd about one, [`runner`] runs properties.
//! 6. [`model`] is what adapted modules are compared with where there is no host of core modules.
//! 7. [`differences`] lists where the two may differ.
//! 8. [`process`] says what this process holds: memory, descriptors, threads.

mod allocator;
pub mod backend;
pub mod calls;
pub mod differences;
pub mod extended;
pub mod former;
pub mod guest;
pub mod hazards;
pub mod machine;
pub mod model;
pub mod process;
pub mod runner;
pub mod script;
pub mod slots;
pub mod snapshot;
pub mod steps;
