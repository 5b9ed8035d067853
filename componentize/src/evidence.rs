//! Traces of the toolchain and libraries inside a module.
//!
//! Rust keeps the path of a source file for the message of each panic, and a crate's path from the
//! registry carries its version: `…/wasi-nn-0.6.0/src/graph.rs`. AssemblyScript's library is `~lib/`.

use memchr::memmem::Finder;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// What a module says about its origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// Rust crates of wasi-nn with their versions.
    pub(crate) crates: BTreeSet<Crate>,
    /// AssemblyScript's standard library is inside.
    pub(crate) assemblyscript: bool,
}

/// A Rust crate that binds wasi-nn.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Crate {
    /// `wasmedge-wasi-nn`, or else `wasi-nn`.
    pub(crate) wasmedge: bool,
    /// Major and minor version.
    pub(crate) version: (u32, u32),
    /// Name and version as found.
    pub(crate) text: String,
}

/// How many crates are told of.
const MOST_CRATES: usize = 8;
/// How many hexadecimal digits stand for a repository in the name of Cargo's checkout.
const CHECKOUT: usize = 16;

static CRATE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("wasi-nn-"));
static ASSEMBLYSCRIPT: LazyLock<Finder<'static>> =
    LazyLock::new(|| Finder::new(b"~\0l\0i\0b\0/\0"));
static ASSEMBLYSCRIPT_NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("~lib/"));

impl Evidence {
    /// Looks through the bytes of a data section or of debug information.
    pub(crate) fn scan_data(&mut self, bytes: &[u8]) {
        self.scan_crates(bytes);
        // Its strings are UTF-16.
        if !self.assemblyscript {
            self.assemblyscript = ASSEMBLYSCRIPT.find(bytes).is_some();
        }
    }

    /// Looks through a custom section.
    pub(crate) fn scan_custom(&mut self, name: &str, bytes: &[u8]) {
        match name {
            "name" | "producers" => {
                self.assemblyscript |= ASSEMBLYSCRIPT_NAME.find(bytes).is_some();
            }
            _ => self.scan_crates(bytes),
        }
    }

    fn scan_crates(&mut self, bytes: &[u8]) {
        for at in CRATE.find_iter(bytes) {
            if self.crates.len() < MOST_CRATES
                && let Some(found) = crate_at(bytes, at)
            {
                self.crates.insert(found);
            }
        }
    }
}

/// The crate whose name's `wasi-nn-` starts at `at`, if a version and a path separator follow.
fn crate_at(bytes: &[u8], at: usize) -> Option<Crate> {
    let before = bytes.get(..at)?;
    let wasmedge = before.ends_with(b"wasmedge-");
    if !wasmedge && !matches!(before.last(), Some(b'/' | b'\\')) {
        return None;
    }
    let rest = bytes.get(at + b"wasi-nn-".len()..)?;
    // A version is short; what is longer is something else.
    let end = rest
        .iter()
        .take(32)
        .position(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'.' | b'+' | b'-'))?;
    // A path goes on behind it; in debug information it may end there.
    if !matches!(rest.get(end), Some(b'/' | b'\\' | 0)) {
        return None;
    }
    let text = std::str::from_utf8(rest.get(..end)?).ok()?;
    // A checkout of a repository has no version.
    if wasmedge && text.len() == CHECKOUT && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some(Crate {
            wasmedge,
            version: (0, 0),
            text: "wasmedge-wasi-nn from a repository".to_owned(),
        });
    }
    let mut parts = text.splitn(3, '.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    parts.next()?.chars().next().filter(char::is_ascii_digit)?;
    let name = if wasmedge {
        "wasmedge-wasi-nn"
    } else {
        "wasi-nn"
    };
    Some(Crate {
        wasmedge,
        version: (major, minor),
        text: format!("{name} {text}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crates(data: &[u8]) -> Vec<String> {
        let mut evidence = Evidence::default();
        evidence.scan_data(data);
        evidence.crates.into_iter().map(|c| c.text).collect()
    }

    #[test]
    fn crates_are_found_in_paths() {
        assert_eq!(
            crates(b"x/index.crates.io-1/wasi-nn-0.4.0/src/lib.rs"),
            ["wasi-nn 0.4.0"]
        );
        assert_eq!(
            crates(b"\\wasmedge-wasi-nn-0.8.0\\src\\lib.rs"),
            ["wasmedge-wasi-nn 0.8.0"]
        );
        assert_eq!(crates(b"/wasi-nn-0.5.0-rc.1/src"), ["wasi-nn 0.5.0-rc.1"]);
        assert_eq!(
            crates(b"/wasi-nn-0.5.0\0\0main.rs\0src/"),
            ["wasi-nn 0.5.0"]
        );
        assert_eq!(
            crates(b"/checkouts/wasmedge-wasi-nn-1a2b3c4d5e6f7a8b/57e5c4d/rust/src/graph.rs"),
            ["wasmedge-wasi-nn from a repository"]
        );
        let many: Vec<u8> = (0..1000)
            .flat_map(|patch| format!("/wasi-nn-0.4.{patch}/").into_bytes())
            .collect();
        assert_eq!(crates(&many).len(), MOST_CRATES);
    }

    #[test]
    fn what_merely_looks_like_a_crate_is_not_one() {
        for data in [
            &b"/wasi-nn-demo/src/main.rs"[..],
            b"/wasi-nn-0.4",
            b"/wasi-nn-0.4/src",
            b"/my-wasi-nn-0.4.0/src",
            b"wasi-nn-",
            b"/wasi-nn-0.99999999999.0/src",
        ] {
            assert!(crates(data).is_empty(), "{}", data.escape_ascii());
        }
    }

    #[test]
    fn assemblyscript() {
        let mut evidence = Evidence::default();
        let text: Vec<u8> = "~lib/rt/itcms.ts"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        evidence.scan_data(&text);
        assert!(evidence.assemblyscript);
    }
}
