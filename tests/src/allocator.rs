//! How many bytes the C library's allocator has given out. Unlike the memory that is in use, that is exact: what the allocator
//! keeps of what was given back is no part of it.
#![allow(unsafe_code, reason = "the C library is asked")]

/// Now, in bytes, by Rust and by C. Only glibc tells.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn allocated() -> Option<u64> {
    // SAFETY: it takes nothing and gives numbers by value; it locks each arena while it counts.
    let counts = unsafe { libc::mallinfo2() };
    Some((counts.uordblks + counts.hblkhd) as u64)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn allocated() -> Option<u64> {
    None
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::allocated;

    #[test]
    fn what_is_given_out_counts_until_it_is_given_back() {
        let now = || allocated().expect("glibc");
        let before = now();
        // More than other tests beside this one have.
        let bytes = vec![1_u8; 1 << 28];
        let with = now();
        assert!(with > before + (1 << 27), "{before}, {with}");
        drop(bytes);
        assert!(now() < before + (1 << 27), "{before}, {}", now());
    }
}
