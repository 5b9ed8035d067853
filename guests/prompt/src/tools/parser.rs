//! Tells the calls of an answer from its text, as it comes.

use super::block::{Block, Kind, Step};
use super::calls::Call;
use super::{Format, Opening, Piece};
use crate::message::{Tool, ToolCall};

/// An answer that arrives in pieces.
#[derive(Debug)]
pub struct Parser {
    openings: &'static [Opening],
    tools: Vec<Tool>,
    block: Option<Block>,
    /// What may be the start of an opening or a closing.
    held: String,
    /// Whether there was nothing but white space since the start or the last call.
    fresh: bool,
    /// That white space.
    space: String,
    /// What may close the last call.
    closings: &'static [&'static str],
    /// How many calls there were.
    calls: usize,
    /// The number in the next id that is given.
    next_id: usize,
    thought: Option<Thought>,
    pieces: Vec<Piece>,
}

/// What a model thinks before it answers; there are no calls in it.
#[derive(Debug)]
struct Thought {
    close: &'static str,
    /// The last characters, as many bytes as that has at most.
    last: String,
}

impl Thought {
    fn new(close: &'static str) -> Self {
        Self {
            close,
            last: String::new(),
        }
    }

    /// Takes a character. Whether it was the last one.
    fn push(&mut self, character: char) -> bool {
        self.last.push(character);
        while self.last.len() > self.close.len() {
            self.last.remove(0);
        }
        self.last == self.close
    }
}

/// The texts around what is thought.
const THOUGHTS: [(&str, &str); 3] = [
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
];

impl Parser {
    /// An answer of a model that may call these tools. They say of which type a parameter is where
    /// the format does not.
    pub fn new(format: Format, tools: &[Tool]) -> Self {
        Self {
            openings: format.openings(),
            tools: tools.to_vec(),
            block: format
                .opened()
                .map(|opening| Block::new(opening, String::new())),
            held: String::new(),
            fresh: true,
            space: String::new(),
            closings: &[],
            calls: 0,
            next_id: 0,
            thought: None,
            pieces: Vec::new(),
        }
    }

    /// Gives no id that one of these calls has.
    #[must_use]
    pub fn behind<'a>(mut self, ids: impl IntoIterator<Item = &'a str>) -> Self {
        let numbers = ids.into_iter().filter_map(|id| id.strip_prefix("call_"));
        let last = numbers.filter_map(|number| number.parse::<usize>().ok());
        self.next_id = last.map(|last| last.saturating_add(1)).max().unwrap_or(0);
        self
    }

    /// Goes on from a prompt, which may end in the beginning of a thought.
    #[must_use]
    pub fn behind_prompt(mut self, prompt: &str) -> Self {
        let prompt = prompt.trim_end();
        let opened = THOUGHTS.iter().find(|(open, _)| prompt.ends_with(open));
        self.thought = opened.map(|(_, close)| Thought::new(close));
        self
    }

    /// Takes a part of the answer, and gives what is certain now.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        for character in text.chars() {
            self.step(character);
        }
        std::mem::take(&mut self.pieces)
    }

    /// The answer has ended: gives what was held back. White space behind the last call is dropped.
    pub fn end(&mut self) -> Vec<Piece> {
        if let Some(mut block) = self.block.take() {
            self.text(&block.text());
        }
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() || self.calls == 0 {
            self.text(&held);
        }
        std::mem::take(&mut self.pieces)
    }

    fn step(&mut self, character: char) {
        if let Some(thought) = &mut self.thought {
            let ended = thought.push(character);
            self.text(character.encode_utf8(&mut [0; 4]));
            if ended {
                self.thought = None;
                // The answer begins there.
                self.fresh = true;
            }
            return;
        }
        match self.block.take() {
            None => self.outside(character),
            Some(mut block) => match block.push(character, &self.tools) {
                Step::More => self.block = Some(block),
                Step::Calls(calls) => self.called(calls, block.opening),
                Step::Swallow => self.fresh = false,
                Step::Text(text) => self.text(&text),
                // It is no longer than a head, and shorter than the block was.
                Step::Again(text, again) => {
                    if !text.is_empty() {
                        self.text(&text);
                    }
                    for character in again.chars() {
                        self.step(character);
                    }
                }
            },
        }
    }

    fn outside(&mut self, character: char) {
        if self.fresh && self.held.is_empty() && character.is_whitespace() {
            self.space.push(character);
            return;
        }
        self.held.push(character);
        while !self.held.is_empty() {
            if let Some(at) = self.closings.iter().position(|text| *text == self.held) {
                self.closings = &self.closings[at + 1..];
                self.held.clear();
                self.space.clear();
                return;
            }
            let held = &self.held;
            let opening = self.possible().find(|opening| opening.text == held);
            if let Some(opening) = opening {
                self.held.clear();
                let before = std::mem::take(&mut self.space);
                self.block = Some(Block::new(opening, before));
                return;
            }
            if let Some((open, close)) = THOUGHTS.iter().find(|(open, _)| open == held) {
                self.held.clear();
                self.thought = Some(Thought::new(close));
                self.text(open);
                return;
            }
            let closings = self.closings.iter().copied();
            let openings = self.possible().map(|opening| opening.text);
            let thoughts = THOUGHTS.iter().map(|(open, _)| *open);
            let mut texts = closings.chain(openings).chain(thoughts);
            if texts.any(|text| text.starts_with(held)) {
                return;
            }
            let first = self.held.remove(0);
            self.text(first.encode_utf8(&mut [0; 4]));
        }
    }

    /// The openings that can be ones here.
    fn possible(&self) -> impl Iterator<Item = &'static Opening> + use<> {
        let fresh = self.fresh;
        self.openings
            .iter()
            .filter(move |opening| fresh || opening.kind != Kind::Bare)
    }

    fn called(&mut self, calls: Vec<Call>, opening: &'static Opening) {
        for call in calls {
            let number = self.next_id;
            self.next_id = number.saturating_add(1);
            let id = call.id.unwrap_or_else(|| format!("call_{number}"));
            self.calls += 1;
            self.pieces.push(Piece::Call(ToolCall {
                id,
                name: call.name,
                arguments: call.arguments,
            }));
        }
        self.fresh = true;
        self.closings = opening.closings;
    }

    /// Text, and the white space before it.
    fn text(&mut self, text: &str) {
        self.fresh = false;
        self.closings = &[];
        let space = std::mem::take(&mut self.space);
        if space.is_empty() && text.is_empty() {
            return;
        }
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => {
                last.push_str(&space);
                last.push_str(text);
            }
            _ => self.pieces.push(Piece::Text(space + text)),
        }
    }
}
