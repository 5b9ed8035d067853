//! What guests have left, outside of the KV cache: whoever begins with the same tokens has them back from here.
//!
//! llama.cpp steps over all cells up to the last one in use for every token, so that what nobody computes with
//! would cost those that do. Nothing here calls llama.cpp.

use super::sequences::common;
use llama_cpp_2::token::LlamaToken;
use std::collections::VecDeque;

/// Sequences that were moved out, as many as fit. `S` is what llama.cpp knows of one.
pub(super) struct Prefixes<S> {
    /// The one that was used last is the last one.
    kept: VecDeque<Prefix<S>>,
    bytes: usize,
    most: usize,
}

struct Prefix<S> {
    tokens: Vec<LlamaToken>,
    state: S,
    bytes: usize,
}

impl<S> Prefixes<S> {
    /// Room for so many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            kept: VecDeque::new(),
            bytes: 0,
            most,
        }
    }

    /// Whether one of so many bytes can be kept at all.
    pub(super) fn has_room_for(&self, bytes: u64) -> bool {
        usize::try_from(bytes).is_ok_and(|bytes| bytes <= self.most)
    }

    /// Whether one begins with all of these tokens. That counts as a use of it.
    pub(super) fn have(&mut self, tokens: &[LlamaToken]) -> bool {
        let found = self
            .kept
            .iter()
            .position(|kept| kept.tokens.starts_with(tokens));
        found.and_then(|index| self.touch(index)).is_some()
    }

    /// Keeps one more. What it begins with is not kept beside it, and those that were not used for the longest time go.
    /// Gives how many tokens have gone.
    pub(super) fn add(&mut self, tokens: Vec<LlamaToken>, state: S, bytes: usize) -> usize {
        if bytes > self.most {
            return tokens.len();
        }
        self.kept.retain(|kept| !tokens.starts_with(&kept.tokens));
        self.bytes = self.kept.iter().map(|kept| kept.bytes).sum();
        let mut gone = 0;
        while self.bytes > self.most - bytes {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes;
            gone += oldest.tokens.len();
        }
        self.bytes += bytes;
        self.kept.push_back(Prefix {
            tokens,
            state,
            bytes,
        });
        gone
    }

    /// The one that has most tokens in common with the beginning of a prompt, if that are more than `least`: its
    /// tokens and its state. That counts as a use of it.
    pub(super) fn longest(
        &mut self,
        prompt: &[LlamaToken],
        least: usize,
    ) -> Option<(&[LlamaToken], &S)> {
        let (most, index) = (0..)
            .zip(&self.kept)
            .map(|(index, kept)| (common(&kept.tokens, prompt), index))
            .max()?;
        let found = (most > least).then(|| self.touch(index))??;
        Some((&found.tokens, &found.state))
    }

    /// Gives up the one that was used last. Gives how many tokens have gone.
    pub(super) fn forget_last_used(&mut self) -> usize {
        let Some(last) = self.kept.pop_back() else {
            return 0;
        };
        self.bytes -= last.bytes;
        last.tokens.len()
    }

    /// How many tokens they have.
    pub(super) fn tokens(&self) -> usize {
        self.kept.iter().map(|kept| kept.tokens.len()).sum()
    }

    fn touch(&mut self, index: usize) -> Option<&Prefix<S>> {
        let used = self.kept.remove(index)?;
        self.kept.push_back(used);
        self.kept.back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<LlamaToken> {
        text.bytes().map(|byte| LlamaToken(byte.into())).collect()
    }

    /// The state of the one that has most in common.
    fn longest(prefixes: &mut Prefixes<char>, prompt: &str, least: usize) -> Option<char> {
        let found = prefixes.longest(&tokens(prompt), least);
        found.map(|(_, state)| *state)
    }

    #[test]
    fn the_longest_is_found_and_what_was_used_stays() {
        let mut prefixes = Prefixes::new(10);
        assert_eq!(prefixes.add(tokens("One"), 'a', 4), 0);
        assert_eq!(prefixes.add(tokens("Two"), 'b', 4), 0);
        assert_eq!(longest(&mut prefixes, "Once", 1), Some('a'));
        assert_eq!(longest(&mut prefixes, "Once", 2), None);
        assert_eq!(longest(&mut prefixes, "Nobody", 0), None);
        // Room for a third: the second one has gone, since the first one was used after it.
        assert_eq!(prefixes.add(tokens("Three"), 'c', 4), 3);
        assert_eq!(longest(&mut prefixes, "Two", 2), None);
        assert_eq!(longest(&mut prefixes, "One", 0), Some('a'));
        assert_eq!(prefixes.tokens(), 8);
        assert_eq!(prefixes.forget_last_used(), 3);
        assert_eq!(longest(&mut prefixes, "One", 0), None);
        assert_eq!(prefixes.add(tokens("Room"), 'd', 6), 0);
    }

    #[test]
    fn what_begins_another_one_is_kept_once() {
        let mut prefixes = Prefixes::new(10);
        prefixes.add(tokens("A conversation"), 'a', 6);
        assert!(prefixes.have(&tokens("A conv")));
        assert!(!prefixes.have(&tokens("A conversation and")));
        // Nothing has gone that the new one has not.
        assert_eq!(prefixes.add(tokens("A conversation and"), 'b', 8), 0);
        assert_eq!(prefixes.tokens(), 18);
        assert_eq!(longest(&mut prefixes, "A conversation", 0), Some('b'));
    }

    #[test]
    fn what_does_not_fit_goes_at_once() {
        let mut prefixes = Prefixes::new(10);
        prefixes.add(tokens("One"), 'a', 10);
        assert!(!prefixes.has_room_for(11) && prefixes.has_room_for(10));
        assert_eq!(prefixes.add(tokens("Two"), 'b', 11), 3);
        assert_eq!(longest(&mut prefixes, "One", 0), Some('a'));
    }
}
