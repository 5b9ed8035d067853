//! Sequences of calls, valid and hostile.

use crate::backend::MODELS;
use proptest::prelude::*;
use proptest::sample::select;

/// A call, and what is written into the guest's memory before it.
#[derive(Clone, PartialEq, Eq)]
pub struct Step {
    /// Bytes by address, written in order.
    pub writes: Vec<(u32, Vec<u8>)>,
    /// The function.
    pub function: &'static str,
    /// Its arguments.
    pub arguments: Vec<u32>,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, bytes) in &self.writes {
            let shown = &bytes[..bytes.len().min(24)];
            write!(f, "{at:#x} <- {} bytes {shown:02x?}; ", bytes.len())?;
        }
        write!(f, "{}{:x?}", self.function, self.arguments)
    }
}

/// The guest's memory ends here, less what its own exports use.
pub const END: u32 = 2 * crate::guest::PAGE - crate::guest::RESERVED;

/// The specification's functions with the numbers of their parameters.
pub const SPEC: [(&str, usize); 6] = [
    ("load", 5),
    ("load_by_name", 3),
    ("init_execution_context", 2),
    ("set_input", 3),
    ("compute", 1),
    ("get_output", 5),
];

/// What WasmEdge adds, likewise.
pub const WASMEDGE: [(&str, usize); 6] = [
    ("load_by_name_with_config", 5),
    ("get_output_single", 5),
    ("compute_single", 1),
    ("fini_single", 1),
    ("unload", 1),
    ("finalize_execution_context", 1),
];

/// A sequence of calls of the specification's functions.
pub fn spec() -> impl Strategy<Value = Vec<Step>> {
    (opening(), prop::collection::vec(step(), 1..60)).prop_map(joined)
}

/// A sequence of calls of all of WasmEdge's functions.
pub fn wasmedge() -> impl Strategy<Value = Vec<Step>> {
    let steps = prop_oneof![
        30 => step().prop_map(|step| vec![step]),
        20 => wasmedge_step().prop_map(|step| vec![step]),
        1 => stream(),
    ];
    (opening(), prop::collection::vec(steps, 1..60))
        .prop_map(|(first, rest)| joined((first, rest.concat())))
}

fn joined((mut first, rest): (Vec<Step>, Vec<Step>)) -> Vec<Step> {
    first.extend(rest);
    first
}

/// A graph and a context, so that what follows finds something. Now and then nothing.
fn opening() -> impl Strategy<Value = Vec<Step>> {
    let count = prop_oneof![1 => Just(0usize), 12 => 1..4usize];
    count
        .prop_flat_map(|count| prop::collection::vec((name(), 0..5u32, 0..5u32), count))
        .prop_map(|models| {
            let mut steps = Vec::new();
            for (count, (name, a, b)) in models.into_iter().enumerate() {
                steps.push(load_by_name(0x400, name, 0x100 + 4 * a));
                steps.push(Step {
                    writes: Vec::new(),
                    function: "init_execution_context",
                    arguments: vec![count as u32, 0x200 + 4 * b],
                });
            }
            steps
        })
}

fn load_by_name(at: u32, name: Vec<u8>, out: u32) -> Step {
    let arguments = vec![at, name.len() as u32, out];
    Step {
        writes: vec![(at, name)],
        function: "load_by_name",
        arguments,
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (bytes_at(), any_name(), result()).prop_map(|(at, name, out)| load_by_name(at, name, out)),
        2 => load(),
        3 => (handle(), result()).prop_map(|(graph, out)| Step {
            writes: Vec::new(),
            function: "init_execution_context",
            arguments: vec![graph, out],
        }),
        8 => set_input(),
        6 => handle().prop_map(|context| Step {
            writes: Vec::new(),
            function: "compute",
            arguments: vec![context],
        }),
        8 => get_output("get_output"),
        1 => select(SPEC.to_vec()).prop_flat_map(|(name, count)| wild(name, count)),
    ]
}

fn wasmedge_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (bytes_at(), any_name(), bytes_at(), configuration(), result()).prop_map(
            |(at, name, config_at, config, out)| Step {
                arguments: vec![at, name.len() as u32, config_at, config.len() as u32, out],
                // The name last: it decides whether there is a graph.
                writes: vec![(config_at, config), (at, name)],
                function: "load_by_name_with_config",
            }
        ),
        4 => get_output("get_output_single"),
        8 => (select(vec!["compute_single", "fini_single"]), handle()).prop_map(one),
        4 => (select(vec!["unload", "finalize_execution_context"]), handle()).prop_map(one),
        1 => select(WASMEDGE.to_vec()).prop_flat_map(|(name, count)| wild(name, count)),
    ]
}

/// A computation in steps to its end.
fn stream() -> impl Strategy<Value = Vec<Step>> {
    (0..2u32, 0..2u32).prop_map(|(context, index)| {
        let step = one(("compute_single", context));
        let read = Step {
            writes: Vec::new(),
            function: "get_output_single",
            arguments: vec![context, index, 0x3000, 400, 0x100],
        };
        vec![vec![step, read]; 5].concat()
    })
}

fn one((function, handle): (&'static str, u32)) -> Step {
    Step {
        writes: Vec::new(),
        function,
        arguments: vec![handle],
    }
}

fn configuration() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        Just(b"{}".to_vec()),
        Just(br#"{"ctx-size":512}"#.to_vec()),
        Just(vec![0xff, 0xfe]),
        prop::collection::vec(any::<u8>(), 0..300),
    ]
}

/// Whatever memory holds, with arguments that mean nothing.
fn wild(function: &'static str, count: usize) -> impl Strategy<Value = Step> {
    (
        prop::collection::vec(
            (0..END - 64, prop::collection::vec(small_byte(), 0..64)),
            0..3,
        ),
        prop::collection::vec(
            prop_oneof![4 => 0..8u32, 4 => address(4), 2 => 0..END, 1 => any::<u32>()],
            count,
        ),
    )
        .prop_map(move |(writes, arguments)| Step {
            writes,
            function,
            arguments,
        })
}

fn small_byte() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(0u8), 3 => 0..6u8, 1 => any::<u8>()]
}

fn handle() -> impl Strategy<Value = u32> {
    prop_oneof![60 => 0..2u32, 12 => 2..4u32, 3 => 4..12u32, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

/// Addresses from few places, so that they overlap now and then.
fn address(align: u32) -> impl Strategy<Value = u32> {
    (0..100u32, 0..16u32).prop_map(move |(slot, offset)| 0x400 + slot * 1024 + offset * align)
}

fn bytes_at() -> impl Strategy<Value = u32> {
    address(1)
}

fn words_at() -> impl Strategy<Value = u32> {
    prop_oneof![40 => address(4), 1 => address(1)]
}

/// Where a result goes.
fn result() -> impl Strategy<Value = u32> {
    prop_oneof![20 => (0..32u32).prop_map(|slot| 0x100 + 4 * slot), 5 => words_at()]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let names: Vec<Vec<u8>> = MODELS.iter().map(|m| m.0.as_bytes().to_vec()).collect();
    select(names)
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        12 => name(),
        2 => Just(b"unknown".to_vec()),
        1 => Just(vec![0xff, b'a']),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn tag(count: u32) -> impl Strategy<Value = u32> {
    prop_oneof![40 => 0..count, 1 => count..count + 4, 1 => Just(255u32), 1 => Just(256u32), 1 => any::<u32>()]
}

fn load() -> impl Strategy<Value = Step> {
    (
        prop::collection::vec(
            (bytes_at(), prop::collection::vec(any::<u8>(), 0..200)),
            0..4,
        ),
        words_at(),
        tag(6),
        tag(3),
        result(),
    )
        .prop_map(|(mut writes, list, encoding, target, out)| {
            let mut builders = Vec::new();
            for (at, bytes) in &writes {
                builders.extend(at.to_le_bytes());
                builders.extend((bytes.len() as u32).to_le_bytes());
            }
            let count = writes.len() as u32;
            writes.push((list, builders));
            Step {
                writes,
                function: "load",
                arguments: vec![list, count, encoding, target, out],
            }
        })
}

fn set_input() -> impl Strategy<Value = Step> {
    let length = prop_oneof![6 => 0..64usize, 3 => 0..600usize, 1 => 3000..20_000usize];
    (
        (
            handle(),
            prop_oneof![20 => 0..3u32, 2 => 0..12u32, 1 => any::<u32>()],
        ),
        (
            words_at(),
            prop::collection::vec(prop_oneof![4 => 0..5u32, 1 => any::<u32>()], 0..6),
        ),
        tag(6),
        (bytes_at(), length, any::<u64>()),
        words_at(),
        any::<[u8; 3]>(),
    )
        .prop_map(
            |((context, index), (dims_at, dims), ty, (data_at, length, seed), at, padding)| {
                let data: Vec<u8> = (0..length as u64)
                    .map(|i| (seed.wrapping_mul(i * 2 + 1) >> 56) as u8)
                    .collect();
                let mut record = Vec::new();
                record.extend(dims_at.to_le_bytes());
                record.extend((dims.len() as u32).to_le_bytes());
                record.push(ty as u8);
                // Padding is undefined.
                record.extend(padding);
                record.extend(data_at.to_le_bytes());
                record.extend((data.len() as u32).to_le_bytes());
                let dims = dims.iter().flat_map(|d| d.to_le_bytes()).collect();
                Step {
                    // The record last, so that it is what it is meant to be even where they overlap.
                    writes: vec![(data_at, data), (dims_at, dims), (at, record)],
                    function: "set_input",
                    arguments: vec![context, index, at],
                }
            },
        )
}

fn get_output(function: &'static str) -> impl Strategy<Value = Step> {
    let buffer = prop_oneof![6 => bytes_at(), 1 => Just(0u32), 1 => Just(0x1000u32)];
    let max = prop_oneof![
        6 => 200..9000u32,
        3 => 0..60u32,
        1 => Just(0u32),
        1 => Just(0x12000u32),
        1 => Just(u32::MAX),
    ];
    (
        handle(),
        prop_oneof![8 => 0..3u32, 2 => 0..9u32, 1 => any::<u32>(), 1 => Just(u32::MAX)],
        buffer,
        max,
        result(),
    )
        .prop_map(move |(context, index, buffer, max, out)| Step {
            writes: Vec::new(),
            function,
            arguments: vec![context, index, buffer, max, out],
        })
}
