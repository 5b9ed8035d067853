//! Computations in steps, for the backend and for the model alike.

use wasmtime_wasi_nn::backend::NamedTensor;

/// A computation ends after this many steps.
const END: usize = 3;

/// The steps since a computation began.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    pieces: Vec<Vec<u8>>,
}

impl Steps {
    /// How many there were.
    pub fn made(&self) -> usize {
        self.pieces.len()
    }

    /// Whether there is no further one.
    pub fn over(&self) -> bool {
        self.made() >= END
    }

    /// Another step.
    pub fn next(&mut self, piece: Vec<u8>) {
        self.pieces.push(piece);
    }

    /// What the last step gave as output 0.
    pub fn piece(&self, index: u32) -> Option<&[u8]> {
        self.pieces.last().filter(|_| index == 0).map(Vec::as_slice)
    }
}

/// What a step gives: some of the first output's bytes.
pub fn piece(outputs: &[NamedTensor], step: usize) -> Vec<u8> {
    let data = outputs.first().map(|output| output.tensor.data.as_slice());
    let data = data.unwrap_or_default();
    let mut piece: Vec<u8> = data.iter().skip(step).step_by(END).copied().collect();
    piece.push(step as u8);
    piece
}
