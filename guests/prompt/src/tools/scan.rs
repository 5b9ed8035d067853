//! Where JSON ends, found character by character.

/// A value of JSON that begins with `{` or `[`. Whether it is well formed is not looked at.
#[derive(Debug, Default)]
pub(super) struct Scan {
    depth: usize,
    string: bool,
    escaped: bool,
    broken: bool,
}

impl Scan {
    /// Takes the next character, and says whether it is the value's last.
    pub(super) fn push(&mut self, character: char) -> bool {
        if self.string {
            match character {
                _ if self.escaped => self.escaped = false,
                '\\' => self.escaped = true,
                '"' => self.string = false,
                // Strings of JSON have no line breaks.
                '\n' => self.broken = true,
                _ => {}
            }
            return false;
        }
        match character {
            '"' => self.string = true,
            '{' | '[' => self.depth += 1,
            '}' | ']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.depth == 0
    }

    /// Whether a text that closes the block is one, and not a part of a string.
    pub(super) fn can_be_closed(&self) -> bool {
        !self.string || self.broken
    }
}
