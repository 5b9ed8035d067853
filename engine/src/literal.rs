//! Texts of messages, in which nothing is a special token: whoever writes one must not end it, and begin another in its place.
//!
//! A prompt is tokenized with the special tokens that its template writes. Where a message has the words of one, a mark goes
//! into them before the template is rendered. The prompt is cut at the marks, and its parts are tokenized one by one.

use crate::failure::{Failure, invalid};
use crate::model::Model;
use prompt::{Message, Role, Tool};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Characters without a meaning. One that no text has is the mark.
const MARKS: std::ops::RangeInclusive<char> = '\u{e000}'..='\u{e0ff}';
/// What is in the words of tokens around a thought.
const THOUGHTS: [&str; 3] = ["think", "thought", "channel"];
/// How often parts of special tokens that are cut may be found to be special tokens in their turn.
const ROUNDS: usize = 8;

/// Marks what is in texts.
pub(crate) struct Literal<'a> {
    model: &'a Model,
    mark: char,
    /// Whether anything is marked.
    marked: bool,
}

impl<'a> Literal<'a> {
    /// For a prompt of these texts.
    pub(crate) fn new(
        model: &'a Model,
        messages: &[Message],
        tools: &[Tool],
    ) -> Result<Self, Failure> {
        let mut texts = Vec::new();
        for message in messages {
            texts.push(message.content.as_str());
            texts.extend(message.tool_call_id.as_deref());
            for call in &message.tool_calls {
                texts.extend([&*call.id, &*call.name, &*call.arguments]);
            }
        }
        for tool in tools {
            texts.extend([&*tool.description, &*tool.parameters]);
        }
        // One question to the host for all, in most cases.
        model.are_plain(&texts)?;
        let mut used = BTreeSet::new();
        texts.iter().for_each(|text| note_used(text, &mut used));
        let mark = MARKS.into_iter().find(|mark| !used.contains(mark));
        let mark = mark.ok_or_else(|| {
            invalid(
                "messages",
                "expected texts without all of the characters from U+E000 to U+E0FF",
            )
        })?;
        Ok(Self {
            model,
            mark,
            marked: false,
        })
    }

    /// A message for the template.
    pub(crate) fn message(&mut self, message: &mut Message) -> Result<(), Failure> {
        let role = message.role;
        self.text_of(&mut message.content, |word| {
            // Templates take an answer's thought out of it by these.
            let word = word.to_lowercase();
            role == Role::Assistant && THOUGHTS.iter().any(|part| word.contains(part))
        })?;
        if let Some(id) = &mut message.tool_call_id {
            self.text(id)?;
        }
        for call in &mut message.tool_calls {
            self.text(&mut call.id)?;
            self.text(&mut call.name)?;
            self.json(&mut call.arguments)?;
        }
        Ok(())
    }

    /// A tool for the template. Its name has letters, digits, `_` and `-`.
    pub(crate) fn tool(&mut self, tool: &mut Tool) -> Result<(), Failure> {
        self.text(&mut tool.description)?;
        self.json(&mut tool.parameters)
    }

    /// The prompt without the marks, and where they were.
    pub(crate) fn cut(&self, rendered: &str) -> (String, Vec<usize>) {
        if !self.marked {
            return (rendered.to_owned(), Vec::new());
        }
        let mut text = String::with_capacity(rendered.len());
        let mut cuts = Vec::new();
        // As JSON in ASCII writes it.
        let escaped = format!("\\u{:04x}", u32::from(self.mark));
        for (index, part) in rendered
            .split(self.mark)
            .flat_map(|part| part.split(&escaped))
            .enumerate()
        {
            if index > 0 {
                cuts.push(text.len());
            }
            text.push_str(part);
        }
        (text, cuts)
    }

    fn text(&mut self, text: &mut String) -> Result<(), Failure> {
        self.text_of(text, |_| false)
    }

    /// Marks a text, but for words that are left.
    fn text_of(
        &mut self,
        text: &mut String,
        is_left: impl Fn(&str) -> bool,
    ) -> Result<(), Failure> {
        let mut parts = vec![text.clone()];
        for _ in 0..ROUNDS {
            let mut special = self.model.special_in(&parts)?;
            special.retain(|word| !is_left(word));
            if special.is_empty() {
                self.marked |= parts.len() > 1;
                *text = parts.join(self.mark.encode_utf8(&mut [0; 4]));
                return Ok(());
            }
            for word in &special {
                parts = parts
                    .iter()
                    .flat_map(|part| within(part, word))
                    .map(str::to_owned)
                    .collect();
            }
        }
        Err(untold())
    }

    /// The texts in JSON, which is left as it is if they have nothing special.
    fn json(&mut self, json: &mut String) -> Result<(), Failure> {
        let Ok(mut value) = serde_json::from_str::<Value>(json) else {
            // Whoever takes the message says what is wrong with it.
            return self.text(json);
        };
        let mut texts = String::new();
        gather(&value, &mut texts);
        if self.model.are_plain(&[json, &texts])? {
            return Ok(());
        }
        self.value(&mut value)?;
        *json = value.to_string();
        Ok(())
    }

    fn value(&mut self, value: &mut Value) -> Result<(), Failure> {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.value(item)),
            Value::Object(pairs) => {
                let mut marked = serde_json::Map::new();
                for (mut key, mut value) in std::mem::take(pairs) {
                    self.text(&mut key)?;
                    self.value(&mut value)?;
                    marked.insert(key, value);
                }
                *pairs = marked;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Notes which of [`MARKS`] are in a text, also as JSON may write them.
fn note_used(text: &str, used: &mut BTreeSet<char>) {
    used.extend(text.chars().filter(|c| MARKS.contains(c)));
    let escapes = text.split("\\u").skip(1);
    let digits = escapes.filter_map(|rest| u32::from_str_radix(rest.get(..4)?, 16).ok());
    used.extend(
        digits
            .filter_map(char::from_u32)
            .filter(|c| MARKS.contains(c)),
    );
}

/// All texts of a value, a line each.
fn gather(value: &Value, texts: &mut String) {
    match value {
        Value::String(text) => {
            texts.push_str(text);
            texts.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, texts)),
        Value::Object(pairs) => {
            for (key, value) in pairs {
                texts.push_str(key);
                texts.push('\n');
                gather(value, texts);
            }
        }
        _ => {}
    }
}

/// The text, cut within each of these words, behind its first character.
fn within<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let first = word.chars().next().map_or(0, char::len_utf8);
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(word) {
        parts.push(&text[start..at + first]);
        start = at + first;
    }
    parts.push(&text[start..]);
    parts
}

/// The failure of a text whose special words are not found.
pub(crate) fn untold() -> Failure {
    invalid(
        "messages",
        "expected texts in which the words of the model's special tokens can be told from others",
    )
}

/// Of which tokens `with` has more than `without`.
pub(crate) fn more_of(with: &[u32], without: &[u32]) -> Vec<u32> {
    let mut counts: BTreeMap<u32, i64> = BTreeMap::new();
    for token in with {
        *counts.entry(*token).or_default() += 1;
    }
    for token in without {
        *counts.entry(*token).or_default() -= 1;
    }
    let more = counts.into_iter().filter(|(_, count)| *count > 0);
    more.map(|(token, _)| token).collect()
}

#[cfg(test)]
mod tests {
    use super::{gather, more_of, note_used, within};
    use std::collections::BTreeSet;

    #[test]
    fn words_are_cut() {
        assert_eq!(within("a<|e|>b<|e|>", "<|e|>"), ["a<", "|e|>b<", "|e|>"]);
        assert_eq!(within("ab", "c"), ["ab"]);
        assert_eq!(within("é", "é"), ["é", ""]);
    }

    #[test]
    fn texts_of_json() {
        let mut texts = String::new();
        let value = serde_json::json!({"a": ["b", 1, {"c": "\u{e000}"}], "d": null});
        gather(&value, &mut texts);
        assert_eq!(texts, "a\nb\nc\n\u{e000}\nd\n");
    }

    #[test]
    fn marks_that_are_used() {
        let mut used = BTreeSet::new();
        note_used(
            "\u{e001} \\uE002 \\ue0 \\u \\ud800 \\u0041 \\ue00é",
            &mut used,
        );
        assert_eq!(used.into_iter().collect::<String>(), "\u{e001}\u{e002}");
    }

    #[test]
    fn what_there_is_more_of() {
        assert_eq!(more_of(&[1, 2, 2, 3], &[2, 3, 4]), [1, 2]);
    }
}
