//! Matrix products, attention, and what works on rows.

use ocelli_graph::{Node, Op};
use ocelli_kernels::elementwise::Operation;
use ocelli_kernels::gemm::{self, Epilogue, Product};

use super::conv::{panelled, split_activation};
use super::{Bind, Builder};
use crate::error::EngineError;
use crate::steps::attention::{AttentionStep, room_len};
use crate::steps::matrix as steps;
use crate::steps::nest::Nest;
use crate::steps::nodes::MOST_PIECES;
use crate::steps::rows::{GroupNorm, LayerNorm, Rows, Softmax};
use crate::view::View;

impl Builder<'_> {
    /// `view`, its last dimension's elements neighbours and its rows equally far apart: copied if need be.
    fn rows(&mut self, name: &str, view: View) -> View {
        if view.as_rows().is_some() { view } else { self.copied(name, &view, View::dense) }
    }

    pub(super) fn linear(&mut self, index: usize, node: &Node) -> Result<(), EngineError> {
        let Op::Linear { bias, residual, activation } = &node.op else { unreachable!("a linear layer") };
        let packed =
            self.parts.packed.get(&index).ok_or_else(|| Self::unsupported(node, "computed weights"))?;
        let weights = packed.weights.clone();
        let shape = self.shape(node.inputs[1]);
        let (depth, columns) = (shape[0], shape[1]);
        let bias: Box<[f32]> = match bias {
            true => panelled(
                self.graph
                    .constant_f32(node.inputs[2])
                    .ok_or_else(|| Self::unsupported(node, "a computed bias"))?,
            ),
            false => Box::default(),
        };
        let (bounds, post) = split_activation(*activation);
        let x = self.view(node.inputs[0])?;
        let x = self.rows(&node.name, x);
        let residual = match residual {
            true => {
                let view = self.view(*node.inputs.last().expect("the residual is the last input"))?;
                Some(self.rows(&node.name, view))
            }
            false => None,
        };
        let y = self.room(node.outputs[0], View::dense);
        let mismatch = || Self::unsupported(node, "a result laid out like this");
        let ((rows, a_stride), (_, c_stride)) =
            (x.as_rows().ok_or_else(mismatch)?, y.as_rows().ok_or_else(mismatch)?);
        let mut touched = vec![x.root, y.root];
        touched.extend(residual.as_ref().map(|view| view.root));
        let macs = (rows * depth * columns) as u64;
        let bind: Bind = Box::new(move |places| {
            let epilogue = Epilogue {
                bias: if bias.is_empty() { std::ptr::null() } else { bias.as_ptr() },
                residual: residual.as_ref().map_or(std::ptr::null(), |view| places.of(view).cast_const()),
                residual_stride: residual.as_ref().and_then(View::as_rows).map_or(0, |(_, stride)| stride),
                low: bounds.0,
                high: bounds.1,
            };
            let product = Product {
                a: places.of(&x),
                a_stride,
                b: weights.as_ptr(),
                depth,
                columns,
                c: places.of(&y),
                c_stride,
                accumulate: false,
                epilogue,
            };
            Box::new(steps::Linear { product, rows, post, _bias: bias })
        });
        self.emit(&node.name, "linear", macs, &touched, bind);
        Ok(())
    }

    pub(super) fn matmul(&mut self, node: &Node) -> Result<(), EngineError> {
        let (a, b) = (self.view(node.inputs[0])?, self.view(node.inputs[1])?);
        let y = self.room(node.outputs[0], View::dense);
        self.emit_product(node, &a, &b, &y)
    }

    fn emit_product(&mut self, node: &Node, a: &View, b: &View, y: &View) -> Result<(), EngineError> {
        let rank = y.shape.len();
        if rank < 2 || a.shape.len() < 2 || b.shape.len() < 2 {
            return Err(Self::unsupported(node, "products with vectors"));
        }
        let (m, n) = (y.shape[rank - 2], y.shape[rank - 1]);
        let k = a.shape[a.shape.len() - 1];
        let neighbours = |view: &View| {
            let d = view.shape.len();
            view.strides[d - 1] == 1 || view.shape[d - 1] == 1
        };
        let a = if neighbours(a) { a.clone() } else { self.copied(&node.name, a, View::dense) };
        if !neighbours(y) {
            return Err(Self::unsupported(node, "a result laid out like this"));
        }
        let lead = |view: &View, rows: usize, columns: usize| {
            let mut shape = y.shape[..rank - 2].to_vec();
            shape.extend([rows, columns]);
            view.expanded(&shape)
        };
        let (a, b, y) = (lead(&a, m, k), lead(b, k, n), y.clone());
        let batch = Nest::new(
            &y.shape[..rank - 2],
            [&y.strides[..rank - 2], &a.strides[..rank - 2], &b.strides[..rank - 2]],
        );
        let entries = batch.len();
        let packed = self.buffer(entries * gemm::packed_len(k, n));
        let touched = [a.root, b.root, y.root, packed];
        let macs = (entries * m * k * n) as u64;
        let (a_stride, c_stride) = (a.strides[rank - 2], y.strides[rank - 2]);
        let b_strides = [b.strides[rank - 2], b.strides[rank - 1]];
        let bind: Bind = Box::new(move |places| {
            Box::new(steps::MatMul {
                batch,
                a: places.of(&a),
                a_stride,
                b: places.of(&b),
                b_strides,
                c: places.of(&y),
                c_stride,
                extents: [m, k, n],
                packed: places.of(&View::dense(packed, &[1])),
            })
        });
        self.emit(&node.name, "product", macs, &touched, bind);
        Ok(())
    }

    /// `softmax(q kᵀ · scale + mask) v`
    pub(super) fn attention(&mut self, node: &Node) -> Result<(), EngineError> {
        let Op::Attention { scale, causal, mask } = node.op else { unreachable!("attention") };
        if causal {
            return Err(Self::unsupported(node, "causal attention"));
        }
        let (q, k, v) = (self.view(node.inputs[0])?, self.view(node.inputs[1])?, self.view(node.inputs[2])?);
        if !mask && scale > 0.0 {
            return self.heads(node, q, k, v, scale);
        }
        let rank = q.shape.len();
        let mut shape = q.shape.clone();
        shape[rank - 1] = k.shape[rank - 2];
        let root = self.buffer(shape.iter().product());
        let scores = View::dense(root, &shape);
        let mut swap: Vec<usize> = (0..rank).collect();
        swap.swap(rank - 2, rank - 1);
        self.emit_product(node, &q, &k.transposed(&swap), &scores)?;
        let root = self.constant([scale].into());
        let factor = View::dense(root, &[]);
        self.emit_binary(node, Operation::Mul, &scores, &factor, &scores);
        if mask {
            let mask = self.view(node.inputs[3])?;
            self.emit_binary(node, Operation::Add, &scores, &mask, &scores);
        }
        self.emit_softmax(node, &scores, &scores, false)?;
        let y = self.room(node.outputs[0], View::dense);
        self.emit_product(node, &scores, &v, &y)
    }

    /// Attention without a mask.
    fn heads(&mut self, node: &Node, q: View, k: View, v: View, scale: f32) -> Result<(), EngineError> {
        let q =
            if q.strides[3] == 1 || q.shape[3] == 1 { q } else { self.copied(&node.name, &q, View::dense) };
        // Heads of a token behind one another: joining them moves nothing.
        let y = self.room(node.outputs[0], |root, shape| View::ordered(root, shape, &[0, 2, 1, 3]));
        if y.strides[3] != 1 && y.shape[3] != 1 {
            return Err(Self::unsupported(node, "a result laid out like this"));
        }
        let lead = |view: &View| [view.strides[0], view.strides[1]];
        let heads = Nest::new(&y.shape[..2], [&lead(&y), &lead(&q), &lead(&k), &lead(&v)]);
        let extents = [q.shape[2], k.shape[2], q.shape[3], v.shape[3]];
        let rooms = self.buffer(MOST_PIECES * room_len(extents));
        let touched = [q.root, k.root, v.root, y.root, rooms];
        let [queries, keys, depth, width] = extents;
        let macs = (heads.len() * queries * keys * (depth + width)) as u64;
        let bind: Bind = Box::new(move |places| {
            Box::new(AttentionStep {
                heads,
                extents,
                q: places.of(&q),
                q_stride: q.strides[2],
                k: places.of(&k),
                k_strides: [k.strides[2], k.strides[3]],
                v: places.of(&v),
                v_strides: [v.strides[2], v.strides[3]],
                y: places.of(&y),
                y_stride: y.strides[2],
                scale,
                rooms: places.of(&View::dense(rooms, &[1])),
            })
        });
        self.emit(&node.name, "attention", macs, &touched, bind);
        Ok(())
    }

    pub(super) fn softmax(&mut self, node: &Node, axis: usize, log: bool) -> Result<(), EngineError> {
        let x = self.view(node.inputs[0])?;
        let last = x.shape.len() - 1;
        if axis == last {
            let x = self.rows(&node.name, x);
            let y = self.room(node.outputs[0], View::dense);
            return self.emit_softmax(node, &x, &y, log);
        }
        // Along another dimension: rows of a copy with that dimension last, and back.
        let mut order: Vec<usize> = (0..=last).collect();
        order.swap(axis, last);
        let rows = self.copied(&node.name, &x.transposed(&order), View::dense);
        self.emit_softmax(node, &rows, &rows, log)?;
        let y = self.room_like(node.outputs[0], &x);
        self.copy(&node.name, &rows.transposed(&order), &y);
        Ok(())
    }

    fn emit_softmax(&mut self, node: &Node, x: &View, y: &View, log: bool) -> Result<(), EngineError> {
        let rows = Self::row_pair(node, x, y)?;
        let (x, y) = (x.clone(), y.clone());
        let touched = [x.root, y.root];
        let bind: Bind = Box::new(move |places| {
            let rows = Rows { x: places.of(&x), y: places.of(&y), ..rows };
            Box::new(Softmax { rows, log })
        });
        self.emit(&node.name, "softmax", 0, &touched, bind);
        Ok(())
    }

    fn row_pair(node: &Node, x: &View, y: &View) -> Result<Rows, EngineError> {
        let mismatch = || Self::unsupported(node, "rows laid out like this");
        let ((rows, x_stride), (_, y_stride)) =
            (x.as_rows().ok_or_else(mismatch)?, y.as_rows().ok_or_else(mismatch)?);
        let n = *x.shape.last().ok_or_else(mismatch)?;
        Ok(Rows { x: std::ptr::null(), x_stride, y: std::ptr::null_mut(), y_stride, rows, n })
    }

    pub(super) fn layer_norm(&mut self, node: &Node, epsilon: f32, shift: bool) -> Result<(), EngineError> {
        let x = self.view(node.inputs[0])?;
        let x = self.rows(&node.name, x);
        let y = self.room(node.outputs[0], View::dense);
        let rows = Self::row_pair(node, &x, &y)?;
        let scale = self.dense(node, node.inputs[1])?;
        let shift = if shift { Some(self.dense(node, node.inputs[2])?) } else { None };
        let mut touched = vec![x.root, y.root, scale.root];
        touched.extend(shift.as_ref().map(|view| view.root));
        let bind: Bind = Box::new(move |places| {
            Box::new(LayerNorm {
                rows: Rows { x: places.of(&x), y: places.of(&y), ..rows },
                scale: places.of(&scale),
                shift: shift.as_ref().map_or(std::ptr::null(), |view| places.of(view).cast_const()),
                epsilon,
            })
        });
        self.emit(&node.name, "layer norm", 0, &touched, bind);
        Ok(())
    }

    pub(super) fn group_norm(&mut self, node: &Node, groups: usize, epsilon: f32) -> Result<(), EngineError> {
        let x = self.view(node.inputs[0])?;
        let y = self.room_like(node.outputs[0], &x);
        let (scale, shift) = (self.dense(node, node.inputs[1])?, self.dense(node, node.inputs[2])?);
        let channels = x.shape[1] / groups;
        let outer = |view: &View| vec![view.strides[0], view.strides[1] * channels];
        let nest = Nest::new(&[x.shape[0], groups], [&outer(&y), &outer(&x)]);
        let inner = Nest::new(&x.shape[2..], [&y.strides[2..], &x.strides[2..]]);
        let touched = [x.root, y.root, scale.root, shift.root];
        let bind: Bind = Box::new(move |places| {
            Box::new(GroupNorm {
                outer: nest,
                channels,
                channel: [y.strides[1], x.strides[1]],
                inner,
                groups,
                y: places.of(&y),
                x: places.of(&x),
                scale: places.of(&scale),
                shift: places.of(&shift),
                epsilon,
            })
        });
        self.emit(&node.name, "group norm", 0, &touched, bind);
        Ok(())
    }
}
