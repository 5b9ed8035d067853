//! What the adapter keeps in the guest's memory, and where.
//!
//! One page holds the return area, scratch memory, the heads of the tables and of the free lists, and
//! the start of the heap. Nothing is there before the first call of an nn function, because some
//! allocators take all memory that they find when they start.

/// Distance of the state from the start of its page, so that its address is never 0.
pub(super) const STATE_OFFSET: u32 = 16;

/// Bytes for what a WIT function gives: more than the largest result takes.
pub(super) const RETURN_AREA: u32 = 16;

/// A page of WebAssembly memory.
pub(super) const PAGE: u32 = 65536;

/// Sizes of blocks grow by a quarter of a power of two; the smallest power is 2^5.
pub(super) const SIZE_CLASSES: u32 = 120;

/// In front of each block: the address of its free list's head, and its capacity in bytes.
pub(super) const BLOCK_HEADER: u32 = 8;

/// Where elements of an input begin: at the start of a cache line, where copies are fastest.
pub(super) const INPUT_ALIGNMENT: u32 = 64;

/// Offsets in the state, which depend on the room that names take.
pub(super) struct State {
    pub(super) scratch: u32,
    pub(super) graphs: u32,
    pub(super) contexts: u32,
    pub(super) bump_next: u32,
    pub(super) bump_end: u32,
    pub(super) free_lists: u32,
    pub(super) heap: u32,
}

impl State {
    pub(super) fn new(longest_name: u32) -> State {
        let scratch = RETURN_AREA;
        let graphs = scratch + longest_name.next_multiple_of(8);
        let contexts = graphs + table::SIZE;
        let bump_next = contexts + table::SIZE;
        let bump_end = bump_next + 4;
        let free_lists = bump_end + 4;
        let heap = (free_lists + SIZE_CLASSES * 4).next_multiple_of(8);
        State {
            scratch,
            graphs,
            contexts,
            bump_next,
            bump_end,
            free_lists,
            heap,
        }
    }
}

/// A table of records, sorted by handle because handles only grow.
pub(super) mod table {
    pub(crate) const RECORDS: u32 = 0;
    pub(crate) const LENGTH: u32 = 4;
    pub(crate) const CAPACITY: u32 = 8;
    pub(crate) const LIVE: u32 = 12;
    pub(crate) const NEXT_HANDLE: u32 = 16;
    pub(crate) const SIZE: u32 = 20;
}

/// A record of a table. A removed one has no resource; WIT handles are never 0.
pub(super) mod record {
    pub(crate) const HANDLE: u32 = 0;
    pub(crate) const RESOURCE: u32 = 4;
    /// Of a graph.
    pub(crate) const CONFIGURATION: u32 = 8;
    pub(crate) const CONFIGURATION_LENGTH: u32 = 12;
    /// Of a context.
    pub(crate) const INPUTS: u32 = 8;
    pub(crate) const INPUT_COUNT: u32 = 12;
    pub(crate) const OUTPUTS: u32 = 16;
    pub(crate) const OUTPUT_COUNT: u32 = 20;
    pub(crate) const STEPS_ENDED: u32 = 24;
    pub(crate) const SIZE: u32 = 32;
}

/// An input that a context keeps: dimensions and elements share a block.
pub(super) mod input {
    pub(crate) const INDEX: u32 = 0;
    pub(crate) const BLOCK: u32 = 4;
    pub(crate) const RANK: u32 = 8;
    pub(crate) const TYPE: u32 = 12;
    pub(crate) const LENGTH: u32 = 16;
    /// Address of the elements, behind the dimensions in the block.
    pub(crate) const DATA: u32 = 20;
    pub(crate) const SIZE: u32 = 24;
}
