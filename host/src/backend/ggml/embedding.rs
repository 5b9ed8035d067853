//! Embeddings: from what llama.cpp computed to the numbers that guests get.

use crate::{Error, ErrorCode};
use llama_cpp_2::context::LlamaContext;

/// The embedding of the text that was evaluated last.
pub(super) fn of_context(context: &LlamaContext<'_>, normalize: i32) -> Result<Vec<f32>, Error> {
    let embedding = match context.embeddings_seq_ith(0) {
        Ok(embedding) => embedding,
        // A model that does not pool gives one embedding for each token: the last one has seen all.
        Err(_) => context.embeddings_ith(-1).map_err(|error| {
            Error::new(
                ErrorCode::RuntimeError,
                format!("the model gives no embedding: {error}"),
            )
        })?,
    };
    Ok(normalized(embedding, normalize))
}

/// An embedding by llama.cpp's numbers for norms: -1 is none, 0 the largest element, which becomes 32760,
/// 2 Euclidean, any other `p` the p-norm. A zero vector stays one.
fn normalized(embedding: &[f32], normalize: i32) -> Vec<f32> {
    let sizes = embedding.iter().map(|x| f64::from(*x).abs());
    let norm = match normalize {
        ..0 => return embedding.to_vec(),
        0 => sizes.fold(0.0, f64::max) / 32760.0,
        2 => sizes.map(|x| x * x).sum::<f64>().sqrt(),
        p => sizes
            .map(|x| x.powi(p))
            .sum::<f64>()
            .powf(1.0 / f64::from(p)),
    };
    let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
    embedding
        .iter()
        .map(|x| (f64::from(*x) * scale) as f32)
        .collect()
}

/// The embedding as WasmEdge writes it, but for the digits: as few as lead back to the same number.
pub(super) fn to_json(embedding: &[f32]) -> Vec<u8> {
    // JSON has no infinities and no NaN.
    let finite = |x: &f32| if x.is_finite() { *x } else { 0.0 };
    let elements: Vec<_> = embedding.iter().map(|x| finite(x).to_string()).collect();
    format!(
        "{{\"n_embedding\": {}, \"embedding\": [{}]}}",
        embedding.len(),
        elements.join(",")
    )
    .into_bytes()
}

/// The elements as bytes, little-endian.
pub(super) fn to_bytes(embedding: &[f32]) -> Vec<u8> {
    embedding.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms() {
        let embedding = [3.0, -4.0, 0.0];
        assert_eq!(normalized(&embedding, -1), embedding);
        assert_eq!(normalized(&embedding, 0), [24570.0, -32760.0, 0.0]);
        assert_eq!(normalized(&embedding, 1), [3.0 / 7.0, -4.0 / 7.0, 0.0]);
        assert_eq!(normalized(&embedding, 2), [0.6, -0.8, 0.0]);
        let cubic = normalized(&embedding, 3);
        let sum: f64 = cubic.iter().map(|x| f64::from(x.abs()).powi(3)).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{cubic:?}");
        for p in -1..4 {
            assert_eq!(normalized(&[0.0, 0.0], p), [0.0, 0.0]);
        }
    }

    #[test]
    fn forms() {
        assert_eq!(
            to_json(&[0.5, -1.0, f32::NAN]),
            br#"{"n_embedding": 3, "embedding": [0.5,-1,0]}"#
        );
        assert_eq!(to_bytes(&[1.0]), [0, 0, 0x80, 0x3f]);
    }
}
