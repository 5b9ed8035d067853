//! Commands: lines that begin with `/`.

/// What can be asked for beside an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    Help,
    Clear,
    /// Sets the system prompt, or removes it.
    System(Option<&'a str>),
    Regenerate,
    History,
    Stats,
    /// Sets an option, or lists them.
    Set(Option<(&'a str, &'a str)>),
    Exit,
}

/// Each command: its name, what may follow and what it does.
pub(crate) const COMMANDS: [(&str, &str, &str); 8] = [
    ("/help", "", "list the commands"),
    ("/clear", "", "forget the conversation"),
    ("/system", "[TEXT]", "set the system prompt, or remove it"),
    ("/regenerate", "", "answer the last prompt again"),
    ("/history", "", "show the conversation"),
    ("/stats", "", "show tokens and tokens per second"),
    ("/set", "[OPTION VALUE]", "set an option, or list them"),
    ("/exit", "", "end; so does the end of input"),
];

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Command(Command<'a>),
    Prompt(&'a str),
    Nothing,
}

/// Tells commands from prompts. A prompt that begins with `/` is written with two of them.
pub(crate) fn parse(line: &str) -> Result<Line<'_>, String> {
    let line = line.trim();
    if line.is_empty() {
        return Ok(Line::Nothing);
    }
    if !line.starts_with('/') {
        return Ok(Line::Prompt(line));
    }
    if line.starts_with("//") {
        return Ok(Line::Prompt(&line[1..]));
    }
    let (name, rest) = split(line);
    let rest = rest.filter(|rest| !rest.is_empty());
    let command = match (name, rest) {
        ("/help", None) => Command::Help,
        ("/clear", None) => Command::Clear,
        ("/system", text) => Command::System(text),
        ("/regenerate", None) => Command::Regenerate,
        ("/history", None) => Command::History,
        ("/stats", None) => Command::Stats,
        ("/set", None) => Command::Set(None),
        ("/set", Some(rest)) => match split(rest) {
            (option, Some(value)) if !value.is_empty() => Command::Set(Some((option, value))),
            _ => return Err(format!("expected `/set OPTION VALUE`, found `{line}`")),
        },
        ("/exit", None) => Command::Exit,
        _ => return Err(unknown(name)),
    };
    Ok(Line::Command(command))
}

/// The first word and what follows it.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, Some(rest.trim())),
        None => (text, None),
    }
}

fn unknown(name: &str) -> String {
    let names: Vec<_> = COMMANDS.iter().map(|(name, ..)| *name).collect();
    if names.contains(&name) {
        return format!("expected nothing after `{name}`");
    }
    format!(
        "there is no command `{name}`: there are {}; a prompt that begins with `/` is written with two",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts() {
        assert_eq!(parse("  hello /help  "), Ok(Line::Prompt("hello /help")));
        assert_eq!(
            parse("//etc is a folder"),
            Ok(Line::Prompt("/etc is a folder"))
        );
        assert_eq!(parse(" \t"), Ok(Line::Nothing));
    }

    #[test]
    fn commands() {
        for (line, command) in [
            ("/help", Command::Help),
            ("/clear", Command::Clear),
            ("/system", Command::System(None)),
            (
                "/system  Be brief.\nVery. ",
                Command::System(Some("Be brief.\nVery.")),
            ),
            ("/regenerate", Command::Regenerate),
            (" /history ", Command::History),
            ("/stats", Command::Stats),
            ("/set", Command::Set(None)),
            ("/set temp  0.5", Command::Set(Some(("temp", "0.5")))),
            (
                "/set grammar root ::= \"a\"",
                Command::Set(Some(("grammar", "root ::= \"a\""))),
            ),
            ("/exit", Command::Exit),
        ] {
            assert_eq!(parse(line), Ok(Line::Command(command)), "{line}");
        }
    }

    #[test]
    fn an_unknown_command_gets_the_list() {
        let error = parse("/quit now").unwrap_err();
        assert!(error.contains("`/quit`"), "{error}");
        for (name, ..) in COMMANDS {
            assert!(error.contains(name), "{error}");
        }
        assert!(parse("/clear all").unwrap_err().contains("nothing after"));
        assert!(parse("/set temp").unwrap_err().contains("OPTION VALUE"));
    }

    #[test]
    fn every_command_of_the_list_is_known() {
        for (name, ..) in COMMANDS {
            assert!(parse(name).is_ok(), "{name}");
        }
    }
}
