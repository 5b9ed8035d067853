//! A terminal with somebody who types.

use super::*;
use rexpect::process::{Signal, WaitStatus};
use rexpect::session::{PtySession, spawn_command};
use std::io::Write;

/// Milliseconds to wait for anything.
const PATIENCE: u64 = 60_000;
/// Tokens of a context that no test waits for to be full.
const ENDLESS: &str = "100000";

fn type_into(folder: &Folder, args: &[&str]) -> PtySession {
    let mut session = spawn_command(folder.greedy(args), Some(PATIENCE)).expect("a terminal");
    session
        .exp_string("/help lists the commands")
        .expect("a greeting");
    session.exp_string("> ").expect("a prompt");
    session
}

#[track_caller]
fn ends(mut session: PtySession, code: i32) {
    session.exp_eof().expect("an end");
    let status = session.process().wait().expect("a status");
    assert!(
        matches!(status, WaitStatus::Exited(_, found) if found == code),
        "{status:?}"
    );
}

#[test]
fn answers_come_between_prompts() {
    let model = TinyModel::new();
    let folder = Folder::new(&model, LAST);
    let mut session = type_into(&folder, &["--n-predict", "20"]);
    session.send_line("one\\").expect("a line");
    session.exp_string(". ").expect("a prompt for more");
    session.send_line("a").expect("a line");
    session
        .exp_string(&continuation(&model, b'a', 20))
        .expect("an answer");
    session.exp_string("> ").expect("a prompt");
    session.send_line("/quit").expect("a line");
    session
        .exp_string("error: there is no command `/quit`")
        .expect("an error");
    session.exp_string("> ").expect("a prompt");
    session.send_line("/history").expect("a line");
    session
        .exp_string("user: one\r\na\r\n")
        .expect("the history");
    session.exp_string("> ").expect("a prompt");
    session.send_line("/exit").expect("a line");
    ends(session, 0);
}

#[test]
fn lines_that_are_typed_ahead_wait() {
    let model = TinyModel::new();
    let folder = Folder::new(&model, LAST);
    let mut session = type_into(&folder, &["--n-predict", "5"]);
    session.send("one\rtwo\r/history\r").expect("lines");
    session.flush().expect("lines");
    session.exp_string("user: one\r\n").expect("the first");
    session.exp_string("user: two\r\n").expect("the second");
    session.exp_string("> ").expect("a prompt");
    session.send_line("/exit").expect("a line");
    ends(session, 0);
}

#[test]
fn bytes_that_are_no_text_leave_the_conversation_alone() {
    let model = TinyModel::new();
    let folder = Folder::new(&model, LAST);
    let mut session = type_into(&folder, &["--n-predict", "5"]);
    let mut keyboard = session.process().get_file_handle().expect("the terminal");
    keyboard.write_all(b"a\xe9t").expect("bytes");
    session
        .exp_string("expected text in UTF-8")
        .expect("a note");
    session.exp_string("> ").expect("a prompt");
    session.send_control('u').expect("an empty line");
    session.send_line("a").expect("a line");
    session
        .exp_string(&continuation(&model, b'a', 5))
        .expect("an answer");
    session.exp_string("> ").expect("a prompt");
    session.send_line("/exit").expect("a line");
    ends(session, 0);
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let model = TinyModel::new();
    let folder = Folder::new(&model, LAST);
    let mut session = type_into(&folder, &[]);
    let chat = session.process_mut();
    chat.signal(Signal::SIGTERM).expect("a signal");
    session.exp_string("\x1b[?2004l").expect("no paste mode");
    ends(session, 128 + 15);
}

#[test]
fn ctrl_c_stops_an_answer_and_keeps_what_there_is_of_it() {
    let model = TinyModel::new();
    let folder = Folder::new(&model, LAST);
    let mut session = type_into(&folder, &["--ctx-size", ENDLESS]);
    session.send_line("a").expect("a line");
    let begin = continuation(&model, b'a', 20);
    session
        .exp_string(&begin)
        .expect("the beginning of an answer");
    session.send_control('c').expect("Ctrl-C");
    session.exp_string("\r\n").expect("the end of the answer");
    session.exp_string("> ").expect("a prompt");
    session.send_line("/history").expect("a line");
    session
        .exp_string("user: a\r\nassistant: ")
        .expect("the history");
    session
        .exp_string(&begin)
        .expect("the answer in the history");
    session.exp_string("> ").expect("a prompt");
    // The next answer is not stopped.
    session.send_line("/set n-predict 40").expect("a line");
    session.exp_string("> ").expect("a prompt");
    session.send_line("b").expect("a line");
    session
        .exp_string(&continuation(&model, b'b', 40))
        .expect("an answer");
    session.exp_string("> ").expect("a prompt");
    session.send_line("/exit").expect("a line");
    ends(session, 0);
}

#[test]
fn ctrl_c_at_the_prompt_clears_the_line_and_twice_ends() {
    let model = TinyModel::new();
    let folder = Folder::new(&model, LAST);
    let mut session = type_into(&folder, &["--n-predict", "20"]);
    session.send("nonsense").expect("a text");
    session.send_control('c').expect("Ctrl-C");
    session
        .exp_string("Ctrl-C again or Ctrl-D ends")
        .expect("a hint");
    session.exp_string("> ").expect("a prompt");
    session.send_line("a").expect("a line");
    session
        .exp_string(&continuation(&model, b'a', 20))
        .expect("an answer");
    session.exp_string("> ").expect("a prompt");
    session.send_line("/history").expect("a line");
    session.exp_string("user: a\r\n").expect("the history");
    session.exp_string("> ").expect("a prompt");
    session.send_control('c').expect("Ctrl-C");
    session.exp_string("Ctrl-C again").expect("a hint");
    session.exp_string("> ").expect("a prompt");
    session.send_control('c').expect("Ctrl-C");
    ends(session, 0);
}

#[test]
fn ctrl_d_ends() {
    let folder = Folder::new(&TinyModel::new(), LAST);
    let mut session = type_into(&folder, &[]);
    session.send_control('d').expect("Ctrl-D");
    ends(session, 0);
}

#[test]
fn a_model_that_cannot_be_loaded_is_told() {
    let folder = Folder::new(&TinyModel::new(), LAST);
    let command = folder.greedy(&["--set", "batch-size=0"]);
    let mut session = spawn_command(command, Some(PATIENCE)).expect("a terminal");
    session.exp_string("error: ").expect("an error");
    session.exp_string("batch-size").expect("the option");
    ends(session, 1);
}
