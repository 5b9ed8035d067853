//! A text that arrives in pieces: half characters and what may become a stop text are held back.

/// The text so far.
pub struct Text {
    /// Texts that end it and are no part of it.
    stops: Vec<String>,
    /// The start of a character.
    bytes: Vec<u8>,
    /// What may be the start of a stop text.
    held: String,
    /// What has been given out.
    given: String,
    stopped: bool,
}

impl Text {
    pub fn new(stops: &[&str]) -> Self {
        Self {
            stops: stops
                .iter()
                .filter(|stop| !stop.is_empty())
                .map(|stop| (*stop).to_owned())
                .collect(),
            bytes: Vec::new(),
            held: String::new(),
            given: String::new(),
            stopped: false,
        }
    }

    /// Takes a piece, and gives what can be shown now.
    pub fn push(&mut self, piece: &[u8]) -> &str {
        let from = self.given.len();
        if self.stopped {
            return "";
        }
        self.bytes.extend_from_slice(piece);
        self.decode();
        let stop = self.stops.iter().filter_map(|stop| self.held.find(stop));
        match stop.min() {
            Some(at) => {
                self.given.push_str(&self.held[..at]);
                self.held.clear();
                self.bytes.clear();
                self.stopped = true;
            }
            None => {
                let free = self.held.len() - self.start_of_a_stop();
                self.given.extend(self.held.drain(..free));
            }
        }
        &self.given[from..]
    }

    /// Whether a stop text was found: there will be nothing more.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// The text has ended: gives what was held back.
    pub fn end(&mut self) -> &str {
        let from = self.given.len();
        self.given.push_str(&self.held);
        self.given.push_str(&String::from_utf8_lossy(&self.bytes));
        self.held.clear();
        self.bytes.clear();
        &self.given[from..]
    }

    /// All of it, to go on from. Half a character is left out and forgotten.
    pub fn so_far(&mut self) -> String {
        self.bytes.clear();
        format!("{}{}", self.given, self.held)
    }

    /// What has been given out.
    pub fn given(&self) -> &str {
        &self.given
    }

    /// Moves whole characters on; bytes that can belong to none become U+FFFD.
    fn decode(&mut self) {
        let mut used = 0;
        for chunk in self.bytes.utf8_chunks() {
            self.held.push_str(chunk.valid());
            used += chunk.valid().len();
            let rest = chunk.invalid();
            let at_end = used + rest.len() == self.bytes.len();
            if rest.is_empty() || (at_end && is_start_of_a_character(rest)) {
                break;
            }
            self.held.push(char::REPLACEMENT_CHARACTER);
            used += rest.len();
        }
        self.bytes.drain(..used);
    }

    /// The length of the longest end of `held` that begins a stop text.
    fn start_of_a_stop(&self) -> usize {
        let lengths = self.stops.iter().filter_map(|stop| {
            let longest = stop.floor_char_boundary(self.held.len());
            stop[..longest]
                .char_indices()
                .map(|(length, _)| length)
                .chain((longest < stop.len()).then_some(longest))
                .rev()
                .find(|length| self.held.ends_with(&stop[..*length]))
        });
        lengths.max().unwrap_or(0)
    }
}

fn is_start_of_a_character(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_whole() {
        let mut text = Text::new(&[]);
        assert_eq!(text.push(b"a"), "a");
        assert_eq!(text.push(&[0xe2]), "");
        assert_eq!(text.push(&[0x82]), "");
        assert_eq!(text.push(&[0xac, b'b']), "€b");
        // A start that is followed by something else, and one that cannot start.
        assert_eq!(text.push(&[0xe2, b'c', 0xff]), "\u{fffd}c\u{fffd}");
        assert_eq!(text.push(&[0xe2, 0x82]), "");
        assert_eq!(text.end(), "\u{fffd}");
        assert_eq!(text.given(), "a€b\u{fffd}c\u{fffd}\u{fffd}");
    }

    #[test]
    fn stop_texts_are_held_back() {
        let mut text = Text::new(&["<|end|>", "", "User:"]);
        assert_eq!(text.push(b"1 < 2 <"), "1 < 2 ");
        assert_eq!(text.push(b"|en"), "");
        assert_eq!(text.push(b"? Us"), "<|en? ");
        assert_eq!(text.push(b"e <|"), "Use ");
        assert_eq!(text.so_far(), "1 < 2 <|en? Use <|");
        assert_eq!(text.push(b"end|> User: more"), "");
        assert!(text.stopped());
        assert_eq!(text.push(b"and more"), "");
        assert_eq!(text.end(), "");
        assert_eq!(text.given(), "1 < 2 <|en? Use ");
    }

    #[test]
    fn what_was_held_back_is_shown_in_the_end() {
        let mut text = Text::new(&["</s>"]);
        assert_eq!(text.push(b"a </"), "a ");
        assert!(!text.stopped());
        assert_eq!(text.end(), "</");
    }

    #[test]
    fn a_stop_text_in_one_piece_and_over_many() {
        for size in 1..=12 {
            let mut text = Text::new(&["ended"]);
            let mut shown = String::new();
            for piece in "the enendeded".as_bytes().chunks(size) {
                shown.push_str(text.push(piece));
            }
            assert_eq!(shown, "the en", "in pieces of {size}");
            assert!(text.stopped());
        }
    }

    #[test]
    fn half_a_character_is_generated_again() {
        let mut text = Text::new(&[]);
        text.push("ä".as_bytes());
        text.push(&[0xc3]);
        assert_eq!(text.so_far(), "ä");
        assert_eq!(text.push("ö".as_bytes()), "ö");
    }
}
