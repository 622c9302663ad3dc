//! PyTorch checkpoints through a reader that builds tensors and runs nothing.

use std::path::Path;

use burn::tensor::TensorData;
use pytorch_reader::{DType, PytorchReader};

use super::{Kind, WeightFile, WeightsError, foreign, is_mask, to_f32};

pub(super) fn read(path: &Path) -> Result<WeightFile, WeightsError> {
    let malformed =
        |problem: String| WeightsError::malformed(path, format!("not a readable PyTorch file: {problem}"));
    let reader = match PytorchReader::new(path) {
        Ok(reader) => reader,
        // That reader wants to know every object in the file. A damaged file is one for both; the first says more about it.
        Err(error) => return foreign::read(path).map_err(|_| malformed(error.to_string())),
    };
    let mut file = WeightFile { path: path.to_path_buf(), ..Default::default() };
    for (name, tensor) in reader.into_tensors() {
        let kind = match tensor.dtype() {
            DType::F32 => Kind::F32,
            DType::F64 => Kind::F64,
            DType::F16 => Kind::F16,
            DType::BF16 => Kind::Bf16,
            DType::I8 | DType::U8 | DType::Bool if is_mask(&name) => Kind::Mask,
            _ => Kind::Other,
        };
        if matches!(kind, Kind::Other) {
            continue;
        }
        let shape = tensor.shape().to_vec();
        let bytes = tensor.read().map_err(|error| malformed(format!("tensor {name}: {error}")))?;
        if let Some(values) = to_f32(kind, &bytes) {
            file.tensors.insert(name, TensorData::new(values, shape));
        }
    }
    if file.tensors.is_empty() {
        return Err(malformed("it holds no float tensors".into()));
    }
    Ok(file)
}
