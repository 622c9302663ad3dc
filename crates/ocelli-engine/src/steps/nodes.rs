//! Graphs of nodes: the search for neighbours and what nodes take from them.

use ocelli_kernels::gemm::{PANEL, packed_len, panels};
use ocelli_kernels::knn::{self, Positions, Search, Targets};
use ocelli_kernels::layout;

use super::{Context, Shared, Step, part, tasks};

/// Nodes of a map: pixels of neighbouring channels.
#[derive(Clone, Copy)]
pub(crate) struct Nodes {
    pub first: *const f32,
    /// Distance of the nodes.
    pub stride: usize,
    /// Nodes of a picture.
    pub count: usize,
}

impl Nodes {
    /// Node number `index` of the whole batch.
    fn at(&self, index: usize) -> *const f32 {
        self.first.wrapping_add(index * self.stride)
    }
}

/// Most pieces a search is shared out in; each has its room for the distances of a block.
pub(crate) const MOST_PIECES: usize = 16;

/// The nearest nodes.
pub(crate) struct NeighboursStep {
    pub search: Search,
    pub batch: usize,
    pub x: Nodes,
    pub y: Nodes,
    /// Added to the distances, or null.
    pub positions: *const f32,
    /// Room for the batch's unit vectors: of x, of y, packed ones of y, their squares.
    pub units: *mut f32,
    pub rows: *mut f32,
    pub packed: *mut f32,
    pub squares: *mut f32,
    /// Room for [`MOST_PIECES`] blocks of distances.
    pub distances: *mut f32,
    /// Room for as many blocks of lists.
    pub lists: *mut f32,
    /// Indices as numbers, `[batch][nodes][k]`.
    pub out: *mut f32,
}

impl Step for NeighboursStep {
    fn run(&self, context: &mut Context<'_, '_>) {
        let (isa, threads) = (context.isa, context.pool.threads());
        let s = &self.search;
        let shared = Shared(self);
        let squares_stride = panels(s.targets) * PANEL;
        let nodes = self.batch * self.x.count;
        let targets = self.batch * self.y.count;
        let count = tasks((nodes + targets) * s.channels * 4, threads, nodes);
        context.pool.run(count, &|task| {
            let own = shared.get();
            let c = own.search.channels;
            // SAFETY (all): the builder gave rooms of these extents; tasks write apart from one another, and each phase
            // ends before the next begins.
            unsafe {
                for node in part(nodes, count, task) {
                    knn::unit(isa, own.x.at(node), own.units.add(node * c), c, -2.0);
                }
                for node in part(targets, count, task) {
                    let square = knn::unit(isa, own.y.at(node), own.rows.add(node * c), c, 1.0);
                    let (picture, place) = (node / own.y.count, node % own.y.count);
                    *own.squares.add(picture * squares_stride + place) = square;
                }
            }
        });
        let len = packed_len(s.channels, s.targets);
        context.pool.run(self.batch, &|picture| {
            let own = shared.get();
            let (c, m) = (own.search.channels, own.search.targets);
            unsafe {
                let from = own.rows.add(picture * m * c);
                layout::pack_strided(from, 1, c, c, m, own.packed.add(picture * len));
            }
        });
        let blocks = self.x.count.div_ceil(knn::BLOCK);
        let work = nodes * s.targets * (s.channels / 16 + 1);
        let count = tasks(work, threads, self.batch * blocks).min(MOST_PIECES);
        context.pool.run(count, &|task| {
            let own = shared.get();
            let s = &own.search;
            for block in part(own.batch * blocks, count, task) {
                let (picture, block) = (block / blocks, block % blocks);
                let range = block * knn::BLOCK..own.x.count.min((block + 1) * knn::BLOCK);
                let rows = range.len();
                unsafe {
                    let lists = own.lists.add(task * knn::BLOCK * s.k).cast::<u32>();
                    let first = own.units.add((picture * own.x.count + range.start) * s.channels);
                    let targets = Targets {
                        packed: own.packed.add(picture * len),
                        squares: own.squares.add(picture * squares_stride),
                    };
                    let positions = if own.positions.is_null() {
                        Positions::NONE
                    } else {
                        Positions { table: own.positions.add(range.start * s.targets), stride: s.targets }
                    };
                    let scratch = own.distances.add(task * knn::scratch_len(s));
                    knn::search(isa, s, (first, s.channels), targets, positions, 0..rows, scratch, lists);
                    let out = own.out.add((picture * own.x.count + range.start) * s.k);
                    for i in 0..rows * s.k {
                        // Exact up to 2^24, more than maps have.
                        *out.add(i) = *lists.add(i) as f32;
                    }
                }
            }
        });
    }
}

/// Most neighbours of a node.
pub(crate) const MOST_NEIGHBOURS: usize = 128;

/// What neighbours have more, beside what nodes have.
pub(crate) struct MaxRelativeStep {
    pub batch: usize,
    pub channels: usize,
    pub k: usize,
    pub x: Nodes,
    pub y: Nodes,
    pub lists: *const f32,
    pub out: *mut f32,
    /// Distance of the results' pixels.
    pub out_stride: usize,
}

impl Step for MaxRelativeStep {
    fn run(&self, context: &mut Context<'_, '_>) {
        let isa = context.isa;
        let nodes = self.batch * self.x.count;
        let count = tasks(nodes * self.channels * (self.k + 2), context.pool.threads(), nodes);
        let shared = Shared(self);
        context.pool.run(count, &|task| {
            let own = shared.get();
            let mut list = [0u32; MOST_NEIGHBOURS];
            for node in part(nodes, count, task) {
                let picture = node / own.x.count;
                // SAFETY: the builder checked the extents; an index beyond the map means its last node; tasks write
                // apart from one another.
                unsafe {
                    for (j, place) in list[..own.k].iter_mut().enumerate() {
                        let index = *own.lists.add(node * own.k + j) as usize;
                        *place = index.min(own.y.count - 1) as u32;
                    }
                    let targets = own.y.at(picture * own.y.count);
                    let out = own.out.add(node * own.out_stride);
                    knn::max_relative(
                        isa,
                        own.x.at(node),
                        targets,
                        own.y.stride,
                        list.as_ptr(),
                        own.k,
                        own.channels,
                        out,
                    );
                }
            }
        });
    }
}
