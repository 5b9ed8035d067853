//! What follows an opening: a head, which names the tool or is empty, and a body.

use super::Opening;
use super::calls::{self, Call};
use super::scan::Scan;
use crate::message::Tool;

/// How long a head may be: what is longer is text, and is looked at again as such.
const LONGEST_HEAD: usize = 256;
const FENCE: &str = "```json";
const CALL_BEGIN: &str = "<｜tool▁call▁begin｜>";
const SEPARATOR: &str = "<｜tool▁sep｜>";
const END_OF_FUNCTION: &str = "</function>";

/// What a block's head looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// White space. A function in tags may follow instead of JSON.
    Json,
    /// None: the opening is the JSON's first character, and it opens only at the start of an answer
    /// and behind a call.
    Bare,
    /// A line that begins a block of JSON.
    Fenced,
    /// `name[ARGS]`, `name[CALL_ID]id[ARGS]`, `name`, or white space.
    Mistral,
    /// The name and a line break. `all` is no tool but has the text.
    Line,
    /// The name and `>`.
    Function,
    /// Names between special tokens.
    DeepSeek,
}

/// An opening and what has followed it so far.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) opening: &'static Opening,
    /// White space between the last call and this one, which only matters if this is none.
    before: String,
    raw: String,
    /// Where the body begins.
    body: usize,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Head,
    Json(Scan),
    Tags,
}

/// What a character makes of a block.
pub(super) enum Step {
    More,
    Calls(Vec<Call>),
    /// The head was the mark of a text.
    Swallow,
    /// No calls, but text.
    Text(String),
    /// No calls: the first is text, and the second is to be looked at again.
    Again(String, String),
}

/// What a head is, so far.
enum Head {
    More,
    Json,
    Tags,
    Swallow,
    Wrong,
}

impl Block {
    pub(super) fn new(opening: &'static Opening, before: String) -> Self {
        let bare = opening.kind == Kind::Bare;
        let mut scan = Scan::default();
        if bare {
            scan.push('{');
        }
        Self {
            opening,
            before,
            raw: opening.text.to_owned(),
            body: 0,
            stage: if bare { Stage::Json(scan) } else { Stage::Head },
        }
    }

    /// Takes the next character.
    pub(super) fn push(&mut self, character: char, tools: &[Tool]) -> Step {
        self.raw.push(character);
        match &mut self.stage {
            Stage::Head => self.head(),
            Stage::Json(scan) => {
                let ends = scan.push(character);
                if !ends && scan.can_be_closed() && self.is_closed() {
                    return Step::Text(self.text());
                }
                if ends { self.calls(tools) } else { Step::More }
            }
            Stage::Tags if self.raw.ends_with(END_OF_FUNCTION) => self.calls(tools),
            Stage::Tags => Step::More,
        }
    }

    /// All of it, for no call is found in it.
    pub(super) fn text(&mut self) -> String {
        std::mem::take(&mut self.before) + &std::mem::take(&mut self.raw)
    }

    fn is_closed(&self) -> bool {
        let closings = self.opening.closings.iter();
        closings
            .copied()
            .any(|closing| closing.len() > 1 && self.raw.ends_with(closing))
    }

    fn head(&mut self) -> Step {
        let head = &self.raw[self.opening.text.len()..];
        let found = match self.opening.kind {
            _ if head.len() > LONGEST_HEAD => Head::Wrong,
            Kind::Json | Kind::Bare => json(head),
            Kind::Fenced => fenced(head),
            Kind::Mistral => mistral(head),
            Kind::Line => line(head),
            Kind::Function => function(head),
            Kind::DeepSeek => deepseek(head),
        };
        match found {
            Head::More => return Step::More,
            Head::Swallow => return Step::Swallow,
            Head::Json => {
                // The head ends with the first character of the body.
                let mut scan = Scan::default();
                scan.push(if self.raw.ends_with('[') { '[' } else { '{' });
                self.stage = Stage::Json(scan);
            }
            Head::Tags => self.stage = Stage::Tags,
            Head::Wrong => {
                let again = self.raw.split_off(self.opening.text.len());
                return Step::Again(self.text(), again);
            }
        }
        self.body = self.raw.len() - 1;
        Step::More
    }

    fn calls(&mut self, tools: &[Tool]) -> Step {
        let (head, body) = self.raw.split_at(self.body);
        let head = head.get(self.opening.text.len()..).unwrap_or_default();
        let found = match (&self.stage, name(self.opening.kind, head)) {
            (Stage::Tags, Some(name)) => calls::of_tags(name, body, tools),
            (_, Some(name)) => calls::of_arguments(name, id(head), body),
            (_, None) => calls::of_json(body, self.opening.kind == Kind::Bare),
        };
        match found {
            Some(calls) => Step::Calls(calls),
            None => Step::Text(self.text()),
        }
    }
}

/// The name in a head that is complete.
fn name(kind: Kind, head: &str) -> Option<&str> {
    let name = match kind {
        Kind::Json | Kind::Bare | Kind::Fenced => {
            let (name, _) = head
                .trim_start()
                .strip_prefix("<function=")?
                .split_once('>')?;
            name
        }
        Kind::Mistral => head.split('[').next()?,
        Kind::Line => head,
        Kind::Function => head.split('>').next()?,
        Kind::DeepSeek => {
            let head = head.trim_start();
            let head = head.strip_prefix(CALL_BEGIN).unwrap_or(head);
            let (kind, name) = head.split_once(SEPARATOR)?;
            // Since V3.1 the type is left out, and the name is in its place.
            match name.trim() {
                "" => kind,
                name => name.strip_suffix(FENCE).unwrap_or(name),
            }
        }
    };
    let name = name.trim();
    (!name.is_empty()).then_some(name)
}

/// The id in a head of Mistral's.
fn id(head: &str) -> Option<&str> {
    let (_, rest) = head.split_once("[CALL_ID]")?;
    let id = rest.split('[').next()?.trim();
    (!id.is_empty()).then_some(id)
}

fn json(head: &str) -> Head {
    let head = head.trim_start();
    match head.strip_prefix("<function=") {
        Some(head) => function(head),
        None if "<function=".starts_with(head) => Head::More,
        None if head == "{" || head == "[" => Head::Json,
        None => Head::Wrong,
    }
}

fn fenced(head: &str) -> Head {
    let head = head.trim_start();
    match head.strip_prefix(FENCE).map(str::trim_start) {
        Some("") => Head::More,
        Some("{" | "[") => Head::Json,
        None if FENCE.starts_with(head) => Head::More,
        _ => Head::Wrong,
    }
}

fn mistral(head: &str) -> Head {
    let head = head.trim_start();
    if matches!(head, "{" | "[") {
        return Head::Json;
    }
    let (before, ends) = match head.strip_suffix('{') {
        Some(before) => (before, true),
        None => (head, false),
    };
    let (name, rest) = match before.find('[') {
        Some(at) => before.split_at(at),
        None => (before, ""),
    };
    let rest = match rest.strip_prefix("[CALL_ID]") {
        Some(rest) => rest.trim_start_matches(is_of_a_name),
        None if "[CALL_ID]".starts_with(rest) && !ends => return named(name, Head::More),
        None => rest,
    };
    match rest.trim_end() {
        "" | "[ARGS]" if ends => named(name.trim_end(), Head::Json),
        rest if "[ARGS]".starts_with(rest) && !ends => named(name.trim_end(), Head::More),
        _ => Head::Wrong,
    }
}

fn line(head: &str) -> Head {
    match head.split_once('\n') {
        None => named(head.trim_end_matches('\r'), Head::More),
        Some(("all" | "all\r", _)) => Head::Swallow,
        Some((name, rest)) => match rest.trim_start() {
            "" => named(name.trim_end(), Head::More),
            "{" => named(name.trim_end(), Head::Json),
            _ => Head::Wrong,
        },
    }
}

fn function(head: &str) -> Head {
    match head.split_once('>') {
        None => named(head, Head::More),
        Some((name, rest)) => match rest.trim_start() {
            "" => named(name, Head::More),
            "{" => named(name, Head::Json),
            "<" => named(name, Head::Tags),
            _ => Head::Wrong,
        },
    }
}

fn deepseek(head: &str) -> Head {
    if !head.ends_with('{') {
        return Head::More;
    }
    match name(Kind::DeepSeek, &head[..head.len() - 1]) {
        Some(name) => named(name, Head::Json),
        None => Head::Wrong,
    }
}

/// The head, if its name can be one.
fn named(name: &str, head: Head) -> Head {
    match name.chars().all(is_of_a_name) {
        true => head,
        false => Head::Wrong,
    }
}

fn is_of_a_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '.' | ':' | '/')
}
