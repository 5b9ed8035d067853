//! What the tests of backends for models of tensors share.

#![allow(dead_code, reason = "each test binary uses a part")]

use llm_wasi_host::backend::{Backend, Encoding, ExecutionContext, Graph, Target};
use llm_wasi_host::{Error, Registry, Tensor, TensorType};
use std::path::PathBuf;
use std::sync::Arc;

/// Every type, with three elements.
pub(crate) const TYPES: [(TensorType, &[u8]); 7] = [
    (TensorType::F16, &[0, 0x3c, 0, 0x40, 0, 0xc2]),
    (
        TensorType::F32,
        &[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0, 0x40, 0xc0],
    ),
    (
        TensorType::F64,
        &[
            0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 8, 0xc0,
        ],
    ),
    (TensorType::Bf16, &[0x80, 0x3f, 0, 0x40, 0x40, 0xc0]),
    (TensorType::U8, &[1, 2, 253]),
    (
        TensorType::I32,
        &[1, 0, 0, 0, 2, 0, 0, 0, 0xfd, 0xff, 0xff, 0xff],
    ),
    (
        TensorType::I64,
        &[
            1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xff,
        ],
    ),
];

/// Whether the backend's library is there; where it has to be, its absence is a failure.
pub(crate) fn is_here(backend: &impl Backend) -> bool {
    match backend.devices() {
        Ok(_) => true,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            eprintln!("skipped: {error}");
            false
        }
    }
}

/// What an environment variable names; where it has to, its absence is a failure.
pub(crate) fn path_of(variable: &str, part: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        let text = format!("{variable} is not set: scripts/setup.sh {part} prints its value");
        assert!(std::env::var_os("CI").is_none(), "{text}");
        eprintln!("skipped: {text}");
    }
    path
}

pub(crate) fn registry() -> Registry {
    Registry::with_default_backends().build()
}

pub(crate) fn load(builders: Vec<Vec<u8>>, encoding: Encoding) -> Arc<dyn Graph> {
    registry()
        .load(builders, encoding, Target::Cpu, Some(r#"{"threads": 1}"#))
        .unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn open(graph: &Arc<dyn Graph>) -> Box<dyn ExecutionContext> {
    graph
        .init_execution_context()
        .unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn error_of<V>(result: Result<V, Error>) -> Error {
    match result {
        Ok(_) => panic!("expected a failure"),
        Err(error) => error,
    }
}

pub(crate) fn tensor(ty: TensorType, dimensions: &[u32], data: impl Into<Vec<u8>>) -> Tensor {
    Tensor {
        dimensions: dimensions.to_vec(),
        ty,
        data: data.into(),
    }
}

pub(crate) fn f32s(dimensions: &[u32], values: &[f32]) -> Tensor {
    let data: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    tensor(TensorType::F32, dimensions, data)
}

pub(crate) fn i64s(dimensions: &[u32], values: &[i64]) -> Tensor {
    let data: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    tensor(TensorType::I64, dimensions, data)
}

/// An output of `f32`.
pub(crate) fn floats(context: &dyn ExecutionContext, index: u32) -> Vec<f32> {
    assert_eq!(context.describe_output(index).unwrap().ty, TensorType::F32);
    let bytes = context.output(index).unwrap();
    let (chunks, rest) = bytes.as_chunks();
    assert!(rest.is_empty());
    chunks
        .iter()
        .map(|chunk| f32::from_le_bytes(*chunk))
        .collect()
}

pub(crate) fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    let close = |(found, expected): (&f32, &f32)| (found - expected).abs() <= tolerance;
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(close),
        "expected {expected:?} within {tolerance}, found {found:?}"
    );
}

/// The picture that guests of the orientation model show it: all ones.
pub(crate) fn ones() -> Tensor {
    f32s(&[1, 3, 224, 224], &vec![1.0; 3 * 224 * 224])
}

/// Changes a few bytes of `good` in a way that is the same in every run.
pub(crate) struct Mutations {
    state: u64,
}

impl Mutations {
    pub(crate) fn new() -> Self {
        Self { state: 1 }
    }

    fn random(&mut self, below: usize) -> usize {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize % below
    }

    pub(crate) fn of(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        for _ in 0..=self.random(3) {
            let at = self.random(bytes.len());
            let flipped = bytes[at] ^ (1 << self.random(8));
            bytes[at] = [0, 1, 0xff, flipped][self.random(4)];
        }
        bytes
    }
}

/// Several contexts of a model that doubles any number of rows of three, each on a thread.
pub(crate) fn compute_beside_each_other(graph: &Arc<dyn Graph>) {
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            scope.spawn(move || {
                let mut context = open(graph);
                for round in 0..100_u8 {
                    let value = f32::from(thread) * 1000.0 + f32::from(round);
                    let rows = u32::from(round % 4);
                    let input = f32s(&[rows, 3], &vec![value; 3 * rows as usize]);
                    context.set_input(0, input).unwrap();
                    context.compute().unwrap();
                    assert_eq!(floats(&*context, 0), vec![2.0 * value; 3 * rows as usize]);
                }
            });
        }
    });
}
