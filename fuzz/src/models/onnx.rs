//! ONNX files by their fields: messages are taken apart, changed, and put together with lengths that fit.

use super::values::{below, damage, one_of, whole};
use llm_wasi_host::testing::{TinyOnnx, onnx_type};
use proptest::prelude::Rng;

/// Operators that make much of little, that have bodies of their own, or that go by numbers from a tensor.
const OPERATORS: [&str; 26] = [
    "Add",
    "Mul",
    "Identity",
    "Reshape",
    "Expand",
    "Tile",
    "Range",
    "ConstantOfShape",
    "Pad",
    "Gather",
    "GatherND",
    "ScatterND",
    "Slice",
    "Split",
    "Concat",
    "Transpose",
    "OneHot",
    "Resize",
    "If",
    "Loop",
    "Scan",
    "SequenceAt",
    "MatMul",
    "Conv",
    "MaxPool",
    "NoSuchOperator",
];
/// How deep messages are taken apart.
const DEPTH: u32 = 12;

#[derive(Clone)]
struct Field {
    number: u64,
    value: Value,
}

#[derive(Clone)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
    Message(Vec<Field>),
}

/// File `index` of a campaign.
pub(super) fn file(index: u64, rng: &mut impl Rng) -> Vec<u8> {
    let bytes = good(below(rng, 3));
    let first = good(0);
    if index == 0 {
        return first;
    }
    // Cut off behind each byte, of which there are few.
    if index as usize <= first.len() {
        return first[..index as usize - 1].to_vec();
    }
    if below(rng, 8) == 0 {
        let mut bytes = bytes;
        damage(rng, &mut bytes, usize::MAX);
        return bytes;
    }
    let mut model = message(&bytes, 0).expect("the good model is a message");
    for _ in 0..=below(rng, 4) {
        change(&mut model, rng);
    }
    let mut bytes = write(&model);
    if below(rng, 8) == 0 {
        damage(rng, &mut bytes, usize::MAX);
    }
    bytes
}

fn good(which: usize) -> Vec<u8> {
    let model = TinyOnnx::new()
        .input("a", onnx_type::F32, &[-1])
        .input("b", onnx_type::I64, &[-1])
        .node_with("Cast", &["b"], &["c"], &[("to", onnx_type::F32)])
        .node("Add", &["a", "c"], &["sum"])
        .output("sum", onnx_type::F32, &[-1]);
    let words = |words: &[i64]| -> Vec<u8> { words.iter().flat_map(|w| w.to_le_bytes()).collect() };
    match which {
        0 => model
            .constant("w", onnx_type::F32, &[2], &[0; 8])
            .node("Mul", &["a", "w"], &["scaled"])
            .output("scaled", onnx_type::F32, &[-1]),
        1 => model
            .constant("shape", onnx_type::I64, &[2], &words(&[1, 2]))
            .node("Reshape", &["sum", "shape"], &["shaped"])
            .node("Tile", &["shaped", "shape"], &["tiled"])
            .output("tiled", onnx_type::F32, &[-1, -1]),
        _ => model
            .constant("zero", onnx_type::I64, &[], &words(&[0]))
            .constant("four", onnx_type::I64, &[], &words(&[4]))
            .constant("one", onnx_type::I64, &[], &words(&[1]))
            .node("Range", &["zero", "four", "one"], &["range"])
            .node_with("Gather", &["sum", "zero"], &["first"], &[("axis", 0)])
            .output("range", onnx_type::I64, &[-1])
            .output("first", onnx_type::F32, &[]),
    }
    .to_bytes()
}

/// The bytes as a message, if they look like one.
fn message(mut rest: &[u8], depth: u32) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let number = tag >> 3;
        if !(1..=64).contains(&number) {
            return None;
        }
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut rest)?),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, behind) = rest.split_at_checked(length)?;
                rest = behind;
                let readable = bytes.iter().all(|byte| byte.is_ascii_graphic());
                let inner = if readable || depth >= DEPTH {
                    None
                } else {
                    message(bytes, depth + 1)
                };
                inner.map_or_else(|| Value::Bytes(bytes.to_vec()), Value::Message)
            }
            _ => return None,
        };
        fields.push(Field { number, value });
    }
    Some(fields)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn write(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        match &field.value {
            Value::Number(number) => {
                put(&mut bytes, field.number << 3);
                put(&mut bytes, *number);
            }
            Value::Bytes(value) => put_bytes(&mut bytes, field.number, value),
            Value::Message(inner) => put_bytes(&mut bytes, field.number, &write(inner)),
        }
    }
    bytes
}

fn put_bytes(bytes: &mut Vec<u8>, number: u64, value: &[u8]) {
    put(bytes, number << 3 | 2);
    put(bytes, value.len() as u64);
    bytes.extend(value);
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn texts(fields: &[Field], found: &mut Vec<Vec<u8>>) {
    for field in fields {
        match &field.value {
            Value::Bytes(bytes) if bytes.iter().all(u8::is_ascii_graphic) => {
                found.push(bytes.clone());
            }
            Value::Message(inner) => texts(inner, found),
            _ => {}
        }
    }
}

fn change(model: &mut Vec<Field>, rng: &mut impl Rng) {
    let mut names = Vec::new();
    texts(model, &mut names);
    let mut fields = model;
    // Down, as a rule to where something is.
    loop {
        if fields.is_empty() {
            return;
        }
        let at = below(rng, fields.len());
        if matches!(fields[at].value, Value::Message(_)) && below(rng, 10) > 0 {
            let Value::Message(inner) = &mut fields[at].value else {
                return;
            };
            fields = inner;
            continue;
        }
        match below(rng, 12) {
            0 => drop(fields.remove(at)),
            1 => {
                let field = fields[at].clone();
                fields.insert(at, field);
            }
            2 => {
                let other = below(rng, fields.len());
                fields.swap(at, other);
            }
            3 => fields[at].number = 1 + below(rng, 30) as u64,
            4 => {
                // A message within itself, some times.
                for _ in 0..below(rng, 40) {
                    let inner = Value::Message(vec![fields[at].clone()]);
                    fields[at].value = inner;
                }
            }
            _ => match &mut fields[at].value {
                Value::Number(number) => *number = whole(rng, *number),
                // Names that others have make cycles and doubles; those of operators, other models.
                Value::Bytes(bytes) if !names.is_empty() => match below(rng, 4) {
                    0 => damage(rng, bytes, usize::MAX),
                    1 if bytes.first().is_some_and(u8::is_ascii_uppercase) => {
                        *bytes = one_of(rng, &OPERATORS).as_bytes().to_vec();
                    }
                    1 if bytes.len() % 8 == 0 => {
                        for word in bytes.chunks_mut(8) {
                            word.copy_from_slice(&whole(rng, 2).to_le_bytes());
                        }
                    }
                    _ => *bytes = one_of(rng, &names).clone(),
                },
                Value::Bytes(bytes) => damage(rng, bytes, usize::MAX),
                Value::Message(inner) => inner.clear(),
            },
        }
        return;
    }
}
