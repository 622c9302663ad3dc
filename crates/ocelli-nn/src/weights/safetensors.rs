//! The safetensors format: reading with every check the format asks for, writing whole files or none.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::TensorData;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

use super::{Kind, METADATA_KEY, WeightFile, WeightsError, is_mask, replace, to_f32};

pub(super) fn read(path: &Path) -> Result<WeightFile, WeightsError> {
    let bytes = std::fs::read(path).map_err(WeightsError::io(path))?;
    let malformed = |error: safetensors::SafeTensorError| {
        WeightsError::malformed(path, format!("not valid safetensors: {error}"))
    };
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(malformed)?;
    let description = metadata.metadata().as_ref().and_then(|entries| entries.get(METADATA_KEY).cloned());
    let parsed = SafeTensors::deserialize(&bytes).map_err(malformed)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in parsed.iter() {
        let kind = match view.dtype() {
            Dtype::F32 => Kind::F32,
            Dtype::F64 => Kind::F64,
            Dtype::F16 => Kind::F16,
            Dtype::BF16 => Kind::Bf16,
            Dtype::I8 | Dtype::U8 | Dtype::BOOL if is_mask(name) => Kind::Mask,
            _ => Kind::Other,
        };
        if let Some(values) = to_f32(kind, view.data()) {
            tensors.insert(name.to_string(), TensorData::new(values, view.shape().to_vec()));
        }
    }
    Ok(WeightFile { path: path.to_path_buf(), tensors, description })
}

/// Writes float32 `tensors` with an optional `description` to `path`, whole or not at all: the data go to a
/// temporary file beside it, reach the disk, and replace the old file in one step.
///
/// Beside every `running_var` goes the `num_batches_tracked` counter PyTorch expects to find.
pub fn write(
    path: impl AsRef<Path>,
    tensors: &BTreeMap<String, TensorData>,
    description: Option<&str>,
) -> Result<(), WeightsError> {
    let path = path.as_ref();
    let zero = 0i64.to_le_bytes();
    let mut views: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    for (name, data) in tensors {
        let shape: Vec<usize> = data.shape().iter().copied().collect();
        let values = data.as_slice::<f32>().map_err(|error| {
            WeightsError::malformed(path, format!("tensor {name} is not float32: {error:?}"))
        })?;
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        views.insert(name.clone(), (Dtype::F32, shape, bytes));
        if let Some(layer) = name.strip_suffix("running_var") {
            views.insert(format!("{layer}num_batches_tracked"), (Dtype::I64, Vec::new(), zero.to_vec()));
        }
    }
    let refused = |error: safetensors::SafeTensorError| WeightsError::malformed(path, error.to_string());
    let views = views
        .iter()
        .map(|(name, (dtype, shape, bytes))| Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(refused)?;
    let bytes = serialize(views, Some(in_order(description))).map_err(refused)?;
    replace(path, &bytes).map_err(WeightsError::io(path))
}

/// The metadata, its format first. Every map has an order of its own, in which its entries are written; the same model
/// should be the same bytes.
fn in_order(description: Option<&str>) -> HashMap<String, String> {
    loop {
        let mut entries = HashMap::from([("format".to_string(), "pt".to_string())]);
        entries.extend(description.map(|text| (METADATA_KEY.to_string(), text.to_string())));
        if entries.keys().next().is_some_and(|key| key == "format") {
            return entries;
        }
    }
}
