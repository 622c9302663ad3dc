//! ONNX's messages, as far as they are written. The numbers of the fields are those of `onnx.proto`.

use std::borrow::Cow;

use super::OnnxError;
use super::wire::{Writer, header_length};
use crate::ir::{Constant, Dim, ElementType, Value};

/// Version of the file format that goes with the operators' version.
const IR_VERSION: i64 = 9;
/// Largest Protocol Buffers message.
const LIMIT: u64 = i32::MAX as u64;

/// The elements of a tensor.
#[derive(Clone, Debug)]
pub(super) enum Data<'g> {
    F32(Cow<'g, [f32]>),
    I64(Cow<'g, [i64]>),
    I32(Cow<'g, [i32]>),
    U8(Cow<'g, [u8]>),
    I8(Cow<'g, [i8]>),
    Bool(Cow<'g, [bool]>),
}

impl Data<'_> {
    /// Type of the elements.
    pub fn element(&self) -> ElementType {
        match self {
            Self::F32(_) => ElementType::F32,
            Self::I64(_) => ElementType::I64,
            Self::I32(_) => ElementType::I32,
            Self::U8(_) => ElementType::U8,
            Self::I8(_) => ElementType::I8,
            Self::Bool(_) => ElementType::Bool,
        }
    }

    fn byte_length(&self) -> usize {
        match self {
            Self::F32(values) => 4 * values.len(),
            Self::I64(values) => 8 * values.len(),
            Self::I32(values) => 4 * values.len(),
            Self::U8(values) => values.len(),
            Self::I8(values) => values.len(),
            Self::Bool(values) => values.len(),
        }
    }
}

impl<'g> From<&'g Constant> for Data<'g> {
    fn from(constant: &'g Constant) -> Self {
        match constant {
            Constant::F32(values) => Self::F32(Cow::Borrowed(values)),
            Constant::I64(values) => Self::I64(Cow::Borrowed(values)),
            Constant::I32(values) => Self::I32(Cow::Borrowed(values)),
            Constant::U8(values) => Self::U8(Cow::Borrowed(values)),
            Constant::I8(values) => Self::I8(Cow::Borrowed(values)),
            Constant::Bool(values) => Self::Bool(Cow::Borrowed(values)),
        }
    }
}

/// A constant tensor.
#[derive(Clone, Debug)]
pub(super) struct Tensor<'g> {
    pub name: String,
    pub dims: Vec<i64>,
    pub data: Data<'g>,
}

impl Tensor<'_> {
    /// Everything before the elements.
    fn head(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        for &dim in &self.dims {
            writer.int(1, dim);
        }
        writer.int(2, element_code(self.data.element()));
        writer.text(8, &self.name);
        writer.header(9, self.data.byte_length());
        writer.into_bytes()
    }

    fn byte_length(&self) -> usize {
        self.head().len() + self.data.byte_length()
    }

    fn write(&self, writer: &mut Writer) {
        writer.raw(&self.head());
        match &self.data {
            Data::F32(values) => writer.raw_chunks(values.iter().map(|value| value.to_le_bytes())),
            Data::I64(values) => writer.raw_chunks(values.iter().map(|value| value.to_le_bytes())),
            Data::I32(values) => writer.raw_chunks(values.iter().map(|value| value.to_le_bytes())),
            Data::U8(values) => writer.raw(values),
            Data::I8(values) => writer.raw_chunks(values.iter().map(|value| value.to_le_bytes())),
            Data::Bool(values) => writer.raw_chunks(values.iter().map(|&value| [u8::from(value)])),
        }
    }
}

/// The value of an attribute.
#[derive(Clone, Debug)]
pub(super) enum Attr {
    Int(i64),
    Float(f32),
    Text(&'static str),
    Ints(Vec<i64>),
    Tensor(Tensor<'static>),
}

/// A node.
#[derive(Clone, Debug)]
pub(super) struct NodeMessage {
    pub op: &'static str,
    pub name: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attributes: Vec<(&'static str, Attr)>,
}

impl NodeMessage {
    fn write(&self, writer: &mut Writer) {
        for input in &self.inputs {
            writer.text(1, input);
        }
        for output in &self.outputs {
            writer.text(2, output);
        }
        writer.text(3, &self.name);
        writer.text(4, self.op);
        for (name, value) in &self.attributes {
            writer.message(5, |attribute| {
                attribute.text(1, name);
                let kind = match value {
                    Attr::Float(value) => {
                        attribute.float(2, *value);
                        1
                    }
                    Attr::Int(value) => {
                        attribute.int(3, *value);
                        2
                    }
                    Attr::Text(value) => {
                        attribute.text(4, value);
                        3
                    }
                    Attr::Tensor(value) => {
                        attribute.message(5, |tensor| value.write(tensor));
                        4
                    }
                    Attr::Ints(values) => {
                        for &value in values {
                            attribute.int(8, value);
                        }
                        7
                    }
                };
                attribute.int(20, kind);
            });
        }
    }
}

/// A whole file.
#[derive(Debug)]
pub(super) struct Model<'g> {
    pub name: &'g str,
    pub nodes: Vec<NodeMessage>,
    pub tensors: Vec<Tensor<'g>>,
    pub inputs: Vec<(String, &'g Value)>,
    pub outputs: Vec<(String, &'g Value)>,
    pub between: Vec<(String, &'g Value)>,
}

impl Model<'_> {
    /// The file's bytes.
    pub fn encode(&self, opset: i64) -> Result<Vec<u8>, OnnxError> {
        self.encode_within(opset, LIMIT)
    }

    /// As [`encode`](Self::encode) with another limit of the size.
    pub fn encode_within(&self, opset: i64, limit: u64) -> Result<Vec<u8>, OnnxError> {
        let mut graph = Writer::default();
        for node in &self.nodes {
            graph.message(1, |writer| node.write(writer));
        }
        // The checker wants a name.
        graph.text(2, if self.name.is_empty() { "network" } else { self.name });
        for (field, values) in [(11, &self.inputs), (12, &self.outputs), (13, &self.between)] {
            for (name, value) in values {
                graph.message(field, |writer| value_info(writer, name, value));
            }
        }
        let mut model = Writer::default();
        model.int(1, IR_VERSION);
        model.text(2, "ocelli");
        model.text(3, env!("CARGO_PKG_VERSION"));
        model.message(8, |writer| {
            writer.text(1, "");
            writer.int(2, opset);
        });

        // The weights go last and straight into the file, whose size is known beforehand.
        let tensor_bytes: u64 = self
            .tensors
            .iter()
            .map(|tensor| {
                let length = tensor.byte_length();
                (header_length(5, length) + length) as u64
            })
            .sum();
        let graph_bytes = graph.len() as u64 + tensor_bytes;
        let bytes = model.len() as u64 + graph_bytes + 16;
        if bytes > limit {
            return Err(OnnxError::TooLarge { bytes, limit });
        }
        let mut file = Writer::with_capacity(bytes as usize);
        file.raw(&model.into_bytes());
        file.header(7, graph_bytes as usize);
        file.raw(&graph.into_bytes());
        for tensor in &self.tensors {
            file.header(5, tensor.byte_length());
            tensor.write(&mut file);
        }
        Ok(file.into_bytes())
    }
}

fn value_info(writer: &mut Writer, name: &str, value: &Value) {
    writer.text(1, name);
    writer.message(2, |kind| {
        kind.message(1, |tensor| {
            tensor.int(1, element_code(value.element));
            tensor.message(2, |shape| {
                for dim in &value.shape {
                    shape.message(1, |writer| match dim {
                        Dim::Fixed(extent) => writer.int(1, *extent as i64),
                        Dim::Batch(1) => writer.text(2, "N"),
                        Dim::Batch(factor) => writer.text(2, &format!("{factor}N")),
                    });
                }
            });
        });
    });
}

/// ONNX's number of an element type.
pub(super) fn element_code(element: ElementType) -> i64 {
    match element {
        ElementType::F32 => 1,
        ElementType::I64 => 7,
        ElementType::U8 => 2,
        ElementType::I8 => 3,
        ElementType::I32 => 6,
        ElementType::Bool => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beyond_the_limit_is_an_error() {
        let data = vec![0.5f32; 1000];
        let tensor = |name: &str| Tensor {
            name: name.to_string(),
            dims: vec![1000],
            data: Data::F32(Cow::Borrowed(&data)),
        };
        let model = Model {
            name: "big",
            nodes: vec![],
            tensors: vec![tensor("a"), tensor("b")],
            inputs: vec![],
            outputs: vec![],
            between: vec![],
        };
        let file = model.encode(20).unwrap();
        assert!(file.len() > 8000 && file.len() < 8200, "{}", file.len());
        let error = model.encode_within(20, 8000).unwrap_err();
        assert!(matches!(error, OnnxError::TooLarge { bytes, limit: 8000 } if bytes > 8000), "{error}");
    }
}
