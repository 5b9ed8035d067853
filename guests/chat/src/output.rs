//! Where answers and everything else go.

use std::borrow::Cow;
use std::io::{Result, Write};

/// Asks for the next line, where the host wants to know.
const READY: &[u8] = b"\0";

/// Answers go to standard output, everything else to standard error. Framed, all of it goes to
/// standard output, so that it keeps its order, and a NUL says that the next line may come.
pub(crate) struct Output {
    answers: Box<dyn Write>,
    /// `None` if framed.
    notes: Option<Box<dyn Write>>,
    /// Answers are without control characters.
    plain: bool,
    /// Whether the last answer's line is whole.
    fresh: bool,
}

impl Output {
    pub(crate) fn new(answers: Box<dyn Write>, notes: Option<Box<dyn Write>>, plain: bool) -> Self {
        Self {
            answers,
            plain: plain || notes.is_none(),
            notes,
            fresh: true,
        }
    }

    pub(crate) fn framed(&self) -> bool {
        self.notes.is_none()
    }

    /// A piece of an answer.
    pub(crate) fn answer(&mut self, piece: &str) -> Result<()> {
        let piece = match self.plain {
            true => plain(piece),
            false => Cow::Borrowed(piece),
        };
        if piece.is_empty() {
            return Ok(());
        }
        self.fresh = piece.ends_with('\n');
        self.answers.write_all(piece.as_bytes())?;
        self.answers.flush()
    }

    /// Ends an answer's last line.
    pub(crate) fn end_answer(&mut self) -> Result<()> {
        if self.fresh {
            Ok(())
        } else {
            self.answer("\n")
        }
    }

    /// A line that is no part of an answer.
    pub(crate) fn note(&mut self, text: &str) -> Result<()> {
        match &mut self.notes {
            Some(notes) => {
                writeln!(notes, "{}", plain(text))?;
                notes.flush()
            }
            None => {
                self.end_answer()?;
                self.answer(text)?;
                self.end_answer()
            }
        }
    }

    /// The next line may come.
    pub(crate) fn ready(&mut self) -> Result<()> {
        if self.framed() {
            self.answers.write_all(READY)?;
            self.answers.flush()?;
        }
        Ok(())
    }
}

/// The text without control characters, but with tabs and line ends.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let commands = |c: char| c.is_control() && !matches!(c, '\t' | '\n');
    match text.contains(commands) {
        true => Cow::Owned(text.replace(commands, "")),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// A writer that can be read.
    #[derive(Clone, Default)]
    pub(crate) struct Shared(Rc<RefCell<Vec<u8>>>);

    impl Shared {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }
    }

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    fn talk(output: &mut Output) {
        output.ready().unwrap();
        output.answer("half ").unwrap();
        output.note("a\x1b note").unwrap();
        output.answer("\0").unwrap();
        output.answer("a\0\tb\r\n\u{9b}ä\x1b[1m").unwrap();
        output.end_answer().unwrap();
        output.end_answer().unwrap();
        output.ready().unwrap();
    }

    #[test]
    fn answers_are_alone_on_standard_output() {
        for (plain, expected) in [
            (false, "half \0a\0\tb\r\n\u{9b}ä\x1b[1m\n"),
            (true, "half a\tb\nä[1m\n"),
        ] {
            let (answers, notes) = (Shared::default(), Shared::default());
            let (out, err) = (Box::new(answers.clone()), Box::new(notes.clone()));
            talk(&mut Output::new(out, Some(err), plain));
            assert_eq!(answers.text(), expected);
            assert_eq!(notes.text(), "a note\n");
        }
    }

    #[test]
    fn framed_all_is_in_order_and_only_frames_have_a_nul() {
        let answers = Shared::default();
        talk(&mut Output::new(Box::new(answers.clone()), None, false));
        assert_eq!(answers.text(), "\0half \na note\na\tb\nä[1m\n\0");
    }
}
