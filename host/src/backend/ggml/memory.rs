//! Whether a context fits into memory.
//!
//! Guests choose `ctx-size`. llama.cpp allocates and clears the whole context at once, and on systems
//! that promise more memory than they have this ends the process, so the host does the sum before.

use llama_cpp_2::model::LlamaModel;

/// About how many bytes the keys and values of `tokens` tokens take, in llama.cpp's default `f16`.
pub(super) fn context_size(model: &LlamaModel, tokens: u32) -> u64 {
    let width = u64::try_from(model.n_embd()).unwrap_or(0);
    let heads = u64::from(model.n_head()).max(1);
    let per_layer = width / heads * u64::from(model.n_head_kv()) * 2 * 2;
    per_layer
        .saturating_mul(u64::from(model.n_layer()))
        .saturating_mul(u64::from(tokens))
}

/// How many bytes the system can give, if it says.
pub(super) fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}
