//! Drawings of a residual network and of branches side by side.

use ocelli_graph::{Binary, ConvAttrs, Dim, ElementType, Graph, Node, Op, PoolAttrs, Unary, ValueId, draw};

/// Builds graphs of maps.
struct Sketch {
    graph: Graph,
}

impl Sketch {
    fn new(name: &str, side: usize) -> (Self, ValueId) {
        let mut graph = Graph { name: name.into(), ..Graph::default() };
        let shape = vec![Dim::Batch(1), Dim::Fixed(3), Dim::Fixed(side), Dim::Fixed(side)];
        let x = graph.add_value("input", shape, ElementType::F32);
        graph.inputs.push(x);
        (Self { graph }, x)
    }

    fn node(&mut self, name: &str, op: Op, inputs: Vec<ValueId>, shape: Vec<Dim>) -> ValueId {
        let y = self.graph.add_value(format!("{name}.out"), shape, ElementType::F32);
        self.graph.nodes.push(Node { name: name.into(), op, inputs, outputs: vec![y] });
        y
    }

    fn map(&self, x: ValueId) -> (usize, usize) {
        let shape = self.graph.value(x).shape_at(1);
        (shape[1], shape[2])
    }

    fn same(&mut self, name: &str, op: Op, inputs: Vec<ValueId>) -> ValueId {
        let shape = self.graph.value(inputs[0]).shape.clone();
        self.node(name, op, inputs, shape)
    }

    fn conv(&mut self, name: &str, x: ValueId, to: usize, kernel: usize, stride: usize) -> ValueId {
        let (from, side) = self.map(x);
        let weight = vec![0.0; to * from * kernel * kernel];
        let weight = self.graph.add_constant(format!("{name}.weight"), &[to, from, kernel, kernel], weight);
        let pad = vec![kernel / 2; 2];
        let attrs = ConvAttrs {
            stride: vec![stride; 2],
            pad_begin: pad.clone(),
            pad_end: pad,
            dilation: vec![1; 2],
            groups: 1,
        };
        let side = side.div_ceil(stride);
        let shape = vec![Dim::Batch(1), Dim::Fixed(to), Dim::Fixed(side), Dim::Fixed(side)];
        let op = Op::Conv { attrs, bias: false, residual: false, activation: None };
        self.node(name, op, vec![x, weight], shape)
    }

    fn norm(&mut self, name: &str, x: ValueId) -> ValueId {
        let channels = self.map(x).0;
        let mut inputs = vec![x];
        for part in ["weight", "bias", "running_mean", "running_var"] {
            inputs.push(self.graph.add_constant(format!("{name}.{part}"), &[channels], vec![1.0; channels]));
        }
        self.same(name, Op::BatchNorm { epsilon: 1e-5 }, inputs)
    }

    fn relu(&mut self, name: &str, x: ValueId) -> ValueId {
        self.same(name, Op::Unary { function: Unary::Relu }, vec![x])
    }

    fn block(&mut self, name: &str, x: ValueId, to: usize, stride: usize) -> ValueId {
        let y = self.conv(&format!("{name}.conv1"), x, to, 3, stride);
        let y = self.norm(&format!("{name}.bn1"), y);
        let y = self.relu(&format!("{name}.act1"), y);
        let y = self.conv(&format!("{name}.conv2"), y, to, 3, 1);
        let y = self.norm(&format!("{name}.bn2"), y);
        let mut shortcut = x;
        if stride > 1 {
            shortcut = self.conv(&format!("{name}.downsample.0"), x, to, 1, stride);
            shortcut = self.norm(&format!("{name}.downsample.1"), shortcut);
        }
        let y = self.same(&format!("{name}.add"), Op::Binary { function: Binary::Add }, vec![y, shortcut]);
        self.relu(&format!("{name}.act2"), y)
    }

    fn pool(&mut self, name: &str, x: ValueId, stride: usize) -> ValueId {
        let (channels, side) = self.map(x);
        let side = side.div_ceil(stride);
        let pool = PoolAttrs {
            kernel: [3; 2],
            stride: [stride; 2],
            pad_begin: [1; 2],
            pad_end: [1; 2],
            dilation: [1; 2],
            ceil_mode: false,
        };
        let shape = vec![Dim::Batch(1), Dim::Fixed(channels), Dim::Fixed(side), Dim::Fixed(side)];
        self.node(name, Op::MaxPool(pool), vec![x], shape)
    }
}

fn resnet() -> Graph {
    let (mut sketch, x) = Sketch::new("resnet", 64);
    let x = sketch.conv("conv1", x, 16, 7, 2);
    let x = sketch.norm("bn1", x);
    let x = sketch.relu("act1", x);
    let mut x = sketch.pool("maxpool", x, 2);
    for (stage, channels) in [16, 32].into_iter().enumerate() {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            x = sketch.block(&format!("layer{}.{block}", stage + 1), x, channels, stride);
        }
    }
    sketch.graph.outputs.push(x);
    sketch.graph
}

fn branches() -> Graph {
    let (mut sketch, x) = Sketch::new("<branches> & \"more\"", 32);
    let x = sketch.conv("stem", x, 16, 3, 1);
    let a = sketch.conv("a.0", x, 8, 1, 1);
    let b = sketch.conv("b.0", x, 8, 1, 1);
    let b = sketch.conv("b.1", b, 8, 3, 1);
    let c = sketch.conv("c.0", x, 8, 1, 1);
    let c = sketch.conv("c.1", c, 8, 3, 1);
    let c = sketch.conv("c.2", c, 8, 3, 1);
    let d = sketch.pool("d.pool", x, 1);
    let d = sketch.conv("d.0", d, 8, 1, 1);
    let shape = [Dim::Batch(1), Dim::Fixed(32), Dim::Fixed(32), Dim::Fixed(32)];
    let y = sketch.node("concat", Op::Concat { axis: 1 }, vec![a, b, c, d], shape.to_vec());
    let y = sketch.relu("act", y);
    sketch.graph.outputs.push(y);
    sketch.graph
}

/// `x`, `y`, `width`, `height` of the boxes.
fn boxes(svg: &str) -> Vec<[f64; 4]> {
    svg.lines()
        .filter(|line| line.contains("<rect x=") && line.contains("rx=\"7\"") || line.contains("<title>"))
        .chain(svg.lines().filter(|line| line.contains("</title><rect")))
        .filter(|line| line.contains("<rect x="))
        .map(|line| {
            let rect = &line[line.find("<rect x=").unwrap()..];
            ["x", "y", "width", "height"].map(|key| {
                let from = rect.find(&format!(" {key}=\"")).unwrap() + key.len() + 3;
                rect[from..].split('"').next().unwrap().parse().unwrap()
            })
        })
        .collect()
}

/// Points on every line of the picture.
fn points(svg: &str) -> Vec<Vec<[f64; 2]>> {
    let paths = svg.lines().filter(|line| line.contains("marker-end"));
    paths
        .map(|line| {
            let path = line.split('"').nth(1).unwrap();
            let mut points: Vec<[f64; 2]> = Vec::new();
            let mut rest = path;
            while !rest.is_empty() {
                let end = rest[1..].find(['M', 'V', 'C']).map_or(rest.len(), |at| at + 1);
                let numbers: Vec<f64> = rest[1..end].split_whitespace().map(|n| n.parse().unwrap()).collect();
                let last = points.last().copied().unwrap_or_default();
                let curve = match rest.as_bytes()[0] {
                    b'M' => vec![[numbers[0], numbers[1]]; 4],
                    b'V' => vec![last, last, [last[0], numbers[0]], [last[0], numbers[0]]],
                    _ => vec![
                        last,
                        [numbers[0], numbers[1]],
                        [numbers[2], numbers[3]],
                        [numbers[4], numbers[5]],
                    ],
                };
                for step in 1..=20 {
                    let (t, u) = (step as f64 / 20.0, 1.0 - step as f64 / 20.0);
                    let weights = [u * u * u, 3.0 * t * u * u, 3.0 * t * t * u, t * t * t];
                    points.push([0, 1].map(|d| (0..4).map(|i| weights[i] * curve[i][d]).sum()));
                }
                rest = &rest[end..];
            }
            points
        })
        .collect()
}

#[test]
fn no_box_covers_another_or_a_line() {
    for graph in [resnet(), branches()] {
        let svg = draw::svg(&graph);
        let boxes = boxes(&svg);
        assert!(boxes.len() >= graph.nodes.len() + 2, "{}", boxes.len());
        let lines = points(&svg);
        assert!(lines.len() > graph.nodes.len());
        for points in lines {
            for [x, y] in points {
                for [left, top, width, height] in &boxes {
                    let inside =
                        x > left + 1.0 && x < left + width - 1.0 && y > top + 1.0 && y < top + height - 1.0;
                    assert!(!inside, "{}: a line crosses a box at {x} {y}", graph.name);
                }
            }
        }
        for (at, a) in boxes.iter().enumerate() {
            for b in &boxes[..at] {
                let apart =
                    a[0] >= b[0] + b[2] || b[0] >= a[0] + a[2] || a[1] >= b[1] + b[3] || b[1] >= a[1] + a[3];
                assert!(apart || a == b, "{a:?} {b:?}");
            }
        }
    }
}

#[test]
fn boxes_say_what_is_computed() {
    let svg = draw::svg(&resnet());
    for words in ["Conv 7×7, 3→16, stride 2", "layer2.0.downsample.0", "N×16×32×32", "BatchNorm", "ReLU"]
    {
        assert!(svg.contains(words), "{words}");
    }
    assert!(draw::svg(&branches()).contains("&lt;branches&gt; &amp; \"more\""));
    let dot = draw::dot(&branches());
    assert!(dot.starts_with("digraph \"<branches> & \\\"more\\\"\" {"), "{dot}");
    assert_eq!(dot.matches(" -> ").count(), 15, "{dot}");
}

#[test]
fn odd_graphs_are_drawn_all_the_same() {
    for graph in [Graph::default(), {
        let mut graph = branches();
        graph.nodes[3].inputs = vec![ValueId(999), graph.nodes[5].outputs[0]];
        graph.nodes[4].inputs.clear();
        graph.nodes[5].outputs.clear();
        graph.outputs.push(ValueId(999));
        graph
    }] {
        assert!(draw::svg(&graph).ends_with("</svg>\n"));
        assert!(draw::dot(&graph).ends_with("}\n"));
    }
}
