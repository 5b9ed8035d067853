//! The limits of a program's memories, tables and instances.

use crate::guest::Guest;
use crate::{Limits, Registry};
use std::sync::Arc;
use wasmtime::ResourceLimiter;

/// The bytes that a memory with addresses of 32 bits may have.
const ADDRESSES: usize = u32::MAX as usize;

/// Answers a store that wants to grow.
pub(super) struct Limiter {
    guest: Arc<Guest>,
    memory: usize,
    table_elements: usize,
    instances: usize,
}

impl Limiter {
    pub(super) fn new(registry: &Registry, limits: &Limits) -> Self {
        Self {
            guest: registry.guest().clone(),
            memory: limits.memory,
            table_elements: limits.table_elements,
            instances: limits.instances,
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        _: usize,
        desired: usize,
        most: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grows = desired <= self.memory;
        // Beyond its own limit no memory grows, and programs ask for that to see where it is.
        if !grows && desired <= most.unwrap_or(ADDRESSES) {
            let what = format!("a memory of {desired} bytes was refused");
            self.guest.note("memory", &what);
        }
        Ok(grows)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grows = desired <= self.table_elements;
        if !grows {
            let what = format!("a table of {desired} elements was refused");
            self.guest.note("table-elements", &what);
        }
        Ok(grows)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        self.instances
    }
}
