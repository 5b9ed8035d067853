//! Sizes and times as text.

use std::time::Duration;

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;
pub(crate) const GIB: usize = 1 << 30;

pub(crate) fn bytes_text(bytes: usize) -> String {
    match bytes {
        1.. if bytes.is_multiple_of(GIB) => format!("{}GiB", bytes / GIB),
        1.. if bytes.is_multiple_of(MIB) => format!("{}MiB", bytes / MIB),
        1.. if bytes.is_multiple_of(KIB) => format!("{}KiB", bytes / KIB),
        _ => bytes.to_string(),
    }
}

/// Splits a number from its unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

/// A number of bytes, such as `512MiB`: the units are B, KiB, MiB and GiB, or none.
pub fn parse_bytes(text: &str) -> Option<usize> {
    let (number, unit) = split(text)?;
    let unit = match unit {
        "" | "B" => 1,
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => GIB,
        _ => return None,
    };
    usize::try_from(number).ok()?.checked_mul(unit)
}

pub(crate) fn parse_time(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        assert_eq!(parse_bytes("64KiB"), Some(65536));
        assert_eq!(parse_bytes("3"), Some(3));
        for wrong in [
            "",
            "KiB",
            "1 KiB",
            "1kb",
            "-1",
            "1.5GiB",
            "99999999999999999999",
            "18446744073709551615GiB",
        ] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
        assert_eq!(parse_time("1500ms"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_time("2m"), Some(Duration::from_secs(120)));
        for wrong in ["", "3", "s", "1.5s", "-1s", "18446744073709551615h"] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
    }
}
