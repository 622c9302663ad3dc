//! Attention over heads, `softmax(scale · q kᵀ) v`, and its way back.
//!
//! Heads are read where a layer left them, `[batch, tokens, heads, dim]` as well as `[batch, heads, tokens, dim]`, and
//! the output is written as `[batch, tokens, heads, dim]`, which the next layer takes as rows: nothing is transposed in
//! memory. The way back computes the probabilities again, as FlashAttention does (arXiv 2205.14135): reading them would cost
//! as much, and nothing of the size `tokens²` stays behind. A task computes whole heads, so no sum depends on the
//! number of threads.

mod long;
mod short;

use crate::Isa;
use crate::train::parallel::{Shared, buffer, each};

/// Extents of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Pictures, sentences.
    pub batch: usize,
    /// Heads.
    pub heads: usize,
    /// Tokens that look.
    pub queries: usize,
    /// Tokens that are looked at.
    pub keys: usize,
    /// Elements of a query and of a key.
    pub dim: usize,
    /// Elements of a value.
    pub values: usize,
}

impl AttentionShape {
    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.queries * self.heads * self.values
    }

    /// Multiply-accumulates of the forward pass.
    fn work(&self) -> usize {
        self.batch * self.heads * self.queries * self.keys * (self.dim + self.values)
    }

    /// Whether heads are so small that they are computed in registers, sixteen queries side by side.
    fn is_short(&self) -> bool {
        self.keys <= short::TOKENS && self.dim <= short::DIM && self.values <= short::DIM
    }

    /// Places of a token-major tensor with `parts` blocks of heads per token, for the block at `part`.
    fn places(&self, tokens: usize, dim: usize, part: usize, parts: usize) -> (usize, [usize; 3]) {
        let token = parts * self.heads * dim;
        (part * self.heads * dim, [tokens * token, dim, token])
    }
}

/// Vectors of all heads: the elements of one are neighbours, vectors lie anywhere.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a> {
    /// From the first element on.
    pub data: &'a [f32],
    /// Elements from one batch item, head and token to the next.
    pub strides: [usize; 3],
}

impl<'a> Heads<'a> {
    /// The heads of `[batch, tokens, parts · heads · dim]`, of which `part` is the place of this operand.
    ///
    /// # Panics
    /// If the slice is shorter.
    pub fn joined(data: &'a [f32], [tokens, heads, dim]: [usize; 3], [part, parts]: [usize; 2]) -> Self {
        let token = parts * heads * dim;
        Self { data: &data[(part * heads * dim).min(data.len())..], strides: [tokens * token, dim, token] }
    }

    fn check(&self, [batch, heads, tokens, dim]: [usize; 4]) {
        let last = |i: usize, n: usize| self.strides[i] * n.saturating_sub(1);
        let end = last(0, batch) + last(1, heads) + last(2, tokens) + dim;
        let empty = batch * heads * tokens * dim == 0;
        assert!(empty || end <= self.data.len(), "{} elements, {end} are looked at", self.data.len());
    }

    /// The first vector of a head.
    ///
    /// # Safety
    /// The head must exist.
    unsafe fn head(&self, batch: usize, head: usize) -> *const f32 {
        // SAFETY: checked where the operand was taken.
        unsafe { self.data.as_ptr().add(batch * self.strides[0] + head * self.strides[1]) }
    }
}

/// Vectors of all heads that are written.
#[derive(Clone, Copy)]
struct Target<'a> {
    data: Shared<'a>,
    start: usize,
    strides: [usize; 3],
}

impl<'a> Target<'a> {
    fn new(data: Shared<'a>, (start, strides): (usize, [usize; 3])) -> Self {
        Self { data, start, strides }
    }

    /// # Safety
    /// The head must exist, and be written by one thread.
    unsafe fn head(&self, batch: usize, head: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.data.at(self.start + batch * self.strides[0] + head * self.strides[1]) }
    }
}

/// What attention gives.
#[derive(Clone, Debug)]
pub struct Attended {
    /// `[batch, queries, heads, values]`
    pub output: Vec<f32>,
    /// `[batch, heads, queries]`: the logarithms of the soft-max's sums, for [`backward`]; empty where heads are short.
    pub log_sums: Vec<f32>,
}

/// Queries, keys and values.
#[derive(Clone, Copy, Debug)]
pub struct Operands<'a> {
    /// `[batch, heads, queries, dim]`
    pub q: Heads<'a>,
    /// `[batch, heads, keys, dim]`
    pub k: Heads<'a>,
    /// `[batch, heads, keys, values]`
    pub v: Heads<'a>,
}

impl Operands<'_> {
    fn check(&self, shape: &AttentionShape) {
        let AttentionShape { batch, heads, queries, keys, dim, values } = *shape;
        assert!(keys > 0, "nothing to look at: {shape:?}");
        self.q.check([batch, heads, queries, dim]);
        self.k.check([batch, heads, keys, dim]);
        self.v.check([batch, heads, keys, values]);
    }
}

/// Which operands are parts of one tensor, and so have one gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// None.
    Apart,
    /// Queries and keys, `[batch, tokens, 2, heads, dim]`.
    Pair,
    /// All, `[batch, tokens, 3, heads, dim]`.
    All,
}

/// Multiply-accumulates a task should be worth.
const WORTH: usize = 1 << 17;

/// `softmax(scale · q kᵀ) v` for every head; `scale` is positive.
///
/// # Panics
/// If an operand is shorter than `shape` says, or there is no key.
pub fn forward(isa: Isa, shape: &AttentionShape, scale: f32, x: &Operands) -> Attended {
    x.check(shape);
    let heads = shape.batch * shape.heads;
    let mut output = buffer(shape.output_len());
    let mut log_sums = buffer(if shape.is_short() { 0 } else { heads * shape.queries });
    {
        let out = Target::new(Shared::new(&mut output), shape.places(shape.queries, shape.values, 0, 1));
        let sums = Shared::new(&mut log_sums);
        share(shape, |first, count| {
            // SAFETY: the heads exist and are this task's own.
            unsafe {
                if shape.is_short() {
                    short::forward(isa, shape, scale, x, out, first, count);
                } else {
                    for head in first..first + count {
                        long::forward(isa, shape, scale, x, out, sums.at(head * shape.queries), head);
                    }
                }
            }
        });
    }
    Attended { output, log_sums }
}

/// Gradients of [`forward`], given what it found and the gradient `[batch, heads, queries, values]` of its output: of
/// queries `[batch, queries, heads, dim]`, keys `[batch, keys, heads, dim]` and values `[batch, keys, heads, values]`, joined as
/// `joined` says.
///
/// # Panics
/// If an operand is shorter than `shape` says, or operands are joined that are not of one extent.
pub fn backward(
    isa: Isa,
    shape: &AttentionShape,
    scale: f32,
    x: &Operands,
    (output, log_sums): (&[f32], &[f32]),
    grad: Heads,
    joined: Joined,
) -> Vec<Vec<f32>> {
    x.check(shape);
    let AttentionShape { batch, heads, queries, keys, dim, values } = *shape;
    grad.check([batch, heads, queries, values]);
    assert_eq!(output.len(), shape.output_len(), "{shape:?}");
    assert!(shape.is_short() || log_sums.len() == batch * heads * queries, "{shape:?}");
    assert!(joined == Joined::Apart || queries == keys, "{joined:?}, {shape:?}");
    assert!(joined != Joined::All || dim == values, "{joined:?}, {shape:?}");
    let buffers = |parts: &[usize]| -> Vec<Vec<f32>> { parts.iter().map(|&len| buffer(len)).collect() };
    let (of_q, of_k, of_v) =
        (batch * queries * heads * dim, batch * keys * heads * dim, batch * keys * heads * values);
    let mut found = buffers(&match joined {
        Joined::Apart => vec![of_q, of_k, of_v],
        Joined::Pair => vec![of_q + of_k, of_v],
        Joined::All => vec![of_q + of_k + of_v],
    });
    {
        let parts: Vec<Shared> = found.iter_mut().map(|data| Shared::new(data)).collect();
        let place = |tokens, dim, part, parts| shape.places(tokens, dim, part, parts);
        let [to_q, to_k, to_v] = match joined {
            Joined::Apart => [
                Target::new(parts[0], place(queries, dim, 0, 1)),
                Target::new(parts[1], place(keys, dim, 0, 1)),
                Target::new(parts[2], place(keys, values, 0, 1)),
            ],
            Joined::Pair => [
                Target::new(parts[0], place(queries, dim, 0, 2)),
                Target::new(parts[0], place(keys, dim, 1, 2)),
                Target::new(parts[1], place(keys, values, 0, 1)),
            ],
            Joined::All => [0, 1, 2].map(|i| Target::new(parts[0], place(keys, dim, i, 3))),
        };
        let to = Gradients { q: to_q, k: to_k, v: to_v };
        let out = Heads { data: output, strides: place(queries, values, 0, 1).1 };
        share(shape, |first, count| {
            // SAFETY: the heads exist and are this task's own.
            unsafe {
                if shape.is_short() {
                    short::backward(isa, shape, scale, x, grad, to, first, count);
                } else {
                    for head in first..first + count {
                        let sums = log_sums[head * queries..].as_ptr();
                        long::backward(isa, shape, scale, x, (out, sums), grad, to, head);
                    }
                }
            }
        });
    }
    found
}

/// Where gradients go.
#[derive(Clone, Copy)]
struct Gradients<'a> {
    q: Target<'a>,
    k: Target<'a>,
    v: Target<'a>,
}

/// Shares the heads out: `task` gets the first and their number.
fn share(shape: &AttentionShape, task: impl Fn(usize, usize) + Sync + Send) {
    let heads = shape.batch * shape.heads;
    if shape.queries == 0 && heads > 0 {
        // Keys and values get gradients of zero; the loops over queries write nothing.
        each(heads, 0, |head| task(head, 1));
        return;
    }
    let per = (WORTH / (shape.work() / heads.max(1)).max(1)).max(1);
    each(heads.div_ceil(per), 4 * shape.work(), |i| task(i * per, per.min(heads - i * per)));
}
