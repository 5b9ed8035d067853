//! What the tests share.

#![allow(dead_code, reason = "each test uses a part of it")]

use llm_wasi_bundle::sign::SigningKey;
use llm_wasi_bundle::{Bundle, Digest, Error, Model, ModelFile, Writer};
use std::io::{Cursor, Write};

/// A model of some files; their content is not that of a model.
pub(crate) struct Content {
    pub(crate) name: &'static str,
    pub(crate) files: Vec<(&'static str, Vec<u8>)>,
}

/// Two models, of one file and of two.
pub(crate) fn contents() -> Vec<Content> {
    let bytes = |size: usize, step: usize| (0..size).map(|i| (i * step % 251) as u8).collect();
    vec![
        Content {
            name: "default",
            files: vec![("default.gguf", bytes(1000, 7))],
        },
        Content {
            name: "classifier",
            files: vec![
                ("classifier.xml", bytes(300, 3)),
                ("classifier.bin", bytes(250, 11)),
            ],
        },
    ]
}

pub(crate) fn component() -> Vec<u8> {
    wat::parse_str("(component (core module (func)) (core module (memory 1)))").expect("it parses")
}

pub(crate) fn models(contents: &[Content]) -> Vec<Model> {
    let file = |(name, bytes): &(&str, Vec<u8>)| ModelFile {
        name: (*name).to_string(),
        size: bytes.len() as u64,
        sha256: Digest::of(b""),
        parts: Vec::new(),
    };
    contents
        .iter()
        .map(|content| Model {
            name: content.name.to_string(),
            encoding: "GGML".to_string(),
            target: "AUTO".to_string(),
            files: content.files.iter().map(file).collect(),
        })
        .collect()
}

pub(crate) fn write(
    contents: &[Content],
    part_size: u64,
    key: Option<&SigningKey>,
) -> Result<Vec<u8>, Error> {
    let target = Cursor::new(Vec::new());
    let mut writer = Writer::new(target, &component(), models(contents), part_size, key)?;
    for (_, bytes) in contents.iter().flat_map(|content| &content.files) {
        writer.write_all(bytes).expect("memory can be written");
    }
    Ok(writer.finish()?.0.into_inner())
}

/// The usual bundle, of parts of 400 bytes.
pub(crate) fn bundle() -> Vec<u8> {
    write(&contents(), 400, None).expect("a bundle")
}

pub(crate) fn read(bytes: &[u8]) -> Result<Bundle<Cursor<Vec<u8>>>, Error> {
    Bundle::read(Cursor::new(bytes.to_vec())).map(|bundle| bundle.expect("it is a bundle"))
}

/// Reads all of it; gives what is wrong.
pub(crate) fn wrong(bytes: &[u8]) -> String {
    let checked = read(bytes).and_then(|mut bundle| bundle.verify(&mut |_| {}));
    checked.expect_err("it is not refused").to_string()
}

/// Where sections begin, with their names.
pub(crate) fn sections(bytes: &[u8]) -> Vec<(usize, String)> {
    use wasmparser::{Parser, Payload};
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::CustomSection(section) = payload.expect("it parses") {
            // Id and size have six bytes, the name's length one.
            let start = section.data_offset() as usize - section.name().len() - 7;
            found.push((start, section.name().to_string()));
        }
    }
    found
}

pub(crate) struct Keys {
    pub(crate) secret: SigningKey,
    pub(crate) secret_text: String,
    pub(crate) public_text: String,
}

pub(crate) fn keys() -> Keys {
    let pair = minisign::KeyPair::generate_unencrypted_keypair().expect("a key");
    let secret_text = pair.sk.to_box(None).expect("text").to_string();
    Keys {
        secret: SigningKey::parse(&secret_text, None).expect("a key"),
        secret_text,
        public_text: pair.pk.to_box().expect("text").to_string(),
    }
}
