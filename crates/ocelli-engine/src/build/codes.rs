//! Nodes that make codes of numbers, numbers of codes, and codes of codes.

use ocelli_graph::codes::Codes;
use ocelli_graph::{Constant, Node, ValueId};

use super::{Bind, Builder};
use crate::error::EngineError;
use crate::steps::codes::{Combine, Dequantise, Pair, Quantise, Table};
use crate::steps::nest::Nest;
use crate::view::View;

impl Builder<'_> {
    pub(super) fn quantise(&mut self, node: &Node, codes: Codes) -> Result<(), EngineError> {
        let x = self.view(node.inputs[0])?;
        let y = self.room_like(node.outputs[0], &x);
        let split = Nest::new(&y.shape, [&y.strides, &x.strides]).split();
        let touched = [x.root, y.root];
        let bind: Bind = Box::new(move |places| {
            Box::new(Quantise { split, y: places.codes(&y), x: places.of(&x), codes })
        });
        self.emit(&node.name, "quantise", 0, &touched, bind);
        Ok(())
    }

    pub(super) fn dequantise(
        &mut self,
        node: &Node,
        zero_point: i32,
        axis: Option<usize>,
    ) -> Result<(), EngineError> {
        let scale = self.graph.constant_f32(node.inputs[1]).and_then(|scales| scales.first().copied());
        let (None, Some(scale), None) = (axis, scale, self.graph.constants.get(&node.inputs[0])) else {
            return Err(Self::unsupported(node, "codes that are constant, or with several scales"));
        };
        let x = self.view(node.inputs[0])?;
        let y = self.room_like(node.outputs[0], &x);
        let split = Nest::new(&y.shape, [&y.strides, &x.strides]).split();
        let touched = [x.root, y.root];
        let zero_point = zero_point.clamp(0, 255) as u8;
        let bind: Bind = Box::new(move |places| {
            Box::new(Dequantise { split, y: places.of(&y), x: places.codes(&x), scale, zero_point })
        });
        self.emit(&node.name, "dequantise", 0, &touched, bind);
        Ok(())
    }

    pub(super) fn table_codes(&mut self, node: &Node) -> Result<(), EngineError> {
        let table = match self.graph.constants.get(&node.inputs[1]) {
            Some(Constant::U8(table)) => <[u8; 256]>::try_from(&**table).ok(),
            _ => None,
        };
        let table = table.ok_or_else(|| Self::unsupported(node, "a table that is computed"))?;
        let x = self.view(node.inputs[0])?;
        let y = self.room_like(node.outputs[0], &x);
        self.emit_table(node, &x, &y, Some(Box::new(table)));
        Ok(())
    }

    fn emit_table(&mut self, node: &Node, x: &View, y: &View, table: Option<Box<[u8; 256]>>) {
        let split = Nest::new(&y.shape, [&y.strides, &x.strides]).split();
        let touched = [x.root, y.root];
        let (x, y) = (x.clone(), y.clone());
        let bind: Bind = Box::new(move |places| {
            Box::new(Table { split, y: places.codes(&y), x: places.codes(&x), table })
        });
        self.emit(&node.name, "table", 0, &touched, bind);
    }

    pub(super) fn combine(&mut self, node: &Node, pair: Pair) -> Result<(), EngineError> {
        let (a, b) = (self.view(node.inputs[0])?, self.view(node.inputs[1])?);
        let y = self.room_like(node.outputs[0], if a.len() >= b.len() { &a } else { &b });
        let (a, b) = (a.expanded(&y.shape), b.expanded(&y.shape));
        let split = Nest::new(&y.shape, [&y.strides, &a.strides, &b.strides]).split();
        let touched = [a.root, b.root, y.root];
        let bind: Bind = Box::new(move |places| {
            let (a, b) = (places.codes(&a), places.codes(&b));
            Box::new(Combine { split, y: places.codes(&y), a, b, pair })
        });
        self.emit(&node.name, "combine codes", 0, &touched, bind);
        Ok(())
    }

    /// Whether `id` holds codes.
    pub(super) fn is_codes(&self, id: ValueId) -> bool {
        self.graph.value(id).element == ocelli_graph::ElementType::U8
    }
}
