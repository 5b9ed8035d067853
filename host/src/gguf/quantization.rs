//! Names of quantizations.

use super::Gguf;

/// llama.cpp's names of the values of `general.file_type`.
const NAMES: [(u64, &str); 36] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
    (38, "MXFP4_MOE"),
    (39, "NVFP4"),
    (40, "Q1_0"),
    (41, "Q2_0"),
];

impl Gguf {
    /// What most of the weights are quantized to, under llama.cpp's name. Nothing if the file does not
    /// say, or says what this release does not know.
    pub fn quantization(&self) -> Option<&'static str> {
        let file_type = self.number("general.file_type")?;
        NAMES
            .iter()
            .find(|(number, _)| *number == file_type)
            .map(|(_, name)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Value;

    #[test]
    fn known_and_unknown_file_types() {
        let named = |file_type| {
            let mut gguf = Gguf::default();
            gguf.metadata
                .insert("general.file_type".to_owned(), Value::Integer(file_type));
            gguf.quantization()
        };
        assert_eq!(named(3), Some("Q4_1"));
        assert_eq!(named(15), Some("Q4_K_M"));
        assert_eq!(named(4), None);
        assert_eq!(named(-1), None);
        assert_eq!(Gguf::default().quantization(), None);
    }
}
