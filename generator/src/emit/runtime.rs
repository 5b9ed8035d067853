//! Functions that every adapter shares: memory, tables, inputs, outputs, names.
//!
//! They are written in WebAssembly by hand, one Rust function each, and call each other by the indexes
//! in [`Runtime`]. wit-component removes those that a component does not need.

use super::layout::{
    BLOCK_HEADER, INPUT_ALIGNMENT, PAGE, STATE_OFFSET, State, input, record, table,
};
use crate::plan::NamedTensor;
use wasm_encoder::{BlockType, Function, InstructionSink, MemArg, MemArgTarget, ValType};

/// Indexes of the globals.
pub(super) mod global {
    /// Address of the state, or 0 before the first call.
    pub(crate) const STATE: u32 = 0;
    /// The guest's buffer that the next allocation by the host may use.
    pub(crate) const BUFFER: u32 = 1;
    /// Its size.
    pub(crate) const BUFFER_MAX: u32 = 2;
    /// 0: there is none; 1: it is free; 2: the host has it.
    pub(crate) const BUFFER_STATE: u32 = 3;
    pub(crate) const COUNT: u32 = 4;
    pub(crate) const NAMES: [&str; 4] = ["state", "buffer", "buffer_max", "buffer_state"];
}

/// An `i32` in memory, `offset` bytes behind the address on the stack.
pub(super) fn word(offset: u32) -> MemArg {
    MemArg {
        offset: offset.into(),
        align: 2,
        target: MemArgTarget::Memory(0),
        ordering: None,
    }
}

/// The same in the guest's memory, which need not be aligned.
pub(super) fn unaligned(offset: u32) -> MemArg {
    MemArg {
        align: 0,
        ..word(offset)
    }
}

/// The bits of a `u32` as the `i32` that a constant takes.
pub(super) fn bits(value: u32) -> i32 {
    i32::from_ne_bytes(value.to_ne_bytes())
}

/// One of the shared functions.
pub(super) struct Helper {
    pub(super) name: &'static str,
    pub(super) params: u32,
    pub(super) gives: bool,
    pub(super) function: Function,
}

/// Indexes of the shared functions.
#[derive(Clone, Copy)]
pub(super) struct Runtime {
    /// Of the first one.
    base: u32,
}

macro_rules! functions {
    ($($name:ident = $index:literal,)*) => {
        impl Runtime {
            $(pub(super) fn $name(self) -> u32 {
                self.base + $index
            })*
        }
    };
}

functions! {
    prepare = 0,
    allocate = 1,
    release = 2,
    reallocate = 3,
    host_realloc = 4,
    find = 5,
    reserve = 6,
    append = 7,
    remove = 8,
    keep_input = 9,
    release_inputs = 10,
    write_decimal = 11,
    write_input_name = 12,
    parse_decimal = 13,
    keep_outputs = 14,
    find_output = 15,
    is_text = 16,
    align = 17,
    settle = 18,
    shape_size = 19,
}

impl Runtime {
    pub(super) fn new(base: u32) -> Runtime {
        Runtime { base }
    }

    /// Every function in the order of the indexes.
    pub(super) fn functions(
        self,
        state: &State,
        named: Option<NamedTensor>,
        input_names: &[(u32, String)],
    ) -> Vec<Helper> {
        // A target without lists of named tensors never calls the functions that need the layout.
        let named = named.unwrap_or(NamedTensor {
            name: 0,
            tensor: 8,
            size: 12,
        });
        let helper = |name, params, gives, function| Helper {
            name,
            params,
            gives,
            function,
        };
        vec![
            helper("prepare", 0, true, prepare(state)),
            helper("allocate", 1, true, allocate(state)),
            helper("release", 1, false, release()),
            helper("reallocate", 3, true, self.emit_reallocate()),
            helper("cabi_import_realloc", 4, true, self.emit_host_realloc()),
            helper("find", 2, true, find()),
            helper("reserve", 1, true, self.emit_reserve()),
            helper("append", 2, true, append()),
            helper("remove", 2, false, remove()),
            helper("keep_input", 7, true, self.emit_keep_input()),
            helper("release_inputs", 1, false, self.emit_release_inputs()),
            helper("write_decimal", 2, true, write_decimal()),
            helper(
                "write_input_name",
                2,
                true,
                self.emit_write_input_name(input_names),
            ),
            helper("parse_decimal", 3, false, parse_decimal()),
            helper("keep_outputs", 3, false, self.emit_keep_outputs(named)),
            helper("find_output", 2, true, find_output(named)),
            helper("is_text", 2, true, is_text()),
            helper("align", 3, true, self.emit_align()),
            helper("settle", 4, false, self.emit_settle()),
            helper("shape_size", 3, true, shape_size()),
        ]
    }
}

fn function(locals: u32) -> Function {
    Function::new([(locals, ValType::I32)])
}

/// `() -> 1, or 0 if memory cannot grow`: gets the page of the state.
fn prepare(state: &State) -> Function {
    const PAGE_INDEX: u32 = 0;
    let mut f = function(1);
    f.instructions()
        .global_get(global::STATE)
        .if_(BlockType::Empty)
        .i32_const(1)
        .return_()
        .end()
        .i32_const(1)
        .memory_grow(0)
        .local_tee(PAGE_INDEX)
        .i32_const(-1)
        .i32_eq()
        .if_(BlockType::Empty)
        .i32_const(0)
        .return_()
        .end()
        .local_get(PAGE_INDEX)
        .i32_const(16)
        .i32_shl()
        .i32_const(bits(STATE_OFFSET))
        .i32_add()
        .global_set(global::STATE)
        // The rest of the page is the first of the heap.
        .global_get(global::STATE)
        .global_get(global::STATE)
        .i32_const(bits(state.heap))
        .i32_add()
        .i32_store(word(state.bump_next))
        .global_get(global::STATE)
        .global_get(global::STATE)
        .i32_const(bits(PAGE - STATE_OFFSET))
        .i32_add()
        .i32_store(word(state.bump_end))
        .i32_const(1)
        .end();
    f
}

/// `(size) -> block, or 0 if memory cannot grow`: 8-aligned, from the free list of its size class or
/// else from the end of the heap.
fn allocate(state: &State) -> Function {
    const SIZE: u32 = 0;
    const LAST: u32 = 1;
    const SHIFT: u32 = 2;
    const QUARTERS: u32 = 3;
    const HEAD: u32 = 4;
    const BLOCK: u32 = 5;
    const OLD: u32 = 6;
    let mut f = function(6);
    f.instructions()
        // Larger than any block can be.
        .local_get(SIZE)
        .i32_const(bits(0xdfff_ff00))
        .i32_gt_u()
        .if_(BlockType::Empty)
        .i32_const(0)
        .return_()
        .end()
        // LAST = max(SIZE + header, 33) - 1: the smallest class is 40 bytes, and each is a multiple of 8.
        .local_get(SIZE)
        .i32_const(bits(BLOCK_HEADER - 1))
        .i32_add()
        .local_tee(LAST)
        .i32_const(32)
        .local_get(LAST)
        .i32_const(32)
        .i32_gt_u()
        .select()
        .local_tee(LAST)
        // QUARTERS = 4 to 7, SHIFT = 3 and more: the class is (QUARTERS + 1) << SHIFT bytes.
        .i32_const(29)
        .local_get(LAST)
        .i32_clz()
        .i32_sub()
        .local_tee(SHIFT)
        .i32_shr_u()
        .local_tee(QUARTERS)
        .local_get(SHIFT)
        .i32_const(2)
        .i32_shl()
        .i32_add()
        .i32_const(16)
        .i32_sub()
        .i32_const(2)
        .i32_shl()
        .global_get(global::STATE)
        .i32_add()
        .i32_const(bits(state.free_lists))
        .i32_add()
        .local_tee(HEAD)
        .i32_load(word(0))
        .local_tee(BLOCK)
        .if_(BlockType::Empty)
        .local_get(HEAD)
        .local_get(BLOCK)
        .i32_load(word(0))
        .i32_store(word(0))
        .local_get(BLOCK)
        .return_()
        .end()
        // SIZE is now the whole block's.
        .local_get(QUARTERS)
        .i32_const(1)
        .i32_add()
        .local_get(SHIFT)
        .i32_shl()
        .local_set(SIZE)
        .global_get(global::STATE)
        .i32_load(word(state.bump_next))
        .local_set(BLOCK)
        .local_get(SIZE)
        .global_get(global::STATE)
        .i32_load(word(state.bump_end))
        .local_get(BLOCK)
        .i32_sub()
        .i32_gt_u()
        .if_(BlockType::Empty)
        // LAST is now the number of pages.
        .local_get(SIZE)
        .i32_const(bits(PAGE - 1))
        .i32_add()
        .i32_const(16)
        .i32_shr_u()
        .local_tee(LAST)
        .memory_grow(0)
        .local_tee(OLD)
        .i32_const(-1)
        .i32_eq()
        .if_(BlockType::Empty)
        .i32_const(0)
        .return_()
        .end()
        .local_get(OLD)
        .i32_const(16)
        .i32_shl()
        .local_tee(OLD)
        // If the guest has grown memory meanwhile, the heap goes on behind that.
        .global_get(global::STATE)
        .i32_load(word(state.bump_end))
        .i32_ne()
        .if_(BlockType::Empty)
        .local_get(OLD)
        .local_set(BLOCK)
        .end()
        .global_get(global::STATE)
        .local_get(OLD)
        .local_get(LAST)
        .i32_const(16)
        .i32_shl()
        .i32_add()
        .i32_store(word(state.bump_end))
        .end()
        .global_get(global::STATE)
        .local_get(BLOCK)
        .local_get(SIZE)
        .i32_add()
        .i32_store(word(state.bump_next))
        .local_get(BLOCK)
        .local_get(HEAD)
        .i32_store(word(0))
        .local_get(BLOCK)
        .local_get(SIZE)
        .i32_const(bits(BLOCK_HEADER))
        .i32_sub()
        .i32_store(word(4))
        .local_get(BLOCK)
        .i32_const(bits(BLOCK_HEADER))
        .i32_add()
        .end();
    f
}

/// `(block)`: puts a block, unless it is 0, onto its free list.
fn release() -> Function {
    const BLOCK: u32 = 0;
    const HEAD: u32 = 1;
    let mut f = function(1);
    f.instructions()
        .local_get(BLOCK)
        .if_(BlockType::Empty)
        .local_get(BLOCK)
        .local_get(BLOCK)
        .i32_const(bits(BLOCK_HEADER))
        .i32_sub()
        .i32_load(word(0))
        .local_tee(HEAD)
        .i32_load(word(0))
        .i32_store(word(0))
        .local_get(HEAD)
        .local_get(BLOCK)
        .i32_store(word(0))
        .end()
        .end();
    f
}

/// `() -> (capacity)` of the block on the stack.
fn capacity(sink: &mut InstructionSink<'_>) {
    sink.i32_const(4).i32_sub().i32_load(word(0));
}

impl Runtime {
    /// `(old block or 0, used bytes, size) -> block of at least this size, or 0`: keeps the used bytes.
    fn emit_reallocate(self) -> Function {
        const OLD: u32 = 0;
        const USED: u32 = 1;
        const SIZE: u32 = 2;
        const NEW: u32 = 3;
        let mut f = function(1);
        let mut sink = f.instructions();
        sink.local_get(OLD).if_(BlockType::Empty).local_get(OLD);
        capacity(&mut sink);
        sink.local_get(SIZE)
            .i32_ge_u()
            .if_(BlockType::Empty)
            .local_get(OLD)
            .return_()
            .end()
            .end()
            .local_get(SIZE)
            .call(self.allocate())
            .local_tee(NEW)
            .i32_eqz()
            .if_(BlockType::Empty)
            .i32_const(0)
            .return_()
            .end()
            .local_get(OLD)
            .if_(BlockType::Empty)
            .local_get(NEW)
            .local_get(OLD)
            .local_get(USED)
            .memory_copy(0, 0)
            .local_get(OLD)
            .call(self.release())
            .end()
            .local_get(NEW)
            .end();
        f
    }

    /// The canonical ABI's realloc for what imports give. Its first answer may be the guest's own
    /// buffer. It must not fail, so it traps when memory cannot grow.
    fn emit_host_realloc(self) -> Function {
        const OLD: u32 = 0;
        const OLD_SIZE: u32 = 1;
        const ALIGN: u32 = 2;
        const SIZE: u32 = 3;
        const NEW: u32 = 4;
        let mut f = function(1);
        f.instructions()
            .local_get(SIZE)
            .i32_eqz()
            .if_(BlockType::Empty)
            .local_get(ALIGN)
            .return_()
            .end()
            // A first allocation that fits gets the buffer.
            .global_get(global::BUFFER_STATE)
            .i32_const(1)
            .i32_eq()
            .local_get(OLD)
            .i32_eqz()
            .i32_and()
            .local_get(SIZE)
            .global_get(global::BUFFER_MAX)
            .i32_le_u()
            .i32_and()
            .if_(BlockType::Empty)
            .i32_const(2)
            .global_set(global::BUFFER_STATE)
            .global_get(global::BUFFER)
            .return_()
            .end()
            // A host that resizes keeps the buffer while it fits; it is not a block of ours.
            .global_get(global::BUFFER_STATE)
            .i32_const(2)
            .i32_eq()
            .local_get(OLD)
            .global_get(global::BUFFER)
            .i32_eq()
            .i32_and()
            .if_(BlockType::Empty)
            .local_get(SIZE)
            .global_get(global::BUFFER_MAX)
            .i32_le_u()
            .if_(BlockType::Empty)
            .local_get(OLD)
            .return_()
            .end()
            .local_get(SIZE)
            .call(self.allocate())
            .local_tee(NEW)
            .if_(BlockType::Empty)
            .local_get(NEW)
            .local_get(OLD)
            .local_get(OLD_SIZE)
            .memory_copy(0, 0)
            .end()
            .else_()
            .local_get(OLD)
            .local_get(OLD_SIZE)
            .local_get(SIZE)
            .call(self.reallocate())
            .local_set(NEW)
            .end()
            .local_get(NEW)
            .i32_eqz()
            .if_(BlockType::Empty)
            .unreachable()
            .end()
            .local_get(NEW)
            .end();
        f
    }

    /// `(table) -> 1, or 0 if memory cannot grow`: makes room for one more record.
    ///
    /// A full table whose records are mostly removed is compacted in place, so that it takes memory
    /// for the live ones alone, however many handles were given out.
    fn emit_reserve(self) -> Function {
        const TABLE: u32 = 0;
        const CAPACITY: u32 = 1;
        const TO: u32 = 2;
        const FROM: u32 = 3;
        const END: u32 = 4;
        const NEXT: u32 = 5;
        let mut f = function(5);
        f.instructions()
            // Handles are never reused, so they may run out.
            .local_get(TABLE)
            .i32_load(word(table::NEXT_HANDLE))
            .i32_const(-1)
            .i32_eq()
            .if_(BlockType::Empty)
            .i32_const(0)
            .return_()
            .end()
            .local_get(TABLE)
            .i32_load(word(table::LENGTH))
            .local_get(TABLE)
            .i32_load(word(table::CAPACITY))
            .local_tee(CAPACITY)
            .i32_lt_u()
            .if_(BlockType::Empty)
            .i32_const(1)
            .return_()
            .end()
            .local_get(TABLE)
            .i32_load(word(table::RECORDS))
            .local_tee(FROM)
            .local_set(TO)
            .local_get(TABLE)
            .i32_load(word(table::LIVE))
            .i32_const(1)
            .i32_shl()
            .local_get(CAPACITY)
            .i32_ge_u()
            .if_(BlockType::Empty)
            // More records than this do not fit into memory.
            .local_get(CAPACITY)
            .i32_const(1 << 25)
            .i32_gt_u()
            .if_(BlockType::Empty)
            .i32_const(0)
            .return_()
            .end()
            .local_get(CAPACITY)
            .i32_const(1)
            .i32_shl()
            .i32_const(4)
            .i32_or()
            .local_tee(CAPACITY)
            .i32_const(bits(record::SIZE))
            .i32_mul()
            .call(self.allocate())
            .local_tee(TO)
            .i32_eqz()
            .if_(BlockType::Empty)
            .i32_const(0)
            .return_()
            .end()
            .end()
            .local_get(FROM)
            .local_get(TABLE)
            .i32_load(word(table::LENGTH))
            .i32_const(bits(record::SIZE))
            .i32_mul()
            .i32_add()
            .local_set(END)
            .local_get(TO)
            .local_set(NEXT)
            .block(BlockType::Empty)
            .loop_(BlockType::Empty)
            .local_get(FROM)
            .local_get(END)
            .i32_eq()
            .br_if(1)
            .local_get(FROM)
            .i32_load(word(record::RESOURCE))
            .if_(BlockType::Empty)
            .local_get(NEXT)
            .local_get(FROM)
            .i32_const(bits(record::SIZE))
            .memory_copy(0, 0)
            .local_get(NEXT)
            .i32_const(bits(record::SIZE))
            .i32_add()
            .local_set(NEXT)
            .end()
            .local_get(FROM)
            .i32_const(bits(record::SIZE))
            .i32_add()
            .local_set(FROM)
            .br(0)
            .end()
            .end()
            .local_get(TABLE)
            .i32_load(word(table::RECORDS))
            .local_tee(FROM)
            .local_get(TO)
            .i32_ne()
            .if_(BlockType::Empty)
            .local_get(FROM)
            .call(self.release())
            .end()
            .local_get(TABLE)
            .local_get(TO)
            .i32_store(word(table::RECORDS))
            .local_get(TABLE)
            .local_get(CAPACITY)
            .i32_store(word(table::CAPACITY))
            .local_get(TABLE)
            .local_get(TABLE)
            .i32_load(word(table::LIVE))
            .i32_store(word(table::LENGTH))
            .i32_const(1)
            .end();
        f
    }
}

/// `(table, handle) -> record, or 0`: looks where the handle is if none before it was removed, then
/// searches by halves.
fn find() -> Function {
    const TABLE: u32 = 0;
    const HANDLE: u32 = 1;
    const RECORDS: u32 = 2;
    const LOW: u32 = 3;
    const HIGH: u32 = 4;
    const RECORD: u32 = 5;
    const MIDDLE: u32 = 6;
    const FOUND: u32 = 7;
    let mut f = function(6);
    let mut sink = f.instructions();
    sink.local_get(TABLE)
        .i32_load(word(table::LENGTH))
        .local_tee(HIGH)
        .i32_eqz()
        .if_(BlockType::Empty)
        .i32_const(0)
        .return_()
        .end()
        .local_get(TABLE)
        .i32_load(word(table::RECORDS))
        .local_set(RECORDS)
        // The first guess: as far behind the first one as its handle is.
        .local_get(HANDLE)
        .local_get(RECORDS)
        .i32_load(word(record::HANDLE))
        .i32_sub()
        .local_tee(MIDDLE)
        .local_get(HIGH)
        .i32_const(1)
        .i32_sub()
        .local_get(MIDDLE)
        .local_get(HIGH)
        .i32_lt_u()
        .select()
        .local_set(MIDDLE)
        .block(BlockType::Empty)
        .loop_(BlockType::Empty)
        .local_get(RECORDS)
        .local_get(MIDDLE)
        .i32_const(bits(record::SIZE))
        .i32_mul()
        .i32_add()
        .local_tee(RECORD)
        .i32_load(word(record::HANDLE))
        .local_tee(FOUND)
        .local_get(HANDLE)
        .i32_eq()
        .br_if(1)
        .local_get(FOUND)
        .local_get(HANDLE)
        .i32_lt_u()
        .if_(BlockType::Empty)
        .local_get(MIDDLE)
        .i32_const(1)
        .i32_add()
        .local_set(LOW)
        .else_()
        .local_get(MIDDLE)
        .local_set(HIGH)
        .end()
        .local_get(LOW)
        .local_get(HIGH)
        .i32_ge_u()
        .if_(BlockType::Empty)
        .i32_const(0)
        .return_()
        .end()
        .local_get(LOW)
        .local_get(HIGH)
        .i32_add()
        .i32_const(1)
        .i32_shr_u()
        .local_set(MIDDLE)
        .br(0)
        .end()
        .end()
        .local_get(RECORD)
        .i32_const(0)
        .local_get(RECORD)
        .i32_load(word(record::RESOURCE))
        .select()
        .end();
    f
}

/// Adds the constant to the word at `offset` behind the address in a local.
fn add_to_word(sink: &mut InstructionSink<'_>, address: u32, offset: u32, amount: i32) {
    sink.local_get(address)
        .local_get(address)
        .i32_load(word(offset))
        .i32_const(amount)
        .i32_add()
        .i32_store(word(offset));
}

/// Adds the constant to a local.
fn add_to_local(sink: &mut InstructionSink<'_>, local: u32, amount: i32) {
    sink.local_get(local)
        .i32_const(amount)
        .i32_add()
        .local_set(local);
}

/// `(table, resource) -> record`: adds a record with the next handle. `reserve` has made room.
fn append() -> Function {
    const TABLE: u32 = 0;
    const RESOURCE: u32 = 1;
    const RECORD: u32 = 2;
    let mut f = function(1);
    let mut sink = f.instructions();
    sink.local_get(TABLE)
        .i32_load(word(table::RECORDS))
        .local_get(TABLE)
        .i32_load(word(table::LENGTH))
        .i32_const(bits(record::SIZE))
        .i32_mul()
        .i32_add()
        .local_tee(RECORD)
        .i32_const(0)
        .i32_const(bits(record::SIZE))
        .memory_fill(0)
        .local_get(RECORD)
        .local_get(TABLE)
        .i32_load(word(table::NEXT_HANDLE))
        .i32_store(word(record::HANDLE))
        .local_get(RECORD)
        .local_get(RESOURCE)
        .i32_store(word(record::RESOURCE));
    add_to_word(&mut sink, TABLE, table::NEXT_HANDLE, 1);
    add_to_word(&mut sink, TABLE, table::LENGTH, 1);
    add_to_word(&mut sink, TABLE, table::LIVE, 1);
    sink.local_get(RECORD).end();
    f
}

/// `(table, record)`.
fn remove() -> Function {
    const TABLE: u32 = 0;
    const RECORD: u32 = 1;
    let mut f = function(0);
    let mut sink = f.instructions();
    sink.local_get(RECORD)
        .i32_const(0)
        .i32_store(word(record::RESOURCE));
    add_to_word(&mut sink, TABLE, table::LIVE, -1);
    sink.end();
    f
}

impl Runtime {
    /// `(context, index, dimensions, rank, type, data, length) -> 1, or 0 if memory cannot grow`:
    /// copies an input. If it fails, an earlier one with this index remains.
    fn emit_keep_input(self) -> Function {
        const CONTEXT: u32 = 0;
        const INDEX: u32 = 1;
        const DIMENSIONS: u32 = 2;
        const RANK: u32 = 3;
        const TYPE: u32 = 4;
        const DATA: u32 = 5;
        const LENGTH: u32 = 6;
        const ITEM: u32 = 7;
        const COUNT: u32 = 8;
        const POSITION: u32 = 9;
        const BLOCK: u32 = 10;
        const NEEDED: u32 = 11;
        let mut f = Function::new([(4, ValType::I32), (1, ValType::I64)]);
        let mut sink = f.instructions();
        sink
            // So many dimensions lie outside of any memory.
            .local_get(RANK)
            .i32_const(30)
            .i32_shr_u()
            .if_(BlockType::Empty)
            .unreachable()
            .end()
            .local_get(RANK)
            .i64_extend_i32_u()
            .i64_const(2)
            .i64_shl()
            .local_get(LENGTH)
            .i64_extend_i32_u()
            .i64_add()
            .i64_const((INPUT_ALIGNMENT - 4).into())
            .i64_add()
            .local_tee(NEEDED)
            .i64_const(32)
            .i64_shr_u()
            .i32_wrap_i64()
            .if_(BlockType::Empty)
            .i32_const(0)
            .return_()
            .end()
            // Inputs are sorted by index; look from the end, where new ones mostly belong.
            .local_get(CONTEXT)
            .i32_load(word(record::INPUT_COUNT))
            .local_tee(COUNT)
            .local_set(POSITION)
            .block(BlockType::Empty)
            .loop_(BlockType::Empty)
            .local_get(CONTEXT)
            .i32_load(word(record::INPUTS))
            .local_get(POSITION)
            .i32_const(bits(input::SIZE))
            .i32_mul()
            .i32_add()
            .local_set(ITEM)
            .local_get(POSITION)
            .i32_eqz()
            .br_if(1)
            .local_get(ITEM)
            .i32_const(bits(input::SIZE))
            .i32_sub()
            .i32_load(word(input::INDEX))
            .local_get(INDEX)
            .i32_lt_u()
            .br_if(1)
            .local_get(POSITION)
            .i32_const(1)
            .i32_sub()
            .local_set(POSITION)
            .br(0)
            .end()
            .end()
            // ITEM is now the first whose index is not lower.
            .block(BlockType::Empty)
            .local_get(POSITION)
            .local_get(COUNT)
            .i32_lt_u()
            .if_(BlockType::Empty)
            .local_get(ITEM)
            .i32_load(word(input::INDEX))
            .local_get(INDEX)
            .i32_eq()
            .if_(BlockType::Empty)
            .local_get(ITEM)
            .i32_load(word(input::BLOCK))
            .i32_const(0)
            .local_get(NEEDED)
            .i32_wrap_i64()
            .call(self.reallocate())
            .local_tee(BLOCK)
            .i32_eqz()
            .if_(BlockType::Empty)
            .i32_const(0)
            .return_()
            .end()
            .br(2)
            .end()
            .end()
            // A new one: get all memory before anything changes.
            .local_get(CONTEXT)
            .i32_load(word(record::INPUTS))
            .local_get(COUNT)
            .i32_const(bits(input::SIZE))
            .i32_mul()
            .local_get(COUNT)
            .i32_const(1)
            .i32_add()
            .i32_const(bits(input::SIZE))
            .i32_mul()
            .call(self.reallocate())
            .local_tee(ITEM)
            .i32_eqz()
            .if_(BlockType::Empty)
            .i32_const(0)
            .return_()
            .end()
            .local_get(CONTEXT)
            .local_get(ITEM)
            .i32_store(word(record::INPUTS))
            .local_get(NEEDED)
            .i32_wrap_i64()
            .call(self.allocate())
            .local_tee(BLOCK)
            .i32_eqz()
            .if_(BlockType::Empty)
            .i32_const(0)
            .return_()
            .end()
            .local_get(ITEM)
            .local_get(POSITION)
            .i32_const(bits(input::SIZE))
            .i32_mul()
            .i32_add()
            .local_tee(ITEM)
            .i32_const(bits(input::SIZE))
            .i32_add()
            .local_get(ITEM)
            .local_get(COUNT)
            .local_get(POSITION)
            .i32_sub()
            .i32_const(bits(input::SIZE))
            .i32_mul()
            .memory_copy(0, 0)
            .local_get(ITEM)
            .local_get(INDEX)
            .i32_store(word(input::INDEX));
        add_to_word(&mut sink, CONTEXT, record::INPUT_COUNT, 1);
        sink.end()
            .local_get(ITEM)
            .local_get(BLOCK)
            .i32_store(word(input::BLOCK))
            .local_get(ITEM)
            .local_get(RANK)
            .i32_store(word(input::RANK))
            .local_get(ITEM)
            .local_get(TYPE)
            .i32_store(word(input::TYPE))
            .local_get(ITEM)
            .local_get(LENGTH)
            .i32_store(word(input::LENGTH))
            // Dimensions are few: a call of the host for `memory.copy` would take longer.
            .block(BlockType::Empty)
            .loop_(BlockType::Empty)
            .local_get(RANK)
            .i32_eqz()
            .br_if(1)
            .local_get(BLOCK)
            .local_get(DIMENSIONS)
            .i32_load(unaligned(0))
            .i32_store(word(0));
        add_to_local(&mut sink, BLOCK, 4);
        add_to_local(&mut sink, DIMENSIONS, 4);
        add_to_local(&mut sink, RANK, -1);
        sink.br(0)
            .end()
            .end()
            .local_get(ITEM)
            .local_get(BLOCK)
            .i32_const(bits(INPUT_ALIGNMENT - 1))
            .i32_add()
            .i32_const(-bits(INPUT_ALIGNMENT))
            .i32_and()
            .local_tee(BLOCK)
            .i32_store(word(input::DATA))
            // From the end to the start: the host reads from the start soon, and finds in the cache
            // what was written last.
            .block(BlockType::Empty)
            .loop_(BlockType::Empty)
            .local_get(LENGTH)
            .i32_const(bits(PAGE))
            .i32_le_u()
            .br_if(1)
            .local_get(BLOCK);
        add_to_local(&mut sink, LENGTH, -bits(PAGE));
        sink.local_get(LENGTH)
            .i32_add()
            .local_get(DATA)
            .local_get(LENGTH)
            .i32_add()
            .i32_const(bits(PAGE))
            .memory_copy(0, 0)
            .br(0)
            .end()
            .end()
            .local_get(BLOCK)
            .local_get(DATA)
            .local_get(LENGTH)
            .memory_copy(0, 0)
            .i32_const(1)
            .end();
        f
    }

    /// `(context)`: gives the memory of its inputs back.
    fn emit_release_inputs(self) -> Function {
        const CONTEXT: u32 = 0;
        const ITEM: u32 = 1;
        const COUNT: u32 = 2;
        let mut f = function(2);
        f.instructions()
            .local_get(CONTEXT)
            .i32_load(word(record::INPUTS))
            .local_set(ITEM)
            .local_get(CONTEXT)
            .i32_load(word(record::INPUT_COUNT))
            .local_set(COUNT)
            .block(BlockType::Empty)
            .loop_(BlockType::Empty)
            .local_get(COUNT)
            .i32_eqz()
            .br_if(1)
            .local_get(ITEM)
            .i32_load(word(input::BLOCK))
            .call(self.release())
            .local_get(ITEM)
            .i32_const(bits(input::SIZE))
            .i32_add()
            .local_set(ITEM)
            .local_get(COUNT)
            .i32_const(1)
            .i32_sub()
            .local_set(COUNT)
            .br(0)
            .end()
            .end()
            .local_get(CONTEXT)
            .i32_load(word(record::INPUTS))
            .call(self.release())
            .end();
        f
    }

    /// `(at, index) -> length`: writes the name of an input.
    fn emit_write_input_name(self, names: &[(u32, String)]) -> Function {
        const AT: u32 = 0;
        const INDEX: u32 = 1;
        let mut f = function(0);
        let mut sink = f.instructions();
        for (index, name) in names {
            sink.local_get(INDEX)
                .i32_const(bits(*index))
                .i32_eq()
                .if_(BlockType::Empty);
            // An adapter has no data segments. Names have room for whole words.
            let mut offset = 0;
            for chunk in name.as_bytes().chunks(4) {
                let mut bytes = [0; 4];
                bytes[..chunk.len()].copy_from_slice(chunk);
                sink.local_get(AT)
                    .i32_const(i32::from_le_bytes(bytes))
                    .i32_store(word(offset));
                offset += 4;
            }
            let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
            sink.i32_const(bits(length)).return_().end();
        }
        sink.local_get(AT)
            .local_get(INDEX)
            .call(self.write_decimal())
            .end();
        f
    }
}

/// `(at, number) -> length`: writes it in decimal.
fn write_decimal() -> Function {
    const AT: u32 = 0;
    const NUMBER: u32 = 1;
    const REST: u32 = 2;
    const LENGTH: u32 = 3;
    const END: u32 = 4;
    let mut f = function(3);
    f.instructions()
        .local_get(NUMBER)
        .local_set(REST)
        .loop_(BlockType::Empty)
        .local_get(LENGTH)
        .i32_const(1)
        .i32_add()
        .local_set(LENGTH)
        .local_get(REST)
        .i32_const(10)
        .i32_div_u()
        .local_tee(REST)
        .br_if(0)
        .end()
        .local_get(AT)
        .local_get(LENGTH)
        .i32_add()
        .local_set(END)
        .loop_(BlockType::Empty)
        .local_get(END)
        .i32_const(1)
        .i32_sub()
        .local_tee(END)
        .local_get(NUMBER)
        .i32_const(10)
        .i32_rem_u()
        .i32_const(i32::from(b'0'))
        .i32_add()
        .i32_store8(unaligned(0))
        .local_get(NUMBER)
        .i32_const(10)
        .i32_div_u()
        .local_tee(NUMBER)
        .br_if(0)
        .end()
        .local_get(LENGTH)
        .end();
    f
}

/// `(text, length, to)`: writes the number that a text is in decimal, without leading zeros, as an `i64`;
/// -1 for any other text.
fn parse_decimal() -> Function {
    const TEXT: u32 = 0;
    const LENGTH: u32 = 1;
    const TO: u32 = 2;
    const DIGIT: u32 = 3;
    const NUMBER: u32 = 4;
    let mut f = Function::new([(1, ValType::I32), (1, ValType::I64)]);
    f.instructions()
        .local_get(TO)
        .i64_const(-1)
        .i64_store(word(0))
        .block(BlockType::Empty)
        // One to ten digits.
        .local_get(LENGTH)
        .i32_const(1)
        .i32_sub()
        .i32_const(9)
        .i32_gt_u()
        .br_if(0)
        .local_get(TEXT)
        .i32_load8_u(unaligned(0))
        .i32_const(i32::from(b'0'))
        .i32_eq()
        .local_get(LENGTH)
        .i32_const(1)
        .i32_ne()
        .i32_and()
        .br_if(0)
        .loop_(BlockType::Empty)
        .local_get(TEXT)
        .i32_load8_u(unaligned(0))
        .i32_const(i32::from(b'0'))
        .i32_sub()
        .local_tee(DIGIT)
        .i32_const(9)
        .i32_gt_u()
        .br_if(1)
        .local_get(NUMBER)
        .i64_const(10)
        .i64_mul()
        .local_get(DIGIT)
        .i64_extend_i32_u()
        .i64_add()
        .local_set(NUMBER)
        .local_get(TEXT)
        .i32_const(1)
        .i32_add()
        .local_set(TEXT)
        .local_get(LENGTH)
        .i32_const(1)
        .i32_sub()
        .local_tee(LENGTH)
        .br_if(0)
        .end()
        // A number beyond every index is stored too: no index equals it.
        .local_get(TO)
        .local_get(NUMBER)
        .i64_store(word(0))
        .end()
        .end();
    f
}

impl Runtime {
    /// `(context, list, count)`: a context's new outputs. Each name becomes the number that it is in
    /// decimal, in its place; the memory of the names and of the earlier list is given back.
    fn emit_keep_outputs(self, named: NamedTensor) -> Function {
        const CONTEXT: u32 = 0;
        const LIST: u32 = 1;
        const COUNT: u32 = 2;
        const NAME: u32 = 3;
        const LENGTH: u32 = 4;
        let mut f = function(2);
        f.instructions()
            .local_get(CONTEXT)
            .i32_load(word(record::OUTPUTS))
            .call(self.release())
            .local_get(CONTEXT)
            // An empty list has no block, whatever its address.
            .local_get(LIST)
            .i32_const(0)
            .local_get(COUNT)
            .select()
            .i32_store(word(record::OUTPUTS))
            .local_get(CONTEXT)
            .local_get(COUNT)
            .i32_store(word(record::OUTPUT_COUNT))
            .block(BlockType::Empty)
            .loop_(BlockType::Empty)
            .local_get(COUNT)
            .i32_eqz()
            .br_if(1)
            .local_get(LIST)
            .i32_load(word(named.name))
            .local_tee(NAME)
            .local_get(LIST)
            .i32_load(word(named.name + 4))
            .local_tee(LENGTH)
            .local_get(LIST)
            .i32_const(bits(named.name))
            .i32_add()
            .call(self.parse_decimal())
            .local_get(LENGTH)
            .if_(BlockType::Empty)
            .local_get(NAME)
            .call(self.release())
            .end()
            .local_get(LIST)
            .i32_const(bits(named.size))
            .i32_add()
            .local_set(LIST)
            .local_get(COUNT)
            .i32_const(1)
            .i32_sub()
            .local_set(COUNT)
            .br(0)
            .end()
            .end()
            .end();
        f
    }
}

/// `(context, index) -> output, or 0`: the one named by the index in decimal, else the one there.
fn find_output(named: NamedTensor) -> Function {
    const CONTEXT: u32 = 0;
    const INDEX: u32 = 1;
    const OUTPUT: u32 = 2;
    const REST: u32 = 3;
    const THERE: u32 = 4;
    let mut f = function(3);
    f.instructions()
        .local_get(CONTEXT)
        .i32_load(word(record::OUTPUTS))
        .local_set(OUTPUT)
        .local_get(INDEX)
        .local_get(CONTEXT)
        .i32_load(word(record::OUTPUT_COUNT))
        .local_tee(REST)
        .i32_lt_u()
        .if_(BlockType::Empty)
        .local_get(OUTPUT)
        .local_get(INDEX)
        .i32_const(bits(named.size))
        .i32_mul()
        .i32_add()
        .local_tee(THERE)
        .i64_load(word(named.name))
        .local_get(INDEX)
        .i64_extend_i32_u()
        .i64_eq()
        .if_(BlockType::Empty)
        .local_get(THERE)
        .return_()
        .end()
        .end()
        .block(BlockType::Empty)
        .loop_(BlockType::Empty)
        .local_get(REST)
        .i32_eqz()
        .br_if(1)
        .local_get(OUTPUT)
        .i64_load(word(named.name))
        .local_get(INDEX)
        .i64_extend_i32_u()
        .i64_eq()
        .if_(BlockType::Empty)
        .local_get(OUTPUT)
        .return_()
        .end()
        .local_get(OUTPUT)
        .i32_const(bits(named.size))
        .i32_add()
        .local_set(OUTPUT)
        .local_get(REST)
        .i32_const(1)
        .i32_sub()
        .local_set(REST)
        .br(0)
        .end()
        .end()
        .local_get(THERE)
        .end();
    f
}

/// `(text, length) -> 1 if it is UTF-8`.
fn is_text() -> Function {
    const TEXT: u32 = 0;
    const LENGTH: u32 = 1;
    const FIRST: u32 = 2;
    const SECOND: u32 = 3;
    const MORE: u32 = 4;
    let mut f = function(3);
    let mut sink = f.instructions();
    sink.block(BlockType::Empty)
        .loop_(BlockType::Empty)
        .local_get(LENGTH)
        .i32_eqz()
        .if_(BlockType::Empty)
        .i32_const(1)
        .return_()
        .end()
        .local_get(TEXT)
        .i32_load8_u(unaligned(0))
        .local_set(FIRST)
        .local_get(TEXT)
        .i32_const(1)
        .i32_add()
        .local_set(TEXT)
        .local_get(LENGTH)
        .i32_const(1)
        .i32_sub()
        .local_set(LENGTH)
        .local_get(FIRST)
        .i32_const(0x80)
        .i32_lt_u()
        .br_if(0)
        // C2 to F4 begin characters of more bytes.
        .local_get(FIRST)
        .i32_const(0xc2)
        .i32_sub()
        .i32_const(0xf4 - 0xc2)
        .i32_gt_u()
        .br_if(1)
        .local_get(FIRST)
        .i32_const(0xe0)
        .i32_ge_u()
        .local_get(FIRST)
        .i32_const(0xf0)
        .i32_ge_u()
        .i32_add()
        .local_tee(MORE)
        .local_get(LENGTH)
        .i32_ge_u()
        .br_if(1)
        .local_get(TEXT)
        .i32_load8_u(unaligned(0))
        .local_tee(SECOND)
        .i32_const(0xc0)
        .i32_and()
        .i32_const(0x80)
        .i32_ne()
        .br_if(1);
    // Both bytes together: overlong forms of three and four bytes, surrogates, too large.
    sink.local_get(FIRST)
        .i32_const(8)
        .i32_shl()
        .local_get(SECOND)
        .i32_or()
        .local_set(SECOND);
    for (from, to) in [
        (0xe080, 0xe09f),
        (0xeda0, 0xedbf),
        (0xf080, 0xf08f),
        (0xf490, 0xf4bf),
    ] {
        sink.local_get(SECOND)
            .i32_const(from)
            .i32_sub()
            .i32_const(to - from + 1)
            .i32_lt_u()
            .br_if(1);
    }
    sink.local_get(TEXT)
        .i32_const(1)
        .i32_add()
        .local_set(TEXT)
        .local_get(LENGTH)
        .i32_const(1)
        .i32_sub()
        .local_set(LENGTH)
        // The other bytes.
        .loop_(BlockType::Empty)
        .local_get(MORE)
        .i32_eqz()
        .br_if(1)
        .local_get(TEXT)
        .i32_load8_u(unaligned(0))
        .i32_const(0xc0)
        .i32_and()
        .i32_const(0x80)
        .i32_ne()
        .br_if(2)
        .local_get(TEXT)
        .i32_const(1)
        .i32_add()
        .local_set(TEXT)
        .local_get(LENGTH)
        .i32_const(1)
        .i32_sub()
        .local_set(LENGTH)
        .local_get(MORE)
        .i32_const(1)
        .i32_sub()
        .local_set(MORE)
        .br(0)
        .end()
        .end()
        .end()
        .i32_const(0)
        .end();
    f
}

impl Runtime {
    /// `(list, count, element size) -> copy, or 0`: copies a list that is not 4-aligned. When memory
    /// cannot grow the host traps on the original.
    fn emit_align(self) -> Function {
        const LIST: u32 = 0;
        const COUNT: u32 = 1;
        const ELEMENT: u32 = 2;
        const SIZE: u32 = 3;
        let mut f = Function::new([(1, ValType::I64)]);
        f.instructions()
            .local_get(LIST)
            .i32_const(3)
            .i32_and()
            .i32_eqz()
            .if_(BlockType::Empty)
            .i32_const(0)
            .return_()
            .end()
            .local_get(COUNT)
            .i64_extend_i32_u()
            .local_get(ELEMENT)
            .i64_extend_i32_u()
            .i64_mul()
            .local_tee(SIZE)
            .i64_const(32)
            .i64_shr_u()
            .i32_wrap_i64()
            .if_(BlockType::Empty)
            .i32_const(0)
            .return_()
            .end()
            .local_get(SIZE)
            .i32_wrap_i64()
            .call(self.allocate())
            .local_tee(ELEMENT)
            .if_(BlockType::Empty)
            .local_get(ELEMENT)
            .local_get(LIST)
            .local_get(SIZE)
            .i32_wrap_i64()
            .memory_copy(0, 0)
            .end()
            .local_get(ELEMENT)
            .end();
        f
    }

    /// `(bytes, length, buffer, max)`: after a call that was to fill the guest's buffer. If the host
    /// got another block, its bytes go into the buffer if they fit, and the block is given back.
    fn emit_settle(self) -> Function {
        const BYTES: u32 = 0;
        const LENGTH: u32 = 1;
        const BUFFER: u32 = 2;
        const MAX: u32 = 3;
        let mut f = function(0);
        f.instructions()
            .local_get(LENGTH)
            .i32_eqz()
            .local_get(BYTES)
            .local_get(BUFFER)
            .i32_eq()
            .i32_or()
            .if_(BlockType::Empty)
            .return_()
            .end()
            .local_get(LENGTH)
            .local_get(MAX)
            .i32_le_u()
            .if_(BlockType::Empty)
            .local_get(BUFFER)
            .local_get(BYTES)
            .local_get(LENGTH)
            .memory_copy(0, 0)
            .end()
            .local_get(BYTES)
            .call(self.release())
            .end();
        f
    }
}

/// `(dimensions, rank, element size) -> bytes, at most u32::MAX`.
fn shape_size() -> Function {
    const DIMENSIONS: u32 = 0;
    const RANK: u32 = 1;
    const ELEMENT: u32 = 2;
    const SIZE: u32 = 3;
    let mut f = Function::new([(1, ValType::I64)]);
    f.instructions()
        .local_get(ELEMENT)
        .i64_extend_i32_u()
        .local_set(SIZE)
        .block(BlockType::Empty)
        .loop_(BlockType::Empty)
        .local_get(RANK)
        .i32_eqz()
        .br_if(1)
        .local_get(SIZE)
        .local_get(DIMENSIONS)
        .i64_load32_u(unaligned(0))
        .i64_mul()
        .local_tee(SIZE)
        .i64_const(0xffff_ffff)
        .i64_gt_u()
        .if_(BlockType::Empty)
        .i32_const(-1)
        .return_()
        .end()
        .local_get(DIMENSIONS)
        .i32_const(4)
        .i32_add()
        .local_set(DIMENSIONS)
        .local_get(RANK)
        .i32_const(1)
        .i32_sub()
        .local_set(RANK)
        .br(0)
        .end()
        .end()
        .local_get(SIZE)
        .i32_wrap_i64()
        .end();
    f
}
