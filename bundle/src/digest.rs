//! SHA-256.

use sha2::{Digest as _, Sha256 as Hasher};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

/// How much of a file is in memory at once.
pub const PIECE: usize = 1 << 18;

/// A SHA-256, in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest of bytes that are in memory.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut sum = Sum::default();
        sum.add(bytes);
        sum.finish()
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Digest, String> {
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Digest(text.to_ascii_lowercase()))
        } else {
            Err("expected 64 hexadecimal digits, as sha256sum prints them".to_string())
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Digest, String> {
        text.parse()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Computes a digest piece by piece.
#[derive(Clone, Default)]
pub struct Sum(Hasher);

impl Sum {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was added.
    pub fn finish(self) -> Digest {
        let bytes = self.0.finalize();
        Digest(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The digest of a file.
pub fn of_file(path: &Path) -> std::io::Result<Digest> {
    of_file_with(path, |_| {})
}

/// The same; `read` is told how many bytes each piece has that was read.
pub fn of_file_with(path: &Path, mut read: impl FnMut(usize)) -> std::io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut sum = Sum::default();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(sum.finish()),
            n => {
                sum.add(&piece[..n]);
                read(n);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Sum::default().finish().to_string(), empty);
        let upper: Digest = empty.to_ascii_uppercase().parse().unwrap();
        assert_eq!(upper.to_string(), empty);
        for bad in ["", "e3b0", &"g".repeat(64), &"0".repeat(65)] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
