//! What rearranges or chooses elements.

use ocelli_graph::{Node, Op, PadMode, ValueId};

use super::{Bind, Builder};
use crate::error::EngineError;
use crate::steps::nest::Nest;
use crate::steps::select::{Border, Gather, Pad, TopK};
use crate::view::View;

impl Builder<'_> {
    /// The view of `id`, row-major without gaps.
    pub(super) fn dense(&mut self, node: &Node, id: ValueId) -> Result<View, EngineError> {
        let view = self.view(id)?;
        Ok(if view.is_dense() { view } else { self.copied(&node.name, &view, View::dense) })
    }

    fn alias(&mut self, id: ValueId, view: View) {
        self.views[id.index()] = Some(view);
    }

    pub(super) fn reshape(&mut self, node: &Node) -> Result<(), EngineError> {
        let x = self.view(node.inputs[0])?;
        let shape = self.shape(node.outputs[0]);
        let view = match x.reshaped(&shape) {
            Some(view) => view,
            None => {
                let dense = self.copied(&node.name, &x, View::dense);
                dense.reshaped(&shape).ok_or_else(|| EngineError::Malformed {
                    node: node.name.clone(),
                    problem: format!("{:?} elements do not fit {shape:?}", x.shape),
                })?
            }
        };
        self.alias(node.outputs[0], view);
        Ok(())
    }

    pub(super) fn transpose(&mut self, node: &Node, permutation: &[usize]) -> Result<(), EngineError> {
        let view = self.view(node.inputs[0])?.transposed(permutation);
        self.alias(node.outputs[0], view);
        Ok(())
    }

    pub(super) fn expand(&mut self, node: &Node) -> Result<(), EngineError> {
        let shape = self.shape(node.outputs[0]);
        let view = self.view(node.inputs[0])?.expanded(&shape);
        self.alias(node.outputs[0], view);
        Ok(())
    }

    pub(super) fn slice(&mut self, node: &Node) -> Result<(), EngineError> {
        let Op::Slice { starts, steps, .. } = &node.op else { unreachable!("a slice") };
        let shape = self.shape(node.outputs[0]);
        let mut view = self.view(node.inputs[0])?;
        for d in 0..shape.len() {
            view = view.sliced(d, starts[d], steps[d].max(1), shape[d]);
        }
        self.alias(node.outputs[0], view);
        Ok(())
    }

    /// A gather with constant, falling indices per dimension.
    pub(super) fn flip(&mut self, node: &Node, axes: &[usize]) -> Result<(), EngineError> {
        if self.is_codes(node.inputs[0]) {
            return Err(Self::unsupported(node, "codes that are turned round"));
        }
        let mut view = self.view(node.inputs[0])?;
        for (i, &axis) in axes.iter().enumerate() {
            let n = view.shape[axis];
            let root = self.constant((0..n).rev().map(|v| v as f32).collect());
            let indices = View::dense(root, &[n]);
            let to = if i + 1 == axes.len() {
                self.room_like(node.outputs[0], &view)
            } else {
                let root = self.buffer(view.len());
                View::dense(root, &view.shape)
            };
            self.emit_gather(node, axis, &view, &indices, &to, false);
            view = to;
        }
        self.alias(node.outputs[0], view);
        Ok(())
    }

    pub(super) fn concat(&mut self, node: &Node, axis: usize) -> Result<(), EngineError> {
        let output = node.outputs[0];
        let y = self.room(output, |root, shape| {
            if shape.len() == 4 { View::channels_last(root, shape) } else { View::dense(root, shape) }
        });
        let mut at = 0;
        for &input in &node.inputs {
            let x = self.view(input)?;
            let extent = x.shape[axis];
            let place = y.sliced(axis, at, 1, extent);
            // Written in place already?
            if x != place {
                self.copy(&node.name, &x, &place);
            }
            at += extent;
        }
        Ok(())
    }

    pub(super) fn pad(&mut self, node: &Node) -> Result<(), EngineError> {
        let Op::Pad { mode, before, .. } = &node.op else { unreachable!("a pad") };
        let x = self.view(node.inputs[0])?;
        let y = self.room_like(node.outputs[0], &x);
        let border = match mode {
            PadMode::Constant(value) => Border::Constant(*value),
            PadMode::Reflect => Border::Reflect,
            PadMode::Edge => Border::Edge,
        };
        if x.shape.contains(&0) {
            return Err(Self::unsupported(node, "padding nothing"));
        }
        let before = before.clone();
        let touched = [x.root, y.root];
        let bind: Bind = Box::new(move |places| {
            Box::new(Pad {
                shape: y.shape.clone(),
                before,
                input: x.shape.clone(),
                y_strides: y.strides.clone(),
                x_strides: x.strides.clone(),
                border,
                y: places.of(&y),
                x: places.of(&x),
            })
        });
        self.emit(&node.name, "pad", 0, &touched, bind);
        Ok(())
    }

    pub(super) fn top_k(
        &mut self,
        node: &Node,
        axis: usize,
        k: usize,
        largest: bool,
        indices_only: bool,
    ) -> Result<(), EngineError> {
        let x = self.view(node.inputs[0])?;
        let first = self.room(node.outputs[0], View::dense);
        let (values, indices) = if indices_only {
            (None, Some(first))
        } else {
            let second = node.outputs.get(1).map(|&id| self.room(id, View::dense));
            (Some(first), second)
        };
        let shape: Vec<usize> = (0..x.shape.len()).filter(|&d| d != axis).map(|d| x.shape[d]).collect();
        let without = |view: Option<&View>| -> Vec<usize> {
            (0..x.shape.len())
                .filter(|&d| d != axis)
                .map(|d| view.map_or(0, |view| view.strides[d]))
                .collect()
        };
        let outer = Nest::new(
            &shape,
            [
                &without(values.as_ref().or(indices.as_ref())),
                &without(indices.as_ref().or(values.as_ref())),
                &without(Some(&x)),
            ],
        );
        let along = [&values, &indices, &Some(x.clone())]
            .map(|view| view.as_ref().map_or(0, |view| view.strides[axis]));
        let n = x.shape[axis];
        let mut touched = vec![x.root];
        touched.extend([&values, &indices].into_iter().flatten().map(|view| view.root));
        let bind: Bind = Box::new(move |places| {
            let place =
                |view: &Option<View>| view.as_ref().map_or(std::ptr::null_mut(), |view| places.of(view));
            Box::new(TopK {
                outer,
                along,
                n,
                k,
                largest,
                values: place(&values),
                indices: place(&indices),
                x: places.of(&x),
            })
        });
        self.emit(&node.name, "top k", 0, &touched, bind);
        Ok(())
    }

    pub(super) fn gather(&mut self, node: &Node, axis: usize, elements: bool) -> Result<(), EngineError> {
        let (x, indices) = (self.view(node.inputs[0])?, self.view(node.inputs[1])?);
        let y = if elements {
            self.room(node.outputs[0], View::dense)
        } else {
            self.room_like(node.outputs[0], &x)
        };
        self.emit_gather(node, axis, &x, &indices, &y, elements);
        Ok(())
    }

    fn emit_gather(&mut self, node: &Node, axis: usize, x: &View, indices: &View, y: &View, elements: bool) {
        let mut x_strides = x.strides.clone();
        let along = std::mem::replace(&mut x_strides[axis], 0);
        let i_strides = if elements {
            indices.strides.clone()
        } else {
            let mut strides = vec![0; y.shape.len()];
            strides[axis] = indices.strides[0];
            strides
        };
        let nest = Nest::new(&y.shape, [&y.strides, &i_strides, &x_strides]);
        let extent = x.shape[axis].max(1);
        let (x, indices, y) = (x.clone(), indices.clone(), y.clone());
        let touched = [x.root, indices.root, y.root];
        let bind: Bind = Box::new(move |places| {
            Box::new(Gather {
                nest,
                along,
                extent,
                y: places.of(&y),
                indices: places.of(&indices),
                x: places.of(&x),
            })
        });
        self.emit(&node.name, "gather", 0, &touched, bind);
    }
}
