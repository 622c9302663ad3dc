//! Multi-head self-attention with one matrix for queries and keys and one for values.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::attention::parts;
use ocelli_nn::{Linear, LinearConfig, attention_of_pair};

/// Self-attention over `[batch, tokens, dim]`.
#[derive(Module, Debug)]
pub struct Attention {
    qk: Linear,
    v: Linear,
    proj: Linear,
    heads: usize,
}

impl Attention {
    /// `heads` heads of `dim / heads`; `bias` for queries, keys and values.
    pub fn new(dim: usize, heads: usize, bias: bool, device: &Device) -> Self {
        Self {
            qk: LinearConfig::new(dim, 2 * dim).bias(bias).init(device),
            v: LinearConfig::new(dim, dim).bias(bias).init(device),
            proj: LinearConfig::new(dim, dim).init(device),
            heads,
        }
    }

    /// `[batch, tokens, dim]` → the same shape.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        // Queries are the first half of the outputs, keys the second.
        let mixed = attention_of_pair(self.qk.forward(x.clone()), self.v.forward(x), self.heads);
        self.proj.forward(mixed)
    }

    /// How much every token looks at every other: `[batch, heads, tokens, tokens]`, rows sum to one.
    pub fn weights(&self, x: Tensor<3>) -> Tensor<4> {
        let [q, k] = parts(self.qk.forward(x), self.heads);
        let scale = (q.dims()[3] as f64).sqrt();
        burn::tensor::activation::softmax(q.matmul(k.swap_dims(2, 3)).div_scalar(scale), 3)
    }
}
