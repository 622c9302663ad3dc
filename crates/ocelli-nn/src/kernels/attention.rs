//! Attention over heads.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, TensorMetadata, backend_extension};
use ocelli_kernels::Isa;
use ocelli_kernels::train::attention::{self, AttentionShape, Heads, Joined, Operands};

use super::flex::{in_order, slice, tensor};

/// `softmax(scale · q kᵀ) v` for every head.
#[backend_extension(Flex, Autodiff)]
pub trait AttentionOps: Backend {
    /// Of `[batch, heads, tokens, dim]` each, values perhaps of another `dim`.
    fn attend(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        scale: f32,
    ) -> FloatTensor<Self>;

    /// Of queries and keys `[batch, tokens, 2 · heads · dim]`, and values `[batch, tokens, heads · dim]`, which the output is like.
    fn attend_pair(
        qk: FloatTensor<Self>,
        v: FloatTensor<Self>,
        heads: usize,
        scale: f32,
    ) -> FloatTensor<Self>;

    /// Of queries, keys and values `[batch, tokens, 3 · heads · dim]`; gives `[batch, tokens, heads · dim]`.
    fn attend_joined(qkv: FloatTensor<Self>, heads: usize, scale: f32) -> FloatTensor<Self>;
}

/// What is computed of one, two or three tensors.
#[derive(Clone, Debug)]
struct Attention {
    shape: AttentionShape,
    scale: f32,
    joined: Joined,
}

/// What the way back needs of the way there.
#[derive(Clone, Debug)]
struct Kept {
    output: FlexTensor,
    log_sums: Arc<Vec<f32>>,
}

/// `x` with neighbouring elements in its rows; most have them, whatever the order of their dimensions.
fn in_rows(x: &FlexTensor) -> FlexTensor {
    let strides = x.layout().strides();
    let forward = strides.iter().all(|&stride| stride >= 0);
    if forward && strides.last() == Some(&1) { x.clone() } else { in_order(x.to_contiguous()) }
}

/// The heads of `[batch, heads, tokens, dim]` that is [`in_rows`].
fn heads(x: &FlexTensor) -> Heads<'_> {
    let layout = x.layout();
    let data = x.storage::<f32>();
    let strides = [0, 1, 2].map(|i| layout.strides()[i].unsigned_abs());
    Heads { data: &data[layout.start_offset().min(data.len())..], strides }
}

impl Attention {
    /// Of three tensors.
    fn apart(q: &FlexTensor, k: &FlexTensor, v: &FlexTensor, scale: f32) -> Self {
        let (q, k, v) = (q.shape(), k.shape(), v.shape());
        let same = q[..2] == k[..2] && k[..3] == v[..3] && q[3] == k[3];
        assert!(same, "queries {q:?}, keys {k:?}, values {v:?}");
        let shape =
            AttentionShape { batch: q[0], heads: q[1], queries: q[2], keys: k[2], dim: q[3], values: v[3] };
        Self { shape, scale, joined: Joined::Apart }
    }

    /// Of tensors `[batch, tokens, heads · ...]`, the first of which holds `parts` blocks of heads.
    fn token_major(first: &FlexTensor, last: &FlexTensor, heads: usize, scale: f32, joined: Joined) -> Self {
        let parts = if joined == Joined::Pair { 2 } else { 3 };
        let (first, last) = (first.shape(), last.shape());
        let dim = first[2] / (parts * heads);
        let values = if joined == Joined::Pair { last[2] / heads } else { dim };
        let whole = first[2] == parts * heads * dim && (joined == Joined::All || last[2] == heads * values);
        assert!(whole && first[..2] == last[..2], "{heads} heads of {first:?} and {last:?}");
        let shape = AttentionShape { batch: first[0], heads, queries: first[1], keys: first[1], dim, values };
        Self { shape, scale, joined }
    }

    fn prepared<const N: usize>(&self, x: [&FlexTensor; N]) -> [FlexTensor; N] {
        x.map(|x| if self.joined == Joined::Apart { in_rows(x) } else { in_order(x.clone()) })
    }

    fn operands<'a, const N: usize>(&self, x: &'a [FlexTensor; N]) -> Operands<'a> {
        let AttentionShape { queries, heads: count, dim, values, .. } = self.shape;
        let part = |i: usize, dim, part| Heads::joined(slice(&x[i]), [queries, count, dim], part);
        match self.joined {
            Joined::Apart => Operands { q: heads(&x[0]), k: heads(&x[1]), v: heads(&x[2]) },
            Joined::Pair => {
                Operands { q: part(0, dim, [0, 2]), k: part(0, dim, [1, 2]), v: part(1, values, [0, 1]) }
            }
            Joined::All => {
                Operands { q: part(0, dim, [0, 3]), k: part(0, dim, [1, 3]), v: part(0, dim, [2, 3]) }
            }
        }
    }

    /// The output as the caller wants it, and what the way back needs.
    fn forward<const N: usize>(&self, x: [&FlexTensor; N]) -> (FlexTensor, Kept) {
        let AttentionShape { batch, heads, queries, values, .. } = self.shape;
        let x = self.prepared(x);
        let found = attention::forward(Isa::best(), &self.shape, self.scale, &self.operands(&x));
        let output = tensor(found.output, [batch, queries, heads, values]);
        let kept = Kept { output: output.clone(), log_sums: Arc::new(found.log_sums) };
        let output = match self.joined {
            Joined::Apart => output.transpose(1, 2),
            _ => output.reshape([batch, queries, heads * values].into()),
        };
        (output, kept)
    }

    /// Gradients of the tensors.
    fn backward<const N: usize>(&self, x: [FlexTensor; N], kept: &Kept, grad: FlexTensor) -> Vec<FlexTensor> {
        let AttentionShape { batch, heads: count, queries, keys, dim, values } = self.shape;
        let shapes = x.each_ref().map(|x| x.shape());
        let x = self.prepared(x.each_ref());
        let grad = match self.joined {
            Joined::Apart => in_rows(&grad),
            _ => in_order(grad).reshape([batch, queries, count, values].into()).transpose(1, 2),
        };
        let kept = (slice(&kept.output), &kept.log_sums[..]);
        let operands = self.operands(&x);
        let isa = Isa::best();
        let found =
            attention::backward(isa, &self.shape, self.scale, &operands, kept, heads(&grad), self.joined);
        if self.joined == Joined::Apart {
            let sides = [[queries, dim], [keys, dim], [keys, values]];
            let of = |(data, [tokens, dim]): (Vec<f32>, [usize; 2])| {
                tensor(data, [batch, tokens, count, dim]).transpose(1, 2)
            };
            found.into_iter().zip(sides).map(of).collect()
        } else {
            found.into_iter().zip(shapes).map(|(data, shape)| tensor(data, shape)).collect()
        }
    }
}

impl AttentionOps for Flex {
    fn attend(q: FlexTensor, k: FlexTensor, v: FlexTensor, scale: f32) -> FlexTensor {
        Attention::apart(&q, &k, &v, scale).forward([&q, &k, &v]).0
    }

    fn attend_pair(qk: FlexTensor, v: FlexTensor, heads: usize, scale: f32) -> FlexTensor {
        Attention::token_major(&qk, &v, heads, scale, Joined::Pair).forward([&qk, &v]).0
    }

    fn attend_joined(qkv: FlexTensor, heads: usize, scale: f32) -> FlexTensor {
        Attention::token_major(&qkv, &qkv, heads, scale, Joined::All).forward([&qkv]).0
    }
}

/// The way back.
#[derive(Debug)]
struct Attend;

impl<const N: usize> Backward<Flex, N> for Attend {
    /// The attention, where its tensors are, and what it kept.
    type State = (Attention, [NodeId; N], Kept);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let (own, places, kept) = ops.state;
        let x = places.map(|place| checkpointer.retrieve_node_output::<FlexTensor>(place));
        let found = own.backward(x, &kept, grad);
        for (node, gradient) in ops.parents.into_iter().zip(found) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

fn tracked<C: CheckpointStrategy, const N: usize>(
    own: Attention,
    x: [&FloatTensor<Autodiff<Flex, C>>; N],
) -> FloatTensor<Autodiff<Flex, C>> {
    let (output, kept) = own.forward(x.map(|x| x.primitive()));
    let nodes = x.map(|x| x.node());
    match Backward::<Flex, N>::prepare::<C>(Attend, nodes).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let places = x.map(|x| prep.checkpoint(x));
            prep.finish((own, places, kept), output)
        }
        OpsKind::UnTracked(prep) => prep.finish(output),
    }
}

impl<C: CheckpointStrategy> AttentionOps for Autodiff<Flex, C> {
    fn attend(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        scale: f32,
    ) -> FloatTensor<Self> {
        tracked::<C, 3>(Attention::apart(q.primitive(), k.primitive(), v.primitive(), scale), [&q, &k, &v])
    }

    fn attend_pair(
        qk: FloatTensor<Self>,
        v: FloatTensor<Self>,
        heads: usize,
        scale: f32,
    ) -> FloatTensor<Self> {
        let own = Attention::token_major(qk.primitive(), v.primitive(), heads, scale, Joined::Pair);
        tracked::<C, 2>(own, [&qk, &v])
    }

    fn attend_joined(qkv: FloatTensor<Self>, heads: usize, scale: f32) -> FloatTensor<Self> {
        let own = Attention::token_major(qkv.primitive(), qkv.primitive(), heads, scale, Joined::All);
        tracked::<C, 1>(own, [&qkv])
    }
}
