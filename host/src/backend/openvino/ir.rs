//! A look at a program's IR before OpenVINO reads it: a layer with fewer inputs than its operator reads makes the
//! library read behind its own list of them.

use crate::Error;

/// Operators without an input.
const SOURCES: [&str; 4] = ["Parameter", "Const", "Constant", "ReadValue"];
/// Operators that read more than one input, with how many.
const SEVERAL: [(&str, usize); 67] = [
    ("Add", 2),
    ("Subtract", 2),
    ("Multiply", 2),
    ("Divide", 2),
    ("Power", 2),
    ("Maximum", 2),
    ("Minimum", 2),
    ("Mod", 2),
    ("FloorMod", 2),
    ("SquaredDifference", 2),
    ("Equal", 2),
    ("NotEqual", 2),
    ("Less", 2),
    ("LessEqual", 2),
    ("Greater", 2),
    ("GreaterEqual", 2),
    ("LogicalAnd", 2),
    ("LogicalOr", 2),
    ("LogicalXor", 2),
    ("BitwiseAnd", 2),
    ("BitwiseOr", 2),
    ("BitwiseXor", 2),
    ("MatMul", 2),
    ("Convolution", 2),
    ("ConvolutionBackpropData", 2),
    ("GroupConvolution", 2),
    ("GroupConvolutionBackpropData", 2),
    ("DeformableConvolution", 3),
    ("Reshape", 2),
    ("Tile", 2),
    ("Broadcast", 2),
    ("Transpose", 2),
    ("Unsqueeze", 2),
    ("Gather", 3),
    ("GatherND", 2),
    ("GatherElements", 2),
    ("GatherTree", 4),
    ("ScatterUpdate", 4),
    ("ScatterElementsUpdate", 4),
    ("ScatterNDUpdate", 3),
    ("Split", 2),
    ("VariadicSplit", 3),
    ("Pad", 3),
    ("Range", 3),
    ("Select", 3),
    ("StridedSlice", 3),
    ("Slice", 4),
    ("OneHot", 4),
    ("TopK", 2),
    ("PReLU", 2),
    ("Selu", 3),
    ("HardSigmoid", 3),
    ("FakeQuantize", 5),
    ("Roll", 3),
    ("Bucketize", 2),
    ("ReduceSum", 2),
    ("ReduceMean", 2),
    ("ReduceMax", 2),
    ("ReduceMin", 2),
    ("ReduceProd", 2),
    ("ReduceL1", 2),
    ("ReduceL2", 2),
    ("ReduceLogicalAnd", 2),
    ("ReduceLogicalOr", 2),
    ("NormalizeL2", 2),
    ("NonMaxSuppression", 2),
    ("Loop", 2),
];

/// A layer whose end has not come.
struct Layer<'a> {
    name: &'a str,
    operator: &'a str,
    inputs: usize,
    /// Whether this is between `<input>` and `</input>`.
    in_inputs: bool,
}

/// Fails for a layer with fewer inputs than its operator reads. What is no XML is left to the library.
pub(super) fn check(xml: &[u8]) -> Result<(), Error> {
    let text = String::from_utf8_lossy(xml);
    let mut layers: Vec<Layer<'_>> = Vec::new();
    let mut rest = text.as_ref();
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, rest)| rest);
            continue;
        }
        let (tag, behind) = rest.split_at(end_of_tag(rest));
        rest = behind;
        let name = tag.split(|c: char| c.is_ascii_whitespace() || c == '/');
        let closes_itself = tag.ends_with('/');
        match (name.clone().next().unwrap_or_default(), layers.last_mut()) {
            ("layer", _) => {
                let layer = Layer {
                    name: attribute(tag, "name"),
                    operator: attribute(tag, "type"),
                    inputs: 0,
                    in_inputs: false,
                };
                if closes_itself {
                    layer.check()?;
                } else {
                    layers.push(layer);
                }
            }
            ("input", Some(layer)) => layer.in_inputs = !closes_itself,
            ("port", Some(layer)) => layer.inputs += usize::from(layer.in_inputs),
            ("", Some(layer)) if tag == "/input" => layer.in_inputs = false,
            ("", Some(_)) if tag == "/layer" => {
                if let Some(layer) = layers.pop() {
                    layer.check()?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where a tag ends; what is quoted may have the mark in it.
fn end_of_tag(tag: &str) -> usize {
    let mut quote = None;
    for (at, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return at,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    tag.len()
}

/// The value of a tag's attribute.
fn attribute<'a>(tag: &'a str, name: &str) -> &'a str {
    let mut rest = tag;
    while let Some(at) = rest.find(name) {
        let alone = rest[..at].ends_with(|c: char| c.is_ascii_whitespace());
        rest = &rest[at + name.len()..];
        let value = rest.trim_start().strip_prefix('=').map(str::trim_start);
        let Some(value) = value.filter(|_| alone) else {
            continue;
        };
        for quote in ['"', '\''] {
            if let Some(value) = value.strip_prefix(quote) {
                return value.split(quote).next().unwrap_or_default();
            }
        }
    }
    ""
}

impl Layer<'_> {
    fn check(&self) -> Result<(), Error> {
        let several = SEVERAL
            .iter()
            .find(|(operator, _)| *operator == self.operator);
        let least = match several {
            Some((_, inputs)) => *inputs,
            None => usize::from(!SOURCES.contains(&self.operator)),
        };
        if self.inputs >= least {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "expected at least {least} inputs of the layer `{}`, as the operator {} has them, found {}: convert the \
             model again",
            crate::backend::shorten(self.name),
            crate::backend::shorten(self.operator),
            self.inputs
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(operator: &str, inputs: usize) -> String {
        let ports = "<port id=\"0\"><dim>1</dim></port>".repeat(inputs);
        format!(
            "<net><layers><layer id=\"0\" name=\"a > b\" type=\"{operator}\"><data shape=\"1\"/><input>{ports}</input>\
             <output><port id=\"9\"/></output></layer></layers></net>"
        )
    }

    #[test]
    fn layers_have_the_inputs_that_they_read() {
        for (operator, inputs, good) in [
            ("Parameter", 0, true),
            ("Const", 0, true),
            ("Result", 0, false),
            ("Result", 1, true),
            ("Broadcast", 0, false),
            ("Broadcast", 1, false),
            ("Broadcast", 2, true),
            ("Gather", 2, false),
            ("Concat", 7, true),
        ] {
            let found = check(layer(operator, inputs).as_bytes());
            assert_eq!(found.is_ok(), good, "{operator} {inputs}: {found:?}");
        }
        let error = check(layer("Add", 1).as_bytes()).unwrap_err();
        assert!(error.message.contains("`a > b`"), "{error}");
    }

    #[test]
    fn any_text_is_looked_through() {
        for text in [
            "",
            "<",
            "<layer",
            "<layer/>x",
            "</layer></input><port>",
            "<!-- <layer type=\"Add\"></layer>",
            "<layer type='Parameter'><layer type=\"Add",
            "<input><port/></input>",
        ] {
            let _ = check(text.as_bytes());
        }
        assert!(check(b"<!-- --><layer type=\"Add\"/>").is_err());
        assert!(check(b"<layer xtype=\"Add\" type='Parameter'/>").is_ok());
    }
}
