//! Images in messages: the engine component on a host with images, a tiny model and a tiny projector.

#[path = "engine/host.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "written for all tests of the engine"
)]
mod host;

use host::{Capabilities, Error, Llm, Message, Options, Part, Role, limits, options, user};
use llm_wasi_host::testing::{Picture, ProjectorKind, TinyModel, TinyProjector};
use llm_wasi_host::{Preload, Registry};
use tempfile::TempDir;

const COLOURS: [[u8; 3]; 3] = [[255, 0, 0], [0, 255, 0], [0, 0, 255]];

fn model() -> TinyModel {
    // So short that the image outweighs the words.
    TinyModel::new()
        .attentive()
        .with_template("{% for message in messages %}{{ message.content }}{% endfor %}")
}

/// A model that is preloaded with its projector behind it.
fn start() -> (TempDir, Llm) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    model().write(path("tiny.gguf")).unwrap();
    TinyProjector::new(ProjectorKind::Llava)
        .write(path("projector.gguf"))
        .unwrap();
    let text = format!(
        "default:GGML:CPU:{}:{}",
        path("tiny.gguf").display(),
        path("projector.gguf").display()
    );
    let preload: Preload = text.parse().unwrap();
    let registry = Registry::with_default_backends().preload(preload).build();
    (folder, Llm::new(registry))
}

/// `Look: `, a picture, ` and?`.
fn look(pictures: &[Vec<u8>]) -> Message {
    let text = |text: &str| Part::Text(text.to_owned());
    let mut content = vec![text("Look: ")];
    content.extend(pictures.iter().cloned().map(Part::Image));
    content.push(text(" and?"));
    Message {
        content,
        ..user("")
    }
}

fn picture(colour: [u8; 3]) -> Vec<u8> {
    Picture::filled(70, 50, colour).to_png()
}

fn six() -> Options {
    Options {
        limits: Some(limits(6)),
        ..options()
    }
}

/// What the model says of a colour.
fn answer(index: usize) -> String {
    let letter = TinyProjector::new(ProjectorKind::Llava).letters()[index];
    String::from_utf8(model().continuation(letter, 1).repeat(6)).unwrap()
}

#[test]
fn the_answer_depends_on_the_image() {
    let (_folder, mut llm) = start();
    let model = llm.open(None, Some(512)).unwrap();
    assert!(llm.info(model).capabilities.contains(Capabilities::IMAGES));
    for (index, colour) in COLOURS.into_iter().enumerate() {
        let messages = [look(&[picture(colour)])];
        let rendered = llm.render(model, &messages, &six()).unwrap();
        assert!(rendered.contains("Look: <image> and?"), "{rendered}");
        let found = llm.chat(model, &messages, &six()).unwrap();
        assert_eq!(found.text, answer(index));
        let words = rendered.replace("<image>", "");
        let tokens = llm.tokenize(model, &words, true).len() + 1;
        assert_eq!(found.finish.usage.prompt_tokens as usize, tokens);
    }
}

#[test]
fn a_conversation_sees_its_image_in_every_turn() {
    let (_folder, mut llm) = start();
    let model = llm.open(None, Some(512)).unwrap();
    let conversation = llm.begin(model, &[], &six()).unwrap();
    let first = llm
        .say(conversation, &look(&[picture(COLOURS[0])]))
        .unwrap();
    assert_eq!(first.text, answer(0));
    let second = llm.say(conversation, &user("Hm")).unwrap();
    assert_eq!(second.finish.usage.cached_tokens, 0);
    assert_eq!(second.finish.usage.generated_tokens, 6);
    // Saved with it.
    let state = llm.save(conversation);
    let restored = llm.restore(model, &state).unwrap();
    assert_eq!(llm.messages(restored), llm.messages(conversation));
    let here = llm.say(conversation, &user("And?")).unwrap();
    let there = llm.say(restored, &user("And?")).unwrap();
    assert_eq!(here.text, there.text);
    // Another picture is one too many.
    let refused = llm.say(conversation, &look(&[picture(COLOURS[1])]));
    assert!(
        matches!(&refused, Err(Error::Unsupported(text)) if text.contains("found 2")),
        "{refused:?}"
    );
}

#[test]
fn what_is_no_image_and_what_only_looks_like_one() {
    let (_folder, mut llm) = start();
    let model = llm.open(None, Some(512)).unwrap();
    let refused = llm.chat(model, &[look(&[b"GIF89a".to_vec()])], &six());
    match refused.unwrap_err() {
        Error::InvalidRequest(invalid) => assert_eq!(invalid.field, "messages[0].content[1]"),
        error => panic!("{error:?}"),
    }
    // Beside an image, texts must not bring another along.
    for text in ["<image>", "<img src=\"data:image/png;base64,AAAA\">"] {
        let messages = [user(text), look(&[picture(COLOURS[0])])];
        match llm.chat(model, &messages, &six()).unwrap_err() {
            Error::InvalidRequest(invalid) => assert_eq!(invalid.field, "messages"),
            error => panic!("{text}: {error:?}"),
        }
        // Alone they are text.
        let found = llm.chat(model, &[user(text)], &six()).unwrap();
        assert_eq!(found.finish.usage.generated_tokens, 6);
    }
    let roles = [Role::System, Role::Assistant, Role::Tool];
    for role in roles {
        let message = Message {
            role,
            ..look(&[picture(COLOURS[0])])
        };
        llm.chat(model, &[message, user("U")], &six()).unwrap();
    }
    let two = [picture(COLOURS[0]), picture(COLOURS[1])];
    let refused = llm.chat(model, &[look(&two)], &six());
    assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
}
