//! What an ONNX file holds, read back from its bytes.

use std::collections::BTreeMap;

use super::OnnxError;
use super::wire::{Field, Reader};

/// An input or output of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its extents: numbers, or names where they are open.
    pub shape: Vec<String>,
}

/// What an ONNX file holds, without the weights themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The program that wrote the file.
    pub producer: String,
    /// Version of the operator set.
    pub opset: u64,
    /// Operator and name of every node, in order.
    pub nodes: Vec<(String, String)>,
    /// Names and shapes of the constants.
    pub initializers: BTreeMap<String, Vec<u64>>,
    /// What the caller gives.
    pub inputs: Vec<Port>,
    /// What the caller gets.
    pub outputs: Vec<Port>,
}

impl Summary {
    /// Reads the structure of an ONNX file and checks that every value that is read was written before.
    ///
    /// # Errors
    ///
    /// [`OnnxError::Unreadable`]
    pub fn read(file: &[u8]) -> Result<Self, OnnxError> {
        let mut summary = Self::default();
        let mut graph = None;
        for field in Reader::new(file) {
            match field? {
                (2, Field::Bytes(name)) => summary.producer = text(name)?,
                (7, Field::Bytes(message)) => graph = Some(message),
                (8, Field::Bytes(set)) => {
                    for field in Reader::new(set) {
                        if let (2, Field::Int(version)) = field? {
                            summary.opset = version;
                        }
                    }
                }
                _ => {}
            }
        }
        let graph = graph.ok_or_else(|| OnnxError::Unreadable("no graph".into()))?;
        let mut links = Vec::new();
        for field in Reader::new(graph) {
            match field? {
                (1, Field::Bytes(node)) => {
                    let (kind, name, reads, writes) = read_node(node)?;
                    links.push((name.clone(), reads, writes));
                    summary.nodes.push((kind, name));
                }
                (5, Field::Bytes(tensor)) => {
                    let (name, shape) = read_tensor(tensor)?;
                    if summary.initializers.insert(name.clone(), shape).is_some() {
                        return Err(OnnxError::Unreadable(format!("two initializers are called '{name}'")));
                    }
                }
                (11, Field::Bytes(value)) => summary.inputs.push(read_port(value)?),
                (12, Field::Bytes(value)) => summary.outputs.push(read_port(value)?),
                _ => {}
            }
        }
        summary.check_links(&links)?;
        Ok(summary)
    }

    fn check_links(&self, links: &[(String, Vec<String>, Vec<String>)]) -> Result<(), OnnxError> {
        let mut known: std::collections::HashSet<&str> =
            self.initializers.keys().map(String::as_str).collect();
        known.extend(self.inputs.iter().map(|port| port.name.as_str()));
        for (node, reads, writes) in links {
            if let Some(name) = reads.iter().find(|name| !name.is_empty() && !known.contains(name.as_str())) {
                return Err(OnnxError::Unreadable(format!(
                    "node '{node}' reads '{name}', which nothing has written"
                )));
            }
            if let Some(name) = writes.iter().find(|name| !known.insert(name)) {
                return Err(OnnxError::Unreadable(format!("node '{node}' writes '{name}' again")));
            }
        }
        match self.outputs.iter().find(|port| !known.contains(port.name.as_str())) {
            Some(port) => Err(OnnxError::Unreadable(format!("nothing writes the output '{}'", port.name))),
            None => Ok(()),
        }
    }
}

fn text(bytes: &[u8]) -> Result<String, OnnxError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| OnnxError::Unreadable("a name that is no text".into()))
}

/// Operator, name, inputs, outputs.
fn read_node(message: &[u8]) -> Result<(String, String, Vec<String>, Vec<String>), OnnxError> {
    let (mut kind, mut name, mut reads, mut writes) = (String::new(), String::new(), vec![], vec![]);
    for field in Reader::new(message) {
        match field? {
            (1, Field::Bytes(value)) => reads.push(text(value)?),
            (2, Field::Bytes(value)) => writes.push(text(value)?),
            (3, Field::Bytes(value)) => name = text(value)?,
            (4, Field::Bytes(value)) => kind = text(value)?,
            _ => {}
        }
    }
    Ok((kind, name, reads, writes))
}

/// Name and shape; the elements must be as many as the shape says.
fn read_tensor(message: &[u8]) -> Result<(String, Vec<u64>), OnnxError> {
    let (mut name, mut shape, mut kind, mut bytes) = (String::new(), Vec::new(), 0, 0);
    for field in Reader::new(message) {
        match field? {
            (1, Field::Int(extent)) => shape.push(extent),
            (2, Field::Int(value)) => kind = value,
            (8, Field::Bytes(value)) => name = text(value)?,
            (9, Field::Bytes(value)) => bytes = value.len() as u64,
            _ => {}
        }
    }
    let size = match kind {
        1 => 4u64,
        7 => 8,
        9 => 1,
        _ => return Err(OnnxError::Unreadable(format!("'{name}' has elements of an unknown kind {kind}"))),
    };
    let wanted = shape.iter().try_fold(size, |product, &extent| product.checked_mul(extent));
    if wanted != Some(bytes) {
        return Err(OnnxError::Unreadable(format!("'{name}' of shape {shape:?} has {bytes} bytes")));
    }
    Ok((name, shape))
}

fn read_port(message: &[u8]) -> Result<Port, OnnxError> {
    let mut port = Port { name: String::new(), shape: Vec::new() };
    for field in Reader::new(message) {
        match field? {
            (1, Field::Bytes(value)) => port.name = text(value)?,
            (2, Field::Bytes(kind)) => {
                let tensor = inner(kind, 1)?;
                for field in Reader::new(inner(tensor, 2)?) {
                    let (1, Field::Bytes(dim)) = field? else { continue };
                    for field in Reader::new(dim) {
                        match field? {
                            (1, Field::Int(extent)) => port.shape.push(extent.to_string()),
                            (2, Field::Bytes(name)) => port.shape.push(text(name)?),
                            _ => {}
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(port)
}

/// The message in `field`, empty if there is none.
fn inner(message: &[u8], field: u32) -> Result<&[u8], OnnxError> {
    let mut found: &[u8] = &[];
    for part in Reader::new(message) {
        if let (number, Field::Bytes(value)) = part?
            && number == field
        {
            found = value;
        }
    }
    Ok(found)
}
