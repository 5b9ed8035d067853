//! A conversation with SmolLM2, with the template from its file.

use super::*;

#[test]
fn the_second_answer_depends_on_the_first_turn() {
    let Some(model) = std::env::var_os("LLM_WASI_SMOLLM2") else {
        assert!(
            std::env::var_os("CI").is_none(),
            "set LLM_WASI_SMOLLM2 to what `scripts/setup.sh model` prints"
        );
        eprintln!("skipped: LLM_WASI_SMOLLM2 does not name the SmolLM2 model");
        return;
    };
    let model = model.to_str().expect("a path in UTF-8");
    let folder = Folder::new(&TinyModel::new(), "");
    let system = "You are a helpful assistant.";
    let args = [
        model,
        "--temp",
        "0",
        "--ctx-size",
        "1024",
        "--n-predict",
        "40",
        "--system",
        system,
    ];
    let ask = "And of Germany?\n";
    let talk = format!("What is the capital of France?\n{ask}");
    let (answers, told) = success(&pipe(&mut folder.command(&args), &talk));
    let answers: Vec<_> = answers.lines().collect();
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert!(answers[0].contains("Paris"), "{answers:?}");
    assert!(answers[1].contains("Berlin"), "{answers:?}");
    assert_eq!(told, "");
    // Without the first turn, nobody asked for a capital.
    let (alone, _) = success(&pipe(&mut folder.command(&args), ask));
    assert!(!alone.contains("Berlin"), "{alone}");
}
