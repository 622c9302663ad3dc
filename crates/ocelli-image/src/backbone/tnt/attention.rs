//! Multi-head self-attention with one matrix for queries and keys and one for values.

use burn::module::Module;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor, module};
use ocelli_nn::{Linear, LinearConfig};

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

    /// Queries, keys and values, each `[batch, heads, tokens, dim / heads]`.
    fn heads(&self, x: Tensor<3>) -> [Tensor<4>; 3] {
        let [batch, tokens, dim] = x.dims();
        let split = |y: Tensor<3>| y.reshape([batch, tokens, self.heads, dim / self.heads]).swap_dims(1, 2);
        // Queries are the first half of the outputs, keys the second.
        let qk = self.qk.forward(x.clone());
        let [q, k] = [0, 1].map(|i| split(qk.clone().narrow(2, i * dim, dim)));
        [q, k, split(self.v.forward(x))]
    }

    /// `[batch, tokens, dim]` → the same shape.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let shape = x.dims();
        let [q, k, v] = self.heads(x);
        let mixed = module::attention(q, k, v, None, None, AttentionModuleOptions::default());
        self.proj.forward(mixed.swap_dims(1, 2).reshape(shape))
    }

    /// How much every token looks at every other: `[batch, heads, tokens, tokens]`, rows sum to one.
    pub fn weights(&self, x: Tensor<3>) -> Tensor<4> {
        let [q, k, _] = self.heads(x);
        let scale = (q.dims()[3] as f64).sqrt();
        burn::tensor::activation::softmax(q.matmul(k.swap_dims(2, 3)).div_scalar(scale), 3)
    }
}
