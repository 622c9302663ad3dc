//! What a layer's outputs see of its input, window by window: a convolution as a product.

use ocelli_graph::Op;

use crate::network::{Layer, Network};
use crate::round::Moments;

/// Most windows of a batch that are looked at: an even choice of them.
const MOST: usize = 4096;

/// The windows of a layer.
pub(crate) struct Windows {
    /// Groups, each a product of its own.
    pub groups: usize,
    /// Inputs of an output.
    pub depth: usize,
    /// Outputs of a group.
    pub channels: usize,
    linear: bool,
    /// Input `[channels, height, width]`, output `[height, width]`.
    input: [usize; 3],
    output: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 2],
    dilation: [usize; 2],
}

impl Windows {
    pub fn new(network: &Network, layer: &Layer) -> Self {
        let node = &network.graph.nodes[layer.node];
        let weight = network.graph.value(node.inputs[1]).shape_at(1);
        let input = network.graph.value(layer.input).shape_at(1);
        let output = network.graph.value(layer.output).shape_at(1);
        let Op::Conv { attrs, .. } = &node.op else {
            let (one, two) = ([1; 2], [1; 2]);
            return Self {
                groups: 1,
                depth: weight[0],
                channels: weight[1],
                linear: true,
                input: [weight[0], 1, 1],
                output: one,
                kernel: one,
                stride: two,
                pad: [0; 2],
                dilation: one,
            };
        };
        let two = |values: &[usize], fill: usize| match *values {
            [a, b] => [a, b],
            [a] => [fill, a],
            _ => [1, 1],
        };
        let [height, width] = two(&input[2..], 1);
        Self {
            groups: attrs.groups,
            depth: weight[1..].iter().product(),
            channels: layer.channels / attrs.groups.max(1),
            linear: false,
            input: [input[1], height, width],
            output: two(&output[2..], 1),
            kernel: two(&weight[2..], 1),
            stride: two(&attrs.stride, 1),
            pad: two(&attrs.pad_begin, 0),
            dilation: two(&attrs.dilation, 1),
        }
    }

    /// Adds what a batch says: the outputs that `weights` make of `wanted`, and the inputs `given`.
    pub fn gather(
        &self,
        weights: &[f32],
        wanted: &[f32],
        given: &[f32],
        batch: usize,
        moments: &mut [Moments],
    ) {
        let places =
            if self.linear { wanted.len() / self.depth } else { batch * self.output[0] * self.output[1] };
        let step = places.div_ceil(MOST).max(1);
        let chosen: Vec<usize> = (0..places).step_by(step).collect();
        let mut window = vec![0.0; self.depth];
        for (g, moments) in moments.iter_mut().enumerate() {
            let own = &weights[g * self.channels * self.depth..(g + 1) * self.channels * self.depth];
            let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
            for &place in &chosen {
                self.window(g, place, wanted, &mut window);
                outputs.extend(own.chunks_exact(self.depth).map(|row| {
                    row.iter().zip(&window).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>() as f32
                }));
                self.window(g, place, given, &mut window);
                inputs.extend_from_slice(&window);
            }
            moments.add(&inputs, &outputs);
        }
    }

    fn window(&self, group: usize, place: usize, x: &[f32], window: &mut [f32]) {
        if self.linear {
            window.copy_from_slice(&x[place * self.depth..(place + 1) * self.depth]);
            return;
        }
        let [channels, height, width] = self.input;
        let area = self.output[0] * self.output[1];
        let (picture, i, j) = (place / area, place % area / self.output[1], place % area % self.output[1]);
        let per_group = channels / self.groups;
        let taps = self.kernel[0] * self.kernel[1];
        for (at, number) in window.iter_mut().enumerate() {
            let (c, a, b) = (at / taps, at % taps / self.kernel[1], at % taps % self.kernel[1]);
            let row = (i * self.stride[0] + a * self.dilation[0]).checked_sub(self.pad[0]);
            let column = (j * self.stride[1] + b * self.dilation[1]).checked_sub(self.pad[1]);
            *number = match (row, column) {
                (Some(r), Some(s)) if r < height && s < width => {
                    x[((picture * channels + group * per_group + c) * height + r) * width + s]
                }
                _ => 0.0,
            };
        }
    }
}
