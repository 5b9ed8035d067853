//! What was said.

use prompt::{Message, Role};

/// A prompt and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) prompt: String,
    pub(crate) answer: String,
}

/// The conversation so far.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) system: Option<String>,
    pub(crate) turns: Vec<Turn>,
}

impl History {
    /// Everything up to and with a new prompt.
    pub(crate) fn messages(&self, prompt: &str) -> Vec<Message> {
        let system = self
            .system
            .iter()
            .map(|text| Message::new(Role::System, text));
        let turns = self.turns.iter().flat_map(|turn| {
            [
                Message::new(Role::User, &turn.prompt),
                Message::new(Role::Assistant, &turn.answer),
            ]
        });
        system
            .chain(turns)
            .chain([Message::new(Role::User, prompt)])
            .collect()
    }

    /// Drops the oldest turns. Gives how many there were to drop.
    pub(crate) fn forget(&mut self, count: usize) -> usize {
        let count = count.min(self.turns.len());
        self.turns.drain(..count);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(turns: usize) -> History {
        History {
            system: Some("s".to_owned()),
            turns: (0..turns)
                .map(|i| Turn {
                    prompt: format!("p{i}"),
                    answer: format!("a{i}"),
                })
                .collect(),
        }
    }

    #[test]
    fn messages_in_their_order() {
        let texts: Vec<_> = history(2)
            .messages("now")
            .into_iter()
            .map(|message| (message.role.name(), message.content))
            .collect();
        let expected = [
            ("system", "s"),
            ("user", "p0"),
            ("assistant", "a0"),
            ("user", "p1"),
            ("assistant", "a1"),
            ("user", "now"),
        ];
        assert_eq!(texts, expected.map(|(role, text)| (role, text.to_owned())));
    }

    #[test]
    fn the_oldest_turns_are_forgotten_and_the_system_prompt_is_not() {
        let mut history = history(3);
        assert_eq!(history.forget(2), 2);
        assert_eq!(history.turns[0].prompt, "p2");
        assert_eq!(history.forget(5), 1);
        assert_eq!(history.forget(1), 0);
        assert_eq!(history.messages("now").len(), 2);
    }
}
