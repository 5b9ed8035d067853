//! Conversations with a model that says what it is told to.

use super::*;
use crate::output::tests::Shared;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// What the model does next.
enum Step {
    Say(&'static str),
    /// A token that fills the context.
    Last(&'static str),
    Stop(Stop),
}
use Step::{Last, Say};

fn end() -> Step {
    Step::Stop(Stop::Ended)
}

fn full() -> Step {
    Step::Stop(Stop::ContextFull)
}

fn too_long() -> Step {
    Step::Stop(Stop::PromptTooLong("the prompt is too long".to_owned()))
}

/// A model with a script. It remembers what it was given.
#[derive(Default)]
struct Script {
    steps: VecDeque<Step>,
    prompts: Rc<RefCell<Vec<String>>>,
    options: Rc<RefCell<Vec<String>>>,
    adds_bos: bool,
}

impl Model for Script {
    fn configure(&mut self, options: &str) -> Result<(), String> {
        if options.contains("wrong") {
            return Err("the host refuses it".to_owned());
        }
        self.options.borrow_mut().push(options.to_owned());
        Ok(())
    }

    fn prompt(&mut self, text: &str) -> Result<Option<u64>, String> {
        self.prompts.borrow_mut().push(text.to_owned());
        Ok(Some(1 + u64::from(self.adds_bos)))
    }

    fn step(&mut self) -> (Vec<u8>, Option<Stop>) {
        match self.steps.pop_front() {
            Some(Say(text)) => (text.as_bytes().to_vec(), None),
            Some(Last(text)) => (text.as_bytes().to_vec(), Some(Stop::ContextFull)),
            Some(Step::Stop(stop)) => (Vec::new(), Some(stop)),
            None => {
                let message = "the script has ended".to_owned();
                (Vec::new(), Some(Stop::Failed(message)))
            }
        }
    }

    fn finish(&mut self) {}
}

/// A conversation, and everything there is to see of it.
struct Talk {
    session: Session<Script>,
    answers: Shared,
    notes: Shared,
    prompts: Rc<RefCell<Vec<String>>>,
    options: Rc<RefCell<Vec<String>>>,
}

/// A template in which prompts are easy to read.
const PLAIN: &str = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}{% if add_generation_prompt %}a:{% endif %}";

fn talk(steps: impl IntoIterator<Item = Step>) -> Talk {
    talk_with(
        steps,
        Settings {
            template: Some(PLAIN.to_owned()),
            ..Settings::default()
        },
    )
}

fn talk_with(steps: impl IntoIterator<Item = Step>, mut settings: Settings) -> Talk {
    let model = Script {
        steps: steps.into_iter().collect(),
        adds_bos: settings.bos == "<s>",
        ..Script::default()
    };
    let (prompts, options) = (model.prompts.clone(), model.options.clone());
    let (answers, notes) = (Shared::default(), Shared::default());
    let (out, err) = (Box::new(answers.clone()), Box::new(notes.clone()));
    let output = Output::new(out, Some(err), false);
    let session = Session::new(model, &mut settings, output).unwrap();
    prompts.borrow_mut().clear();
    Talk {
        session,
        answers,
        notes,
        prompts,
        options,
    }
}

impl Talk {
    fn lines<const N: usize>(&mut self, lines: [&str; N]) -> &mut Self {
        for line in lines {
            assert_eq!(self.session.line(line).unwrap(), Flow::Continue, "{line}");
        }
        self
    }

    fn error(&mut self, line: &str) -> String {
        match self.session.line(line) {
            Err(Failure::Line(message)) => message,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[track_caller]
    fn prompts_are<const N: usize>(&self, expected: [&str; N]) {
        assert_eq!(*self.prompts.borrow(), expected);
    }
}

#[test]
fn the_second_prompt_comes_with_the_first_turn() {
    let mut talk = talk([Say("Hel"), Say("lo"), end(), Say("Bye\n"), end()]);
    talk.lines(["Hi", "", "Bye"]);
    talk.prompts_are(["u:Hi;a:", "u:Hi;a:Hello;u:Bye;a:"]);
    assert_eq!(talk.answers.text(), "Hello\nBye\n");
    assert_eq!(talk.notes.text(), "");
}

#[test]
fn an_answer_ends_at_what_the_template_puts_behind_it() {
    // The script would fail if it were asked for more.
    let mut talk = talk([Say("Hello"), Say(";u:more")]);
    talk.lines(["Hi"]);
    assert_eq!(talk.answers.text(), "Hello\n");
    assert_eq!(talk.session.history.turns[0].answer, "Hello");
}

#[test]
fn an_answer_ends_at_the_end_token_and_at_the_reverse_prompt() {
    let settings = Settings {
        template: Some("{{ messages[-1].content }}".to_owned()),
        eos: "</s>".to_owned(),
        known_options: vec![known("reverse-prompt")],
        ..Settings::default()
    };
    let mut talk = talk_with([Say("a</s>"), Say("b User:")], settings);
    talk.lines(["Hi", "/set reverse-prompt User:", "Hi"]);
    assert_eq!(talk.answers.text(), "a\nb \n");
}

#[test]
fn n_predict_ends_an_answer_before_the_model_is_asked_again() {
    let mut talk = talk([Say("a"), Say("b")]);
    talk.session
        .options
        .insert("n-predict".to_owned(), 2.into());
    talk.lines(["Hi"]);
    assert_eq!(talk.answers.text(), "ab\n");
}

#[test]
fn a_model_without_a_template_gets_chatml_and_says_so() {
    let mut talk = talk_with([Say("a<|im_end|>")], Settings::default());
    talk.lines(["Hi"]);
    talk.prompts_are(["<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"]);
    assert_eq!(talk.answers.text(), "a\n");
    assert_eq!(talk.notes.text().matches("ChatML").count(), 1);
}

#[test]
fn the_first_token_is_not_doubled() {
    for (bos, expected) in [("<s>", "Hi"), ("<b>", "<b>Hi"), ("", "Hi")] {
        let settings = Settings {
            template: Some("{{ bos_token }}{{ messages[0].content }}".to_owned()),
            bos: bos.to_owned(),
            ..Settings::default()
        };
        let mut talk = talk_with([end()], settings);
        talk.lines(["Hi"]);
        talk.prompts_are([expected]);
    }
}

#[test]
fn a_full_context_forgets_the_older_half_and_goes_on() {
    let mut steps = vec![];
    steps.extend(
        ["1", "2", "3"]
            .map(Say)
            .into_iter()
            .flat_map(|say| [say, end()]),
    );
    steps.extend([Say("4"), Say("."), full(), Say("!"), end()]);
    let mut talk = talk(steps);
    talk.lines(["a", "b", "c"]);
    talk.prompts.borrow_mut().clear();
    talk.lines(["d"]);
    talk.prompts_are(["u:a;a:1;u:b;a:2;u:c;a:3;u:d;a:", "u:c;a:3;u:d;a:4."]);
    assert_eq!(talk.answers.text(), "1\n2\n3\n4.!\n");
    assert_eq!(talk.session.history.turns.len(), 2);
    assert_eq!(talk.session.history.turns[1].answer, "4.!");
}

#[test]
fn the_token_that_fills_the_context_is_part_of_the_answer() {
    let mut talk = talk([
        Say("1"),
        end(),
        Last("2"),
        Say("3"),
        end(),
        Say("4"),
        Last("5"),
    ]);
    talk.lines(["a", "b"]);
    talk.prompts_are(["u:a;a:", "u:a;a:1;u:b;a:", "u:b;a:2"]);
    // An answer that is whole forgets nothing.
    talk.session
        .options
        .insert("n-predict".to_owned(), 2.into());
    talk.lines(["c"]);
    assert_eq!(talk.answers.text(), "1\n23\n45\n");
    assert_eq!(talk.session.history.turns.len(), 2);
}

#[test]
fn forgetting_is_told_once() {
    let mut talk = talk([
        Say("1"),
        end(),
        too_long(),
        Say("2"),
        end(),
        full(),
        Say("3"),
        end(),
    ]);
    talk.lines(["a", "b", "c"]);
    talk.prompts_are([
        "u:a;a:",
        "u:a;a:1;u:b;a:",
        "u:b;a:",
        "u:b;a:2;u:c;a:",
        "u:c;a:",
    ]);
    assert_eq!(talk.answers.text(), "1\n2\n3\n");
    assert_eq!(talk.notes.text().matches("forgotten").count(), 1);
}

#[test]
fn a_context_that_one_answer_fills_ends_it() {
    let mut talk = talk([
        Say("1"),
        full(),
        Say("2"),
        end(),
        Say("3"),
        full(),
        too_long(),
        too_long(),
    ]);
    talk.lines(["a"]);
    assert_eq!(talk.notes.text().matches("the answer ends here").count(), 1);
    talk.lines(["b", "c"]);
    // The second time, what there was of the answer did not fit either.
    assert_eq!(talk.notes.text().matches("the answer ends here").count(), 2);
    assert_eq!(talk.answers.text(), "1\n2\n3\n");
    assert_eq!(talk.session.history.turns.len(), 1);
}

#[test]
fn a_prompt_that_is_too_long_alone_is_an_error_and_changes_nothing() {
    let mut talk = talk([Say("1"), end(), too_long(), too_long(), Say("2"), end()]);
    talk.lines(["a"]);
    assert_eq!(talk.error("b"), "the prompt is too long");
    assert_eq!(talk.notes.text(), "");
    talk.lines(["c"]);
    talk.prompts_are(["u:a;a:", "u:a;a:1;u:b;a:", "u:b;a:", "u:a;a:1;u:c;a:"]);
}

#[test]
fn regenerating_replaces_the_last_turn() {
    let mut talk = talk([Say("1"), end(), Say("2"), end(), Say("3"), end()]);
    assert!(talk.error("/regenerate").contains("found none"));
    talk.lines(["a", "b", "/regenerate"]);
    talk.prompts_are(["u:a;a:", "u:a;a:1;u:b;a:", "u:a;a:1;u:b;a:"]);
    assert_eq!(talk.session.history.turns[1].answer, "3");
    // The script has ended.
    talk.error("/regenerate");
    assert_eq!(talk.session.history.turns[1].answer, "3");
}

#[test]
fn system_prompt_history_and_clear() {
    let mut talk = talk([Say("1"), end(), Say("2"), end(), Say("3"), end()]);
    talk.lines([
        "/system Be brief.",
        "a",
        "/history",
        "/system",
        "b",
        "/clear",
        "/history",
        "c",
    ]);
    talk.prompts_are(["s:Be brief.;u:a;a:", "u:a;a:1;u:b;a:", "u:c;a:"]);
    assert_eq!(
        talk.notes.text(),
        "system: Be brief.\nuser: a\nassistant: 1\nnothing was said\n"
    );
}

fn known(name: &str) -> KnownOption {
    KnownOption {
        name: name.to_owned(),
        default: "0.8".to_owned(),
        meaning: "what it does".to_owned(),
    }
}

#[test]
fn options() {
    let settings = Settings {
        known_options: vec![known("temp"), known("grammar")],
        template: Some(PLAIN.to_owned()),
        ..Settings::default()
    };
    let mut talk = talk_with([], settings);
    talk.lines(["/set temp 0", "/set grammar root ::= \"a\"", "/set temp 1"]);
    assert_eq!(talk.error("/set temp wrong"), "the host refuses it");
    let error = talk.error("/set tmp 1");
    assert!(
        error.contains("`tmp`") && error.contains("temp, grammar"),
        "{error}"
    );
    talk.lines(["/set"]);
    assert_eq!(
        *talk.options.borrow(),
        [
            r#"{"temp":0}"#,
            r#"{"temp":0,"grammar":"root ::= \"a\""}"#,
            r#"{"grammar":"root ::= \"a\"","temp":1}"#,
        ]
    );
    let notes = talk.notes.text();
    assert!(notes.starts_with("temp 1 "), "{notes}");
    assert_eq!(notes.lines().count(), 2);
}

#[test]
fn help_stats_exit_and_unknown_commands() {
    let mut talk = talk([Say("1"), end()]);
    talk.lines(["/stats", "a", "/stats", "/help"]);
    let notes = talk.notes.text();
    assert!(notes.starts_with("no answer yet\n"), "{notes}");
    assert!(notes.contains("answer: 1 tokens"), "{notes}");
    for (name, ..) in COMMANDS {
        assert!(notes.contains(name), "{notes}");
    }
    assert!(talk.error("/quit").contains("/exit"));
    assert_eq!(talk.session.line("/exit").unwrap(), Flow::Exit);
}

#[test]
fn a_failure_of_the_model_is_told() {
    let mut talk = talk([Say("1"), Step::Stop(Stop::Failed("broken".to_owned()))]);
    assert_eq!(talk.error("a"), "broken");
    assert!(talk.session.history.turns.is_empty());
}
