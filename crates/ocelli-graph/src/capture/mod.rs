//! A module's forward pass as a graph, recorded on burn's capture device; nothing is computed.
//!
//! The pass is recorded for batches of 2 and 3: extents that differ depend on the batch ([`Dim::Batch`]), all others are
//! fixed. Parameters are replaced by recorded zeros while recording, which tells their names, and appear in the
//! graph as constants with their own values.

mod convert;

use std::cell::LazyCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use burn_capture::{CaptureBackend, CapturedGraph, TensorId};
use ocelli_nn::state_dict::{Path, is_buffer, state_dict};

use crate::ir::{Dim, Graph};

thread_local! {
    // One per thread: their number is limited, and a device serves one capture at a time.
    static CAPTURE: LazyCell<Device> = LazyCell::new(Device::capture);
}

/// Why a forward pass does not become a graph.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// An operation has no counterpart in the graph.
    #[error("after {after}: the graph has no operation for {operation}")]
    Unsupported {
        /// The last named layer before it.
        after: String,
        /// The operation.
        operation: String,
    },
    /// The forward pass takes another way for another batch size.
    #[error("the forward pass depends on the batch size in more than its extents: {problem}")]
    Batch {
        /// Where.
        problem: String,
    },
    /// The recording is not complete.
    #[error("the recording is not complete: {problem}")]
    Recording {
        /// What is missing.
        problem: String,
    },
}

/// Records `forward` for pictures of `[channels, height, width]`. `rename` gives the published name of a
/// parameter.
///
/// # Errors
/// If the pass contains an operation the graph does not know.
pub fn capture<M: Module, const O: usize>(
    module: &M,
    [channels, height, width]: [usize; 3],
    name: &str,
    rename: impl Fn(&str) -> String,
    forward: impl Fn(&M, Tensor<4>) -> Tensor<O>,
) -> Result<Graph, CaptureError> {
    let (two, names) = record(module, [2, channels, height, width], &forward)?;
    let (three, _) = record(module, [3, channels, height, width], &forward)?;
    let mut values: BTreeMap<String, TensorData> = state_dict(module);
    let mut parameters = HashMap::new();
    for (id, own) in names {
        let data = values.remove(&own).or_else(|| {
            // Shared by two layers: read once more.
            state_dict(module).remove(&own)
        });
        let data = data.ok_or_else(|| CaptureError::Recording { problem: format!("no values for {own}") })?;
        let numbers: Vec<f32> = data
            .try_into_vec()
            .map_err(|_| CaptureError::Recording { problem: format!("{own} is not float32") })?;
        parameters.insert(id, (rename(&own), Arc::<[f32]>::from(numbers)));
    }
    convert::convert(name, &two, &three, &parameters)
}

type Names = HashMap<TensorId, String>;

fn record<M: Module, const O: usize>(
    module: &M,
    input: [usize; 4],
    forward: &impl Fn(&M, Tensor<4>) -> Tensor<O>,
) -> Result<(CapturedGraph, Names), CaptureError> {
    let device = CAPTURE.with(|device| (**device).clone());
    // A runtime input comes from outside of the scope.
    let x = Tensor::<4>::zeros(input, &Device::flex());
    let mut names = HashMap::new();
    let captured = device
        .capture_scope(|scope| {
            let mut shadow = Shadow { device: device.clone(), path: Path::default(), names: HashMap::new() };
            let module = module.clone().map(&mut shadow);
            names = shadow.names;
            let x = x.to_device(&device);
            let y = forward(&module, x.clone());
            scope.complete([id(&x)], [id(&y)])
        })
        .map_err(|error| CaptureError::Recording { problem: error.to_string() })?;
    Ok((captured, names))
}

/// Puts recorded zeros in the place of every parameter and remembers which is which.
struct Shadow {
    device: Device,
    path: Path,
    names: Names,
}

impl ModuleMapper for Shadow {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        // Clones share their running statistics: what is put here would reach the original. They are recorded with
        // their values when the forward pass moves them to the device.
        if is_buffer(&name) {
            return param;
        }
        let zeros = Tensor::zeros(param.lazy_shape(), &self.device);
        self.names.insert(id(&zeros), name);
        Param::initialized(param.id, zeros)
    }
}

fn id<const D: usize>(tensor: &Tensor<D>) -> TensorId {
    let primitive = tensor.clone().try_into_primitive::<CaptureBackend>();
    primitive.expect("the tensor lives on the capture device").id()
}

/// The extent that is `two` in a batch of 2 and `three` in one of 3.
fn dim(two: usize, three: usize) -> Option<Dim> {
    if two == three {
        Some(Dim::Fixed(two))
    } else {
        (two.is_multiple_of(2) && three == two / 2 * 3).then_some(Dim::Batch(two / 2))
    }
}
