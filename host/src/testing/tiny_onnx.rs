//! Tiny ONNX models, written without any tool.
//!
//! ```
//! # use llm_wasi_host::testing::{TinyOnnx, onnx_type};
//! let double = TinyOnnx::new()
//!     .input("x", onnx_type::F32, &[-1, 3])
//!     .node("Add", &["x", "x"], &["y"])
//!     .output("y", onnx_type::F32, &[-1, 3])
//!     .to_bytes();
//! ```

/// Numbers of ONNX's element types.
pub mod onnx_type {
    #![allow(missing_docs, reason = "the names say it")]

    pub const F32: u64 = 1;
    pub const U8: u64 = 2;
    pub const I8: u64 = 3;
    pub const I32: u64 = 6;
    pub const I64: u64 = 7;
    pub const STRING: u64 = 8;
    pub const BOOL: u64 = 9;
    pub const F16: u64 = 10;
    pub const F64: u64 = 11;
    pub const BF16: u64 = 16;
}

/// Version of the format, and of its operators.
const IR_VERSION: u64 = 8;
const OPSET: u64 = 17;

/// A model that is being written. Negative sizes of dimensions are open.
#[derive(Clone, Debug, Default)]
pub struct TinyOnnx {
    /// Fields of the graph.
    graph: Vec<u8>,
}

impl TinyOnnx {
    /// A model without anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input.
    #[must_use]
    pub fn input(mut self, name: &str, ty: u64, dimensions: &[i64]) -> Self {
        bytes(
            &mut self.graph,
            11,
            &value(name, &tensor_type(ty, Some(dimensions))),
        );
        self
    }

    /// Adds an input that leaves even the number of its dimensions open.
    #[must_use]
    pub fn unranked_input(mut self, name: &str, ty: u64) -> Self {
        bytes(&mut self.graph, 11, &value(name, &tensor_type(ty, None)));
        self
    }

    /// Adds an output.
    #[must_use]
    pub fn output(mut self, name: &str, ty: u64, dimensions: &[i64]) -> Self {
        bytes(
            &mut self.graph,
            12,
            &value(name, &tensor_type(ty, Some(dimensions))),
        );
        self
    }

    /// Adds an output that leaves even the number of its dimensions open.
    #[must_use]
    pub fn unranked_output(mut self, name: &str, ty: u64) -> Self {
        bytes(&mut self.graph, 12, &value(name, &tensor_type(ty, None)));
        self
    }

    /// Adds an output that is a sequence of tensors.
    #[must_use]
    pub fn sequence_output(mut self, name: &str, ty: u64, dimensions: &[i64]) -> Self {
        let element = tensor_type(ty, Some(dimensions));
        let sequence = message(|fields| bytes(fields, 4, &message(|f| bytes(f, 1, &element))));
        bytes(&mut self.graph, 12, &value(name, &sequence));
        self
    }

    /// Adds an operator without attributes.
    #[must_use]
    pub fn node(self, operator: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        self.node_with(operator, inputs, outputs, &[])
    }

    /// Adds an operator with attributes that are whole numbers.
    #[must_use]
    pub fn node_with(
        mut self,
        operator: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, u64)],
    ) -> Self {
        let node = message(|node| {
            for input in inputs {
                bytes(node, 1, input.as_bytes());
            }
            for output in outputs {
                bytes(node, 2, output.as_bytes());
            }
            bytes(node, 4, operator.as_bytes());
            for (name, integer) in attributes {
                let attribute = message(|attribute| {
                    bytes(attribute, 1, name.as_bytes());
                    number(attribute, 3, *integer);
                    // Its type is INT.
                    number(attribute, 20, 2);
                });
                bytes(node, 5, &attribute);
            }
        });
        bytes(&mut self.graph, 1, &node);
        self
    }

    /// Adds a loop that doubles `input` as often as `count` says, a scalar of `i64`.
    #[must_use]
    pub fn doubling_loop(mut self, count: &str, input: &str, output: &str) -> Self {
        let body = TinyOnnx::new()
            .input("iteration", onnx_type::I64, &[])
            .input("goes_on", onnx_type::BOOL, &[])
            .unranked_input("value", onnx_type::F32)
            .node("Identity", &["goes_on"], &["goes_on_still"])
            .node("Add", &["value", "value"], &["twice"])
            .output("goes_on_still", onnx_type::BOOL, &[])
            .unranked_output("twice", onnx_type::F32);
        let body = message(|graph| {
            bytes(graph, 2, b"body");
            graph.extend_from_slice(&body.graph);
        });
        let attribute = message(|attribute| {
            bytes(attribute, 1, b"body");
            bytes(attribute, 6, &body);
            // Its type is GRAPH.
            number(attribute, 20, 5);
        });
        let node = message(|node| {
            for name in [count, "", input] {
                bytes(node, 1, name.as_bytes());
            }
            bytes(node, 2, output.as_bytes());
            bytes(node, 4, b"Loop");
            bytes(node, 5, &attribute);
        });
        bytes(&mut self.graph, 1, &node);
        self
    }

    /// Adds a constant with these elements.
    #[must_use]
    pub fn constant(mut self, name: &str, ty: u64, dimensions: &[u64], elements: &[u8]) -> Self {
        let tensor = message(|tensor| {
            start_of_tensor(tensor, name, ty, dimensions);
            bytes(tensor, 9, elements);
        });
        bytes(&mut self.graph, 5, &tensor);
        self
    }

    /// Adds a constant whose elements are in a file beside the model.
    #[must_use]
    pub fn constant_in_file(mut self, name: &str, ty: u64, dimensions: &[u64], file: &str) -> Self {
        let entry = message(|entry| {
            bytes(entry, 1, b"location");
            bytes(entry, 2, file.as_bytes());
        });
        let tensor = message(|tensor| {
            start_of_tensor(tensor, name, ty, dimensions);
            bytes(tensor, 13, &entry);
            number(tensor, 14, 1);
        });
        bytes(&mut self.graph, 5, &tensor);
        self
    }

    /// The model's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        message(|model| {
            number(model, 1, IR_VERSION);
            bytes(model, 2, b"tiny");
            let graph = message(|graph| {
                graph.extend(&self.graph);
                bytes(graph, 2, b"graph");
            });
            bytes(model, 7, &graph);
            bytes(model, 8, &message(|opset| number(opset, 2, OPSET)));
        })
    }
}

fn start_of_tensor(tensor: &mut Vec<u8>, name: &str, ty: u64, dimensions: &[u64]) {
    for dimension in dimensions {
        number(tensor, 1, *dimension);
    }
    number(tensor, 2, ty);
    bytes(tensor, 8, name.as_bytes());
}

/// A name with its type.
fn value(name: &str, ty: &[u8]) -> Vec<u8> {
    message(|value| {
        bytes(value, 1, name.as_bytes());
        bytes(value, 2, ty);
    })
}

fn tensor_type(ty: u64, dimensions: Option<&[i64]>) -> Vec<u8> {
    let shape = |dimensions: &[i64]| {
        message(|shape| {
            for dimension in dimensions {
                let size = message(|size| match u64::try_from(*dimension) {
                    Ok(known) => number(size, 1, known),
                    Err(_) => bytes(size, 2, b"n"),
                });
                bytes(shape, 1, &size);
            }
        })
    };
    let tensor = message(|tensor| {
        number(tensor, 1, ty);
        if let Some(dimensions) = dimensions {
            bytes(tensor, 2, &shape(dimensions));
        }
    });
    message(|fields| bytes(fields, 1, &tensor))
}

fn message(fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut fields = Vec::new();
    fill(&mut fields);
    fields
}

fn number(fields: &mut Vec<u8>, field: u64, value: u64) {
    varint(fields, field << 3);
    varint(fields, value);
}

fn bytes(fields: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(fields, field << 3 | 2);
    varint(fields, value.len() as u64);
    fields.extend(value);
}

fn varint(fields: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        fields.push(value as u8 | 0x80);
        value >>= 7;
    }
    fields.push(value as u8);
}
