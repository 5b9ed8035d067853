//! Which tokens a llama.cpp context holds, sequence by sequence: what can be used again, and what has to go.
//!
//! A sequence belongs to a session, or it is what one has left: a prefix that others may begin with. This is
//! the prefix cache, and the KV cache of what runs is the same one. Nothing here calls llama.cpp.

use super::Key;
use llama_cpp_2::token::LlamaToken;

/// One sequence of the KV cache.
pub(super) struct Sequence {
    /// Its tokens, in the order of their positions.
    pub(super) tokens: Vec<LlamaToken>,
    /// The session that goes on with it, if there is one.
    pub(super) owner: Option<Key>,
    /// Whether a computation is under way: it cannot be evicted.
    pub(super) running: bool,
    /// Whether some of its cells may be those of another sequence, too.
    pub(super) shared: bool,
    /// When it was used last, for the choice of what to evict.
    used: u64,
}

impl Sequence {
    /// Less for what was used later.
    pub(super) fn age(&self) -> u64 {
        u64::MAX - self.used
    }
}

/// The sequences of a context, each under its number in llama.cpp.
#[derive(Default)]
pub(super) struct Sequences {
    places: Vec<Option<Sequence>>,
    /// Counts uses.
    clock: u64,
}

impl Sequences {
    /// Places for so many sequences.
    pub(super) fn new(places: usize) -> Self {
        Self {
            places: std::iter::repeat_with(|| None).take(places).collect(),
            clock: 0,
        }
    }

    /// Adds places, so that there are as many.
    pub(super) fn extend(&mut self, places: usize) {
        let places = places.max(self.places.len());
        self.places.resize_with(places, || None);
    }

    /// A place without a sequence.
    pub(super) fn free(&self) -> Option<usize> {
        self.places.iter().position(Option::is_none)
    }

    pub(super) fn get(&self, place: usize) -> Option<&Sequence> {
        self.places.get(place)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut Sequence> {
        self.places.get_mut(place)?.as_mut()
    }

    /// Puts a sequence into a place, in use from now on.
    pub(super) fn insert(&mut self, place: usize, tokens: Vec<LlamaToken>, owner: Option<Key>) {
        let used = self.tick();
        if let Some(slot) = self.places.get_mut(place) {
            *slot = Some(Sequence {
                tokens,
                owner,
                running: false,
                shared: false,
                used,
            });
        }
    }

    pub(super) fn remove(&mut self, place: usize) -> Option<Sequence> {
        self.places.get_mut(place)?.take()
    }

    /// Counts a use of the sequence.
    pub(super) fn touch(&mut self, place: usize) {
        let used = self.tick();
        if let Some(sequence) = self.get_mut(place) {
            sequence.used = used;
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Every sequence with its place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Sequence)> {
        self.places
            .iter()
            .enumerate()
            .filter_map(|(place, sequence)| Some((place, sequence.as_ref()?)))
    }

    /// The sequence that has most tokens in common with the beginning of a prompt, and how many; of equals
    /// the one used last.
    pub(super) fn longest_prefix(&self, prompt: &[LlamaToken]) -> Option<(usize, usize)> {
        self.iter()
            .map(|(place, sequence)| (common(&sequence.tokens, prompt), sequence.used, place))
            .filter(|(common, ..)| *common > 0)
            .max()
            .map(|(common, _, place)| (place, common))
    }

    /// The sequence to evict next: of those that no session owns, else of those whose session rests, the one
    /// that was not used for the longest time. `spared` is none of them.
    pub(super) fn victim(&self, owned: bool, spared: Option<usize>) -> Option<usize> {
        self.iter()
            .filter(|(place, sequence)| {
                !sequence.running && (owned || sequence.owner.is_none()) && Some(*place) != spared
            })
            .min_by_key(|(_, sequence)| (sequence.owner.is_some(), sequence.used))
            .map(|(place, _)| place)
    }

    /// How many tokens all sequences have.
    pub(super) fn tokens(&self) -> usize {
        self.iter().map(|(_, sequence)| sequence.tokens.len()).sum()
    }

    /// How many tokens the sequences have that no computation needs at the moment.
    pub(super) fn cached_tokens(&self) -> usize {
        self.iter()
            .filter(|(_, sequence)| !sequence.running)
            .map(|(_, sequence)| sequence.tokens.len())
            .sum()
    }
}

/// How many tokens two texts have in common at their beginning.
pub(super) fn common(a: &[LlamaToken], b: &[LlamaToken]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<LlamaToken> {
        text.bytes().map(|byte| LlamaToken(byte.into())).collect()
    }

    fn sequences(texts: &[(&str, Option<Key>)]) -> Sequences {
        let mut sequences = Sequences::new(texts.len() + 1);
        for (place, (text, owner)) in texts.iter().enumerate() {
            sequences.insert(place, tokens(text), *owner);
        }
        sequences
    }

    #[test]
    fn the_longest_prefix_is_found_and_of_equals_the_latest() {
        let mut found = sequences(&[
            ("system one", None),
            ("system two", Some(7)),
            ("other", None),
        ]);
        assert_eq!(
            found.longest_prefix(&tokens("system two more")),
            Some((1, 10))
        );
        assert_eq!(found.longest_prefix(&tokens("system x")), Some((1, 7)));
        found.touch(0);
        assert_eq!(found.longest_prefix(&tokens("system x")), Some((0, 7)));
        assert_eq!(found.longest_prefix(&tokens("nothing")), None);
        assert_eq!(found.longest_prefix(&[]), None);
    }

    #[test]
    fn what_nobody_owns_goes_first_and_what_runs_never() {
        let mut found = sequences(&[("a", Some(1)), ("b", None), ("c", None), ("d", Some(2))]);
        assert_eq!(found.free(), Some(4));
        found.touch(1);
        assert_eq!(found.victim(false, None), Some(2));
        assert_eq!(found.victim(false, Some(2)), Some(1));
        found.remove(1);
        found.remove(2);
        assert_eq!(found.victim(false, None), None);
        assert_eq!(found.victim(true, None), Some(0));
        found.get_mut(0).unwrap().running = true;
        assert_eq!(found.victim(true, None), Some(3));
        assert_eq!(found.cached_tokens(), 1);
        found.get_mut(3).unwrap().running = true;
        assert_eq!(found.victim(true, None), None);
    }
}
