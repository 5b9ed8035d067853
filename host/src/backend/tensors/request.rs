//! A computation that waits for its place, and may be computed together with others.

use super::cancel::Cancel;
use super::context::{Output, View, keep};
use super::port::byte_size;
use crate::{Error, ErrorCode, Tensor};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The outputs of a computation.
pub(super) type Outputs = Vec<Option<Output>>;

/// One tensor for each input of a model.
pub(super) struct Request {
    inputs: Vec<Tensor>,
    /// The size of the first dimension, if all inputs have the same one.
    pub(super) rows: Option<u32>,
    result: Mutex<Option<Result<Outputs, Error>>>,
    /// Whether anybody wants it.
    pub(super) cancel: Arc<Cancel>,
    /// Told when it is done, may begin, or is not wanted any more.
    pub(super) woken: Condvar,
}

impl Request {
    /// `by_rows` says whether the model leaves the first dimension of everything open.
    pub(super) fn new(inputs: Vec<Tensor>, by_rows: bool, cancel: Arc<Cancel>) -> Arc<Self> {
        let mut sizes = inputs.iter().map(|input| input.dimensions.first().copied());
        let first = sizes.next().flatten();
        let rows = first.filter(|rows| by_rows && *rows > 0 && sizes.all(|size| size == first));
        Arc::new(Self {
            inputs,
            rows,
            result: Mutex::default(),
            cancel,
            woken: Condvar::new(),
        })
    }

    /// Whether another one differs in the number of rows alone.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let rest = |request: &Self| -> Vec<Vec<u32>> {
            let dimensions = request.inputs.iter().map(|input| &input.dimensions[1..]);
            dimensions.map(<[u32]>::to_vec).collect()
        };
        self.rows.is_some() && other.rows.is_some() && rest(self) == rest(other)
    }

    pub(super) fn inputs(&self) -> Vec<&Tensor> {
        self.inputs.iter().collect()
    }

    /// The tensors, for the next computation. Whoever has computed it has let go of it before it was done.
    pub(super) fn into_inputs(self: Arc<Self>) -> Vec<Tensor> {
        Arc::into_inner(self).map_or_else(Vec::new, |request| request.inputs)
    }

    pub(super) fn is_done(&self) -> bool {
        self.result().is_some()
    }

    pub(super) fn finish(&self, result: Result<Outputs, Error>) {
        *self.result() = Some(result);
    }

    pub(super) fn take_result(&self) -> Option<Result<Outputs, Error>> {
        self.result().take()
    }

    fn result(&self) -> MutexGuard<'_, Option<Result<Outputs, Error>>> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The inputs of several requests that are like each other, one behind the other.
pub(super) fn join(requests: &[Arc<Request>]) -> Result<Vec<Tensor>, Error> {
    let rows = rows(requests);
    let [first, ..] = requests else {
        return Ok(Vec::new());
    };
    let mut joined = Vec::with_capacity(first.inputs.len());
    for (index, input) in first.inputs.iter().enumerate() {
        let mut dimensions = input.dimensions.clone();
        dimensions[0] = rows;
        let mut data = Vec::new();
        let size = byte_size(&dimensions, input.ty);
        if size.is_none_or(|size| data.try_reserve_exact(size).is_err()) {
            return Err(Error::new(
                ErrorCode::TooLarge,
                "the host has no memory for inputs of several computations",
            ));
        }
        for request in requests {
            data.extend_from_slice(&request.inputs[index].data);
        }
        joined.push(Tensor {
            dimensions,
            ty: input.ty,
            data,
        });
    }
    Ok(joined)
}

/// The outputs of each request, from those of all; `None` if an output has not the rows of the inputs.
pub(super) fn split(
    requests: &[Arc<Request>],
    views: &[Option<View<'_>>],
) -> Option<Vec<Result<Outputs, Error>>> {
    let rows = rows(requests);
    let is_by_rows = |view: &View<'_>| view.dimensions.first() == Some(&rows);
    if !views.iter().flatten().all(is_by_rows) {
        return None;
    }
    let total = usize::try_from(rows).ok()?;
    let mut done = 0;
    let mut all = Vec::with_capacity(requests.len());
    for request in requests {
        let own = request.rows?;
        let count = usize::try_from(own).ok()?;
        let parts: Vec<_> = views
            .iter()
            .map(|view| {
                view.as_ref().map(|view| {
                    let row = view.bytes.len() / total;
                    let mut dimensions = view.dimensions.clone();
                    dimensions[0] = own;
                    View {
                        dimensions,
                        bytes: &view.bytes[done * row..(done + count) * row],
                    }
                })
            })
            .collect();
        done += count;
        let mut outputs = Outputs::new();
        all.push(keep(&mut outputs, &parts).map(|()| outputs));
    }
    Some(all)
}

fn rows(requests: &[Arc<Request>]) -> u32 {
    let rows = requests.iter().filter_map(|request| request.rows);
    rows.fold(0, u32::saturating_add)
}
