//! Tiny models in OpenVINO's intermediate representation, written without any tool.
//!
//! ```
//! # use llm_wasi_host::testing::TinyIr;
//! let double = TinyIr::new()
//!     .parameter("x", "f32", &[-1, 3])
//!     .operator("Add", "y", "f32", &[-1, 3], &["x", "x"])
//!     .result("y")
//!     .to_xml();
//! ```

use std::fmt::Write;

/// A model that is being written. Negative sizes of dimensions are open.
#[derive(Clone, Debug, Default)]
pub struct TinyIr {
    layers: Vec<Layer>,
    weights: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Layer {
    name: String,
    operator: &'static str,
    /// Attributes of the element `data`.
    data: String,
    precision: String,
    dimensions: Vec<i64>,
    /// Layers that it takes its inputs from.
    inputs: Vec<usize>,
}

impl TinyIr {
    /// A model without anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input.
    #[must_use]
    pub fn parameter(self, name: &str, ty: &str, dimensions: &[i64]) -> Self {
        let shape: Vec<_> = dimensions
            .iter()
            .map(|size| {
                if *size < 0 {
                    "?".to_owned()
                } else {
                    size.to_string()
                }
            })
            .collect();
        let data = format!("shape=\"{}\" element_type=\"{ty}\"", shape.join(","));
        self.layer("Parameter", name, data, ty, dimensions, &[])
    }

    /// Adds a constant, whose elements are in the weights.
    #[must_use]
    pub fn constant(mut self, name: &str, ty: &str, dimensions: &[i64], elements: &[u8]) -> Self {
        let shape: Vec<_> = dimensions.iter().map(i64::to_string).collect();
        let data = format!(
            "element_type=\"{ty}\" shape=\"{}\" offset=\"{}\" size=\"{}\"",
            shape.join(","),
            self.weights.len(),
            elements.len()
        );
        self.weights.extend(elements);
        self.layer("Const", name, data, ty, dimensions, &[])
    }

    /// Adds an operator with one output, on the outputs of layers with these names.
    #[must_use]
    pub fn operator(
        self,
        operator: &'static str,
        name: &str,
        ty: &str,
        dimensions: &[i64],
        inputs: &[&str],
    ) -> Self {
        let data = match operator {
            "Convert" => format!("destination_type=\"{ty}\""),
            _ => "auto_broadcast=\"numpy\"".to_owned(),
        };
        self.layer(operator, name, data, ty, dimensions, inputs)
    }

    /// Makes the output of a layer one of the model.
    #[must_use]
    pub fn result(self, of: &str) -> Self {
        let source = self.find(of);
        let (ty, dimensions) = (
            self.layers[source].precision.clone(),
            self.layers[source].dimensions.clone(),
        );
        let name = format!("{of}/result");
        self.layer("Result", &name, String::new(), &ty, &dimensions, &[of])
    }

    fn layer(
        mut self,
        operator: &'static str,
        name: &str,
        data: String,
        ty: &str,
        dimensions: &[i64],
        inputs: &[&str],
    ) -> Self {
        let inputs = inputs.iter().map(|name| self.find(name)).collect();
        self.layers.push(Layer {
            name: name.to_owned(),
            operator,
            data,
            precision: ty.to_owned(),
            dimensions: dimensions.to_vec(),
            inputs,
        });
        self
    }

    fn find(&self, name: &str) -> usize {
        self.layers
            .iter()
            .position(|layer| layer.name == name)
            .unwrap_or_else(|| panic!("there is no layer {name}"))
    }

    /// The weights' file.
    pub fn weights(&self) -> Vec<u8> {
        self.weights.clone()
    }

    /// The model's file.
    pub fn to_xml(&self) -> String {
        let mut layers = String::new();
        let mut edges = String::new();
        for (id, layer) in self.layers.iter().enumerate() {
            let mut ports = String::new();
            if !layer.inputs.is_empty() {
                ports.push_str("<input>");
                for (port, source) in layer.inputs.iter().enumerate() {
                    let from = &self.layers[*source];
                    ports.push_str(&from.port(port, None));
                    // Writing to a string does not fail.
                    let _ = writeln!(
                        edges,
                        "<edge from-layer=\"{source}\" from-port=\"{}\" to-layer=\"{id}\" to-port=\"{port}\"/>",
                        from.inputs.len()
                    );
                }
                ports.push_str("</input>");
            }
            if layer.operator != "Result" {
                let output = layer.port(layer.inputs.len(), Some(&layer.name));
                let _ = write!(ports, "<output>{output}</output>");
            }
            let data = if layer.data.is_empty() {
                String::new()
            } else {
                format!("<data {}/>", layer.data)
            };
            let _ = writeln!(
                layers,
                "<layer id=\"{id}\" name=\"{}\" type=\"{}\" version=\"opset1\">{data}{ports}</layer>",
                layer.name, layer.operator
            );
        }
        format!(
            "<?xml version=\"1.0\"?>\n<net name=\"tiny\" version=\"11\">\n<layers>\n{layers}</layers>\n\
             <edges>\n{edges}</edges>\n</net>\n"
        )
    }
}

impl Layer {
    /// The layer's output, as a port of whoever has it.
    fn port(&self, id: usize, name: Option<&str>) -> String {
        let names = name.map_or_else(String::new, |name| format!(" names=\"{name}\""));
        let precision = match self.precision.as_str() {
            "boolean" => "BOOL".to_owned(),
            "f16" | "f32" | "f64" => self.precision.replace('f', "FP"),
            other => other.to_uppercase(),
        };
        let dimensions: String = self
            .dimensions
            .iter()
            .map(|size| format!("<dim>{}</dim>", size.max(&-1)))
            .collect();
        format!("<port id=\"{id}\" precision=\"{precision}\"{names}>{dimensions}</port>")
    }
}
