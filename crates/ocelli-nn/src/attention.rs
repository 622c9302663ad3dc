//! Attention over heads, without masks: `softmax(q kᵀ / √dim) v` (arXiv 1706.03762).

use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Tensor, module};

use crate::kernels;

/// Attention of queries `[batch, heads, queries, dim]` to keys `[batch, heads, keys, dim]` with values
/// `[batch, heads, keys, width]`: `[batch, heads, queries, width]`.
///
/// # Panics
/// If the shapes do not fit.
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    if kernels::serve(&q) && kernels::serve(&k) && kernels::serve(&v) {
        return kernels::attend(q, k, v);
    }
    module::attention(q, k, v, None, None, AttentionModuleOptions::default())
}

/// Attention of tokens to each other, whose queries and keys come out of one layer: `qk` is `[batch, tokens, 2 · heads · dim]`, first
/// all queries, then all keys, `v` is `[batch, tokens, heads · width]`, as is the output. Nothing is moved on the CPU.
///
/// # Panics
/// If the shapes do not fit.
pub fn attention_of_pair(qk: Tensor<3>, v: Tensor<3>, heads: usize) -> Tensor<3> {
    if kernels::serve(&qk) && kernels::serve(&v) {
        return kernels::attend_pair(qk, v, heads);
    }
    let [batch, tokens, width] = v.dims();
    let [q, k] = parts(qk, heads);
    let mixed = attention(q, k, by_head(v, heads));
    mixed.swap_dims(1, 2).reshape([batch, tokens, width])
}

/// Attention of tokens to each other, whose queries, keys and values come out of one layer, one behind the other:
/// `[batch, tokens, 3 · heads · dim]` → `[batch, tokens, heads · dim]`. Nothing is moved on the CPU.
///
/// # Panics
/// If the shape does not fit.
pub fn attention_of_joined(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    if kernels::serve(&qkv) {
        return kernels::attend_joined(qkv, heads);
    }
    let [batch, tokens, width] = qkv.dims();
    let [q, k, v] = parts(qkv, heads);
    attention(q, k, v).swap_dims(1, 2).reshape([batch, tokens, width / 3])
}

/// `[batch, tokens, heads · dim]` → `[batch, heads, tokens, dim]`
pub fn by_head(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, tokens, width] = x.dims();
    x.reshape([batch, tokens, heads, width / heads]).swap_dims(1, 2)
}

/// The `N` parts of `[batch, tokens, N · heads · dim]`, each `[batch, heads, tokens, dim]`.
pub fn parts<const N: usize>(x: Tensor<3>, heads: usize) -> [Tensor<4>; N] {
    let width = x.dims()[2] / N;
    std::array::from_fn(|i| by_head(x.clone().narrow(2, i * width, width), heads))
}
