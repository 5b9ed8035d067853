//! How many tokens there were, and how fast.

use std::fmt;
use std::time::{Duration, Instant};

/// One answer's measure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measure {
    /// Length of the prompt, if the host tells.
    pub(crate) prompt: Option<u64>,
    /// Tokens of the answer.
    pub(crate) tokens: u64,
    /// Time until the first token, and again wherever the prompt was evaluated anew.
    pub(crate) waiting: Duration,
    /// Time of the other tokens.
    pub(crate) generating: Duration,
}

impl Measure {
    /// Counts a token that took since `from`.
    pub(crate) fn token(&mut self, from: Instant, first: bool) {
        self.tokens += 1;
        let elapsed = from.elapsed();
        match first {
            true => self.waiting += elapsed,
            false => self.generating += elapsed,
        }
    }
}

/// Of all answers.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    last: Option<Measure>,
    answers: u64,
    tokens: u64,
    time: Duration,
}

impl Stats {
    pub(crate) fn add(&mut self, measure: Measure) {
        self.answers += 1;
        self.tokens += measure.tokens;
        self.time += measure.waiting + measure.generating;
        self.last = Some(measure);
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(last) = &self.last else {
            return f.write_str("no answer yet");
        };
        if let Some(tokens) = last.prompt {
            writeln!(f, "prompt: {tokens} tokens")?;
        }
        write!(f, "answer: {} tokens", last.tokens)?;
        if last.tokens > 0 {
            let waiting = last.waiting.as_secs_f64();
            write!(f, ", the first after {waiting:.2} s")?;
        }
        // The first token's time is the prompt's.
        if last.tokens > 1 && !last.generating.is_zero() {
            let rate = (last.tokens - 1) as f64 / last.generating.as_secs_f64();
            write!(f, ", {rate:.1} tokens per second")?;
        }
        let time = self.time.as_secs_f64();
        let (answers, tokens) = (self.answers, self.tokens);
        write!(
            f,
            "\nall answers: {answers}, {tokens} tokens in {time:.2} s"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_leave_the_prompt_out() {
        let mut stats = Stats::default();
        assert_eq!(stats.to_string(), "no answer yet");
        stats.add(Measure {
            prompt: Some(30),
            tokens: 11,
            waiting: Duration::from_secs(2),
            generating: Duration::from_secs(1),
        });
        stats.add(Measure {
            prompt: None,
            tokens: 1,
            waiting: Duration::from_millis(500),
            generating: Duration::ZERO,
        });
        assert_eq!(
            stats.to_string(),
            "answer: 1 tokens, the first after 0.50 s\n\
             all answers: 2, 12 tokens in 3.50 s"
        );
        stats.add(Measure {
            prompt: Some(30),
            tokens: 11,
            waiting: Duration::from_secs(2),
            generating: Duration::from_secs(1),
        });
        assert_eq!(
            stats.to_string(),
            "prompt: 30 tokens\nanswer: 11 tokens, the first after 2.00 s, 10.0 tokens per second\n\
             all answers: 3, 23 tokens in 6.50 s"
        );
        stats.add(Measure::default());
        assert!(stats.to_string().starts_with("answer: 0 tokens\n"));
    }
}
