//! How many bytes a tensor has.

use super::TensorInfo;

/// The types of elements in the format's own numbers, with how many elements make a block of how many bytes.
const BLOCKS: [(u32, u64, u64); 35] = [
    // F32, F16
    (0, 1, 4),
    (1, 1, 2),
    // Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_1
    (2, 32, 18),
    (3, 32, 20),
    (6, 32, 22),
    (7, 32, 24),
    (8, 32, 34),
    (9, 32, 36),
    // Q2_K to Q6_K, Q8_K
    (10, 256, 84),
    (11, 256, 110),
    (12, 256, 144),
    (13, 256, 176),
    (14, 256, 210),
    (15, 256, 292),
    // IQ2_XXS, IQ2_XS, IQ3_XXS, IQ1_S, IQ4_NL, IQ3_S, IQ2_S, IQ4_XS
    (16, 256, 66),
    (17, 256, 74),
    (18, 256, 98),
    (19, 256, 50),
    (20, 32, 18),
    (21, 256, 110),
    (22, 256, 82),
    (23, 256, 136),
    // I8, I16, I32, I64, F64
    (24, 1, 1),
    (25, 1, 2),
    (26, 1, 4),
    (27, 1, 8),
    (28, 1, 8),
    // IQ1_M, BF16
    (29, 256, 56),
    (30, 1, 2),
    // TQ1_0, TQ2_0, MXFP4, NVFP4, Q1_0, Q2_0
    (34, 256, 54),
    (35, 256, 66),
    (39, 32, 17),
    (40, 64, 36),
    (41, 128, 18),
    (42, 64, 18),
];

impl TensorInfo {
    /// How many bytes it has in the file; nothing if its type is not known, its rows are not made of whole blocks,
    /// or the number is beyond 64 bits.
    pub fn bytes(&self) -> Option<u64> {
        let (_, elements, bytes) = BLOCKS.iter().find(|(ty, ..)| *ty == self.ty)?;
        let row = self.dimensions.first().copied().unwrap_or(1);
        if row % elements != 0 {
            return None;
        }
        let all = self
            .dimensions
            .iter()
            .try_fold(1_u64, |all, next| all.checked_mul(*next))?;
        (all / elements).checked_mul(*bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(ty: u32, dimensions: &[u64]) -> TensorInfo {
        TensorInfo {
            name: "t".to_owned(),
            dimensions: dimensions.to_vec(),
            ty,
            offset: 0,
        }
    }

    #[test]
    fn whole_blocks_have_bytes() {
        assert_eq!(tensor(0, &[]).bytes(), Some(4));
        assert_eq!(tensor(3, &[64, 3]).bytes(), Some(2 * 3 * 20));
        assert_eq!(tensor(3, &[65, 32]).bytes(), None);
        assert_eq!(tensor(0, &[u64::MAX, 2]).bytes(), None);
        assert_eq!(tensor(0, &[u64::MAX]).bytes(), None);
        assert_eq!(tensor(4, &[32]).bytes(), None);
        assert_eq!(tensor(0, &[0, 5]).bytes(), Some(0));
    }

    #[cfg(feature = "ggml")]
    #[test]
    #[allow(unsafe_code, reason = "asks llama.cpp")]
    fn the_blocks_are_those_of_llama_cpp() {
        for ty in 0..llama_cpp_sys_2::GGML_TYPE_COUNT {
            // SAFETY: both read a constant table at an index that it has.
            let (elements, bytes) = unsafe {
                (
                    llama_cpp_sys_2::ggml_blck_size(ty),
                    llama_cpp_sys_2::ggml_type_size(ty),
                )
            };
            let found = BLOCKS.iter().find(|(known, ..)| *known == ty);
            // A type that was taken out has blocks of no elements.
            let expected = (elements > 0).then_some((ty, elements as u64, bytes as u64));
            assert_eq!(found.copied(), expected, "type {ty}");
        }
    }
}
