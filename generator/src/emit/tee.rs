//! `local.set` and `local.get` of one local, one behind the other, are one `local.tee`.
//!
//! Every function is written without regard to what stands beside it; this takes two bytes from each such place.

use anyhow::Result;
use wasm_encoder::{Encode, Function};
use wasmparser::{BinaryReader, FunctionBody, Operator};

const LOCAL_TEE: u8 = 0x22;

/// A function's locals and code.
pub(super) fn body(function: Function) -> Result<Vec<u8>> {
    let written = function.into_raw_body();
    let mut operators = FunctionBody::new(BinaryReader::new(&written, 0)).get_operators_reader()?;
    let mut end = usize::try_from(operators.original_position())?;
    let mut tidied = written[..end].to_vec();
    // A local that has just been set, and where its instruction begins.
    let mut set: Option<(u32, usize)> = None;
    while !operators.eof() {
        let start = end;
        let operator = operators.read()?;
        end = usize::try_from(operators.original_position())?;
        match (set, &operator) {
            (Some((local, at)), Operator::LocalGet { local_index }) if *local_index == local => {
                tidied.truncate(at);
                tidied.push(LOCAL_TEE);
                local.encode(&mut tidied);
                set = None;
                continue;
            }
            (_, Operator::LocalSet { local_index }) => set = Some((*local_index, tidied.len())),
            _ => set = None,
        }
        tidied.extend_from_slice(&written[start..end]);
    }
    Ok(tidied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_local_right_behind() {
        let function = || Function::new([(2, wasm_encoder::ValType::I32)]);
        let mut given = function();
        given
            .instructions()
            .i32_const(300)
            .local_set(1)
            .local_get(1)
            .local_set(0)
            .local_get(1)
            .local_set(1)
            .local_set(1)
            .local_get(1)
            .drop()
            .local_get(1)
            .end();
        let mut expected = function();
        expected
            .instructions()
            .i32_const(300)
            .local_tee(1)
            .local_set(0)
            .local_get(1)
            .local_set(1)
            .local_tee(1)
            .drop()
            .local_get(1)
            .end();
        assert_eq!(body(given).unwrap(), expected.into_raw_body());
    }
}
