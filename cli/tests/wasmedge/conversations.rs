//! Prompts from standard input, until it ends.

use crate::command_line::{END, Folder, says, speaker, tokens};
use llm_wasi_host::testing::TinyModel;

/// A command line without a prompt, for a model called `model.gguf`.
fn line(variables: &str, example: &str) -> String {
    format!(
        "wasmedge --dir .:. {variables} --nn-preload default:GGML:AUTO:model.gguf \
         wasmedge-ggml-{example}.wasm default"
    )
}

/// What a model says does not depend on what was said before, but on the prompt's last letter. That
/// is the template's.
#[test]
fn texts_are_printed_by_turns() {
    for (example, variables, template) in [
        ("llama", "", "[/INST]"),
        ("chatml", "", "<|im_start|>assistant"),
        ("qwen", "", "<|im_start|>assistant"),
        ("nnrpc", "", "[/INST]"),
    ] {
        let (model, text) = speaker(template, 12);
        let turn = format!("USER:\nASSISTANT:\n{text}{END}\n");
        Folder::new()
            .with("model.gguf", &model)
            .wasmedge(&line(variables, example))
            // Blank lines are no prompts, and the last line need not end.
            .input("Hello\n\n   \n And now? \r\n.")
            .run()
            .is(&format!("{turn}{turn}{turn}USER:\n"));
    }
}

#[test]
fn basic_has_no_template() {
    let model = TinyModel::new();
    let turn = |prompt| format!("USER:\nASSISTANT:\n{}\n", says(&model, prompt, 30));
    Folder::new()
        .with("model.gguf", &model)
        .wasmedge(&line("--env n_predict=30", "basic"))
        .input("def f():\nclass A\n")
        .run()
        .is(&format!("{}{}USER:\n", turn("def f():"), turn("class A")));
}

#[test]
fn gemma_is_streamed_by_the_host() {
    let (model, text) = speaker("model", 12);
    let turn = format!("USER:\nASSISTANT:\n{text}{END}\n");
    // From another process as well it comes before what the program writes next.
    for isolate in ["--isolate=no", ""] {
        Folder::new()
            .with("model.gguf", &model)
            .wasmedge(&line(isolate, "gemma"))
            .input("Hello\nAnd now?\n")
            .run()
            .is(&format!("{turn}{turn}USER:\n"));
    }
}

#[test]
fn pieces_make_the_same_text() {
    let (model, text) = speaker("[/INST]", 12);
    // The token that ends a text is not printed here.
    let turn = format!("USER:\nASSISTANT:\n{text}\n");
    Folder::new()
        .with("model.gguf", &model)
        .wasmedge(&line("", "llama-stream"))
        .input("Hello\nAnd now?\n")
        .run()
        .is(&format!("{turn}{turn}USER:\n"));
}

/// The text until then is printed; for a prompt that is too long there is none, not even the last one.
/// Both forget what was said, so that the next prompt fits.
#[test]
fn full_contexts_and_long_prompts_are_survived() {
    let model = TinyModel::new();
    let folder = Folder::new().with("model.gguf", &model);
    let full = "\n[INFO] Context full, we'll reset the context and continue.\n";
    let long = "\n[INFO] Prompt too long, we'll reset the context and continue.\n";
    let input = format!("Hello\n{}\nHello\n", "long ".repeat(60));

    let ended = folder
        .wasmedge(&line("--env ctx_size=256", "chatml"))
        .input(&input)
        .run();
    // How many places the template leaves is the program's: as many as letters are printed, less the
    // last one, which takes none.
    let first = ended.stdout.split('\n').nth(4).expect("a text");
    let text = says(&model, "assistant", first.len());
    assert!(first.len() > 50, "{ended:?}");
    let turn = format!("USER:\n{full}ASSISTANT:\n{text}\n");
    ended.is(&format!("{turn}USER:\n{long}ASSISTANT:\n\n{turn}USER:\n"));

    // In pieces the letter that fills the context is not printed.
    let ended = folder
        .wasmedge(&line("--env ctx_size=256", "llama-stream"))
        .input(&input)
        .run();
    let first = ended.stdout.split('\n').nth(2).expect("a text");
    let text = says(&model, "[/INST]", first.len());
    assert!(first.len() > 50, "{ended:?}");
    let turn = format!("USER:\nASSISTANT:\n{text}{full}\n");
    ended.is(&format!("{turn}USER:\nASSISTANT:\n{long}\n{turn}USER:\n"));
}

/// What the program prints for any other failure.
#[test]
fn other_failures_are_told_by_the_crate() {
    let told = "\n[ERROR] Backend Error: WASI-NN Backend Error: Caller module passed an invalid argument\n";
    let ended = Folder::new()
        .with("model.gguf", &TinyModel::new())
        .wasmedge(&line(
            r#"--env 'options={"grammar": "no grammar"}'"#,
            "llama",
        ))
        .input("Hello\n")
        .log("llm_wasi_host=debug")
        .run();
    ended.is(&format!("USER:\n{told}ASSISTANT:\n\nUSER:\n"));
    assert!(
        ended
            .stderr
            .contains("option `grammar`: expected a GBNF grammar"),
        "{ended:?}"
    );
}

#[test]
fn embeddings() {
    let folder = Folder::new().with("model.gguf", &TinyModel::new());
    let input = format!("hello world\n{}\nhello world\n", "long ".repeat(60));
    let ended = folder
        .wasmedge(&line(
            "--env ctx_size=256 --env batch_size=512 --env threads=1",
            "embedding",
        ))
        .input(&input)
        .run();
    let json = ended.stdout.lines().nth(1).expect("an embedding");
    assert!(
        json.starts_with(r#"Raw Embedding Output: {"n_embedding": 64, "#),
        "{json}"
    );
    let turn = format!("Prompt:\n{json}\n");
    ended.is(&format!(
        "{turn}Prompt:\n\n[INFO] Prompt too long\n{turn}Prompt:\n"
    ));

    // With `enable-log` the program tells the prompt's length as well.
    let tokens = tokens("hello world");
    let length = format!("[INFO] Number of input tokens: {tokens}\n");
    folder
        .wasmedge(&line("--env enable_log=true", "embedding"))
        .input("hello world\n")
        .run()
        .is(&format!(
            "Prompt:\n[INFO] llama_commit: VERSION\n[INFO] llama_build_number: NUMBER\n{length}\
             {json}\n{length}Prompt:\n"
        ));
}
