//! Prompts from a pipe.

use super::*;

#[test]
fn each_line_is_a_prompt_and_standard_output_has_the_answers() {
    let model = TinyModel::new();
    let folder = Folder::new(&model, LAST);
    let output = pipe(&mut folder.greedy(&["--n-predict", "5"]), "a\n\nb\\\nc\nd");
    let (text, told) = success(&output);
    let answers: Vec<_> = [b'a', b'c', b'd']
        .map(|byte| continuation(&model, byte, 5) + "\n")
        .concat()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), answers);
    assert_eq!(told, "");
}

#[test]
fn a_stored_model_has_a_name() {
    let model = TinyModel::new();
    let folder = Folder::new(&model, LAST);
    let mut add = Command::new(env!("CARGO_BIN_EXE_llm-wasi"));
    add.args(["model", "add", "model.gguf", "--name", "tiny"])
        .current_dir(folder.0.path())
        .env("LLM_WASI_MODELS", folder.path("models"));
    success(&pipe(&mut add, ""));
    let args = [
        "tiny",
        "--temp",
        "0",
        "--n-predict",
        "5",
        "--prompt",
        "a",
        "--chat-template",
    ];
    let mut command = folder.command(&[&args[..], &["template.jinja"]].concat());
    let (text, _) = success(&pipe(&mut command, ""));
    assert_eq!(text, continuation(&model, b'a', 5) + "\n");
}

#[test]
fn one_prompt_from_the_command_line() {
    let model = TinyModel::new();
    let folder = Folder::new(&model, LAST);
    let args = ["--n-predict", "5", "--prompt", "/a"];
    let (text, told) = success(&pipe(&mut folder.greedy(&args), "b\n"));
    assert_eq!(text, continuation(&model, b'a', 5) + "\n");
    assert_eq!(told, "");
}

#[test]
fn numbers_are_those_of_options() {
    let folder = Folder::new(&TinyModel::new(), LAST);
    let chat = |args: &[&str]| {
        let args = [&["model.gguf", "--prompt", "a", "--n-predict", "2"], args].concat();
        folder.command(&args).output().unwrap()
    };
    success(&chat(&["--seed", "-1"]));
    success(&chat(&[
        "--seed",
        "4294967295",
        "--temp",
        "0.5",
        "--top-p",
        "1",
    ]));
    for wrong in [
        ["--seed", "-2"],
        ["--seed", "4294967296"],
        ["--temp", "nan"],
        ["--top-p", "inf"],
    ] {
        assert_eq!(chat(&wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_model_without_a_template_gets_chatml_and_says_so_once() {
    // ChatML's prompts end with a line end.
    let model = TinyModel::new().following(b'\n', b'a');
    let folder = Folder::new(&model, "");
    let mut command = folder.command(&["model.gguf", "--temp", "0", "--n-predict", "5"]);
    let (text, told) = success(&pipe(&mut command, "a\nb\n"));
    let answer = continuation(&model, b'\n', 5) + "\n";
    assert_eq!(text, answer.repeat(2));
    assert_eq!(
        told,
        "note: the model has no chat template and gets ChatML\n"
    );
}

#[test]
fn commands_are_told_on_standard_error() {
    let model = TinyModel::new();
    let folder = Folder::new(&model, LAST);
    let input = "/set n-predict 3\na\n/system Be brief.\n/history\n/stats\n/clear\n/regenerate\n";
    let output = pipe(&mut folder.greedy(&[]), input);
    let told = failure(&output);
    let answer = continuation(&model, b'a', 3);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{answer}\n")
    );
    let history = format!("system: Be brief.\nuser: a\nassistant: {answer}\n");
    assert!(told.starts_with(&history), "{told}");
    assert!(told.contains("answer: 3 tokens"), "{told}");
    assert!(
        told.ends_with("error: expected a prompt before `/regenerate`, found none\n"),
        "{told}"
    );
}

#[test]
fn regenerating_gives_the_last_answer_anew() {
    let model = TinyModel::new();
    let folder = Folder::new(&model, ALL);
    let input = "a\nb\n/regenerate\n";
    let (text, _) = success(&pipe(&mut folder.greedy(&["--n-predict", "4"]), input));
    let answer = |byte| continuation(&model, byte, 4) + "\n";
    assert_eq!(text, answer(b'a') + &answer(b'b').repeat(2));
}

#[test]
fn the_first_error_ends_it() {
    let folder = Folder::new(&TinyModel::new(), LAST);
    for (input, expected) in [
        (
            "/quit\na\n",
            "there is no command `/quit`: there are /help, ",
        ),
        ("/set tmp 1\na\n", "there is no option `tmp`: there are "),
        ("/set temp hot\na\n", "option `temp`: expected a number"),
        ("/set embedding true\na\n", "there is no option `embedding`"),
    ] {
        let output = pipe(&mut folder.greedy(&[]), input);
        let told = failure(&output);
        assert!(told.contains(expected), "{told}");
        assert!(output.stdout.is_empty(), "{input}");
    }
}

#[test]
fn help_and_options_are_listed() {
    let folder = Folder::new(&TinyModel::new(), LAST);
    let (text, told) = success(&pipe(&mut folder.greedy(&[]), "/help\n/set\n/exit\na\n"));
    assert_eq!(text, "");
    for part in [
        "/regenerate",
        "/set [OPTION VALUE]",
        "temp 0.0 ",
        "top-k 40 ",
        "ctx-size 512 ",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn the_oldest_turns_make_room() {
    let model = TinyModel::new();
    let folder = Folder::new(&model, ALL);
    let args = ["--n-predict", "100", "--ctx-size", "256"];
    let (text, told) = success(&pipe(&mut folder.greedy(&args), "a\nb\nc\nd\n/history\n"));
    // Whole answers: where the context is full, they go on.
    let answers = [b'a', b'b', b'c', b'd'].map(|byte| continuation(&model, byte, 100));
    assert_eq!(text.lines().collect::<Vec<_>>(), answers);
    assert_eq!(
        told.matches("the oldest turns are forgotten").count(),
        1,
        "{told}"
    );
    assert!(!told.contains("user: a"), "{told}");
    assert!(told.contains("user: d"), "{told}");
}

#[test]
fn one_answer_fills_the_context_and_ends() {
    let model = TinyModel::new();
    let folder = Folder::new(&model, ALL);
    let (text, told) = success(&pipe(&mut folder.greedy(&["--ctx-size", "256"]), "a\n"));
    let answer = text.trim_end();
    assert!(answer.len() > 200, "{text}");
    assert_eq!(answer, continuation(&model, b'a', answer.len()));
    assert_eq!(
        told,
        "note: the context is full, and the answer ends here\n"
    );
}

#[test]
fn a_prompt_that_is_too_long_is_an_error() {
    let folder = Folder::new(&TinyModel::new(), LAST);
    let prompt = "a".repeat(300) + "\n";
    let output = pipe(&mut folder.greedy(&["--ctx-size", "256"]), &prompt);
    let told = failure(&output);
    assert!(
        told.contains("expected a prompt of at most 252 tokens, found 301"),
        "{told}"
    );
}

#[test]
fn characters_are_whole_and_bytes_that_are_none_are_replaced() {
    // `x` is followed by `ä` and the end; `y` by the first half of `ä` alone.
    let model = TinyModel::new()
        .following(b'x', 0xc3)
        .following(0xc3, 0xa4)
        .ending_after(0xa4)
        .following(b'y', 0xff)
        .ending_after(0xff);
    let folder = Folder::new(&model, LAST);
    let (text, _) = success(&pipe(&mut folder.greedy(&[]), "x\ny\n"));
    assert_eq!(text, "ä\n\u{fffd}\n");
}

#[test]
fn what_the_template_puts_behind_answers_ends_them() {
    let model = TinyModel::new();
    let answer = continuation(&model, b'a', 10);
    let stop = &answer[5..8];
    let template = format!(
        "{{% for m in messages %}}{{{{ m.content }}}}\
         {{% if m.role == 'assistant' %}}{{{{ {stop:?} }}}}{{% endif %}}{{% endfor %}}"
    );
    let folder = Folder::new(&model, &template);
    let (text, _) = success(&pipe(&mut folder.greedy(&[]), "a\n"));
    assert_eq!(text, format!("{}\n", &answer[..5]));
}

#[test]
fn a_template_may_be_long() {
    let model = TinyModel::new();
    let template = format!("{{# {} #}}{LAST}", "long ".repeat(150_000));
    let folder = Folder::new(&model, &template);
    let (text, _) = success(&pipe(&mut folder.greedy(&["--n-predict", "5"]), "a\n"));
    assert_eq!(text, continuation(&model, b'a', 5) + "\n");
}

#[test]
fn the_first_token_is_there_once() {
    let model = TinyModel::new();
    let folder = Folder::new(&model, "{{ bos_token }}{{ messages[-1].content }}");
    let (_, told) = success(&pipe(
        &mut folder.greedy(&["--n-predict", "1"]),
        "abc\n/stats\n",
    ));
    // The tokenizer adds it itself.
    assert!(told.contains("prompt: 4 tokens"), "{told}");
}

#[test]
fn models_and_templates_that_cannot_be_used() {
    let folder = Folder::new(&TinyModel::new(), "{{ raise_exception('never') }}");
    fs::write(folder.path("broken.gguf"), "GGUF, but no more").expect("a file");
    fs::write(folder.path("broken.jinja"), "{% if %}").expect("a file");
    for (args, expected) in [
        (
            &["missing.gguf"][..],
            "`missing.gguf` is neither a file nor a stored model",
        ),
        (&["."], "error: "),
        (&["broken.gguf"], "expected GGUF version 2 or 3"),
        (
            &["model.gguf", "--chat-template", "missing.jinja"],
            "cannot read missing.jinja",
        ),
        (
            &["model.gguf", "--chat-template", "broken.jinja"],
            "the chat template cannot be read",
        ),
        (
            &["model.gguf", "--chat-template", "template.jinja"],
            "never (line 1 of the template)",
        ),
        (
            &["model.gguf", "--temp", "1000"],
            "option `temp`: expected a number from -100 to 100",
        ),
        (
            &["model.gguf", "--set", "batch-size=0"],
            "option `batch-size`",
        ),
    ] {
        let told = failure(&pipe(&mut folder.command(args), "a\n"));
        assert!(told.starts_with("error: "), "{told}");
        assert!(told.contains(expected), "{told}");
        assert_eq!(told.matches("error: ").count(), 1, "{told}");
    }
}

#[test]
fn a_template_commands_no_terminal() {
    let evil = "\u{1b}]0;title\u{7}\u{9b}2J";
    let folder = Folder::new(
        &TinyModel::new(),
        &format!("{{{{ raise_exception('{evil}') }}}}"),
    );
    let template = ["model.gguf", "--chat-template", "template.jinja"];
    let told = failure(&pipe(&mut folder.command(&template), "a\n"));
    assert!(told.contains("title"), "{told}");
    assert!(
        !told.contains(|c: char| c.is_control() && c != '\n'),
        "{told:?}"
    );
}

#[test]
fn a_model_that_only_looks_whole_is_told_once() {
    let folder = Folder::new(&TinyModel::new(), LAST);
    let mut file = TinyModel::new().to_gguf();
    // The header is whole, the tensors' data is not.
    file.truncate(file.len() - (1 << 16));
    fs::write(folder.path("cut.gguf"), file).expect("a file");
    let told = failure(&pipe(&mut folder.command(&["cut.gguf"]), "a\n"));
    assert!(told.starts_with("error: "), "{told}");
    assert_eq!(told.matches("cut.gguf").count(), 1, "{told}");
}
