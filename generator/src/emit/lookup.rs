//! Tables of bytes in code, since an adapter may not have data.

use anyhow::{Result, ensure};
use wasm_encoder::InstructionSink;

/// Entries of one `i64` constant.
const PER_WORD: usize = 8;

/// Pushes the value at the index in a local, which must be in range.
pub(super) fn bytes(sink: &mut InstructionSink<'_>, index: u32, values: &[u32]) -> Result<()> {
    let mut words = Vec::with_capacity(values.len().div_ceil(PER_WORD));
    for chunk in values.chunks(PER_WORD) {
        let mut word = [0; PER_WORD];
        for (byte, value) in word.iter_mut().zip(chunk) {
            ensure!(
                *value <= u32::from(u8::MAX),
                "expected numbers below 256 in a table, found {value}"
            );
            *byte = u8::try_from(*value)?;
        }
        words.push(i64::from_le_bytes(word));
    }
    let last = words.pop().unwrap_or(0);
    sink.i64_const(last);
    for (position, word) in words.iter().enumerate().rev() {
        let end = i32::try_from((position + 1) * PER_WORD)?;
        // `select` takes the first value if the condition holds; the later words are below.
        sink.i64_const(*word)
            .local_get(index)
            .i32_const(end)
            .i32_ge_u()
            .select();
    }
    sink.local_get(index)
        .i64_extend_i32_u()
        .i64_const(3)
        .i64_shl()
        // The shift counts modulo 64, which is the index within its word.
        .i64_shr_u()
        .i32_wrap_i64()
        .i32_const(0xff)
        .i32_and();
    Ok(())
}
