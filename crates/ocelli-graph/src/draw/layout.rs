//! Where boxes and lines go: layers from top to bottom, an order within each, a place for each.
//!
//! A line that passes layers gets a *bend* in each of them, which takes room like a narrow box. Lines change
//! sides only in the gaps between layers, and so never cross a box.

use super::label::Picture;
use super::{order, place};

/// Something that takes room in a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Layer, the topmost is 0.
    pub layer: usize,
    /// The box, or `None` for a bend.
    pub content: Option<usize>,
    /// Room it takes, in pixels.
    pub width: f64,
}

/// Everything in its layer.
#[derive(Clone, Debug, Default)]
pub(super) struct Layers {
    /// Boxes, which come first and in the picture's order, and bends.
    pub slots: Vec<Slot>,
    /// The slots of each layer, from left to right.
    pub rows: Vec<Vec<usize>>,
    /// The slots a line goes through, both ends included.
    pub routes: Vec<Vec<usize>>,
    /// Whether a slot lies on the longest way through the network.
    pub spine: Vec<bool>,
    /// Slots each slot is joined to in the layer above.
    pub above: Vec<Vec<usize>>,
    /// Slots each slot is joined to in the layer below.
    pub below: Vec<Vec<usize>>,
}

/// Middles of all slots, in pixels from the left.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub layers: Layers,
    pub x: Vec<f64>,
    /// Extent of everything, in pixels.
    pub width: f64,
}

/// Room of a bend, in pixels.
const BEND: f64 = 14.0;

/// Lays `picture` out with boxes `width` pixels wide.
pub(super) fn layout(picture: &Picture, width: f64) -> Layout {
    let mut layers = Layers::new(picture, width);
    order::order(&mut layers);
    let (x, width) = place::place(&layers);
    Layout { layers, x, width }
}

impl Layers {
    fn new(picture: &Picture, width: f64) -> Self {
        let count = picture.boxes.len();
        let rank = ranks(picture);
        let mut this = Self {
            slots: (0..count).map(|at| Slot { layer: rank[at], content: Some(at), width }).collect(),
            rows: vec![Vec::new(); rank.iter().max().map_or(0, |last| last + 1)],
            spine: spine(picture, &rank),
            ..Self::default()
        };
        for (at, &layer) in rank.iter().enumerate() {
            this.rows[layer].push(at);
        }
        for &(from, to) in &picture.lines {
            let mut route = vec![from];
            for layer in rank[from] + 1..rank[to] {
                this.rows[layer].push(this.slots.len());
                route.push(this.slots.len());
                this.slots.push(Slot { layer, content: None, width: BEND });
                this.spine.push(false);
            }
            route.push(to);
            this.routes.push(route);
        }
        this.above = vec![Vec::new(); this.slots.len()];
        this.below = vec![Vec::new(); this.slots.len()];
        for route in &this.routes {
            for pair in route.windows(2) {
                this.below[pair[0]].push(pair[1]);
                this.above[pair[1]].push(pair[0]);
            }
        }
        this
    }
}

/// The layer of each box: one below the lowest it reads from.
fn ranks(picture: &Picture) -> Vec<usize> {
    let count = picture.boxes.len();
    let mut rank = vec![0; count];
    let mut into = vec![Vec::new(); count];
    for &(from, to) in &picture.lines {
        into[to].push(from);
    }
    for at in 0..count {
        rank[at] = into[at].iter().map(|&from: &usize| rank[from] + 1).max().unwrap_or(0);
    }
    // What reads nothing stands just above its first reader.
    let mut first_reader = vec![usize::MAX; count];
    for &(from, to) in &picture.lines {
        first_reader[from] = first_reader[from].min(rank[to]);
    }
    for at in 0..count {
        if into[at].is_empty() && first_reader[at] != usize::MAX {
            rank[at] = first_reader[at].saturating_sub(1);
        }
    }
    rank
}

/// Which boxes lie on one longest way from the top to the bottom.
fn spine(picture: &Picture, rank: &[usize]) -> Vec<bool> {
    let mut on = vec![false; picture.boxes.len()];
    let mut at = (0..rank.len()).max_by_key(|&at| rank[at]);
    while let Some(current) = at {
        on[current] = true;
        at = picture
            .lines
            .iter()
            .filter(|&&(from, to)| to == current && rank[from] + 1 == rank[to])
            .map(|&(from, _)| from)
            .next();
    }
    on
}
