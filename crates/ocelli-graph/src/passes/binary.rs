//! Lets convolutions of signs take in what stands around them.
//!
//! The weights' signs and mean stay as they are; factors per channel become an input of their own.

use super::edit::{Links, add_constant, insert_before};
use crate::binary_conv::{BinaryConv, Part};
use crate::ir::{Dim, ElementType, Graph, ValueId};
use crate::op::{Binary, Op, Unary};

/// The convolution of signs that node `index` is.
fn own(graph: &Graph, index: usize) -> Option<&BinaryConv> {
    match &graph.nodes[index].op {
        Op::BinaryConv(own) => Some(own),
        _ => None,
    }
}

/// The convolution of signs that makes `id`, if nothing but one node reads that.
fn only_read(graph: &Graph, links: &Links, id: ValueId) -> Option<usize> {
    let index = links.producer[id.index()]?;
    (own(graph, index).is_some() && links.readers[id.index()] == 1).then_some(index)
}

/// `constant` as one number per channel (dimension 1) of a map.
fn per_channel(graph: &Graph, constant: ValueId, map: ValueId) -> Option<Vec<f32>> {
    let numbers = graph.constant_f32(constant)?;
    let (shape, own) = (&graph.value(map).shape, &graph.value(constant).shape);
    let Dim::Fixed(channels) = *shape.get(1)? else { return None };
    if numbers.len() == 1 {
        return Some(vec![numbers[0]; channels]);
    }
    let missing = shape.len().checked_sub(own.len())?;
    let fits = own.iter().enumerate().all(|(d, dim)| *dim == Dim::Fixed(1) || d + missing == 1);
    (fits && numbers.len() == channels).then(|| numbers.to_vec())
}

/// Gives node `index` the input `part`, or combines it with the one it has.
fn put(graph: &mut Graph, index: usize, part: Part, numbers: &[f64], combine: fn(f64, f64) -> f64) {
    let Some(conv) = own(graph, index) else { return };
    let place = conv.place(part);
    let numbers: Vec<f32> = match place {
        Ok(place) => {
            let old = graph.constant_f32(graph.nodes[index].inputs[place]).unwrap_or_default();
            old.iter().zip(numbers).map(|(a, b)| combine(f64::from(*a), *b) as f32).collect()
        }
        Err(_) => numbers.iter().map(|v| *v as f32).collect(),
    };
    let name = format!("{}.{}", graph.nodes[index].name, format!("{part:?}").to_lowercase());
    let id = add_constant(graph, &name, &[numbers.len()], numbers);
    let node = &mut graph.nodes[index];
    match place {
        Ok(place) => node.inputs[place] = id,
        Err(place) => {
            node.inputs.insert(place, id);
            if let Op::BinaryConv(own) = &mut node.op {
                own.add(part);
            }
        }
    }
}

/// Whether node `index` is a convolution of signs that factors and offsets per channel can be taken into.
pub(super) fn is_affine(graph: &Graph, index: usize) -> bool {
    own(graph, index).is_some_and(|own| {
        let known = |part| {
            own.place(part)
                .map_or(true, |place| graph.constants.contains_key(&graph.nodes[index].inputs[place]))
        };
        own.is_affine() && known(Part::Scale) && known(Part::Bias)
    })
}

/// Node `index` gives `factor · y + offset` from now on, as node `i` did, which disappears.
pub(super) fn apply(graph: &mut Graph, index: usize, i: usize, factor: &[f64], offset: &[f64]) {
    put(graph, index, Part::Scale, factor, |a, b| a * b);
    let has_bias = own(graph, index).is_some_and(|own| own.bias);
    if has_bias {
        put(graph, index, Part::Bias, factor, |a, b| a * b);
    }
    if has_bias || offset.iter().any(|v| *v != 0.0) {
        put(graph, index, Part::Bias, offset, |a, b| a + b);
    }
    let outputs = std::mem::take(&mut graph.nodes[i].outputs);
    graph.nodes[index].outputs = outputs;
    graph.nodes.remove(i);
}

/// A batch norm of a convolution of signs plus something (an Elastic-Link) is the norm of the convolution plus the factors times that:
/// `norm(y + z) = norm(y) + k z`. Returns whether there were any.
pub(super) fn spread_norms(graph: &mut Graph) -> bool {
    let mut changed = false;
    let mut i = 0;
    while i < graph.nodes.len() {
        let links = Links::of(graph);
        changed |= spread_norm(graph, &links, i);
        i += 1;
    }
    changed
}

fn spread_norm(graph: &mut Graph, links: &Links, i: usize) -> bool {
    let node = &graph.nodes[i];
    let Op::BatchNorm { epsilon } = node.op else { return false };
    let sum = node.inputs[0];
    let Some(at) = links.producer[sum.index()].filter(|_| links.readers[sum.index()] == 1) else {
        return false;
    };
    let Op::Binary { function: Binary::Add } = graph.nodes[at].op else { return false };
    let (a, b) = (graph.nodes[at].inputs[0], graph.nodes[at].inputs[1]);
    let shape = graph.value(sum).shape.clone();
    let conv = |id: ValueId| only_read(graph, links, id).filter(|&index| is_affine(graph, index));
    let (y, z) = match (conv(a), conv(b)) {
        (Some(_), _) => (a, b),
        (None, Some(_)) => (b, a),
        (None, None) => return false,
    };
    if graph.value(y).shape != shape || graph.value(z).shape != shape || graph.constants.contains_key(&z) {
        return false;
    }
    let (Some(scale), Some(variance)) =
        (graph.constant_f32(node.inputs[1]), graph.constant_f32(node.inputs[4]))
    else {
        return false;
    };
    let mut factors: Vec<f32> = scale
        .iter()
        .zip(variance)
        .map(|(s, v)| (f64::from(*s) / (f64::from(*v) + f64::from(epsilon)).sqrt()) as f32)
        .collect();
    // A factor that is there already, a link's, joins them.
    let mut of = z;
    if let Some(made) = links.producer[z.index()].filter(|_| links.readers[z.index()] == 1)
        && let Op::Binary { function: Binary::Mul } = graph.nodes[made].op
    {
        let (x, constant) = (graph.nodes[made].inputs[0], graph.nodes[made].inputs[1]);
        if graph.value(x).shape == shape
            && let Some(gamma) = per_channel(graph, constant, z)
        {
            factors.iter_mut().zip(gamma).for_each(|(factor, gamma)| *factor *= gamma);
            of = x;
        }
    }
    let channels = factors.len();
    let name = format!("{}.spread", graph.nodes[i].name);
    let factors = add_constant(graph, &name, &[1, channels, 1, 1], factors);
    let norm_inputs: Vec<ValueId> =
        std::iter::once(y).chain(graph.nodes[i].inputs[1..].iter().copied()).collect();
    let normed =
        insert_before(graph, i, Op::BatchNorm { epsilon }, norm_inputs, shape.clone(), ElementType::F32);
    let scaled = insert_before(
        graph,
        i + 1,
        Op::Binary { function: Binary::Mul },
        vec![of, factors],
        shape,
        ElementType::F32,
    );
    let last = &mut graph.nodes[i + 2];
    (last.op, last.inputs) = (Op::Binary { function: Binary::Add }, vec![normed, scaled]);
    graph.nodes.remove(at);
    true
}

/// Takes what stands around node `i` into a convolution of signs. Returns whether something was.
pub(super) fn fuse(graph: &mut Graph, links: &Links, i: usize) -> bool {
    fuse_shift(graph, links, i) || fuse_offset(graph, links, i) || fuse_slope(graph, links, i)
}

/// Node `i` reads a map plus numbers per channel.
fn fuse_shift(graph: &mut Graph, links: &Links, i: usize) -> bool {
    let Some(conv) = own(graph, i) else { return false };
    if conv.shift {
        return false;
    }
    let x = graph.nodes[i].inputs[0];
    let Some(sum) = links.made_by(graph, x) else { return false };
    let Op::Binary { function: Binary::Add } = sum.op else { return false };
    let (map, constant) = (sum.inputs[0], sum.inputs[1]);
    if graph.value(map).shape != graph.value(x).shape {
        return false;
    }
    let Some(numbers) = per_channel(graph, constant, map) else { return false };
    let numbers: Vec<f64> = numbers.into_iter().map(f64::from).collect();
    put(graph, i, Part::Shift, &numbers, |a, b| a + b);
    graph.nodes[i].inputs[0] = map;
    true
}

/// Node `i` adds numbers per channel.
fn fuse_offset(graph: &mut Graph, links: &Links, i: usize) -> bool {
    let node = &graph.nodes[i];
    let Op::Binary { function: Binary::Add } = node.op else { return false };
    let (x, constant) = (node.inputs[0], node.inputs[1]);
    let Some(index) = only_read(graph, links, x).filter(|&index| takes_more(graph, index)) else {
        return false;
    };
    if graph.value(x).shape != graph.value(node.outputs[0]).shape {
        return false;
    }
    let Some(numbers) = per_channel(graph, constant, x) else { return false };
    let numbers: Vec<f64> = numbers.into_iter().map(f64::from).collect();
    let bent = own(graph, index).is_some_and(|own| own.slope);
    put(graph, index, if bent { Part::After } else { Part::Bias }, &numbers, |a, b| a + b);
    let outputs = std::mem::take(&mut graph.nodes[i].outputs);
    graph.nodes[index].outputs = outputs;
    graph.nodes.remove(i);
    true
}

/// Whether the engine can do more after the convolution `index` than scale: for one group of channels.
fn takes_more(graph: &Graph, index: usize) -> bool {
    own(graph, index).is_some_and(|own| own.attrs.groups == 1)
}

/// Whether a residual can be added to the result of node `index`.
pub(super) fn takes_residual(graph: &Graph, index: usize) -> bool {
    takes_more(graph, index) && own(graph, index).is_some_and(|own| !own.slope && !own.after)
}

/// Gives node `index` a residual, or adds it to the one it has, right before.
pub(super) fn add_residual(graph: &mut Graph, index: usize, residual: ValueId) {
    let Some(place) = own(graph, index).map(|own| own.place(Part::Residual)) else { return };
    match place {
        Err(place) => {
            graph.nodes[index].inputs.insert(place, residual);
            if let Op::BinaryConv(own) = &mut graph.nodes[index].op {
                own.add(Part::Residual);
            }
        }
        Ok(place) => {
            let old = graph.nodes[index].inputs[place];
            let shape = graph.value(old).shape.clone();
            let add = Op::Binary { function: Binary::Add };
            let both = insert_before(graph, index, add, vec![old, residual], shape, ElementType::F32);
            graph.nodes[index + 1].inputs[place] = both;
        }
    }
}

/// Node `i` is the sum of `max(x, 0)` and `slope · min(x, 0)`.
fn fuse_slope(graph: &mut Graph, links: &Links, i: usize) -> bool {
    let node = &graph.nodes[i];
    let Op::Binary { function: Binary::Add } = node.op else { return false };
    let made = |id: ValueId| links.producer[id.index()].filter(|_| links.readers[id.index()] == 1);
    let parts = |positive: ValueId, bent: ValueId| {
        let (positive, bent) = (made(positive)?, made(bent)?);
        let (Op::Unary { function: Unary::Relu }, Op::Binary { function: Binary::Mul }) =
            (&graph.nodes[positive].op, &graph.nodes[bent].op)
        else {
            return None;
        };
        let (negative, slope) = (graph.nodes[bent].inputs[0], graph.nodes[bent].inputs[1]);
        let negative = made(negative)?;
        let Op::Binary { function: Binary::Min } = graph.nodes[negative].op else { return None };
        let (x, zero) = (graph.nodes[negative].inputs[0], graph.nodes[negative].inputs[1]);
        let zeros = graph.constant_f32(zero)?.iter().all(|v| *v == 0.0);
        (zeros && graph.nodes[positive].inputs[0] == x).then_some((x, slope, [positive, negative, bent]))
    };
    let (a, b) = (node.inputs[0], node.inputs[1]);
    let Some((x, slope, mut gone)) = parts(a, b).or_else(|| parts(b, a)) else { return false };
    let Some(index) = links.producer[x.index()].filter(|&index| takes_residual(graph, index)) else {
        return false;
    };
    let same = graph.value(x).shape == graph.value(node.outputs[0]).shape;
    if links.readers[x.index()] != 2 || !same {
        return false;
    }
    let Some(numbers) = per_channel(graph, slope, x) else { return false };
    let numbers: Vec<f64> = numbers.into_iter().map(f64::from).collect();
    put(graph, index, Part::Slope, &numbers, |a, _| a);
    let outputs = std::mem::take(&mut graph.nodes[i].outputs);
    graph.nodes[index].outputs = outputs;
    gone.sort_unstable();
    graph.nodes.remove(i);
    for index in gone.into_iter().rev() {
        graph.nodes.remove(index);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::{Tensor, interpret};
    use crate::ir::Node;
    use crate::op::ConvAttrs;
    use crate::passes::{check, optimize};

    const MAP: [Dim; 4] = [Dim::Batch(1), Dim::Fixed(4), Dim::Fixed(5), Dim::Fixed(5)];

    fn noise(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 37 + seed * 101) % 97) as f32 / 48.5 - 1.003).collect()
    }

    struct Maker(Graph);

    impl Maker {
        fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
            let name = format!("node_{}", self.0.nodes.len());
            let id = self.0.add_value(name.clone(), MAP.to_vec(), ElementType::F32);
            self.0.nodes.push(Node { name, op, inputs: inputs.to_vec(), outputs: vec![id] });
            id
        }

        fn constant(&mut self, shape: &[usize], seed: usize) -> ValueId {
            let name = format!("constant_{}", self.0.values.len());
            self.0.add_constant(name, shape, noise(shape.iter().product(), seed))
        }

        fn two(&mut self, function: Binary, a: ValueId, b: ValueId) -> ValueId {
            self.node(Op::Binary { function }, &[a, b])
        }

        fn conv(&mut self, x: ValueId, groups: usize) -> ValueId {
            let weights = self.constant(&[4 * 4 / groups * 9, 1], 3 + self.0.nodes.len());
            let attrs = ConvAttrs {
                stride: vec![1; 2],
                pad_begin: vec![1; 2],
                pad_end: vec![1; 2],
                dilation: vec![1; 2],
                groups,
            };
            let own = BinaryConv {
                attrs,
                kernel: [3, 3],
                mean: true,
                shift: false,
                scale: false,
                bias: false,
                residual: false,
                slope: false,
                after: false,
            };
            self.node(Op::BinaryConv(own), &[x, weights])
        }

        fn norm(&mut self, x: ValueId) -> ValueId {
            let [scale, shift, mean] = [1, 2, 3].map(|seed| self.constant(&[4], seed));
            let variance =
                self.0.add_constant(format!("v{}", self.0.values.len()), &[4], vec![0.5, 1.0, 1.5, 2.0]);
            self.node(Op::BatchNorm { epsilon: 1e-5 }, &[x, scale, shift, mean, variance])
        }

        fn prelu(&mut self, x: ValueId) -> ValueId {
            let slope = self.constant(&[1, 4, 1, 1], 6);
            let zero = self.0.add_constant(format!("z{}", self.0.values.len()), &[], vec![0.0]);
            let positive = self.node(Op::Unary { function: Unary::Relu }, &[x]);
            let negative = self.two(Binary::Min, x, zero);
            let bent = self.two(Binary::Mul, negative, slope);
            self.two(Binary::Add, positive, bent)
        }
    }

    /// Optimises the graph `make` builds; it must compute the same, and be left with these operators.
    fn optimised(make: impl Fn(&mut Maker, ValueId) -> ValueId) -> Vec<&'static str> {
        let mut maker = Maker(Graph::default());
        let x = maker.0.add_value("x", MAP.to_vec(), ElementType::F32);
        maker.0.inputs.push(x);
        let y = make(&mut maker, x);
        maker.0.outputs.push(y);
        let before = maker.0;
        check(&before).expect("a sound graph");
        let mut after = before.clone();
        optimize(&mut after);
        check(&after).expect("a sound graph");
        let input = [Tensor::new(&[2, 4, 5, 5], noise(200, 9))];
        let [a, b] = [&before, &after].map(|graph| interpret(graph, &input).expect("it runs")[0].floats());
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() <= 1e-4 * (1.0 + a.abs()), "{a} became {b}");
        }
        after.nodes.iter().map(|node| node.op.kind()).collect()
    }

    #[test]
    fn a_whole_unit_is_one_convolution() {
        // ReActNet's: shift, convolution, norm, shortcut, shift, slope, shift.
        let kinds = optimised(|m, x| {
            let shift = m.constant(&[1, 4, 1, 1], 4);
            let moved = m.two(Binary::Add, x, shift);
            let conv = m.conv(moved, 1);
            let normed = m.norm(conv);
            let sum = m.two(Binary::Add, normed, x);
            let (before, after) = (m.constant(&[1, 4, 1, 1], 5), m.constant(&[1, 4, 1, 1], 7));
            let sum = m.two(Binary::Add, sum, before);
            let bent = m.prelu(sum);
            m.two(Binary::Add, bent, after)
        });
        assert_eq!(kinds, ["binary_conv"]);
    }

    #[test]
    fn links_take_the_norms_factors() {
        let kinds = optimised(|m, x| {
            let gamma = m.constant(&[1, 1, 1, 1], 8);
            let conv = m.conv(x, 1);
            let link = m.two(Binary::Mul, x, gamma);
            let sum = m.two(Binary::Add, conv, link);
            let normed = m.norm(sum);
            let sum = m.two(Binary::Add, normed, x);
            m.prelu(sum)
        });
        assert_eq!(kinds, ["mul", "add", "binary_conv"]);
    }

    #[test]
    fn groups_take_norms_alone() {
        let kinds = optimised(|m, x| {
            let conv = m.conv(x, 4);
            let normed = m.norm(conv);
            m.two(Binary::Add, normed, x)
        });
        assert_eq!(kinds, ["binary_conv", "add"]);
    }

    #[test]
    fn sums_that_others_read_stay() {
        let kinds = optimised(|m, x| {
            let conv = m.conv(x, 1);
            let normed = m.norm(conv);
            m.two(Binary::Mul, conv, normed)
        });
        assert_eq!(kinds, ["binary_conv", "batch_norm", "mul"]);
    }
}
