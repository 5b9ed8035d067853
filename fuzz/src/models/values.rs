//! Values at which arithmetic goes wrong.

use proptest::prelude::Rng;

/// A number below `limit`.
pub(super) fn below(rng: &mut impl Rng, limit: usize) -> usize {
    rng.next_u32() as usize % limit.max(1)
}

/// One of some things.
pub(super) fn one_of<'a, T>(rng: &mut impl Rng, things: &'a [T]) -> &'a T {
    &things[below(rng, things.len())]
}

/// A whole number instead of `old`.
pub(super) fn whole(rng: &mut impl Rng, old: u64) -> u64 {
    const EDGES: [u64; 8] = [7, 32, 1 << 7, 1 << 8, 1 << 15, 1 << 31, 1 << 32, 1 << 63];
    match below(rng, 10) {
        0 => 0,
        1 => 1,
        2 => old.wrapping_add(1),
        3 => old.wrapping_sub(1),
        4 => old.wrapping_mul(2),
        5 => old ^ (1 << below(rng, 64)),
        6 => one_of(rng, &EDGES).wrapping_sub(1),
        7 => *one_of(rng, &EDGES),
        8 => u64::MAX - below(rng, 3) as u64,
        _ => rng.next_u64() >> below(rng, 64),
    }
}

/// A floating point number instead of `old`.
pub(super) fn real(rng: &mut impl Rng, old: f32) -> f32 {
    match below(rng, 8) {
        0 => 0.0,
        1 => -old,
        2 => f32::NAN,
        3 => f32::INFINITY,
        4 => f32::NEG_INFINITY,
        5 => f32::MAX,
        6 => f32::MIN_POSITIVE / 2.0,
        _ => f32::from_bits(rng.next_u32()),
    }
}

/// Changes bytes: bits, a cut, a piece left out.
pub(super) fn damage(rng: &mut impl Rng, bytes: &mut Vec<u8>, most: usize) {
    if bytes.is_empty() {
        return;
    }
    let most = most.min(bytes.len());
    let at = below(rng, most);
    match below(rng, 8) {
        0 => bytes.truncate(at),
        1 => {
            let end = bytes.len().min(at + 1 + below(rng, 16));
            bytes.drain(at..end);
        }
        _ => {
            for _ in 0..=below(rng, 3) {
                let at = below(rng, most);
                bytes[at] ^= 1 << below(rng, 8);
            }
        }
    }
}
