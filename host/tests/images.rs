//! Images in prompts, on a tiny model and a tiny projector whose answers are known beforehand.

use llm_wasi_host::backend::{Encoding, ExecutionContext, Graph, Target};
use llm_wasi_host::runner::Runner;
use llm_wasi_host::testing::{Picture, ProjectorKind, TinyModel, TinyProjector};
use llm_wasi_host::{Error, ErrorCode, Files, Registry, Tensor};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// One thread: the tests run beside each other, and more threads than processors make llama.cpp slow.
const OPTIONS: &str = r#"{"temp": 0, "threads": 1, "ctx-size": 256, "n-predict": 6,
    "mmproj": "projector.gguf"}"#;
const PROMPT: &str = "Look: <image> and?";
/// Its tokens: one that begins every text, and one for each byte but those of the marker.
const TEXT_TOKENS: usize = 1 + "Look:  and?".len();
const KINDS: [ProjectorKind; 5] = [
    ProjectorKind::Llava,
    ProjectorKind::Gemma3,
    ProjectorKind::Idefics3,
    ProjectorKind::Qwen2Vl,
    ProjectorKind::Qwen25Vl,
];
const RED: [u8; 3] = [255, 0, 0];
const BLUE: [u8; 3] = [0, 0, 255];

/// A folder with a projector and pictures.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    TinyProjector::new(ProjectorKind::Llava)
        .write(folder.path().join("projector.gguf"))
        .unwrap();
    for (name, colour) in [("red", RED), ("blue", BLUE)] {
        let picture = Picture::filled(70, 50, colour);
        let path = |extension| folder.path().join(format!("{name}.{extension}"));
        std::fs::write(path("bmp"), picture.to_bmp()).unwrap();
        std::fs::write(path("png"), picture.to_png()).unwrap();
    }
    folder
}

fn model() -> TinyModel {
    TinyModel::new().attentive()
}

fn load(files: Files, options: &str, target: Target) -> Arc<dyn Graph> {
    Registry::with_default_backends()
        .build()
        .with_files(files)
        .load(
            vec![model().to_gguf(), options.as_bytes().to_vec()],
            Encoding::Ggml,
            target,
            None,
        )
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A graph of a guest that was given this folder.
fn graph(folder: &Path) -> Arc<dyn Graph> {
    load(Files::default().dir(".", folder), OPTIONS, Target::Cpu)
}

fn open(graph: &Arc<dyn Graph>) -> Box<dyn ExecutionContext> {
    graph.init_execution_context().unwrap()
}

fn set(context: &mut dyn ExecutionContext, options: &str) {
    context
        .set_input(1, Tensor::bytes(options))
        .unwrap_or_else(|error| panic!("{error}"));
}

fn ask(context: &mut dyn ExecutionContext, prompt: &str) -> Result<String, Error> {
    context.set_input(0, Tensor::bytes(prompt))?;
    context.compute()?;
    Ok(String::from_utf8(context.output(0)?.to_vec()).unwrap())
}

/// Asks about the file that option `image` names.
fn ask_about(context: &mut dyn ExecutionContext, image: &str) -> Result<String, Error> {
    set(context, &format!(r#"{{"image": "{image}"}}"#));
    ask(context, PROMPT)
}

/// The prompt with a picture of its own.
fn tagged(picture: &[u8]) -> String {
    use base64::Engine;
    let payload = base64::engine::general_purpose::STANDARD.encode(picture);
    let tag = format!("<img src=\"data:image/png;base64,{payload}\">");
    PROMPT.replace("<image>", &tag)
}

/// What the model says of a colour.
fn answer(colour: [u8; 3]) -> String {
    let index = colour.iter().position(|part| *part == 255).unwrap();
    let letter = TinyProjector::new(ProjectorKind::Llava).letters()[index];
    String::from_utf8(model().continuation(letter, 1).repeat(6)).unwrap()
}

#[track_caller]
fn assert_refused(result: Result<String, Error>, text: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
    assert!(error.message.contains(text), "{error}, expected {text}");
}

#[test]
fn the_answer_depends_on_the_image() {
    let folder = folder();
    let graph = graph(folder.path());
    let (mut first, mut second) = (open(&graph), open(&graph));
    assert_ne!(answer(RED), answer(BLUE));
    for (name, colour) in [("red", RED), ("blue", BLUE), ("red", RED)] {
        for extension in ["bmp", "png"] {
            let file = format!("{name}.{extension}");
            assert_eq!(
                ask_about(&mut *first, &file).unwrap(),
                answer(colour),
                "{file}"
            );
            assert_eq!(
                ask_about(&mut *second, &file).unwrap(),
                answer(colour),
                "{file}"
            );
        }
    }
    // Half and half is neither.
    let mixed = Picture::filled(56, 56, RED).over(BLUE);
    std::fs::write(folder.path().join("mixed.png"), mixed.to_png()).unwrap();
    let text = ask_about(&mut *first, "mixed.png").unwrap();
    assert_eq!(ask_about(&mut *second, "mixed.png").unwrap(), text);
}

#[test]
fn a_tag_in_the_prompt_is_the_same_as_a_file_and_wins_over_it() {
    let folder = folder();
    let graph = graph(folder.path());
    let mut context = open(&graph);
    let red = std::fs::read(folder.path().join("red.png")).unwrap();
    assert_eq!(ask(&mut *context, &tagged(&red)).unwrap(), answer(RED));
    assert_eq!(ask_about(&mut *context, "blue.png").unwrap(), answer(BLUE));
    assert_eq!(ask(&mut *context, &tagged(&red)).unwrap(), answer(RED));
}

#[test]
fn steps_and_counts() {
    let folder = folder();
    let graph = graph(folder.path());
    let mut context = open(&graph);
    set(&mut *context, r#"{"image": "red.bmp"}"#);
    context.set_input(0, Tensor::bytes(PROMPT)).unwrap();
    let counts = |context: &dyn ExecutionContext| {
        let json: serde_json::Value = serde_json::from_slice(&context.output(1).unwrap()).unwrap();
        (
            json["input_tokens"].as_u64(),
            json["output_tokens"].as_u64(),
        )
    };
    // The image's tokens do not count.
    assert_eq!(counts(&*context), (Some(TEXT_TOKENS as u64), Some(0)));
    for step in 1..=6 {
        context.compute_step().unwrap();
        assert_eq!(counts(&*context), (Some(TEXT_TOKENS as u64), Some(step)));
    }
    assert_eq!(*context.output(0).unwrap(), answer(RED).into_bytes());
    context.finish().unwrap();
    context.compute().unwrap();
    assert_eq!(*context.output(0).unwrap(), answer(RED).into_bytes());
}

#[test]
fn a_later_prompt_without_an_image_is_that_of_a_new_context() {
    let folder = folder();
    let graph = graph(folder.path());
    let mut used = open(&graph);
    ask_about(&mut *used, "red.bmp").unwrap();
    set(&mut *used, r#"{"image": ""}"#);
    // With and without a prefix in common, and with a marker that now is ordinary text.
    for prompt in ["Look: and?", "something else", PROMPT] {
        let mut fresh = open(&graph);
        let text = ask(&mut *fresh, prompt).unwrap();
        assert_eq!(ask(&mut *used, prompt).unwrap(), text, "{prompt}");
        ask(&mut *used, &tagged(&Picture::filled(9, 9, BLUE).to_png())).unwrap();
    }
}

#[test]
fn markers_and_tags_have_to_fit() {
    let folder = folder();
    let graph = graph(folder.path());
    let mut context = open(&graph);
    set(&mut *context, r#"{"image": "red.bmp"}"#);
    assert_refused(ask(&mut *context, "no marker"), "found it 0 times");
    assert_refused(ask(&mut *context, "<image><image>?"), "found it 2 times");
    assert_refused(ask(&mut *context, "Look: <image>"), "expected text behind");
    assert_refused(ask(&mut *context, "\0<image>?"), "null characters");
    // A prompt that was refused is not there.
    assert_refused(context.compute().map(|()| String::new()), "not set");
    let png = Picture::filled(9, 9, RED).to_png();
    assert_refused(
        ask(&mut *context, &format!("<image>{}", tagged(&png))),
        "found it 2 times",
    );
    set(&mut *context, r#"{"image": ""}"#);
    // Without an end, or not base64 at all, a tag is ordinary text.
    let mut fresh = open(&graph);
    for prompt in [
        "<img src=\"data:image/png;base64,AAAA ?",
        "<img src=\"a.png\"> ?",
    ] {
        let text = ask(&mut *context, prompt).unwrap();
        assert_eq!(ask(&mut *fresh, prompt).unwrap(), text);
    }
    assert_refused(
        ask(&mut *context, "<img src=\"data:image/png;base64,A\">?"),
        "base64",
    );
    // A second tag stays text, and takes its tokens.
    let two = format!("{}<img src=\"data:image/png;base64,AAAA\">", tagged(&png));
    ask(&mut *context, &two).unwrap();
}

#[test]
fn a_projector_is_needed_and_has_to_be_one() {
    let folder = folder();
    let graph = graph(folder.path());
    let mut context = open(&graph);
    set(&mut *context, r#"{"mmproj": "", "image": "red.bmp"}"#);
    assert_refused(ask(&mut *context, PROMPT), "expected option `mmproj`");
    set(&mut *context, r#"{"mmproj": "nothing.gguf"}"#);
    assert_refused(
        ask(&mut *context, PROMPT),
        "option `mmproj`: expected a file",
    );
    set(&mut *context, r#"{"mmproj": "red.bmp"}"#);
    assert_refused(ask(&mut *context, PROMPT), "starts with `GGUF`");
    model().write(folder.path().join("model.gguf")).unwrap();
    set(&mut *context, r#"{"mmproj": "model.gguf"}"#);
    assert_refused(ask(&mut *context, PROMPT), "expected a projector");
    // None is opened before an image is there.
    set(&mut *context, r#"{"mmproj": "nothing.gguf", "image": ""}"#);
    ask(&mut *context, "no image").unwrap();
    set(
        &mut *context,
        r#"{"mmproj": "projector.gguf", "image": "red.bmp"}"#,
    );
    assert_eq!(ask(&mut *context, PROMPT).unwrap(), answer(RED));
    // An embedding is of text.
    set(&mut *context, r#"{"embedding": true}"#);
    let error = context.compute().unwrap_err();
    assert_eq!(error.code, ErrorCode::UnsupportedOperation, "{error}");
}

#[test]
fn files_are_those_that_the_guest_was_given() {
    let folder = folder();
    let outer = folder.path();
    let inner = outer.join("inner");
    std::fs::create_dir(&inner).unwrap();
    for name in ["projector.gguf", "red.bmp"] {
        std::fs::copy(outer.join(name), inner.join(name)).unwrap();
    }
    let graph = load(
        Files::default().dir("/pictures", &inner),
        OPTIONS,
        Target::Cpu,
    );
    let mut context = open(&graph);
    set(&mut *context, r#"{"mmproj": "pictures/projector.gguf"}"#);
    assert_eq!(
        ask_about(&mut *context, "/pictures/red.bmp").unwrap(),
        answer(RED)
    );
    let blue = outer.join("blue.bmp");
    for path in ["pictures/../blue.bmp", "blue.bmp", blue.to_str().unwrap()] {
        assert_refused(ask_about(&mut *context, path), "option `image`: expected a");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&blue, inner.join("link.bmp")).unwrap();
        std::os::unix::fs::symlink("../projector.gguf", inner.join("link.gguf")).unwrap();
        let result = ask_about(&mut *context, "pictures/link.bmp");
        assert_refused(result, "option `image`: expected a file");
        set(&mut *context, r#"{"mmproj": "pictures/link.gguf"}"#);
        let result = ask_about(&mut *context, "pictures/red.bmp");
        assert_refused(result, "option `mmproj`: expected a file");
    }
    // Whoever was given no folder names no file.
    let graph = load(Files::default(), OPTIONS, Target::Cpu);
    let result = ask_about(&mut *open(&graph), "red.bmp");
    assert_refused(result, "it was given none");
}

#[test]
fn a_runner_gives_its_folders() {
    let folder = folder();
    let runner = Runner::builder()
        .dir(".", folder.path())
        .cache(false)
        .build()
        .unwrap();
    let builders = vec![model().to_gguf(), OPTIONS.as_bytes().to_vec()];
    let graph = runner
        .registry()
        .load(builders, Encoding::Ggml, Target::Cpu, None)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        ask_about(&mut *open(&graph), "red.png").unwrap(),
        answer(RED)
    );
}

#[test]
fn an_image_has_to_fit_into_the_context() {
    let folder = folder();
    let graph = graph(folder.path());
    let mut context = open(&graph);
    let long = format!("{PROMPT}{}", "x".repeat(300));
    let found = TEXT_TOKENS + 300 + TinyProjector::new(ProjectorKind::Llava).tokens();
    set(&mut *context, r#"{"image": "red.bmp"}"#);
    let error = ask(&mut *context, &long).unwrap_err();
    assert_eq!(error.code, ErrorCode::PromptTooLong, "{error}");
    // Four tokens stay free, as with text.
    let expected = format!("at most 252 tokens, found {found}");
    assert!(error.message.contains(&expected), "{error}");
    // Small batches give the same.
    for batch in [1, 3, 16] {
        let options = format!(r#"{{"ctx-size": 256, "batch-size": {batch}}}"#);
        set(&mut *context, &options);
        assert_eq!(ask(&mut *context, PROMPT).unwrap(), answer(RED), "{batch}");
    }
    // The text goes on until the context is full, or beyond that where it may forget.
    set(&mut *context, r#"{"n-predict": 300}"#);
    let error = ask(&mut *context, PROMPT).unwrap_err();
    assert_eq!(error.code, ErrorCode::ContextFull, "{error}");
    set(&mut *context, r#"{"ctx-shift": true}"#);
    assert_eq!(ask(&mut *context, PROMPT).unwrap().len(), 300);
}

#[test]
fn a_model_that_is_loaded_anew_wants_its_prompt_again() {
    let folder = folder();
    let graph = graph(folder.path());
    let mut context = open(&graph);
    assert_eq!(ask_about(&mut *context, "red.bmp").unwrap(), answer(RED));
    set(&mut *context, r#"{"use-mmap": false}"#);
    assert_refused(context.compute().map(|()| String::new()), "set it again");
    assert_eq!(ask(&mut *context, PROMPT).unwrap(), answer(RED));
}

/// Every kind of projector that the host checks loads and computes.
#[test]
fn kinds_of_projectors() {
    let folder = folder();
    let graph = graph(folder.path());
    for kind in [
        ProjectorKind::Gemma3,
        ProjectorKind::Qwen2Vl,
        ProjectorKind::Qwen25Vl,
    ] {
        let path = folder.path().join("projector.gguf");
        TinyProjector::new(kind).write(path).unwrap();
        let mut context = open(&graph);
        let text =
            ask_about(&mut *context, "red.bmp").unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!(text.len(), 6, "{kind:?}");
    }
    // This one surrounds images with tokens that the tiny model does not have.
    let path = folder.path().join("projector.gguf");
    TinyProjector::new(ProjectorKind::Idefics3)
        .write(path)
        .unwrap();
    let result = ask_about(&mut *open(&graph), "red.bmp");
    assert_refused(result, "tokens that option `mmproj`'s projector surrounds");
}

/// llama.cpp would end the process.
#[test]
fn an_image_that_is_computed_at_once_has_to_fit_into_a_batch() {
    let folder = folder();
    let path = folder.path().join("projector.gguf");
    let projector = TinyProjector::new(ProjectorKind::Gemma3);
    projector.write(path).unwrap();
    let graph = graph(folder.path());
    let mut context = open(&graph);
    assert_eq!(projector.tokens(), 4);
    for options in [
        r#"{"ubatch-size": 3}"#,
        r#"{"ubatch-size": 4, "batch-size": 3}"#,
    ] {
        set(&mut *context, options);
        assert_refused(ask_about(&mut *context, "red.bmp"), "at most 3 tokens");
    }
    set(&mut *context, r#"{"ubatch-size": 4, "batch-size": 4}"#);
    ask_about(&mut *context, "red.bmp").unwrap();
}

#[test]
fn images_that_are_too_large_are_refused_before_they_are_decoded() {
    let folder = folder();
    let graph = graph(folder.path());
    let mut context = open(&graph);
    let picture = Picture::filled(8, 8, RED);
    for (width, height) in [(16_385, 1), (1, 16_385), (8192, 8192), (i32::MAX, i32::MAX)] {
        let mut bmp = picture.to_bmp();
        bmp[18..22].copy_from_slice(&i32::to_le_bytes(width));
        bmp[22..26].copy_from_slice(&i32::to_le_bytes(height));
        let error = ask(&mut *context, &tagged(&bmp)).unwrap_err();
        let expected = [ErrorCode::TooLarge, ErrorCode::InvalidArgument];
        assert!(expected.contains(&error.code), "{error}");
        if width < i32::MAX {
            assert!(error.message.contains("at most 16384 pixels"), "{error}");
        }
    }
    // Extreme shapes within the limits.
    for (width, height) in [(1, 1), (16_384, 1), (1, 16_384)] {
        let png = Picture::filled(width, height, RED).to_png();
        ask(&mut *context, &tagged(&png)).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// What is not an image, with the word that says so.
fn others() -> Vec<(&'static str, Vec<u8>)> {
    let with = |start: &[u8]| [start, &[0; 64][..]].concat();
    let mut truncated = Picture::filled(64, 64, RED).to_png();
    truncated.truncate(200);
    vec![
        ("nothing", Vec::new()),
        ("found `some tex", b"some text".to_vec()),
        ("WAV audio", with(b"RIFF\x40\0\0\0WAVEfmt ")),
        ("MP3 audio", with(b"ID3\x04")),
        ("WebP", with(b"RIFF\x40\0\0\0WEBPVP8 ")),
        ("MP4 video", with(b"\0\0\0\x18ftypisom")),
        ("WebM", with(b"\x1a\x45\xdf\xa3")),
        ("whole Png", truncated),
        ("whole Jpeg", with(b"\xff\xd8\xff\xe0")),
        ("whole Gif", with(b"GIF89a")),
        ("whole Bmp", with(b"BM")),
    ]
}

fn others_are_refused() {
    let folder = folder();
    let graph = graph(folder.path());
    let mut context = open(&graph);
    for (text, bytes) in others() {
        assert_refused(ask(&mut *context, &tagged(&bytes)), text);
        std::fs::write(folder.path().join("other"), &bytes).unwrap();
        assert_refused(ask_about(&mut *context, "other"), text);
        set(&mut *context, r#"{"image": ""}"#);
    }
}

/// llama.cpp gives what it does not know to `ffmpeg`. This runs itself once more where that name and its
/// companion leave a trace.
#[cfg(unix)]
#[test]
fn other_files_are_refused_and_no_process_starts() {
    use std::os::unix::fs::PermissionsExt;
    const INNER: &str = "LLM_WASI_TEST_INNER";
    if std::env::var_os(INNER).is_some() {
        return others_are_refused();
    }
    let programs = tempfile::tempdir().unwrap();
    let trace = programs.path().join("trace");
    for name in ["ffmpeg", "ffprobe"] {
        let path = programs.path().join(name);
        let script = format!("#!/bin/sh\n: > {}\n", trace.display());
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "other_files_are_refused_and_no_process_starts"])
        .env(INNER, "1")
        .env("PATH", programs.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 passed"), "{text}");
    assert!(!trace.exists(), "a process was started");
}

#[cfg(not(unix))]
#[test]
fn other_files_are_refused() {
    others_are_refused();
}

/// Numbers that look random, the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }

    /// Changes some bytes before `end`.
    fn change(&mut self, bytes: &mut [u8], end: usize) {
        for _ in 0..=self.below(3) {
            let at = self.below(end);
            bytes[at] = match self.below(4) {
                0 => 0,
                1 => 0xff,
                2 => bytes[at] ^ 1 << self.below(8),
                _ => self.below(256) as u8,
            };
        }
    }
}

#[test]
fn a_damaged_projector_does_not_end_the_process() {
    let folder = folder();
    let graph = graph(folder.path());
    let mut random = Random(1);
    let mut loaded = 0;
    for kind in KINDS {
        let whole = TinyProjector::new(kind).to_gguf();
        // Behind the last tensor's name little of the header is left.
        let name = b"mm.";
        let last = whole.windows(3).rposition(|part| part == name).unwrap() + 60;
        for case in 0..120 {
            let mut bytes = whole.clone();
            random.change(&mut bytes, last);
            if case % 10 == 0 {
                bytes.truncate(random.below(whole.len()));
            }
            std::fs::write(folder.path().join("projector.gguf"), bytes).unwrap();
            let result = ask_about(&mut *open(&graph), "red.bmp");
            loaded += usize::from(result.is_ok());
        }
    }
    // A name that is not read, for one, may change.
    assert!(loaded > 0);
}

/// Every number of the metadata, and every type, as others that such a file may have.
#[test]
fn numbers_that_do_not_go_together_do_not_end_the_process() {
    const VALUES: [u32; 22] = [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        12,
        13,
        14,
        15,
        16,
        17,
        28,
        32,
        57,
        112,
        1000,
        1 << 16,
        !0,
    ];
    let folder = folder();
    let graph = graph(folder.path());
    for kind in KINDS {
        let whole = TinyProjector::new(kind).to_gguf();
        let keys = [&b"clip."[..], b"general."];
        let keys: Vec<_> = (0..whole.len())
            .filter(|at| keys.iter().any(|key| whole[*at..].starts_with(key)))
            .collect();
        assert!(keys.len() > 10);
        for at in keys {
            let length = usize::from(whole[at - 8]);
            for value in VALUES {
                for place in [at + length, at + length + 4] {
                    let mut bytes = whole.clone();
                    bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
                    std::fs::write(folder.path().join("projector.gguf"), bytes).unwrap();
                    // Whatever comes of it.
                    let _ = ask_about(&mut *open(&graph), "red.bmp");
                }
            }
        }
    }
}

#[test]
fn a_damaged_image_does_not_end_the_process() {
    let folder = folder();
    let graph = graph(folder.path());
    let mut context = open(&graph);
    let mut random = Random(2);
    let picture = Picture::filled(20, 20, RED).over(BLUE);
    for whole in [picture.to_png(), picture.to_bmp()] {
        for _ in 0..150 {
            let mut bytes = whole.clone();
            random.change(&mut bytes, 80);
            // Whatever comes of it.
            let _ = ask(&mut *context, &tagged(&bytes));
        }
    }
    ask(&mut *context, &tagged(&picture.to_png())).unwrap();
}

/// With a GPU, where there is one, as with a processor.
#[test]
fn every_device_gives_the_same() {
    let folder = folder();
    for target in [Target::Cpu, Target::Auto] {
        let graph = load(Files::default().dir(".", folder.path()), OPTIONS, target);
        let mut context = open(&graph);
        for (image, colour) in [("red.bmp", RED), ("blue.png", BLUE)] {
            assert_eq!(
                ask_about(&mut *context, image).unwrap(),
                answer(colour),
                "{target}"
            );
        }
    }
}
