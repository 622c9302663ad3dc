//! What a forward pass costs: multiply-accumulates and parameters per layer, without computing anything.
//!
//! The network runs on burn's capture device, which records operations instead of executing them; the counts
//! are read off the recorded shapes. Weights are replaced by recorded zeros, so nothing is copied or filled.

use std::collections::HashMap;

use burn::module::Module;
use burn::tensor::Tensor;
use burn_ir::{FloatOperationIr, ModuleOperationIr, OperationIr, TensorIr};
use serde::Serialize;

use crate::recording;
use crate::state_dict::{is_buffer, specs};

/// What one layer costs for one input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerCost {
    /// Name of the layer, or nothing for a product of two maps (attention).
    pub name: String,
    /// `conv`, `linear`, `matmul`, `attention` `neighbours` (distances of nodes), `dynamic_conv` or `adder` (distances of windows).
    pub kind: &'static str,
    /// Shape of the result.
    pub output: Vec<usize>,
    /// Multiply-accumulates; in adder layers distances that are accumulated.
    pub macs: u64,
    /// Parameters: weight and bias. A layer that is used twice shows them twice.
    pub params: u64,
}

/// The layers with products that `forward` runs on an input of zeros of shape `input`, in order.
pub fn layers<M: Module, const I: usize, const O: usize>(
    module: &M,
    input: [usize; I],
    forward: impl FnOnce(&M, Tensor<I>) -> Tensor<O>,
) -> Vec<LayerCost> {
    let device = recording::device();
    let mut names = HashMap::new();
    // Elements of all parameters of a layer.
    let mut params: HashMap<String, u64> = HashMap::new();
    for spec in specs(module).into_iter().filter(|spec| !is_buffer(&spec.name)) {
        *params.entry(layer_of(&spec.name).to_string()).or_default() +=
            spec.shape.iter().product::<usize>() as u64;
    }
    let captured = device
        .capture_scope(|scope| {
            let (module, shadows) = recording::shadowed(module, &device);
            names = shadows;
            let output = forward(&module, Tensor::zeros(input, &device));
            let output = recording::id(&output);
            scope.complete([], [output])
        })
        .expect("the scope is complete: everything on the device was made inside it");
    let mut layers = Vec::new();
    for operation in &captured.graph.operations {
        match product(operation) {
            Some(Product { kind, inputs, macs, output }) => {
                let layer = inputs.iter().find_map(|tensor| names.get(&tensor.id)).map(|name| layer_of(name));
                layers.push(LayerCost {
                    // A linear layer is recorded as the product with its weight.
                    kind: if kind == "matmul" && layer.is_some() { "linear" } else { kind },
                    macs,
                    params: layer.and_then(|layer| params.get(layer)).copied().unwrap_or(0),
                    name: layer.unwrap_or_default().to_string(),
                    output: output.shape.iter().copied().collect(),
                });
            }
            // What is made of one layer's parameters alone (a transposed weight, a part of one, one with signs) is that
            // layer's.
            None => {
                let mut sources = operation.inputs().map(|tensor| names.get(&tensor.id));
                let Some(Some(name)) = sources.next().map(|name| name.cloned()) else { continue };
                if sources.all(|other| other.is_some_and(|other| layer_of(other) == layer_of(&name))) {
                    for output in operation.outputs() {
                        names.insert(output.id, name.clone());
                    }
                }
            }
        }
    }
    layers
}

/// Multiply-accumulates of all [`layers`].
pub fn macs<M: Module, const I: usize, const O: usize>(
    module: &M,
    input: [usize; I],
    forward: impl FnOnce(&M, Tensor<I>) -> Tensor<O>,
) -> u64 {
    layers(module, input, forward).iter().map(|layer| layer.macs).sum()
}

struct Product<'a> {
    kind: &'static str,
    inputs: Vec<&'a TensorIr>,
    macs: u64,
    output: &'a TensorIr,
}

fn product(operation: &OperationIr) -> Option<Product<'_>> {
    let elements = |tensor: &TensorIr| tensor.shape.iter().product::<usize>() as u64;
    let of_kernel = |weight: &TensorIr| weight.shape.iter().skip(1).product::<usize>() as u64;
    let (kind, macs, output) = match operation {
        OperationIr::Module(ModuleOperationIr::Conv2d(conv)) => {
            ("conv", elements(&conv.out) * of_kernel(&conv.weight), &conv.out)
        }
        OperationIr::Module(ModuleOperationIr::Conv1d(conv)) => {
            ("conv", elements(&conv.out) * of_kernel(&conv.weight), &conv.out)
        }
        OperationIr::Module(ModuleOperationIr::Conv3d(conv)) => {
            ("conv", elements(&conv.out) * of_kernel(&conv.weight), &conv.out)
        }
        OperationIr::Module(ModuleOperationIr::Linear(linear)) => {
            let depth = *linear.x.shape.iter().next_back()? as u64;
            ("linear", elements(&linear.out) * depth, &linear.out)
        }
        // Scores and their product with the values.
        OperationIr::Module(ModuleOperationIr::Attention(own)) => {
            let keys = own.key.shape[2] as u64;
            ("attention", (elements(&own.query) + elements(&own.out)) * keys, &own.out)
        }
        OperationIr::Float(_, FloatOperationIr::Matmul(matmul)) => {
            let depth = *matmul.lhs.shape.iter().next_back()? as u64;
            ("matmul", elements(&matmul.out) * depth, &matmul.out)
        }
        // A product per channel, node and target.
        OperationIr::Custom(own) if own.id == "neighbours" => {
            let targets = &own.inputs.get(1)?.shape;
            (
                "neighbours",
                elements(own.inputs.first()?) * (targets[2] * targets[3]) as u64,
                own.outputs.first()?,
            )
        }
        // Distances in the place of products.
        OperationIr::Custom(own) if own.id == "adder_conv" => {
            let out = own.outputs.first()?;
            ("adder", elements(out) * of_kernel(own.inputs.get(1)?), out)
        }
        // As many products as with a kernel of all pictures, and those of the mixture.
        OperationIr::Custom(own) if own.id == "dynamic_conv" => {
            let (experts, shares, out) = (own.inputs.get(1)?, own.inputs.get(2)?, own.outputs.first()?);
            let per_output = (experts.shape[1] / out.shape[1].max(1)) as u64;
            let mixture = (shares.shape[0] as u64) * elements(experts);
            ("dynamic_conv", elements(out) * per_output + mixture, out)
        }
        OperationIr::Custom(own) if own.id == "binary_conv" => {
            let (weight, out) = (own.inputs.get(1)?, own.outputs.first()?);
            ("binary_conv", elements(out) * (elements(weight) / (out.shape[1] as u64).max(1)), out)
        }
        _ => return None,
    };
    Some(Product { kind, inputs: operation.inputs().collect(), macs, output })
}

/// The layer that owns the tensor called `name`.
fn layer_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(layer, _)| layer)
}
