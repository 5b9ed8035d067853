//! From the bytes of a file to wasm.

use crate::refusal::{Reason, Refusal};
use std::borrow::Cow;

/// The largest input that is taken, in bytes: 1 GiB.
pub const LIMIT: usize = 1 << 30;

/// What other programs' files begin with, for an error that names them.
const MAGIC: &[(&[u8], &str)] = &[
    (b"\x7fELF", "an ELF file"),
    (b"GGUF", "a GGUF model"),
    (b"\0aot", "a module compiled ahead of time for WAMR"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PK\x03\x04", "a zip file"),
    (b"MZ", "a Windows program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"!<arch>", "an archive of object files"),
    (b"BC\xc0\xde", "LLVM bitcode"),
];

/// Takes a binary or text, as `wasm-tools` does, and gives the binary.
///
/// # Errors
/// Empty, truncated or too large input, something else than wasm, and text that does not parse.
pub fn read(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::new(
            Reason::Empty,
            "the input is empty",
            "a WebAssembly module, binary or text",
            "check that the build that should write it did so",
        ));
    }
    if bytes.len() > LIMIT {
        return Err(Refusal::new(
            Reason::TooLarge,
            format!("the input has {} bytes", bytes.len()),
            format!("at most {LIMIT} bytes"),
            "strip debug information and keep the model's data out of the module",
        ));
    }
    if bytes.starts_with(b"\0asm") {
        if bytes.len() < 8 {
            return Err(truncated(bytes.len()));
        }
        return Ok(Cow::Borrowed(bytes));
    }
    if b"\0asm".starts_with(bytes) {
        return Err(truncated(bytes.len()));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if looks_like_text(text) => {
            parse_text(text.trim_start_matches('\u{feff}')).map(Cow::Owned)
        }
        _ => Err(not_wasm(bytes)),
    }
}

pub(crate) fn truncated(length: usize) -> Refusal {
    Refusal::new(
        Reason::Truncated,
        format!("the wasm ends after {length} bytes, in the middle of a section"),
        "a whole module",
        "copy or build the file again",
    )
}

/// Text starts with a parenthesis, after blanks and comments.
fn looks_like_text(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with('(') || text.starts_with(";;")
}

fn parse_text(text: &str) -> Result<Vec<u8>, Refusal> {
    // The parser of the text format is as much a foreign body as `wit-component`.
    match crate::guard::quietly(|| wat::parse_str(text)) {
        Ok(Ok(wasm)) => Ok(wasm),
        Ok(Err(error)) => Err(text_error(&error.to_string())),
        Err(panic) => Err(text_error(&panic)),
    }
}

fn text_error(message: &str) -> Refusal {
    Refusal::new(
        Reason::TextSyntax,
        format!("the WebAssembly text does not parse: {}", message.trim()),
        "WebAssembly text",
        "correct the text at that place",
    )
}

fn not_wasm(bytes: &[u8]) -> Refusal {
    let known = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic));
    let found = match known {
        Some((_, name)) => format!("the input is {name}, not WebAssembly"),
        None => {
            let head: Vec<String> = bytes.iter().take(4).map(|b| format!("{b:02x}")).collect();
            format!(
                "the input is not WebAssembly: it begins with the bytes {}",
                head.join(" ")
            )
        }
    };
    Refusal::new(
        Reason::NotWasm,
        found,
        "a module (`\\0asm` …) or its text (`(module` …)",
        "give the file that the compiler wrote for a wasm32-wasi target",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(bytes: &[u8]) -> Reason {
        read(bytes).expect_err("should be refused").reason
    }

    #[test]
    fn refusals() {
        assert_eq!(reason(b""), Reason::Empty);
        assert_eq!(reason(b"\0as"), Reason::Truncated);
        assert_eq!(reason(b"\0asm\x01\0"), Reason::Truncated);
        assert_eq!(reason(b"GGUF\x03\0\0\0"), Reason::NotWasm);
        assert_eq!(reason(b"hello"), Reason::NotWasm);
        assert_eq!(reason(b"\xff\xfe\xfd"), Reason::NotWasm);
        assert_eq!(reason(b"(module (func"), Reason::TextSyntax);
        assert_eq!(reason(&vec![0; LIMIT + 1]), Reason::TooLarge);
    }

    #[test]
    fn text_and_binary() {
        let wasm = read(b"(module)").expect("text");
        assert_eq!(&wasm[..], b"\0asm\x01\0\0\0");
        assert!(matches!(
            read(b"\0asm\x01\0\0\0").expect("binary"),
            Cow::Borrowed(_)
        ));
        read(b";; a comment\n(module)").expect("text after a comment");
        read(b"  (; block ;) (module)").expect("text after a block comment");
    }

    #[test]
    fn other_formats_are_named() {
        let refusal = read(b"GGUF\x03\0\0\0").expect_err("a model");
        assert!(refusal.found.contains("a GGUF model"), "{refusal}");
    }
}
