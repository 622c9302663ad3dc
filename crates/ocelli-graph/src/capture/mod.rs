//! From a burn module to a [`Graph`](crate::Graph): its forward pass is recorded, not executed.
//!
//! The pass is recorded twice, for batches of 2 and 3. Extents that differ are multiples of the batch size and stay
//! symbolic. Parameters are recorded as zeros and their values read from the module afterwards; running statistics
//! arrive in the recording as values of their own, so that nothing in the module is replaced.

use burn::module::Module;
use burn::tensor::Tensor;
use burn_capture::TensorId;
use ocelli_nn::recording::{self, id};

use crate::ir::Graph;

mod constants;
mod numeric;
mod own;
mod record;
mod rows;
mod shape;
mod translate;
mod window;

/// Why a module could not be captured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// The forward pass itself failed: the input does not suit the network.
    #[error("the forward pass failed: {0}")]
    Forward(String),
    /// The recording could not be closed.
    #[error("the recording could not be closed: {0}")]
    Recording(String),
    /// A graph has no operator for what was recorded.
    #[error("{layer}: the operation {operation} has no counterpart in a graph{detail}")]
    Unsupported {
        /// What was recorded.
        operation: String,
        /// Where.
        layer: String,
        /// What exactly is missing; empty or beginning with a colon.
        detail: String,
    },
    /// What is computed depends on the batch size in a way a graph cannot express.
    #[error("{layer}: {operation} depends on the batch size: {problem}")]
    Batch {
        /// What was recorded.
        operation: String,
        /// Where.
        layer: String,
        /// How.
        problem: String,
    },
}

/// What a forward pass may return.
pub trait Outputs {
    /// The recorded identities of the tensors, in order.
    #[doc(hidden)]
    fn ids(&self) -> Vec<TensorId>;
}

impl<const D: usize> Outputs for Tensor<D> {
    fn ids(&self) -> Vec<TensorId> {
        vec![id(self)]
    }
}

impl<T: Outputs> Outputs for Vec<T> {
    fn ids(&self) -> Vec<TensorId> {
        self.iter().flat_map(Outputs::ids).collect()
    }
}

impl<A: Outputs, B: Outputs> Outputs for (A, B) {
    fn ids(&self) -> Vec<TensorId> {
        let (a, b) = self;
        a.ids().into_iter().chain(b.ids()).collect()
    }
}

/// Captures what `forward` computes for pictures `[batch, channels, height, width]`, the last three being `input`.
///
/// `rename` gives the published name of the parameter with the given name in the module. `module` is not altered; it
/// must live on a device without autodiff.
///
/// # Errors
/// If the pass cannot be recorded or expressed as a [`Graph`].
///
/// ```
/// use burn::tensor::Device;
/// use ocelli_graph::{Dim, Op, capture};
/// use ocelli_nn::Conv2dConfig;
///
/// let conv = Conv2dConfig::new(3, 8, 3).init(&Device::flex());
/// let graph = capture::capture(&conv, [3, 16, 16], "conv", str::to_string, |conv, x| conv.forward(x))?;
/// assert!(matches!(graph.nodes[0].op, Op::Conv { .. }));
/// assert_eq!(graph.value(graph.outputs[0]).shape[0], Dim::Batch(1));
/// # Ok::<(), ocelli_graph::capture::CaptureError>(())
/// ```
pub fn capture<M: Module, O: Outputs>(
    module: &M,
    input: [usize; 3],
    name: &str,
    rename: impl Fn(&str) -> String,
    forward: impl Fn(&M, Tensor<4>) -> O,
) -> Result<Graph, CaptureError> {
    let (mut graph, pending) = record_twice(module, input, name, &rename, &forward)?;
    constants::fill(&mut graph, pending, module);
    Ok(graph)
}

/// As [`capture`] without the values of parameters: a graph to look at (costs, drawings), not to run. Parameters are
/// values that no node computes and that have no entry among the constants.
///
/// # Errors
/// As [`capture`].
pub fn structure<M: Module, O: Outputs>(
    module: &M,
    input: [usize; 3],
    name: &str,
    rename: impl Fn(&str) -> String,
    forward: impl Fn(&M, Tensor<4>) -> O,
) -> Result<Graph, CaptureError> {
    record_twice(module, input, name, &rename, &forward).map(|(graph, _)| graph)
}

fn record_twice<M: Module, O: Outputs>(
    module: &M,
    [channels, height, width]: [usize; 3],
    name: &str,
    rename: &impl Fn(&str) -> String,
    forward: &impl Fn(&M, Tensor<4>) -> O,
) -> Result<(Graph, Vec<constants::Pending>), CaptureError> {
    let device = recording::device();
    let [two, three] = [2, 3].map(|batch| {
        let input = [batch, channels, height, width];
        record::record(module, &device, |module| {
            let input = Tensor::zeros(input, &device);
            let outputs = forward(module, input.clone());
            (id(&input), outputs.ids(), Box::new(outputs))
        })
    });
    translate::translate(two?, three?, name, rename)
}
