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

/// An element whose end has not come.
struct Element<'a> {
    tag: &'a str,
    /// Of the kinds that matter, where the library looks for them.
    kind: Kind<'a>,
}

enum Kind<'a> {
    Layer(Layer<'a>),
    /// The first list of a layer's inputs: the library sees no other one.
    Inputs,
    Other,
}

struct Layer<'a> {
    name: &'a str,
    operator: &'a str,
    has_list: bool,
    inputs: usize,
}

/// Fails for a layer with fewer inputs than its operator reads. What is no XML is left to the library.
pub(super) fn check(xml: &[u8]) -> Result<(), Error> {
    let text = String::from_utf8_lossy(xml);
    let mut open: Vec<Element<'_>> = Vec::new();
    let mut rest = text.as_ref();
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        // What is between these is no element, whatever it looks like.
        let texts = [("!--", "-->"), ("![CDATA[", "]]>"), ("?", "?>")];
        if let Some((start, end)) = texts.iter().find(|(start, _)| rest.starts_with(start)) {
            let behind = rest[start.len()..].split_once(end);
            rest = behind.map_or("", |(_, rest)| rest);
            continue;
        }
        if rest.starts_with('!') {
            return Err(Error::invalid(
                "expected IR of elements alone, found a declaration of their types",
            ));
        }
        let (tag, behind) = rest.split_at(end_of_tag(rest));
        rest = behind;
        if let Some(name) = tag.strip_prefix('/') {
            let element = open.pop();
            let Some(element) = element.filter(|element| element.tag == name.trim_end()) else {
                // The library does not read on, and refuses it.
                return Ok(());
            };
            if let Kind::Layer(layer) = element.kind {
                layer.check()?;
            }
            continue;
        }
        let name = tag.split(|c: char| c.is_ascii_whitespace() || c == '/');
        let name = name.clone().next().unwrap_or_default();
        let kind = kind(name, tag, &mut open);
        if !tag.ends_with('/') {
            open.push(Element { tag: name, kind });
        } else if let Kind::Layer(layer) = kind {
            layer.check()?;
        }
    }
    Ok(())
}

/// What an element is between those that are open. Counts it, if it is an input.
fn kind<'a>(name: &str, tag: &'a str, open: &mut [Element<'a>]) -> Kind<'a> {
    match (name, open) {
        ("layer", _) => Kind::Layer(Layer {
            name: attribute(tag, "name"),
            operator: attribute(tag, "type"),
            has_list: false,
            inputs: 0,
        }),
        (
            "input",
            [
                ..,
                Element {
                    kind: Kind::Layer(layer),
                    ..
                },
            ],
        ) if !layer.has_list => {
            layer.has_list = true;
            Kind::Inputs
        }
        (
            "port",
            [
                ..,
                Element {
                    kind: Kind::Layer(layer),
                    ..
                },
                Element {
                    kind: Kind::Inputs, ..
                },
            ],
        ) => {
            layer.inputs += 1;
            Kind::Other
        }
        _ => Kind::Other,
    }
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
        let operator = crate::backend::shorten(self.operator);
        let expected = match least {
            1 => format!("an input, which all but {} have", SOURCES.join(", ")),
            least => format!("at least {least} inputs, which {operator} has"),
        };
        Err(Error::invalid(format!(
            "layer `{}` of the operator {operator}: expected {expected}, found {}: convert the model again",
            crate::backend::shorten(self.name),
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

    /// As the library does, which looks for elements by their place.
    #[test]
    fn only_inputs_in_their_place_count() {
        let add = |inside: &str| {
            check(
                format!("<net><layers><layer type=\"Add\">{inside}</layer></layers></net>")
                    .as_bytes(),
            )
        };
        assert!(add("<input><port/><port/></input>").is_ok());
        assert!(add("<input ><port id=\"0\"></port><port/></input >").is_ok());
        for inside in [
            "",
            "<input><port/></input>",
            "<input><foo><port/><port/></foo></input>",
            "<input><port><port/></port></input>",
            "<input/><input><port/><port/></input>",
            "<foo><input><port/><port/></input></foo>",
            "<input><![CDATA[<port/><port/>]]></input>",
            "<input><?foo <port/><port/> ?></input>",
            "<input><!-- <port/><port/> --></input>",
            "<port/><port/>",
            "<input></input><port/><port/>",
        ] {
            assert!(add(inside).is_err(), "{inside}");
        }
        assert!(check(b"<!DOCTYPE net><net></net>").is_err());
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
