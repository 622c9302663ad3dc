//! Caffe's `.caffemodel`: a `NetParameter` message whose layers carry their weights as blobs.
//!
//! | layer | blobs | tensors |
//! | --- | --- | --- |
//! | `Convolution`, `InnerProduct` | weight, bias | `<layer>.weight`, `<layer>.bias` |
//! | `BatchNorm` | mean · f, variance · f, f | `<layer>.running_mean`, `<layer>.running_var` |
//! | `Scale` | gain, shift | `<layer>.weight`, `<layer>.bias` |

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;

use super::protobuf::{Fields, Value, put_bytes, put_varint};
use super::{WeightFile, WeightsError, replace};

// Field numbers of `caffe.proto`.
const NET_NAME: u64 = 1;
const NET_V1_LAYER: u64 = 2;
const NET_LAYER: u64 = 100;
const LAYER_NAME: u64 = 1;
const LAYER_TYPE: u64 = 2;
const LAYER_BLOB: u64 = 7;
const BLOB_DATA: u64 = 5;
const BLOB_SHAPE: u64 = 7;
const BLOB_DOUBLE: u64 = 8;
const SHAPE_DIM: u64 = 1;

pub(super) fn read(path: &Path) -> Result<WeightFile, WeightsError> {
    let bytes = std::fs::read(path).map_err(WeightsError::io(path))?;
    let tensors = decode(&bytes)
        .map_err(|problem| WeightsError::malformed(path, format!("not a readable .caffemodel: {problem}")))?;
    Ok(WeightFile { path: path.to_path_buf(), tensors, description: None })
}

fn decode(bytes: &[u8]) -> Result<BTreeMap<String, TensorData>, String> {
    let mut tensors = BTreeMap::new();
    let mut old_layers = false;
    let mut net = Fields::new(bytes);
    while let Some((field, value)) = net.next()? {
        match field {
            NET_LAYER => {
                let layer = Layer::decode(value.bytes()?)?;
                layer.tensors(&mut tensors).map_err(|problem| format!("layer {}: {problem}", layer.name))?;
            }
            NET_V1_LAYER => old_layers = true,
            _ => {}
        }
    }
    match (tensors.is_empty(), old_layers) {
        (true, true) => Err("its layers are in the oldest format; Caffe's upgrade_net_proto_binary \
                             writes the present one"
            .into()),
        (true, false) => Err("it holds no layer with weights".into()),
        _ => Ok(tensors),
    }
}

struct Layer {
    name: String,
    kind: String,
    blobs: Vec<Blob>,
}

impl Layer {
    fn decode(message: &[u8]) -> Result<Self, String> {
        let mut layer = Layer { name: String::new(), kind: String::new(), blobs: Vec::new() };
        let mut fields = Fields::new(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                LAYER_NAME => layer.name = value.text()?,
                LAYER_TYPE => layer.kind = value.text()?,
                LAYER_BLOB => layer.blobs.push(
                    Blob::decode(value.bytes()?)
                        .map_err(|problem| format!("layer {}: {problem}", layer.name))?,
                ),
                _ => {}
            }
        }
        Ok(layer)
    }

    /// Names the blobs by what they mean to the kind of layer.
    fn tensors(&self, tensors: &mut BTreeMap<String, TensorData>) -> Result<(), String> {
        let mut put = |leaf: &str, values: Vec<f32>, shape: Vec<usize>| {
            let name = format!("{}.{leaf}", self.name);
            match tensors.insert(name, TensorData::new(values, shape)) {
                None => Ok(()),
                Some(_) => Err("it stands twice in the file".to_string()),
            }
        };
        match (self.kind.as_str(), self.blobs.as_slice()) {
            (_, []) => {}
            ("BatchNorm", [mean, variance, factor]) => {
                let &[factor] = factor.values.as_slice() else {
                    return Err(format!("its factor has {} values, not one", factor.values.len()));
                };
                let factor = if factor == 0.0 { 0.0 } else { 1.0 / factor };
                for (leaf, blob) in [("running_mean", mean), ("running_var", variance)] {
                    let values: Vec<f32> = blob.values.iter().map(|value| value * factor).collect();
                    let count = values.len();
                    put(leaf, values, vec![count])?;
                }
            }
            ("BatchNorm", blobs) => {
                return Err(format!("a batch norm has mean, variance and factor, not {} blobs", blobs.len()));
            }
            (kind, [weight, rest @ ..]) => {
                let rank = match kind {
                    "InnerProduct" => 2,
                    "Scale" | "PReLU" => 1,
                    _ => weight.shape.len(),
                };
                put("weight", weight.values.clone(), weight.shape_of_rank(rank)?)?;
                match rest {
                    [] => {}
                    [bias] => put("bias", bias.values.clone(), bias.shape_of_rank(1)?)?,
                    _ => return Err(format!("{} blobs in a layer of type {kind}", self.blobs.len())),
                }
            }
        }
        Ok(())
    }
}

/// Values with a shape that was checked against their number.
struct Blob {
    values: Vec<f32>,
    shape: Vec<usize>,
}

impl Blob {
    fn decode(message: &[u8]) -> Result<Self, String> {
        let mut values = Vec::new();
        let mut shape = None;
        // Files of Caffe's first years give four fixed sizes instead of a shape.
        let mut sizes = [None; 4];
        let mut fields = Fields::new(message);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1..=4, value) => sizes[field as usize - 1] = Some(value.size()?),
                (BLOB_DATA, Value::Bytes(packed)) => {
                    let (chunks, []) = packed.as_chunks::<4>() else {
                        return Err(format!("{} bytes are no whole number of floats", packed.len()));
                    };
                    values.extend(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)));
                }
                (BLOB_DATA, Value::Fixed32(one)) => values.push(f32::from_le_bytes(one)),
                (BLOB_DOUBLE, Value::Bytes(packed)) => {
                    let (chunks, []) = packed.as_chunks::<8>() else {
                        return Err(format!("{} bytes are no whole number of doubles", packed.len()));
                    };
                    values.extend(chunks.iter().map(|chunk| f64::from_le_bytes(*chunk) as f32));
                }
                (BLOB_DOUBLE, Value::Fixed64(one)) => values.push(f64::from_le_bytes(one) as f32),
                (BLOB_SHAPE, value) => shape = Some(decode_shape(value.bytes()?)?),
                _ => {}
            }
        }
        let shape = match (shape, sizes) {
            (Some(shape), _) => shape,
            (None, [None, None, None, None]) => vec![values.len()],
            (None, sizes) => sizes.iter().map(|size| size.unwrap_or(1)).collect(),
        };
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        if count != Some(values.len()) {
            return Err(format!("a blob claims shape {shape:?} and holds {} values", values.len()));
        }
        Ok(Self { values, shape })
    }

    /// The shape without leading ones down to `rank`.
    fn shape_of_rank(&self, rank: usize) -> Result<Vec<usize>, String> {
        let surplus = self.shape.len().saturating_sub(rank);
        if self.shape.len() < rank || self.shape[..surplus].iter().any(|&size| size != 1) {
            return Err(format!("a blob of shape {:?} where {rank} axes are expected", self.shape));
        }
        Ok(self.shape[surplus..].to_vec())
    }
}

fn decode_shape(message: &[u8]) -> Result<Vec<usize>, String> {
    let mut shape = Vec::new();
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next()? {
        match (field, value) {
            (SHAPE_DIM, Value::Bytes(packed)) => {
                for dim in Fields::varints(packed)? {
                    shape.push(Value::Varint(dim).size()?);
                }
            }
            (SHAPE_DIM, value) => shape.push(value.size()?),
            _ => {}
        }
    }
    Ok(shape)
}

/// Writes `tensors`, named by Caffe layer as [`WeightFile::read`] gives them, as a `.caffemodel` called `net`,
/// whole or not at all.
///
/// The kind of a layer follows from its tensors: running statistics make a batch norm, a weight of one axis a
/// scale, of two axes a fully connected layer, else a convolution.
pub fn write_caffe(
    path: impl AsRef<Path>,
    net: &str,
    tensors: &BTreeMap<String, TensorData>,
) -> Result<(), WeightsError> {
    let path = path.as_ref();
    let bytes = encode(net, tensors).map_err(|problem| WeightsError::malformed(path, problem))?;
    replace(path, &bytes).map_err(WeightsError::io(path))
}

fn encode(net: &str, tensors: &BTreeMap<String, TensorData>) -> Result<Vec<u8>, String> {
    let mut layers: BTreeMap<&str, BTreeMap<&str, &TensorData>> = BTreeMap::new();
    for (name, data) in tensors {
        let (layer, leaf) = name.rsplit_once('.').ok_or_else(|| format!("{name} names no layer"))?;
        layers.entry(layer).or_default().insert(leaf, data);
    }
    let one = TensorData::new(vec![1f32], [1]);
    let mut out = Vec::new();
    put_bytes(&mut out, NET_NAME, net.as_bytes());
    for (name, parts) in layers {
        let part = |leaf: &str| parts.get(leaf).copied();
        let (kind, blobs) = match (part("running_mean"), part("running_var"), part("weight")) {
            (Some(mean), Some(variance), None) => ("BatchNorm", vec![mean, variance, &one]),
            (None, None, Some(weight)) => {
                let kind = match weight.shape().len() {
                    1 => "Scale",
                    2 => "InnerProduct",
                    _ => "Convolution",
                };
                (kind, std::iter::once(weight).chain(part("bias")).collect())
            }
            _ => {
                let leaves = parts.keys().copied().collect::<Vec<_>>().join(", ");
                return Err(format!("layer {name}: {leaves} make no layer of Caffe"));
            }
        };
        let mut layer = Vec::new();
        put_bytes(&mut layer, LAYER_NAME, name.as_bytes());
        put_bytes(&mut layer, LAYER_TYPE, kind.as_bytes());
        for data in blobs {
            let values = data.as_slice::<f32>().map_err(|_| format!("layer {name} is not float32"))?;
            let mut dims = Vec::new();
            data.shape().iter().for_each(|&size| put_varint(&mut dims, size as u64));
            let mut shape = Vec::new();
            put_bytes(&mut shape, SHAPE_DIM, &dims);
            let floats: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let mut blob = Vec::new();
            put_bytes(&mut blob, BLOB_DATA, &floats);
            put_bytes(&mut blob, BLOB_SHAPE, &shape);
            put_bytes(&mut layer, LAYER_BLOB, &blob);
        }
        put_bytes(&mut out, NET_LAYER, &layer);
    }
    Ok(out)
}
