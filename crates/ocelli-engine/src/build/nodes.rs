//! Graphs of nodes.

use ocelli_graph::{Node, ValueId};
use ocelli_kernels::gemm::{PANEL, packed_len, panels};
use ocelli_kernels::knn::{self, Search};

use super::{Bind, Builder, Places};
use crate::error::EngineError;
use crate::steps::nodes::{MOST_NEIGHBOURS, MOST_PIECES, MaxRelativeStep, NeighboursStep, Nodes};
use crate::view::View;

fn nodes(places: &Places, view: &View) -> Nodes {
    let stride = view.as_pixels().expect("the builder asked for pixels");
    Nodes { first: places.of(view), stride, count: view.shape[2] * view.shape[3] }
}

impl Builder<'_> {
    /// The view of `id`, its pixels equally far apart.
    fn pixels(&mut self, node: &Node, id: ValueId) -> Result<View, EngineError> {
        let view = self.view(id)?;
        Ok(if view.as_pixels().is_some() {
            view
        } else {
            self.copied(&node.name, &view, View::channels_last)
        })
    }

    pub(super) fn neighbours(&mut self, node: &Node, k: usize, dilation: usize) -> Result<(), EngineError> {
        let (x, y) = (self.pixels(node, node.inputs[0])?, self.pixels(node, node.inputs[1])?);
        let positions = match node.inputs.get(2) {
            Some(&id) => Some(self.dense(node, id)?),
            None => None,
        };
        let (batch, channels) = (x.shape[0], x.shape[1]);
        let (count, targets) = (x.shape[2] * x.shape[3], y.shape[2] * y.shape[3]);
        let search = Search { channels, targets, k, dilation };
        let rooms = [
            batch * count * channels,
            batch * targets * channels,
            batch * packed_len(channels, targets),
            batch * panels(targets) * PANEL,
            MOST_PIECES * knn::scratch_len(&search),
            MOST_PIECES * knn::BLOCK * k,
        ]
        .map(|len| self.buffer(len));
        let out = self.room(node.outputs[0], View::dense);
        let mut touched = vec![x.root, y.root, out.root];
        touched.extend(rooms);
        touched.extend(positions.as_ref().map(|view| view.root));
        let macs = (batch * count * targets * channels) as u64;
        let bind: Bind = Box::new(move |places| {
            let [units, rows, packed, squares, distances, lists] =
                rooms.map(|room| places.of(&View::dense(room, &[1])));
            Box::new(NeighboursStep {
                search,
                batch,
                x: nodes(places, &x),
                y: nodes(places, &y),
                positions: positions.as_ref().map_or(std::ptr::null(), |view| places.of(view).cast_const()),
                units,
                rows,
                packed,
                squares,
                distances,
                lists,
                out: places.of(&out),
            })
        });
        self.emit(&node.name, "neighbours", macs, &touched, bind);
        Ok(())
    }

    pub(super) fn max_relative(&mut self, node: &Node) -> Result<(), EngineError> {
        let (x, y) = (self.pixels(node, node.inputs[0])?, self.pixels(node, node.inputs[1])?);
        let lists = self.dense(node, node.inputs[2])?;
        let (batch, channels, k) = (x.shape[0], x.shape[1], lists.shape[2]);
        if k > MOST_NEIGHBOURS {
            return Err(Self::unsupported(node, format!("{k} neighbours; at most {MOST_NEIGHBOURS}")));
        }
        let out = self.room(node.outputs[0], View::channels_last);
        let Some(out_stride) = out.as_pixels() else {
            return Err(Self::unsupported(node, "a result laid out like this"));
        };
        let touched = [x.root, y.root, lists.root, out.root];
        let bind: Bind = Box::new(move |places| {
            Box::new(MaxRelativeStep {
                batch,
                channels,
                k,
                x: nodes(places, &x),
                y: nodes(places, &y),
                lists: places.of(&lists),
                out: places.of(&out),
                out_stride,
            })
        });
        self.emit(&node.name, "max-relative", 0, &touched, bind);
        Ok(())
    }
}
