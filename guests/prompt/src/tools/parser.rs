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
    pieces: Vec<Piece>,
}

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
            pieces: Vec::new(),
        }
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
            let closings = self.closings.iter().copied();
            let mut texts = closings.chain(self.possible().map(|opening| opening.text));
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
            let id = call.id.unwrap_or_else(|| format!("call_{}", self.calls));
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
