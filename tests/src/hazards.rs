//! What is odd about a call, as its arguments and the guest's memory show before it is made.

use crate::differences::{Difference, difference};

/// The differences that a call may run into.
pub fn hazards(function: &str, arguments: &[u32], memory: &[u8]) -> Vec<&'static Difference> {
    let mut call = Call {
        memory,
        found: Vec::new(),
    };
    match (function, arguments) {
        ("load", [list, count, encoding, target, out]) => {
            if *encoding >= 6 {
                call.add("bad-encoding-tag");
            }
            if *target >= 3 {
                call.add("bad-target-tag");
            }
            call.region(*list, u64::from(*count) * 8, 4);
            for index in 0..(*count).min(memory.len() as u32 / 8) {
                let at = list.wrapping_add(8 * index);
                if let (Some(at), Some(length)) = (call.word(at), call.word(at.wrapping_add(4))) {
                    call.region(at, length.into(), 1);
                }
            }
            call.region(*out, 4, 4);
        }
        ("load_by_name", [name, length, out]) => {
            call.text(*name, *length);
            call.region(*out, 4, 4);
        }
        ("load_by_name_with_config", [name, length, config, config_length, out]) => {
            call.text(*name, *length);
            call.region(*config, (*config_length).into(), 1);
            call.region(*out, 4, 4);
        }
        ("init_execution_context", [_, out]) => call.region(*out, 4, 4),
        ("set_input", [_, _, record]) => {
            call.region(*record, 20, 4);
            let field = |offset| call.word(record.wrapping_add(offset));
            if let (Some(dims), Some(rank), Some(ty), Some(data), Some(length)) =
                (field(0), field(4), field(8), field(12), field(16))
            {
                call.region(dims, u64::from(rank) * 4, 4);
                call.region(data, length.into(), 1);
                if ty & 0xff >= 6 {
                    call.add("bad-tensor-type-tag");
                }
            }
        }
        ("get_output" | "get_output_single", [_, _, buffer, max, out]) => {
            if u64::from(*buffer) + u64::from(*max) > memory.len() as u64 {
                call.add("buffer-beyond-memory");
            }
            if *buffer as usize > memory.len() {
                call.add("beyond-memory");
            }
            call.region(*out, 4, 4);
        }
        _ => {}
    }
    call.found
}

struct Call<'a> {
    memory: &'a [u8],
    found: Vec<&'static Difference>,
}

impl Call<'_> {
    fn add(&mut self, id: &str) {
        self.found.push(difference(id));
    }

    fn word(&self, at: u32) -> Option<u32> {
        let bytes = self.memory.get(at as usize..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    }

    fn region(&mut self, at: u32, length: u64, align: u32) {
        if !at.is_multiple_of(align) {
            self.add("unaligned");
        }
        if u64::from(at) + length > self.memory.len() as u64 {
            self.add("beyond-memory");
        }
    }

    fn text(&mut self, at: u32, length: u32) {
        self.region(at, length.into(), 1);
        let text = self.memory.get(at as usize..).unwrap_or_default();
        if let Some(text) = text.get(..length as usize)
            && std::str::from_utf8(text).is_err()
        {
            self.add("bad-text");
        }
    }
}
