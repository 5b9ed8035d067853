//! Bundles in memory: what was written is read again, and whatever has changed is refused by its name.

mod support;

use llm_wasi_bundle::{Bundle, Digest, Writer};
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use support::{Content, bundle, component, contents, models, read, sections, write, wrong};

#[test]
fn what_was_written_is_read_again() {
    for part_size in [1, 99, 100, 400, 1 << 20] {
        let bytes = write(&contents(), part_size, None).unwrap();
        wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
            .validate_all(&bytes)
            .expect("a valid component");
        let mut bundle = read(&bytes).unwrap();
        assert_eq!(bundle.component().unwrap(), component());
        bundle.verify(&mut |_| {}).unwrap();
        let index = bundle.index().clone();
        assert_eq!(index.component.sha256, Digest::of(&component()));
        for (model, content) in index.models.iter().zip(contents()) {
            assert_eq!(model.name, content.name);
            for (file, (name, expected)) in model.files.iter().zip(content.files) {
                assert_eq!(file.name, name);
                assert_eq!(file.sha256, Digest::of(&expected));
                let parts = expected.len().div_ceil(part_size as usize);
                assert_eq!(file.parts.len(), parts);
                let mut found = Vec::new();
                let mut told = 0;
                bundle
                    .copy(model, file, &mut found, &mut |n| told += n)
                    .unwrap();
                assert_eq!(found, expected);
                assert_eq!(told, expected.len() as u64);
            }
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bundle() {
    assert_eq!(bundle(), bundle());
}

#[test]
fn parts_begin_at_pages() {
    let bytes = bundle();
    let parts: Vec<_> = sections(&bytes)
        .into_iter()
        .filter(|(_, name)| name.starts_with("llm-wasi:part:"))
        .collect();
    assert_eq!(parts.len(), 5);
    for (start, name) in parts {
        let content = start + 7 + name.len();
        assert!(content.is_multiple_of(1 << 16), "{content}");
        let piece = &bytes[content..bytes.len().min(content + 400)];
        let sizes = [400, 200, 300, 250];
        let found = sizes.iter().any(|size| {
            let digest = piece.get(..*size).map(Digest::of);
            digest.is_some_and(|digest| name.ends_with(&digest.to_string()))
        });
        assert!(found, "{name} is not the digest of what is there");
    }
}

#[test]
fn other_files_are_no_bundles() {
    for other in [
        &b""[..],
        b"\0asm",
        b"\0asm\x01\0\0\0",
        b"GGUF",
        &component(),
    ] {
        assert!(Bundle::read(Cursor::new(other)).unwrap().is_none());
    }
}

#[test]
fn a_truncated_bundle_is_refused_by_the_name_of_the_part() {
    let bytes = bundle();
    let borders: Vec<usize> = sections(&bytes).into_iter().map(|(at, _)| at).collect();
    let first_part = borders[2];
    let places = borders[1..]
        .iter()
        .copied()
        .chain((30..bytes.len()).step_by(997));
    for length in places {
        let message = wrong(&bytes[..length]);
        assert!(message.contains("truncated: it ends in "), "{message}");
        if length >= first_part {
            assert!(message.contains("part "), "{length}: {message}");
        }
    }
    let whole = bytes.len();
    let message = wrong(&bytes[..whole - 1]);
    let last = "part 1 of 1 of the file classifier.bin of the model `classifier`";
    assert!(message.contains(last), "{message}");
    assert!(wrong(&bytes[..40]).contains("ends in the index"));
    // The preamble alone is a component, and less is nothing.
    for length in 0..20 {
        let read = Bundle::read(Cursor::new(&bytes[..length]));
        assert!(read.unwrap().is_none(), "{length}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(wrong(&longer).contains("goes on for 1 bytes"));
}

#[test]
fn a_flipped_bit_is_refused_by_the_name_of_the_part() {
    let bytes = bundle();
    let sections = sections(&bytes);
    let flipped = |at: usize, bit: u32| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << bit;
        bytes
    };
    let index_end = sections[1].0 - component().len() + 8;
    assert!(wrong(&flipped(8 + 30, 0)).contains("index is damaged"));
    assert!(wrong(&flipped(index_end - 1, 3)).contains("index is damaged"));
    assert!(wrong(&flipped(index_end + 3, 3)).contains("the component is damaged"));
    let labels = [
        "part 1 of 3 of the file default.gguf",
        "part 2 of 3 of the file default.gguf",
        "part 3 of 3 of the file default.gguf",
        "part 1 of 1 of the file classifier.xml",
        "part 1 of 1 of the file classifier.bin",
    ];
    let parts = sections
        .iter()
        .filter(|(_, name)| name.starts_with("llm-wasi:part:"));
    for ((start, name), label) in parts.zip(labels) {
        let content = start + 7 + name.len();
        for at in [content, content + 100] {
            let message = wrong(&flipped(at, 5));
            assert!(message.contains(label), "{message}");
            assert!(message.contains("is damaged"), "{message}");
        }
        for at in [start - 3, start + 1, start + 30] {
            let message = wrong(&flipped(at, 0));
            assert!(message.contains(label), "{message}");
        }
    }
    // And everywhere else.
    let padding = |at: usize| {
        let before = sections.iter().rev().find(|(start, _)| *start <= at);
        before.is_some_and(|(start, name)| {
            name == "llm-wasi:padding" && at > start + 40 && !at.is_multiple_of(1013)
        })
    };
    for at in (20..bytes.len()).filter(|at| !padding(*at)) {
        wrong(&flipped(at, (at % 8) as u32));
    }
}

#[test]
fn parts_in_another_order_are_named() {
    let bytes = bundle();
    let sections = sections(&bytes);
    let parts: Vec<_> = sections
        .iter()
        .filter(|(_, name)| name.starts_with("llm-wasi:part:"))
        .collect();
    let name_length = 7 + parts[0].1.len();
    // The first two parts have the same size: header and content change places.
    let (first, second) = (parts[0].0, parts[1].0);
    let length = name_length + 400;
    let mut swapped = bytes.clone();
    swapped[first..first + length].copy_from_slice(&bytes[second..second + length]);
    swapped[second..second + length].copy_from_slice(&bytes[first..first + length]);
    let message = wrong(&swapped);
    assert!(
        message.contains(
            "part 1 of 3 of the file default.gguf of the model `default` is not at its place"
        ),
        "{message}"
    );
    assert!(message.contains("found part 2 of 3"), "{message}");
    // Contents alone.
    let (first, second) = (first + name_length, second + name_length);
    let mut swapped = bytes.clone();
    swapped[first..first + 400].copy_from_slice(&bytes[second..second + 400]);
    swapped[second..second + 400].copy_from_slice(&bytes[first..first + 400]);
    assert!(wrong(&swapped).contains("part 1 of 3 of the file default.gguf"));
    // The index after the parts, or not at all.
    let index_length = sections[1].0 - (component().len() - 8) - 8;
    let mut moved = bytes[..8].to_vec();
    moved.extend(&bytes[8 + index_length..]);
    assert!(wrong(&moved).contains("index is missing"));
    moved.extend(&bytes[8..8 + index_length]);
    assert!(wrong(&moved).contains("index is missing"));
}

#[test]
fn what_cannot_become_a_bundle() {
    let refused = |component: &[u8], contents: &[Content]| {
        let target = Cursor::new(Vec::new());
        match Writer::new(target, component, models(contents), 400, None) {
            Ok(_) => panic!("it is taken"),
            Err(error) => error.to_string(),
        }
    };
    assert!(refused(b"\0asm\x01\0\0\0", &contents()).contains("no component"));
    assert!(refused(&bundle(), &contents()).contains("section `llm-wasi:index`"));
    assert!(refused(&component(), &[]).contains("names no model"));
    let empty = Content {
        name: "empty",
        files: vec![("empty.gguf", Vec::new())],
    };
    assert!(refused(&component(), &[empty]).contains("0 bytes"));
}

#[test]
fn files_that_change_while_they_are_read() {
    let target = Cursor::new(Vec::new());
    let mut writer = Writer::new(target, &component(), models(&contents()), 400, None).unwrap();
    writer.write_all(&[0; 1549]).unwrap();
    let error = writer.finish().expect_err("bytes are missing");
    assert!(error.to_string().contains("classifier.bin"), "{error}");
    let target = Cursor::new(Vec::new());
    let mut writer = Writer::new(target, &component(), models(&contents()), 400, None).unwrap();
    assert!(writer.write_all(&[0; 1551]).is_err());
}

/// A file in memory that keeps only what is not zero.
#[derive(Default)]
struct Sparse {
    pages: BTreeMap<u64, Vec<u8>>,
    at: u64,
    length: u64,
}

const PAGE: u64 = 1 << 16;

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let start = (self.at % PAGE) as usize;
        let n = bytes.len().min(PAGE as usize - start);
        let page = self.at / PAGE;
        if bytes[..n].iter().any(|byte| *byte != 0) || self.pages.contains_key(&page) {
            let page = self
                .pages
                .entry(page)
                .or_insert_with(|| vec![0; PAGE as usize]);
            page[start..start + n].copy_from_slice(&bytes[..n]);
        }
        self.at += n as u64;
        self.length = self.length.max(self.at);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Sparse {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let start = self.at % PAGE;
        let most = (PAGE - start).min(self.length.saturating_sub(self.at));
        let n = to.len().min(most as usize);
        match self.pages.get(&(self.at / PAGE)) {
            Some(page) => to[..n].copy_from_slice(&page[start as usize..start as usize + n]),
            None => to[..n].fill(0),
        }
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(by) => self.length.saturating_add_signed(by),
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
        };
        Ok(self.at)
    }
}

#[test]
fn more_than_4_gib() {
    const LARGE: u64 = (4 << 30) + 100_000;
    let mut all = models(&contents());
    all[0].files[0].size = LARGE;
    let mut writer = Writer::new(Sparse::default(), &component(), all, 1 << 30, None).unwrap();
    io::copy(&mut io::repeat(0).take(LARGE), &mut writer).unwrap();
    let small = &contents()[1];
    for (_, bytes) in &small.files {
        writer.write_all(bytes).unwrap();
    }
    let (sparse, index) = writer.finish().unwrap();
    assert!(sparse.length > LARGE);
    assert_eq!(index.models[0].files[0].parts.len(), 5);
    let mut bundle = Bundle::read(sparse).unwrap().expect("a bundle");
    assert_eq!(*bundle.index(), index);
    assert_eq!(bundle.component().unwrap(), component());
    // What lies beyond 4 GiB.
    let model = &index.models[1];
    for (file, (_, expected)) in model.files.iter().zip(&small.files) {
        let mut found = Vec::new();
        bundle.copy(model, file, &mut found, &mut |_| {}).unwrap();
        assert_eq!(found, *expected);
    }
}
