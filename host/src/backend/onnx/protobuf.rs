//! As much of ONNX's format as the host has to read itself.
//!
//! A model may keep the elements of a tensor in another file. For a model that a guest passed, the library
//! would take that file from the host's working folder, so [`check`] refuses such a model, wherever in it
//! the tensor is.

use crate::{Error, ErrorCode};

/// How deep messages may lie in each other; no more than the library's own parser allows.
const DEPTH: u32 = 100;

/// The versions of the format that a model may claim to be detected; others load if they are named.
const IR_VERSIONS: std::ops::RangeInclusive<u64> = 3..=99;

/// The messages that may lead to a tensor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    Training,
    Function,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
}

impl Message {
    /// The message in field `number`, if it may lead to a tensor.
    fn part(self, number: u64) -> Option<Self> {
        match (self, number) {
            (Self::Model, 7) | (Self::Training, 1 | 2) | (Self::Attribute, 6 | 11) => {
                Some(Self::Graph)
            }
            (Self::Model, 20) => Some(Self::Training),
            (Self::Model, 25) => Some(Self::Function),
            (Self::Graph, 1) | (Self::Function, 7) => Some(Self::Node),
            (Self::Node, 5) | (Self::Function, 11) => Some(Self::Attribute),
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => {
                Some(Self::Tensor)
            }
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Some(Self::SparseTensor),
            _ => None,
        }
    }
}

/// The value of a field.
enum Value<'a> {
    Number(u64),
    /// Four or eight bytes.
    Fixed,
    Bytes(&'a [u8]),
    /// Bytes that go on behind the end of what is there.
    Cut,
}

/// The bytes are no message.
#[derive(Debug)]
struct Malformed;

/// The fields of a message, from first to last.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(Malformed)?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    fn skip(&mut self, length: usize) -> Result<(), Malformed> {
        self.rest = self.rest.get(length..).ok_or(Malformed)?;
        Ok(())
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let tag = self.number()?;
        let number = tag >> 3;
        // A parser with a narrower view of tags would see another field.
        if number == 0 || tag > u64::from(u32::MAX) {
            return Err(Malformed);
        }
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => self.skip(8).map(|()| Value::Fixed)?,
            5 => self.skip(4).map(|()| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
                match self.rest.split_at_checked(length) {
                    Some((bytes, rest)) => {
                        self.rest = rest;
                        Value::Bytes(bytes)
                    }
                    None => {
                        self.rest = &[];
                        Value::Cut
                    }
                }
            }
            // Groups, which ONNX does not have.
            _ => return Err(Malformed),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Whether a file that starts with these bytes is an ONNX model: the version of the format, and then fields
/// that a model has.
pub(super) fn starts_like_onnx(start: &[u8]) -> bool {
    let mut fields = Fields { rest: start };
    let Some(Ok((1, Value::Number(version)))) = fields.next() else {
        return false;
    };
    if !IR_VERSIONS.contains(&version) {
        return false;
    }
    let mut others = 0;
    while !fields.rest.is_empty() {
        let known = match fields.field() {
            Ok((2..=4 | 6, Value::Bytes(text))) => std::str::from_utf8(text).is_ok(),
            Ok((2..=4 | 6 | 7 | 8 | 14 | 20 | 25 | 26, Value::Bytes(_) | Value::Cut)) => true,
            Ok((5, Value::Number(_))) => true,
            Ok(_) => false,
            // Where the start ends is chance.
            Err(Malformed) => return others > 0 && fields.rest.is_empty(),
        };
        if !known {
            return false;
        }
        others += 1;
    }
    others > 0
}

/// Fails if a model that a guest passed is none, or has a tensor whose elements are in a file.
pub(super) fn check(model: &[u8]) -> Result<(), Error> {
    match names_a_file(model, Message::Model, 0) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Error::new(
            ErrorCode::Security,
            "expected a model that is whole, found one with a tensor in another file: a program may not \
             read the host's files this way; name the model to the host with --nn-preload",
        )),
        Err(Malformed) => Err(Error::invalid(format!(
            "expected an ONNX model, found {} bytes that are none or not all of one",
            model.len()
        ))),
    }
}

fn names_a_file(bytes: &[u8], message: Message, depth: u32) -> Result<bool, Malformed> {
    if depth > DEPTH {
        return Err(Malformed);
    }
    for field in (Fields { rest: bytes }) {
        let found = match field? {
            (_, Value::Cut) => return Err(Malformed),
            // `external_data`, and `data_location` if it is not the default.
            (13, Value::Bytes(_)) if message == Message::Tensor => true,
            (14, Value::Number(1..)) if message == Message::Tensor => true,
            (number, Value::Bytes(bytes)) => match message.part(number) {
                Some(part) => names_a_file(bytes, part, depth + 1)?,
                None => false,
            },
            _ => false,
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        assert!(bytes.len() < 128, "the length is one byte here");
        [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat()
    }

    /// Fields from 16 on have a longer tag.
    fn far_field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let tag = u32::from(number) << 3 | 2;
        [
            &[
                (tag & 0x7f) as u8 | 0x80,
                (tag >> 7) as u8,
                bytes.len() as u8,
            ][..],
            bytes,
        ]
        .concat()
    }

    fn model(graph: &[u8]) -> Vec<u8> {
        [&[8, 10][..], &field(7, graph)].concat()
    }

    #[test]
    fn onnx_is_told_from_everything_else() {
        let start = [&[8, 10][..], &field(2, b"pytorch"), &field(3, b"2.1")].concat();
        assert!(starts_like_onnx(&start));
        assert!(starts_like_onnx(&model(&field(2, b"graph"))));
        // The start of a file ends anywhere; a producer's name says enough.
        for end in 4..start.len() {
            assert!(starts_like_onnx(&start[..end]), "{end}");
        }
        // A graph larger than the start.
        assert!(starts_like_onnx(&[8, 4, 7 << 3 | 2, 0xff, 0xff, 3, 10, 2]));
        for other in [
            &b""[..],
            b"GGUF\x03\0\0\0",
            b"<?xml version=\"1.0\"?>",
            b"PK\x03\x04",
            b"\x1c\0\0\0TFL3",
            b"a text",
            &[8],
            &[8, 10],
            // TensorFlow's saved model: version 1, then a message.
            &[&[8, 1][..], &field(2, &field(1, b"meta"))].concat(),
            // Fields that no model has, or of the wrong type.
            &[&[8, 10][..], &field(9, b"x")].concat(),
            &[8, 10, 2 << 3, 1],
            &[&[8, 10][..], &field(2, b"\xff\xfe")].concat(),
            &[8, 0x80],
            &[8, 10, 3 << 3 | 3],
        ] {
            assert!(!starts_like_onnx(other), "{other:?}");
        }
    }

    #[test]
    fn a_tensor_in_a_file_is_found_wherever_it_is() {
        let location = field(13, &[field(1, b"location"), field(2, b"secret")].concat());
        let graph = |attribute: &[u8]| model(&field(1, &field(5, attribute)));
        let subgraph = field(6, &field(5, &location));
        let function = field(7, &field(5, &field(5, &location)));
        let cases = [
            ("initializer", model(&field(5, &location))),
            ("location alone", model(&field(5, &[14 << 3, 1]))),
            ("an unknown location", model(&field(5, &[14 << 3, 0x82, 0]))),
            ("a long tag", model(&field(5, &[0xea, 0x80, 0x80, 0, 1, 0]))),
            ("attribute", graph(&field(5, &location))),
            ("attribute's list", graph(&field(10, &location))),
            ("subgraph", graph(&subgraph)),
            ("subgraphs", graph(&field(11, &field(5, &location)))),
            ("sparse", model(&field(15, &field(1, &location)))),
            ("sparse indices", model(&field(15, &field(2, &location)))),
            (
                "sparse attribute",
                graph(&far_field(22, &field(1, &location))),
            ),
            ("function", [model(b""), far_field(25, &function)].concat()),
            (
                "function's default",
                [model(b""), far_field(25, &field(11, &field(5, &location)))].concat(),
            ),
            (
                "training",
                [model(b""), far_field(20, &field(2, &field(5, &location)))].concat(),
            ),
            (
                "the second graph, which is merged with the first",
                [model(b""), field(7, &field(5, &location))].concat(),
            ),
        ];
        for (name, bytes) in cases {
            let error = check(&bytes).expect_err(name);
            assert_eq!(error.code, ErrorCode::Security, "{name}: {error}");
        }
        // The same numbers elsewhere mean something else, and the default location is none.
        for (name, bytes) in [
            ("model", [model(b""), field(13, b"x")].concat()),
            ("graph", model(&field(13, b"x"))),
            ("default", model(&field(5, &[14 << 3, 0]))),
            ("raw data", model(&field(5, &field(9, &location)))),
        ] {
            assert!(check(&bytes).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let good = model(&field(5, &field(9, b"data")));
        check(&good).unwrap();
        for end in 3..good.len() {
            let error = check(&good[..end]).expect_err("cut");
            assert_eq!(error.code, ErrorCode::InvalidArgument, "{end}");
        }
        let mut deep = Vec::new();
        for _ in 0..60 {
            // A graph in an attribute of a node in a graph; lengths of two bytes from the middle on.
            for number in [6_u8, 5, 1] {
                let length = [0x80 | (deep.len() & 0x7f) as u8, (deep.len() >> 7) as u8];
                deep = [&[number << 3 | 2][..], &length, &deep].concat();
            }
        }
        let length = [0x80 | (deep.len() & 0x7f) as u8, (deep.len() >> 7) as u8];
        let deep = [&[8, 10, 7 << 3 | 2][..], &length, &deep].concat();
        for (name, bytes) in [
            ("a group", vec![8, 10, 7 << 3 | 3]),
            ("field 0", vec![0, 1]),
            ("a tag of 33 bits", vec![0x80, 0x80, 0x80, 0x80, 0x10, 0]),
            (
                "a number without an end",
                vec![
                    8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                ],
            ),
            ("text", b"neither this nor that".to_vec()),
            ("too deep", deep),
        ] {
            assert!(check(&bytes).is_err(), "{name}");
        }
    }
}
