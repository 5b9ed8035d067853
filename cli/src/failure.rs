//! How an error looks: what was found, what was expected, the causes and the next step.

use crate::text::{one_line, tame, tame_lines};
use anstyle::{AnsiColor, Style};
use llm_wasi_componentize::{Reason, Refusal};
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// Why a command ends without success.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    what: String,
    expected: Option<String>,
    causes: Vec<String>,
    next_step: Option<String>,
    /// Everything has been said already.
    silent: bool,
    /// The exit status, if it is not 1.
    status: Option<u8>,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>) -> Failure {
        Failure {
            what: what.into(),
            ..Failure::default()
        }
    }

    /// Ends the program with status 1 and without a word.
    pub(crate) fn silent() -> Failure {
        Failure {
            silent: true,
            ..Failure::default()
        }
    }

    /// A refusal of a file, or of an option: then the file is not named.
    pub(crate) fn refusal(of: Option<&dyn Display>, refusal: Refusal) -> Failure {
        let about_options = matches!(
            refusal.reason,
            Reason::UnknownDialect | Reason::NoSuchAdapter | Reason::BadAdapter
        );
        let what = match of {
            Some(of) if !about_options => format!("{of}: {}", refusal.found),
            _ => refusal.found,
        };
        Failure::new(what)
            .expected(refusal.expected)
            .next_step(refusal.next_step)
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Failure {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn cause(mut self, cause: &dyn std::error::Error) -> Failure {
        let mut next = Some(cause);
        while let Some(cause) = next {
            self.causes.push(cause.to_string());
            next = cause.source();
        }
        self
    }

    pub(crate) fn causes(mut self, error: &anyhow::Error) -> Failure {
        self.causes.extend(error.chain().map(ToString::to_string));
        self
    }

    pub(crate) fn next_step(mut self, next_step: impl Into<String>) -> Failure {
        self.next_step = Some(next_step.into());
        self
    }

    pub(crate) fn status(mut self, status: u8) -> Failure {
        self.status = Some(status);
        self
    }

    /// Everything on one line, for `check`.
    pub(crate) fn line(&self) -> String {
        let mut line = one_line(&self.what);
        for cause in &self.causes {
            line.push_str(": ");
            line.push_str(&one_line(cause));
        }
        for rest in [
            self.expected.as_ref().map(|e| format!("; expected {e}")),
            self.next_step.as_ref().map(|n| format!("; {n}")),
        ] {
            line.push_str(&one_line(&rest.unwrap_or_default()));
        }
        tame(&line).into_owned()
    }

    /// Prints it to standard error. Gives the exit status.
    pub(crate) fn report(self) -> ExitCode {
        if !self.silent {
            // There is nobody left to tell if this fails.
            let _ = self.print(&mut anstream::stderr().lock());
        }
        ExitCode::from(self.status.unwrap_or(1))
    }

    fn print(&self, to: &mut impl Write) -> std::io::Result<()> {
        let error = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        let label = Style::new().bold();
        writeln!(to, "{error}error:{error:#} {}", tame_lines(&self.what))?;
        let causes = self.causes.iter().map(|cause| ("cause", cause));
        let others = [("expected", &self.expected), ("next step", &self.next_step)];
        let others = others
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.as_ref()?)));
        for (name, text) in causes.chain(others) {
            writeln!(to, "  {label}{name}:{label:#} {}", tame_lines(text))?;
        }
        Ok(())
    }
}
