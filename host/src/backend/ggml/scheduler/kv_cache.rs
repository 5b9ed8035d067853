//! The llama.cpp context of a scheduler: places for sequences, room for their tokens, and growth.

use super::Key;
use super::plan::FEWEST;
use super::prefixes::Prefixes;
use super::sequences::{Sequence, Sequences, common};
use crate::backend::ggml::exit::decode;
use crate::backend::ggml::owned::OwnedContext;
use crate::backend::ggml::session::{self, Settings};
use crate::backend::ggml::weights::Weights;
use crate::figures::Figure;
use crate::metrics::Metrics;
use crate::{Error, ErrorCode, Scheduling};
use llama_cpp_2::DecodeError;
use llama_cpp_2::context::session::{LlamaStateSeqFlags, SeqState};
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;
use std::sync::Arc;

/// How many sequences there may be for each that can run: the others are prefixes.
const PLACES: usize = 4;
/// Fewer cells than this are not worth being moved together.
const FEWEST_CELLS: usize = 512;
/// How many bytes are moved at once: everyone waits for it.
const MOST_MOVED: u64 = 256 << 20;
/// llama.cpp's own limit.
const MOST_PLACES: usize = 256;

pub(super) struct KvCache {
    weights: Arc<Weights>,
    settings: Settings,
    metrics: Metrics,
    /// Missing only if it could not be made anew.
    llama: Option<OwnedContext>,
    batch: LlamaBatch<'static>,
    /// How many tokens a sequence may have.
    size: usize,
    /// How many sequences of that size have room.
    capacity: usize,
    /// What it may grow to.
    most: usize,
    sequences: Sequences,
    /// What was moved out of it.
    prefixes: Prefixes<SeqState>,
    /// The most tokens that there were since what is there was moved together.
    peak: usize,
    /// Sessions that have lost their sequence, with its tokens.
    lost: Vec<(Key, Vec<LlamaToken>)>,
}

/// Tokens to evaluate behind those of a sequence.
pub(super) struct Piece<'a> {
    pub(super) place: usize,
    pub(super) tokens: &'a [LlamaToken],
    /// Whether the logits behind them are wanted.
    pub(super) wanted: bool,
}

impl KvCache {
    /// A context for one computation, that may grow for `most`.
    pub(super) fn new(
        weights: Arc<Weights>,
        settings: Settings,
        scheduling: Scheduling,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let size = settings.size(&weights);
        let llama = make(&weights, &settings, size, 1)?;
        let context = llama.context();
        let size = context.n_ctx() as usize;
        let mut cache = Self {
            batch: LlamaBatch::new(context.n_batch() as usize, 1),
            size,
            llama: Some(llama),
            weights,
            settings,
            metrics,
            capacity: 1,
            most: scheduling.parallel.clamp(1, MOST_PLACES),
            sequences: Sequences::new(places(1)),
            prefixes: Prefixes::new(scheduling.prefixes),
            peak: 0,
            lost: Vec::new(),
        };
        if cache.settings.warmup {
            cache.warm_up()?;
        }
        Ok(cache)
    }

    /// Evaluates one token, so that what is done once is done before anyone waits for an answer.
    fn warm_up(&mut self) -> Result<(), Error> {
        let bos = self.weights.model.vocab().bos();
        if (0..self.weights.model.n_vocab()).contains(&bos.0) {
            self.sequences.insert(0, Vec::new(), None);
            self.decode(&[Piece {
                place: 0,
                tokens: &[bos],
                wanted: true,
            }])?;
            self.forget(0);
        }
        Ok(())
    }

    /// How many tokens a sequence may have.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The most tokens of a batch that is computed in one go.
    pub(super) fn batch_size(&self) -> usize {
        let context = self.llama.as_ref().map(OwnedContext::context);
        context
            .map_or(1, |context| context.n_ubatch() as usize)
            .max(1)
    }

    pub(super) fn sequence(&self, place: usize) -> Option<&Sequence> {
        self.sequences.get(place)
    }

    /// Sessions that have lost their sequence since the last call, with its tokens.
    pub(super) fn take_lost(&mut self) -> Vec<(Key, Vec<LlamaToken>)> {
        std::mem::take(&mut self.lost)
    }

    pub(super) fn set_running(&mut self, place: usize, running: bool) {
        self.sequences.touch(place);
        if let Some(sequence) = self.sequences.get_mut(place) {
            sequence.running = running;
        }
    }

    /// Leaves a sequence to whoever begins with the same tokens.
    pub(super) fn disown(&mut self, place: usize) {
        let Some(sequence) = self.sequences.get_mut(place) else {
            return;
        };
        sequence.owner = None;
        sequence.running = false;
        self.sequences.touch(place);
        self.move_out(place);
        self.compact();
    }

    /// The same, if the sequence is still that of this owner, or nobody's.
    pub(super) fn give_up(&mut self, owner: Key, place: usize) {
        let sequence = self.sequences.get(place);
        if sequence.is_some_and(|sequence| sequence.owner.is_none_or(|key| key == owner)) {
            self.disown(place);
        }
    }

    /// How many tokens are kept that nothing needs at the moment.
    pub(super) fn cached_tokens(&self) -> usize {
        self.sequences.cached_tokens() + self.prefixes.tokens()
    }

    /// How many sequences may run at once.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Whether so many sequences can run at once, perhaps after growth.
    pub(super) fn has_room_for(&mut self, running: usize) -> bool {
        while running > self.capacity {
            if !self.grow() {
                return false;
            }
        }
        true
    }

    /// Finds a sequence for a prompt: the session's own, if it goes on with that, or a new one that begins
    /// with what others have of it. Gives its place, and how many tokens of the prompt it has: not the last
    /// one, whose logits are wanted.
    pub(super) fn seat(
        &mut self,
        key: Key,
        own: Option<usize>,
        prompt: &[LlamaToken],
    ) -> Result<(usize, usize), Error> {
        self.revive()?;
        let most = prompt.len().saturating_sub(1);
        if let Some(place) = own {
            let found = self.sequences.get(place);
            let tokens = found.map_or(&[][..], |sequence| &sequence.tokens);
            let same = common(tokens, prompt);
            if same == tokens.len() || same >= most {
                let kept = self.truncate(place, same.min(most))?;
                self.set_running(place, true);
                return Ok((place, kept));
            }
            // Others may begin with it, and this prompt does, too.
            if let Some(sequence) = self.sequences.get_mut(place) {
                sequence.owner = None;
                sequence.running = false;
            }
        }
        let mut prefix = self.sequences.longest_prefix(prompt);
        let place = match self.sequences.free() {
            Some(place) => place,
            None => {
                let spared = prefix.map(|(place, _)| place);
                let victim = self.sequences.victim(false, spared);
                let victim = match victim {
                    None if self.grow() => {
                        // Growth may have lost it, and others then have its place.
                        prefix = self.sequences.longest_prefix(prompt);
                        self.sequences.free()
                    }
                    None => self.sequences.victim(true, spared),
                    found => found,
                };
                // The prefix itself may be all that can go.
                let place = victim.or_else(|| {
                    prefix = None;
                    self.sequences.victim(true, None)
                });
                let place = place.ok_or_else(no_room)?;
                self.evict(place);
                place
            }
        };
        self.sequences.insert(place, Vec::new(), Some(key));
        let mut kept = 0;
        if let Some((from, same)) = prefix {
            kept = self.copy(from, place, same.min(most))?;
        }
        self.set_running(place, true);
        if let Some(more) = self.move_in(place, prompt, kept) {
            kept = self.truncate(place, more.min(most))?;
        }
        if let Some(own) = own.filter(|own| {
            let left = self.sequences.get(*own);
            left.is_some_and(|sequence| sequence.owner.is_none())
        }) {
            self.disown(own);
        }
        Ok((place, kept))
    }

    /// Moves a sequence that nobody computes with out of the way of those who do. It stays if it is so large that they
    /// would wait for it, until there is no room for it any more.
    fn move_out(&mut self, place: usize) {
        let (Some(sequence), Some(llama)) = (self.sequences.get(place), &self.llama) else {
            return;
        };
        let tokens = &sequence.tokens;
        if !tokens.is_empty() && !self.prefixes.have(tokens) {
            let bytes = self.settings.kv_cache_size(&self.weights, tokens.len());
            if bytes > MOST_MOVED || !self.prefixes.has_room_for(bytes) {
                return;
            }
            let context = llama.context();
            let state = context.state_seq_get(id(place), LlamaStateSeqFlags::empty());
            let Ok(state) = state else {
                return;
            };
            let bytes = state.byte_len();
            let gone = self.prefixes.add(tokens.clone(), state, bytes);
            self.metrics.count(Figure::Evicted(gone as u64));
        }
        self.remove(place);
    }

    /// Has a sequence begin with what was moved out, if a prompt has more than `least` tokens in common with that.
    /// Gives how many there are then.
    fn move_in(&mut self, place: usize, prompt: &[LlamaToken], least: usize) -> Option<usize> {
        let (tokens, state) = self.prefixes.longest(prompt, least)?;
        let (tokens, state) = (tokens.to_vec(), state.clone());
        if self.replace(place, &state).is_none() {
            // Its session seats itself again, and does not try the same once more.
            let gone = self.prefixes.forget_last_used();
            self.metrics.count(Figure::Evicted(gone as u64));
            return None;
        }
        let same = common(&tokens, prompt);
        self.sequences.get_mut(place)?.tokens = tokens;
        Some(same)
    }

    /// Puts a copy in the place of a running sequence, which has cells of its own then. Nothing is left of it if there
    /// is no room.
    fn replace(&mut self, place: usize, state: &SeqState) -> Option<()> {
        let removed = self.context().ok()?.kv_cache_seq_rm(id(place), None, None);
        removed.ok()?;
        while self
            .context()
            .ok()?
            .state_seq_set(state, id(place))
            .is_err()
        {
            if !self.make_room() {
                self.forget(place);
                return None;
            }
        }
        self.sequences.get_mut(place)?.shared = false;
        Some(())
    }

    /// Has the sequence at `to`, which is empty, begin with tokens of the one at `from`. They share cells.
    fn copy(&mut self, from: usize, to: usize, count: usize) -> Result<usize, Error> {
        let tokens = match self.sequences.get_mut(from) {
            Some(sequence) if count > 0 && count <= sequence.tokens.len() => {
                sequence.shared = true;
                sequence.tokens[..count].to_vec()
            }
            _ => return Ok(0),
        };
        self.sequences.touch(from);
        self.context()?
            .kv_cache_seq_cp(id(from), id(to), Some(0), u32::try_from(count).ok())
            .map_err(|error| session::failed(&error))?;
        let whole = self.sequences.get(from).map_or(0, |s| s.tokens.len()) == count;
        if let Some(sequence) = self.sequences.get_mut(to) {
            sequence.tokens = tokens;
            sequence.shared = true;
        }
        if whole {
            Ok(count)
        } else {
            self.usable(to, count)
        }
    }

    /// How many tokens of a sequence are left that was cut: none, with all gone, if some cells before the cut are
    /// missing. Models with a sliding window keep, in some layers, only what the next token behind the end needs.
    fn usable(&mut self, place: usize, count: usize) -> Result<usize, Error> {
        if count == 0 || self.context()?.kv_cache_seq_pos_min(id(place)) == 0 {
            return Ok(count);
        }
        let _ = self.context()?.kv_cache_seq_rm(id(place), None, None);
        if let Some(sequence) = self.sequences.get_mut(place) {
            sequence.tokens.clear();
        }
        Ok(0)
    }

    /// Forgets a sequence's tokens behind the first `count`.
    pub(super) fn keep(&mut self, place: usize, count: usize) {
        // Where that fails there is no context, and nothing to forget.
        let _ = self.truncate(place, count);
    }

    /// The same. Gives how many there are then.
    fn truncate(&mut self, place: usize, count: usize) -> Result<usize, Error> {
        let length = self.sequences.get(place).map_or(0, |s| s.tokens.len());
        if count >= length {
            return Ok(length);
        }
        let removed = self
            .context()?
            .kv_cache_seq_rm(id(place), u32::try_from(count).ok(), None)
            .is_ok();
        let count = if removed { count } else { 0 };
        if !removed {
            // A model whose memory is no list of tokens cannot forget some of them.
            let _ = self.context()?.kv_cache_seq_rm(id(place), None, None);
        }
        if let Some(sequence) = self.sequences.get_mut(place) {
            sequence.tokens.truncate(count);
        }
        self.usable(place, count)
    }

    /// Gives up a sequence that does not run, to have its place and its cells.
    fn evict(&mut self, place: usize) {
        self.move_out(place);
        self.forget(place);
    }

    /// Forgets a sequence, if it is there.
    fn forget(&mut self, place: usize) {
        let tokens = self.sequences.get(place).map_or(0, |s| s.tokens.len());
        self.metrics.count(Figure::Evicted(tokens as u64));
        self.remove(place);
    }

    /// Frees the place and the cells of a sequence.
    fn remove(&mut self, place: usize) {
        let Some(sequence) = self.sequences.remove(place) else {
            return;
        };
        if let Ok(context) = self.context() {
            let _ = context.kv_cache_seq_rm(id(place), None, None);
        }
        if let Some(owner) = sequence.owner {
            self.lost.push((owner, sequence.tokens));
        }
    }

    /// Makes room for tokens: forgets prefixes, else grows, else forgets what resting sessions have.
    fn make_room(&mut self) -> bool {
        let victim = match self.sequences.victim(false, None) {
            None if self.grow() => return true,
            None => self.sequences.victim(true, None),
            found => found,
        };
        victim.is_some_and(|place| {
            self.evict(place);
            true
        })
    }

    /// Makes a context of twice the size, if it may be and the memory is there. What was in the old one is in
    /// the new one.
    fn grow(&mut self) -> bool {
        let capacity = (self.capacity * 2).min(self.most);
        if capacity == self.capacity {
            return false;
        }
        let more = (capacity - self.capacity).saturating_mul(self.size);
        if self.settings.excess(&self.weights, more).is_some() {
            tracing::debug!(capacity, "no memory for a larger context");
            self.most = self.capacity;
            return false;
        }
        let states = self.save();
        // Both together may not fit into memory.
        self.llama = None;
        let (llama, grown) = match make(&self.weights, &self.settings, self.size, capacity) {
            Ok(llama) => (Some(llama), true),
            Err(error) => {
                tracing::debug!(capacity, "no larger context: {}", error.message);
                self.most = self.capacity;
                let old = make(&self.weights, &self.settings, self.size, self.capacity);
                (old.ok(), false)
            }
        };
        self.set_context(llama);
        if grown {
            tracing::debug!(capacity, size = self.size, "the context has grown");
            self.capacity = capacity;
            self.sequences.extend(places(capacity));
        }
        self.restore(states);
        grown
    }

    /// Makes the context anew that growth has lost: there was no memory for any, and may be some now.
    fn revive(&mut self) -> Result<(), Error> {
        if self.llama.is_none() {
            let llama = make(&self.weights, &self.settings, self.size, 1)?;
            self.set_context(Some(llama));
            // Every sequence was forgotten with the old one.
            self.sequences = Sequences::new(places(1));
            self.capacity = 1;
            self.peak = 0;
        }
        Ok(())
    }

    /// Takes a context, and has batches as large as that computes them.
    fn set_context(&mut self, llama: Option<OwnedContext>) {
        if let Some(llama) = &llama {
            self.batch = LlamaBatch::new(llama.context().n_batch() as usize, 1);
        }
        self.llama = llama;
    }

    /// Moves what is left together, once most of it has gone: llama.cpp steps over all cells up to the last one in use.
    fn compact(&mut self) {
        let tokens = self.sequences.tokens();
        if self.peak < FEWEST_CELLS || tokens > self.peak / 2 {
            return;
        }
        if self.settings.kv_cache_size(&self.weights, tokens) > MOST_MOVED {
            return;
        }
        let states = self.save();
        if let Ok(context) = self.context() {
            context.clear_kv_cache();
        }
        self.restore(states);
        self.peak = self.sequences.tokens();
    }

    /// Copies every sequence: what runs first, then what was used last.
    fn save(&self) -> Vec<(usize, Option<SeqState>)> {
        let Some(llama) = &self.llama else {
            return Vec::new();
        };
        let mut order: Vec<_> = self
            .sequences
            .iter()
            .map(|(place, sequence)| (!sequence.running, sequence.age(), place))
            .collect();
        order.sort_unstable();
        let state = |place| {
            let context = llama.context();
            context.state_seq_get(id(place), LlamaStateSeqFlags::empty())
        };
        order
            .into_iter()
            .map(|(.., place)| (place, state(place).ok()))
            .collect()
    }

    /// Puts the copies into an empty context. Each has cells of its own then, so that what was shared may not have
    /// room any more.
    fn restore(&mut self, states: Vec<(usize, Option<SeqState>)>) {
        for (place, state) in states {
            let restored = match (&mut self.llama, state) {
                (Some(llama), Some(state)) => {
                    llama.parts().1.state_seq_set(&state, id(place)).is_ok()
                }
                _ => false,
            };
            if !restored {
                self.forget(place);
            } else if let Some(sequence) = self.sequences.get_mut(place) {
                sequence.shared = false;
            }
        }
    }

    /// Evaluates tokens of several sequences together. Fails for all of them; their tokens are lost then.
    pub(super) fn decode(&mut self, pieces: &[Piece<'_>]) -> Result<(), Error> {
        self.weights.check_files()?;
        loop {
            // Growth makes the batch anew.
            self.fill_batch(pieces)?;
            let Some(llama) = &mut self.llama else {
                return Err(no_context());
            };
            match decode(llama.parts().1, &mut self.batch) {
                Ok(()) => break,
                Err(DecodeError::NoKvCacheSlot) => {
                    if !self.make_room() {
                        return Err(no_room());
                    }
                }
                Err(error) => {
                    // What the cache holds now is unknown.
                    self.clear();
                    return Err(session::failed(&error));
                }
            }
        }
        for piece in pieces {
            if let Some(sequence) = self.sequences.get_mut(piece.place) {
                sequence.tokens.extend_from_slice(piece.tokens);
            }
        }
        self.peak = self.peak.max(self.sequences.tokens());
        Ok(())
    }

    /// Fails if a sequence is not there, which growth may have lost.
    fn fill_batch(&mut self, pieces: &[Piece<'_>]) -> Result<(), Error> {
        self.batch.clear();
        for piece in pieces {
            let sequence = self.sequences.get(piece.place).ok_or_else(no_room)?;
            let length = sequence.tokens.len();
            for (index, token) in piece.tokens.iter().enumerate() {
                let position = i32::try_from(length + index).map_err(|_| no_room())?;
                let wanted = piece.wanted && index + 1 == piece.tokens.len();
                self.batch
                    .add(*token, position, &[id(piece.place)], wanted)
                    .map_err(|error| session::failed(&error))?;
            }
        }
        Ok(())
    }

    /// Copies the logits behind the token at this place in the last batch.
    pub(super) fn read_logits(&self, index: usize, logits: &mut Vec<f32>) {
        logits.clear();
        if let (Some(llama), Ok(index)) = (&self.llama, i32::try_from(index)) {
            logits.extend_from_slice(llama.context().get_logits_ith(index));
        }
    }

    fn clear(&mut self) {
        let places: Vec<_> = self.sequences.iter().map(|(place, _)| place).collect();
        for place in places {
            self.forget(place);
        }
        if let Ok(context) = self.context() {
            context.clear_kv_cache();
        }
    }

    /// Forgets the older half of a sequence's tokens, but not the first one. Gives how many are left, or
    /// nothing if that cannot be done.
    pub(super) fn shift(&mut self, place: usize) -> Option<usize> {
        let first = 1;
        let sequence = self.sequences.get(place)?;
        let discarded = sequence.tokens.len().saturating_sub(first) / 2;
        let shared = sequence.shared;
        let (from, to, by) = (
            u32::try_from(first).ok()?,
            u32::try_from(first + discarded).ok()?,
            i32::try_from(discarded).ok()?,
        );
        if discarded == 0 {
            return None;
        }
        let context = self.context().ok()?;
        if shared {
            // Cells have one position, whoever uses them: this sequence gets cells of its own.
            let state = context.state_seq_get(id(place), LlamaStateSeqFlags::empty());
            self.replace(place, &state.ok()?)?;
        }
        let context = self.context().ok()?;
        context
            .kv_cache_seq_rm(id(place), Some(from), Some(to))
            .and_then(|()| context.kv_cache_seq_add(id(place), Some(to), None, -by))
            .ok()?;
        let sequence = self.sequences.get_mut(place)?;
        sequence.shared = false;
        sequence.tokens.drain(first..first + discarded);
        Some(sequence.tokens.len())
    }

    fn context(&mut self) -> Result<&mut llama_cpp_2::context::LlamaContext<'static>, Error> {
        let llama = self.llama.as_mut().ok_or_else(no_context)?;
        Ok(llama.parts().1)
    }
}

/// A sequence's number in llama.cpp.
fn id(place: usize) -> i32 {
    i32::try_from(place).unwrap_or(i32::MAX)
}

/// How many sequences a context for so many computations has.
fn places(capacity: usize) -> usize {
    (capacity * PLACES).min(MOST_PLACES)
}

/// A llama.cpp context for so many computations of this size.
fn make(
    weights: &Arc<Weights>,
    settings: &Settings,
    size: usize,
    capacity: usize,
) -> Result<OwnedContext, Error> {
    let places = places(capacity);
    // llama.cpp makes room for an output of each sequence, and asserts that a batch could have them all.
    let tokens = (size * capacity).max(places);
    session::new_context(weights, settings, tokens, |params| {
        let places = u32::try_from(places).unwrap_or(1);
        params
            .with_n_seq_max(places)
            .with_n_batch(settings.batch_size.max(places))
            // Beside the next tokens of all that run there is room for prompts.
            .with_n_ubatch(settings.ubatch_size.max(tokens_at_once(capacity)))
            // One memory for all, so that it can be divided as needed, and prefixes be shared.
            .with_kv_unified(true)
    })
}

/// The fewest tokens of a batch for so many computations.
fn tokens_at_once(capacity: usize) -> u32 {
    u32::try_from(capacity + FEWEST).unwrap_or(u32::MAX)
}

fn no_context() -> Error {
    Error::new(
        ErrorCode::RuntimeError,
        "llama.cpp could not make the model's context anew, for want of memory: try again later",
    )
}

fn no_room() -> Error {
    Error::new(
        ErrorCode::Busy,
        "the model's KV cache is full of computations that run: try again later",
    )
}

#[cfg(all(test, feature = "test-support"))]
mod tests {
    use super::*;
    use crate::backend::ggml::options::Options;
    use crate::testing::TinyModel;

    fn cache() -> (tempfile::TempDir, KvCache) {
        cache_with(r#"{"threads": 1}"#)
    }

    fn cache_with(json: &str) -> (tempfile::TempDir, KvCache) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        TinyModel::new().write(&path).unwrap();
        let mut options = Options::default();
        options.apply(json.as_bytes()).unwrap();
        let weights = Weights::of_file(&path, &options).unwrap();
        let settings = Settings::new(&options);
        let scheduling = Scheduling::default();
        let cache = KvCache::new(weights, settings, scheduling, Metrics::default());
        (folder, cache.unwrap())
    }

    /// Evaluates a prompt. Gives how much of it was there already.
    fn evaluate(cache: &mut KvCache, key: Key, prompt: &[LlamaToken]) -> usize {
        let (place, kept) = cache.seat(key, None, prompt).unwrap();
        let piece = Piece {
            place,
            tokens: &prompt[kept..],
            wanted: true,
        };
        cache.decode(&[piece]).unwrap();
        let mut logits = Vec::new();
        cache.read_logits(prompt.len() - kept - 1, &mut logits);
        assert!(!logits.is_empty());
        kept
    }

    #[test]
    fn small_batches_grow_with_the_context() {
        let (_folder, mut cache) = cache_with(r#"{"threads": 1, "batch-size": 8}"#);
        assert!(cache.has_room_for(4));
        let prompt: Vec<_> = (10..40).map(LlamaToken).collect();
        let most = cache.batch_size();
        assert!(most > 8);
        assert_eq!(evaluate(&mut cache, 1, &prompt[..most]), 0);
    }

    /// What sequences share takes room for each of them in the new context, so that growth can lose others.
    #[test]
    fn a_prefix_that_growth_loses_is_not_used() {
        let (_folder, mut cache) = cache_with(r#"{"threads": 1, "ctx-size": 512}"#);
        let tokens = |from: i32, count: usize| -> Vec<_> {
            (0..count)
                .map(|i| LlamaToken(from + i32::try_from(i).unwrap() % 90))
                .collect()
        };
        let (own, shared) = (tokens(10, 150), tokens(60, 340));
        evaluate(&mut cache, 1, &own);
        let own_place = (0..4)
            .find(|place| cache.sequence(*place).is_some())
            .unwrap();
        cache.set_running(own_place, false);
        for key in 2..5 {
            evaluate(&mut cache, key, &shared);
            for place in 0..4 {
                cache.set_running(place, false);
            }
        }
        // There is no place any more, all have owners, and three times the shared one is more than the new context has.
        let mut prompt = own.clone();
        prompt.push(LlamaToken(99));
        evaluate(&mut cache, 9, &prompt);
    }

    #[test]
    fn a_context_that_growth_has_lost_is_made_anew() {
        let (_folder, mut cache) = cache();
        let prompt: Vec<_> = (10..20).map(LlamaToken).collect();
        assert_eq!(evaluate(&mut cache, 1, &prompt), 0);
        assert!(cache.has_room_for(2));
        let capacity = cache.capacity;
        // As growth leaves it that finds no memory, not even for what there was.
        let states = cache.save();
        cache.llama = None;
        cache.restore(states.into_iter().map(|(place, _)| (place, None)).collect());
        assert_eq!(cache.take_lost(), [(1, prompt.clone())]);
        assert_eq!(evaluate(&mut cache, 1, &prompt), 0);
        assert_eq!(evaluate(&mut cache, 2, &prompt), prompt.len() - 1);
        assert!(cache.has_room_for(capacity));
    }
}
