//! How much memory a model takes beside its weights, by its header alone. Estimates, not promises.

use super::Gguf;

/// How many tokens llama.cpp computes at once, unless an option says otherwise.
const TOKENS_AT_ONCE: u64 = 512;
/// More layers than this has no model.
const MOST_LAYERS: u64 = 100_000;
/// Size of a key's or value's element, an `f16`.
const CACHED: u64 = 2;
/// Size of an activation's element, an `f32`.
const ACTIVATION: u64 = 4;
/// Size of an element of the mask, an `f16`.
const MASK: u64 = 2;

/// How many elements a model keeps of each token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CachedElements {
    /// Those of its keys, in all layers.
    pub keys: u64,
    /// Those of its values.
    pub values: u64,
}

impl Gguf {
    /// About how many bytes the keys and values of `tokens` tokens take, in llama.cpp's default `f16`.
    /// Nothing if the header does not say enough, as with models that have no attention.
    pub fn kv_cache_size(&self, tokens: u64) -> Option<u64> {
        let CachedElements { keys, values } = self.cached_elements()?;
        let elements = keys.saturating_add(values);
        Some(elements.saturating_mul(CACHED).saturating_mul(tokens))
    }

    /// About how many elements the model keeps of each token; more than that in models whose layers with a
    /// sliding window have smaller heads. Nothing if the header does not say enough.
    pub fn cached_elements(&self) -> Option<CachedElements> {
        if self.architecture_flag("attention.causal") == Some(false) {
            // Such a model reads its input once and has no use for a cache.
            return Some(CachedElements::default());
        }
        let layers = self.architecture_number("block_count")?;
        if layers > MOST_LAYERS {
            return None;
        }
        let heads = self.per_layer("attention.head_count", layers)?;
        let kv_heads = self
            .per_layer("attention.head_count_kv", layers)
            .unwrap_or_else(|| heads.clone());
        let width = self.architecture_number("embedding_length");
        let default = || width?.checked_div(*heads.first()?);
        let key = self
            .architecture_number("attention.key_length")
            .or_else(default)?;
        let value = self
            .architecture_number("attention.value_length")
            .or_else(default)?;
        // Multi-head latent attention finds its values in its keys.
        let is_latent = self
            .architecture_number("attention.key_length_mla")
            .is_some_and(|length| length > 0);
        let heads = (0..)
            .zip(&kv_heads)
            .filter(|(layer, _)| self.has_keys(*layer, layers))
            .fold(0_u64, |sum, (_, heads)| sum.saturating_add(*heads));
        Some(CachedElements {
            keys: heads.saturating_mul(key),
            values: if is_latent {
                0
            } else {
                heads.saturating_mul(value)
            },
        })
    }

    /// Whether a layer has keys and values of its own.
    fn has_keys(&self, layer: u64, layers: u64) -> bool {
        // The last ones may use those of others, and only some may have attention at all.
        let shared = self.architecture_number("attention.shared_kv_layers");
        let interval = self.architecture_number("full_attention_interval");
        layer < layers.saturating_sub(shared.unwrap_or(0))
            && interval.is_none_or(|interval| interval == 0 || (layer + 1).is_multiple_of(interval))
    }

    /// Roughly how many bytes a computation takes in a context of `tokens` tokens: logits, embeddings
    /// and a row of the attention's mask for each of the tokens that llama.cpp computes at once.
    pub fn compute_buffer_size(&self, tokens: u64) -> Option<u64> {
        let width = self.architecture_number("embedding_length")?;
        let activations = self.vocabulary()?.saturating_add(width);
        Some(
            activations
                .saturating_mul(ACTIVATION)
                .saturating_add(tokens.saturating_mul(MASK))
                .saturating_mul(TOKENS_AT_ONCE),
        )
    }

    /// How many tokens the model knows.
    pub fn vocabulary(&self) -> Option<u64> {
        self.arrays
            .get("tokenizer.ggml.tokens")
            .copied()
            .or_else(|| self.architecture_number("vocab_size"))
    }

    /// A number that a model has for each layer, or one for all.
    fn per_layer(&self, key: &str, layers: u64) -> Option<Vec<u64>> {
        if let Some(number) = self.architecture_number(key) {
            return Some(vec![number; usize::try_from(layers).ok()?]);
        }
        let list = self.lists.get(&format!("{}.{key}", self.architecture()?))?;
        (list.len() as u64 == layers).then(|| list.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Value;

    #[test]
    fn keys_and_values() {
        let mut numbers = vec![
            ("block_count", 4),
            ("embedding_length", 64),
            ("attention.head_count", 8),
        ];
        // 4 layers, 8 heads, keys and values of 8 elements with 2 bytes each.
        assert_eq!(
            Gguf::of_numbers(&numbers).kv_cache_size(10),
            Some(4 * 8 * 16 * 2 * 10)
        );
        numbers.push(("attention.head_count_kv", 2));
        assert_eq!(
            Gguf::of_numbers(&numbers).kv_cache_size(10),
            Some(4 * 2 * 16 * 2 * 10)
        );
        numbers.extend([("attention.key_length", 20), ("attention.value_length", 30)]);
        let gguf = Gguf::of_numbers(&numbers);
        assert_eq!(gguf.kv_cache_size(10), Some(4 * 2 * 50 * 2 * 10));
        assert_eq!(gguf.kv_cache_size(u64::MAX), Some(u64::MAX));
    }

    #[test]
    fn heads_may_differ_between_layers() {
        let mut gguf = Gguf::of_numbers(&[
            ("block_count", 3),
            ("embedding_length", 64),
            ("attention.head_count", 8),
        ]);
        let key = "any.attention.head_count_kv".to_owned();
        gguf.lists.insert(key.clone(), vec![0, 2, 8]);
        assert_eq!(gguf.kv_cache_size(1), Some(10 * 16 * 2));
        // A list of another length means nothing: every head counts then.
        gguf.lists.insert(key, vec![1]);
        assert_eq!(gguf.kv_cache_size(1), Some(3 * 8 * 16 * 2));
    }

    #[test]
    fn layers_without_keys_of_their_own() {
        let numbers = [
            ("block_count", 8),
            ("embedding_length", 64),
            ("attention.head_count", 8),
        ];
        let with = |more| {
            let numbers: Vec<_> = numbers.into_iter().chain(more).collect();
            Gguf::of_numbers(&numbers).kv_cache_size(1)
        };
        let layer = 8 * 16 * 2;
        assert_eq!(with(vec![]), Some(8 * layer));
        // The fourth and the eighth.
        assert_eq!(with(vec![("full_attention_interval", 4)]), Some(2 * layer));
        assert_eq!(with(vec![("full_attention_interval", 0)]), Some(8 * layer));
        assert_eq!(
            with(vec![("attention.shared_kv_layers", 3)]),
            Some(5 * layer)
        );
        assert_eq!(with(vec![("attention.shared_kv_layers", 9)]), Some(0));
        let latent = vec![
            ("attention.head_count_kv", 1),
            ("attention.key_length", 72),
            ("attention.value_length", 64),
            ("attention.key_length_mla", 24),
        ];
        assert_eq!(with(latent), Some(8 * 72 * 2));
    }

    #[test]
    fn what_the_header_does_not_say_is_not_known() {
        assert_eq!(Gguf::default().kv_cache_size(1), None);
        assert_eq!(Gguf::default().compute_buffer_size(1), None);
        let recurrent = [("block_count", 4), ("embedding_length", 64)];
        assert_eq!(Gguf::of_numbers(&recurrent).kv_cache_size(1), None);
        let hostile = [
            ("block_count", 1 << 61),
            ("embedding_length", 64),
            ("attention.head_count", 8),
        ];
        assert_eq!(Gguf::of_numbers(&hostile).kv_cache_size(1), None);
        let no_heads = [recurrent[0], recurrent[1], ("attention.head_count", 0)];
        assert_eq!(Gguf::of_numbers(&no_heads).kv_cache_size(1), None);
    }

    #[test]
    fn models_that_only_encode_have_no_cache() {
        let mut gguf = Gguf::of_numbers(&[]);
        gguf.metadata
            .insert("any.attention.causal".to_owned(), Value::Flag(false));
        assert_eq!(gguf.kv_cache_size(1000), Some(0));
    }

    #[test]
    fn computation() {
        let mut gguf = Gguf::of_numbers(&[("embedding_length", 64), ("vocab_size", 1000)]);
        assert_eq!(gguf.compute_buffer_size(10), Some((1064 * 4 + 20) * 512));
        gguf.arrays.insert("tokenizer.ggml.tokens".to_owned(), 936);
        assert_eq!(gguf.compute_buffer_size(0), Some(1000 * 4 * 512));
    }
}
