//! Numbers as WebAssembly has them, in the width that they had before, so that what follows stays where it is.

/// A number as WebAssembly has it, with at least so many bytes.
pub(crate) fn leb128(mut number: u32, width: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let last = number < 0x80 && bytes.len() + 1 >= width;
        bytes.push((number & 0x7f) as u8 | if last { 0 } else { 0x80 });
        if last {
            return bytes;
        }
        number >>= 7;
    }
}

/// How many bytes the number takes that these begin with.
pub(crate) fn width(bytes: &[u8]) -> Option<usize> {
    bytes
        .iter()
        .position(|byte| byte & 0x80 == 0)
        .map(|last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_width_that_is_asked_for() {
        assert_eq!(leb128(5, 1), [5]);
        assert_eq!(leb128(5, 3), [0x85, 0x80, 0]);
        assert_eq!(leb128(128, 1), [0x80, 1]);
        assert_eq!(width(&[0x85, 0x80, 0, 7]), Some(3));
        assert_eq!(width(&[0x80]), None);
    }
}
