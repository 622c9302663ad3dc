//! Functions of one and two elements, choices, constants.

use ocelli_graph::{Binary, Node, Unary};
use ocelli_kernels::elementwise::{Function, Operation};

use super::{Bind, Builder};
use crate::error::EngineError;
use crate::steps::elementwise as steps;
use crate::steps::nest::Nest;
use crate::view::View;

/// The kernel's name for a graph's function.
pub(super) fn function(function: Unary) -> Function {
    match function {
        Unary::Relu => Function::Clamp { low: 0.0, high: f32::INFINITY },
        Unary::Clamp { min, max } => Function::Clamp { low: min, high: max },
        Unary::LeakyRelu { slope } => Function::LeakyRelu { slope },
        Unary::Gelu => Function::Gelu,
        Unary::Sigmoid => Function::Sigmoid,
        Unary::HardSigmoid { alpha, beta } => Function::HardSigmoid { alpha, beta },
        Unary::HardSwish => Function::HardSwish,
        Unary::Silu => Function::Silu,
        Unary::Tanh => Function::Tanh,
        Unary::Erf => Function::Erf,
        Unary::Exp => Function::Exp,
        Unary::Log => Function::Log,
        Unary::Sqrt => Function::Sqrt,
        Unary::Reciprocal => Function::Reciprocal,
        Unary::Neg => Function::Neg,
        Unary::Abs => Function::Abs,
        Unary::Sign => Function::Sign,
        Unary::Floor => Function::Floor,
        Unary::Ceil => Function::Ceil,
        Unary::Round => Function::Round,
        Unary::Sin => Function::Sin,
        Unary::Cos => Function::Cos,
        Unary::Not => Function::Not,
    }
}

fn operation(function: Binary) -> Operation {
    match function {
        Binary::Add => Operation::Add,
        Binary::Sub => Operation::Sub,
        Binary::Mul => Operation::Mul,
        Binary::Div => Operation::Div,
        Binary::Pow => Operation::Pow,
        Binary::Min => Operation::Min,
        Binary::Max => Operation::Max,
        Binary::Equal => Operation::Equal,
        Binary::Less => Operation::Less,
        Binary::LessEqual => Operation::LessEqual,
        Binary::Greater => Operation::Greater,
        Binary::GreaterEqual => Operation::GreaterEqual,
        Binary::And => Operation::And,
        Binary::Or => Operation::Or,
    }
}

impl Builder<'_> {
    pub(super) fn unary(&mut self, node: &Node, own: Unary) -> Result<(), EngineError> {
        let x = self.view(node.inputs[0])?;
        let y = self.room_like(node.outputs[0], &x);
        let split = Nest::new(&y.shape, [&y.strides, &x.strides]).split();
        let touched = [x.root, y.root];
        let bind: Bind = Box::new(move |places| {
            Box::new(steps::Unary { function: function(own), split, y: places.of(&y), x: places.of(&x) })
        });
        self.emit(&node.name, "unary", 0, &touched, bind);
        Ok(())
    }

    pub(super) fn binary(&mut self, index: usize, node: &Node, function: Binary) -> Result<(), EngineError> {
        let extra = self.extras.remove(&index).unwrap_or_default();
        let output = extra.output.unwrap_or(node.outputs[0]);
        let (low, high) = extra.bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        if let Some([a, b, c]) = extra.product {
            let (a, b, c) = (self.view(a)?, self.view(b)?, self.view(c)?);
            let y = self.room_like(output, &c);
            let (a, b, c) = (a.expanded(&y.shape), b.expanded(&y.shape), c.expanded(&y.shape));
            let split = Nest::new(&y.shape, [&y.strides, &a.strides, &b.strides, &c.strides]).split();
            if matches!(split.inner, [1, 1, 0 | 1, 1]) {
                let touched = [a.root, b.root, c.root, y.root];
                let bind: Bind = Box::new(move |places| {
                    let operands = [&a, &b, &c].map(|view| places.of(view).cast_const());
                    Box::new(steps::MultiplyAdd { low, high, split, y: places.of(&y), operands })
                });
                self.emit(&node.name, "multiply add", 0, &touched, bind);
            } else {
                self.emit_binary(node, Operation::Mul, &a, &b, &y);
                self.emit_bounded(node, Operation::Add, &y, &c, &y, (low, high));
            }
            return Ok(());
        }
        let (a, b) = (self.view(node.inputs[0])?, self.view(node.inputs[1])?);
        let like = if a.len() >= b.len() { &a } else { &b };
        let y = self.room_like(output, like);
        self.emit_bounded(node, operation(function), &a, &b, &y, (low, high));
        Ok(())
    }

    pub(super) fn emit_binary(&mut self, node: &Node, operation: Operation, a: &View, b: &View, y: &View) {
        self.emit_bounded(node, operation, a, b, y, (f32::NEG_INFINITY, f32::INFINITY));
    }

    fn emit_bounded(
        &mut self,
        node: &Node,
        operation: Operation,
        a: &View,
        b: &View,
        y: &View,
        (low, high): (f32, f32),
    ) {
        let (a, b, y) = (a.expanded(&y.shape), b.expanded(&y.shape), y.clone());
        let split = Nest::new(&y.shape, [&y.strides, &a.strides, &b.strides]).split();
        let touched = [a.root, b.root, y.root];
        let bind: Bind = Box::new(move |places| {
            Box::new(steps::Binary {
                operation,
                low,
                high,
                split,
                y: places.of(&y),
                a: places.of(&a),
                b: places.of(&b),
            })
        });
        self.emit(&node.name, "binary", 0, &touched, bind);
    }

    /// A batch norm that no convolution took in: a factor and an offset per channel.
    pub(super) fn batch_norm(&mut self, node: &Node, epsilon: f32) -> Result<(), EngineError> {
        let constant = |place: usize| {
            self.graph
                .constant_f32(node.inputs[place])
                .ok_or_else(|| Self::unsupported(node, "a batch norm with computed parameters"))
        };
        let (scale, shift, mean, variance) = (constant(1)?, constant(2)?, constant(3)?, constant(4)?);
        let mut factors = Vec::with_capacity(scale.len());
        let mut offsets = Vec::with_capacity(scale.len());
        for c in 0..scale.len() {
            let factor = f64::from(scale[c]) / (f64::from(variance[c]) + f64::from(epsilon)).sqrt();
            factors.push(factor as f32);
            offsets.push((f64::from(shift[c]) - f64::from(mean[c]) * factor) as f32);
        }
        let x = self.view(node.inputs[0])?;
        let y = self.room_like(node.outputs[0], &x);
        let mut per_channel = vec![1; x.shape.len()];
        per_channel[1] = factors.len();
        let factors = View::dense(self.constant(factors.into()), &per_channel);
        let offsets = View::dense(self.constant(offsets.into()), &per_channel);
        self.emit_binary(node, Operation::Mul, &x, &factors, &y);
        self.emit_binary(node, Operation::Add, &y, &offsets, &y);
        Ok(())
    }

    pub(super) fn choose(&mut self, node: &Node) -> Result<(), EngineError> {
        let views = [0, 1, 2].map(|i| self.view(node.inputs[i]));
        let [condition, a, b] = views;
        let (condition, a, b) = (condition?, a?, b?);
        let largest = [&condition, &a, &b].into_iter().max_by_key(|view| view.len()).expect("three");
        let y = self.room_like(node.outputs[0], &largest.clone());
        let [condition, a, b] = [condition, a, b].map(|view| view.expanded(&y.shape));
        let nest = Nest::new(&y.shape, [&y.strides, &condition.strides, &a.strides, &b.strides]);
        let touched = [condition.root, a.root, b.root, y.root];
        let bind: Bind = Box::new(move |places| {
            let operands = [&condition, &a, &b].map(|view| places.of(view).cast_const());
            Box::new(steps::Where { nest, y: places.of(&y), operands })
        });
        self.emit(&node.name, "where", 0, &touched, bind);
        Ok(())
    }

    pub(super) fn full(&mut self, node: &Node, value: f32) -> Result<(), EngineError> {
        let y = self.room(node.outputs[0], View::dense);
        let nest = Nest::new(&y.shape, [&y.strides]);
        let root = y.root;
        let bind: Bind = Box::new(move |places| Box::new(steps::Fill { nest, y: places.of(&y), value }));
        self.emit(&node.name, "fill", 0, &[root], bind);
        Ok(())
    }

    /// All elements are floats here: only a cast to integers or truth values changes anything.
    pub(super) fn cast(&mut self, node: &Node) -> Result<(), EngineError> {
        use ocelli_graph::ElementType;
        let (from, to) =
            (self.graph.value(node.inputs[0]).element, self.graph.value(node.outputs[0]).element);
        let x = self.view(node.inputs[0])?;
        match (from, to) {
            (ElementType::F32, ElementType::I64) => {
                // Towards zero, as casts do.
                let y = self.room_like(node.outputs[0], &x);
                let split = Nest::new(&y.shape, [&y.strides, &x.strides]).split();
                let touched = [x.root, y.root];
                let bind: Bind = Box::new(move |places| {
                    Box::new(steps::Unary {
                        function: Function::Trunc,
                        split,
                        y: places.of(&y),
                        x: places.of(&x),
                    })
                });
                self.emit(&node.name, "cast", 0, &touched, bind);
            }
            (ElementType::F32 | ElementType::I64, ElementType::Bool) => {
                let y = self.room_like(node.outputs[0], &x);
                for (from, function) in [(x, Function::Not), (y.clone(), Function::Not)] {
                    let split = Nest::new(&y.shape, [&y.strides, &from.strides]).split();
                    let touched = [from.root, y.root];
                    let y = y.clone();
                    let bind: Bind = Box::new(move |places| {
                        Box::new(steps::Unary { function, split, y: places.of(&y), x: places.of(&from) })
                    });
                    self.emit(&node.name, "cast", 0, &touched, bind);
                }
            }
            _ => self.views[node.outputs[0].index()] = Some(x),
        }
        Ok(())
    }
}
