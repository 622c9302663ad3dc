//! A small graph per operator; `testdata/python/op_goldens.py` holds the same cases in PyTorch.

use ocelli_graph::{
    Binary, Constant, ConvAttrs, Dim, ElementType, Graph, Node, Op, PadMode, PoolAttrs, Reduction,
    ResizeMode, Unary,
};

/// Batch size of the cases.
pub const BATCH: usize = 2;

/// What an input holds.
#[derive(Clone, Copy)]
pub enum Content {
    /// Between -2 and 2.
    Fill,
    /// Between -4 and 4.
    Wide,
    /// Between 0.5 and 4.5.
    Positive,
    /// Truth values.
    Truth,
    /// Whole numbers below this one.
    Index(usize),
    /// Those numbers as floating point.
    Whole(usize),
}

impl Content {
    /// The elements of input number `seed`.
    pub fn elements(self, seed: usize, count: usize) -> Constant {
        let raw = move |i: usize| (i * 7919 + (seed + 1) * 3571) % 1009;
        let fill = move |i: usize| raw(i) as f64 / 252.25 - 2.0;
        match self {
            Self::Fill => Constant::F32((0..count).map(|i| fill(i) as f32).collect()),
            Self::Wide => Constant::F32((0..count).map(|i| fill(i) as f32 * 2.0).collect()),
            Self::Positive => Constant::F32((0..count).map(|i| fill(i) as f32 + 2.5).collect()),
            Self::Truth => Constant::Bool((0..count).map(|i| fill(i) > 0.0).collect()),
            Self::Index(limit) => Constant::I64((0..count).map(|i| (raw(i) % limit) as i64).collect()),
            Self::Whole(limit) => Constant::F32((0..count).map(|i| (raw(i) % limit) as f32).collect()),
        }
    }

    fn element(self) -> ElementType {
        match self {
            Self::Truth => ElementType::Bool,
            Self::Index(_) => ElementType::I64,
            _ => ElementType::F32,
        }
    }
}

/// One operation with inputs.
pub struct Case {
    pub name: &'static str,
    op: Op,
    /// Shapes such as `N,3,2N`; those without `N` are constants.
    pub inputs: Vec<(&'static str, Content)>,
    outputs: Vec<(&'static str, ElementType)>,
    /// A further input `[N]` that nothing reads but the batch size.
    pub anchored: bool,
}

/// `"N,3,2N"` → extents; `""` is a scalar.
pub fn dims(text: &str) -> Vec<Dim> {
    text.split(',')
        .filter(|part| !part.is_empty())
        .map(|part| match part.strip_suffix('N') {
            Some("") => Dim::Batch(1),
            Some(factor) => Dim::Batch(factor.parse().unwrap()),
            None => Dim::Fixed(part.parse().unwrap()),
        })
        .collect()
}

impl Case {
    fn new(name: &'static str, op: Op, inputs: &[(&'static str, Content)], output: &'static str) -> Self {
        let outputs = vec![(output, ElementType::F32)];
        Self { name, op, inputs: inputs.to_vec(), outputs, anchored: false }
    }

    fn filled(name: &'static str, op: Op, inputs: &[&'static str], output: &'static str) -> Self {
        let inputs: Vec<_> = inputs.iter().map(|&shape| (shape, Content::Fill)).collect();
        Self::new(name, op, &inputs, output)
    }

    fn gives(mut self, element: ElementType) -> Self {
        self.outputs[0].1 = element;
        self
    }

    fn and(mut self, output: &'static str, element: ElementType) -> Self {
        self.outputs.push((output, element));
        self
    }

    fn anchored(mut self) -> Self {
        self.anchored = true;
        self
    }

    /// The graph: the node `layer` alone.
    pub fn graph(&self) -> Graph {
        let mut graph = Graph { name: self.name.into(), ..Graph::default() };
        let mut inputs = Vec::new();
        for (position, &(shape, content)) in self.inputs.iter().enumerate() {
            let shape = dims(shape);
            let count = shape.iter().map(|dim| dim.at(BATCH)).product();
            let open = shape.iter().any(|dim| matches!(dim, Dim::Batch(_)));
            let name = if open { format!("input{position}") } else { format!("layer.weight{position}") };
            let id = graph.add_value(name, shape, content.element());
            if open {
                graph.inputs.push(id);
            } else {
                graph.constants.insert(id, content.elements(position, count));
            }
            inputs.push(id);
        }
        if self.anchored {
            let id = graph.add_value("anchor", dims("N"), ElementType::F32);
            graph.inputs.push(id);
        }
        let outputs: Vec<_> = self
            .outputs
            .iter()
            .enumerate()
            .map(|(position, &(shape, element))| {
                graph.add_value(format!("output{position}"), dims(shape), element)
            })
            .collect();
        graph.outputs.clone_from(&outputs);
        graph.nodes.push(Node { name: "layer".into(), op: self.op.clone(), inputs, outputs });
        graph
    }
}

fn pool(kernel: usize, stride: usize, pad: usize, dilation: usize, ceil_mode: bool) -> PoolAttrs {
    PoolAttrs {
        kernel: [kernel; 2],
        stride: [stride; 2],
        pad_begin: [pad; 2],
        pad_end: [pad; 2],
        dilation: [dilation; 2],
        ceil_mode,
    }
}

fn unaries() -> Vec<Case> {
    let with = |name, content, function| Case::new(name, Op::Unary { function }, &[("N,7", content)], "N,7");
    let mut cases = vec![
        with("log", Content::Positive, Unary::Log),
        with("sqrt", Content::Positive, Unary::Sqrt),
        with("reciprocal", Content::Positive, Unary::Reciprocal),
        with("hard_swish", Content::Wide, Unary::HardSwish),
        with("hard_sigmoid", Content::Wide, Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }),
        with("not", Content::Truth, Unary::Not).gives(ElementType::Bool),
    ];
    for (name, function) in [
        ("relu", Unary::Relu),
        ("clamp", Unary::Clamp { min: -0.5, max: 1.0 }),
        ("clamp_below", Unary::Clamp { min: -0.5, max: f32::INFINITY }),
        ("leaky_relu", Unary::LeakyRelu { slope: 0.1 }),
        ("gelu", Unary::Gelu),
        ("sigmoid", Unary::Sigmoid),
        ("silu", Unary::Silu),
        ("tanh", Unary::Tanh),
        ("erf", Unary::Erf),
        ("exp", Unary::Exp),
        ("neg", Unary::Neg),
        ("abs", Unary::Abs),
        ("sign", Unary::Sign),
        ("floor", Unary::Floor),
        ("ceil", Unary::Ceil),
        ("round", Unary::Round),
        ("sin", Unary::Sin),
        ("cos", Unary::Cos),
    ] {
        cases.push(with(name, Content::Fill, function));
    }
    cases
}

fn binaries() -> Vec<Case> {
    use Content::{Fill, Index, Positive, Truth};
    let with = |name, function, left, right, element| {
        Case::new(name, Op::Binary { function }, &[("N,7", left), ("7", right)], "N,7").gives(element)
    };
    let (number, truth) = (ElementType::F32, ElementType::Bool);
    vec![
        with("add", Binary::Add, Fill, Fill, number),
        with("sub", Binary::Sub, Fill, Fill, number),
        with("mul", Binary::Mul, Fill, Fill, number),
        with("div", Binary::Div, Fill, Positive, number),
        with("pow", Binary::Pow, Positive, Fill, number),
        with("min", Binary::Min, Fill, Fill, number),
        with("max", Binary::Max, Fill, Fill, number),
        with("equal", Binary::Equal, Index(3), Index(3), truth),
        with("less", Binary::Less, Fill, Fill, truth),
        with("less_equal", Binary::LessEqual, Index(3), Index(3), truth),
        with("greater", Binary::Greater, Fill, Fill, truth),
        with("greater_equal", Binary::GreaterEqual, Index(3), Index(3), truth),
        with("and", Binary::And, Truth, Truth, truth),
        with("or", Binary::Or, Truth, Truth, truth),
        Case::new("where", Op::Where, &[("N,7", Truth), ("7", Fill), ("1", Fill)], "N,7"),
    ]
}

fn layers() -> Vec<Case> {
    use Content::{Fill, Positive};
    let geometry = ConvAttrs {
        stride: vec![2, 3],
        pad_begin: vec![1, 0],
        pad_end: vec![1, 2],
        dilation: vec![1, 1],
        groups: 2,
    };
    let line =
        ConvAttrs { stride: vec![1], pad_begin: vec![0], pad_end: vec![0], dilation: vec![2], groups: 1 };
    let turned = ConvAttrs {
        stride: vec![2, 2],
        pad_begin: vec![1, 1],
        pad_end: vec![1, 1],
        dilation: vec![1, 1],
        groups: 2,
    };
    let conv = |attrs: &ConvAttrs, bias, residual, activation| Op::Conv {
        attrs: attrs.clone(),
        bias,
        residual,
        activation,
    };
    let linear = |bias, residual, activation| Op::Linear { bias, residual, activation };
    let attention = |causal, mask| Op::Attention { scale: 0.7, causal, mask };
    let tokens = ["N,2,3,4", "N,2,5,4", "N,2,5,3"];
    vec![
        Case::filled("conv", conv(&geometry, true, false, None), &["N,4,5,6", "6,2,3,3", "6"], "N,6,3,2"),
        Case::filled(
            "conv_fused",
            conv(&geometry, true, true, Some(Unary::Clamp { min: 0.0, max: 6.0 })),
            &["N,4,5,6", "6,2,3,3", "6", "N,6,3,2"],
            "N,6,3,2",
        ),
        Case::filled("conv_1d", conv(&line, false, false, None), &["N,3,7", "4,3,3"], "N,4,3"),
        Case::filled(
            "conv_transpose",
            Op::ConvTranspose { attrs: turned, output_padding: vec![1, 1], bias: true },
            &["N,4,3,3", "4,2,3,3", "4"],
            "N,4,6,6",
        ),
        Case::filled("linear", linear(true, false, None), &["N,5", "5,3", "3"], "N,3"),
        Case::filled("linear_plain", linear(false, false, None), &["N,5", "5,3"], "N,3"),
        Case::filled(
            "linear_fused",
            linear(true, true, Some(Unary::Silu)),
            &["N,4,5", "5,3", "3", "N,4,3"],
            "N,4,3",
        ),
        Case::filled("matmul", Op::MatMul, &["N,2,3,4", "2,4,2"], "N,2,3,2"),
        Case::filled("attention", attention(false, false), &tokens, "N,2,3,3"),
        Case::filled("attention_mask", attention(false, true), &[&tokens[..], &["3,5"]].concat(), "N,2,3,3"),
        Case::filled("attention_causal", attention(true, false), &tokens, "N,2,3,3"),
        Case::new(
            "batch_norm",
            Op::BatchNorm { epsilon: 1e-3 },
            &[("N,2,5,4", Fill), ("2", Fill), ("2", Fill), ("2", Fill), ("2", Positive)],
            "N,2,5,4",
        ),
        Case::new(
            "batch_norm_rows",
            Op::BatchNorm { epsilon: 1e-3 },
            &[("N,7", Fill), ("7", Fill), ("7", Fill), ("7", Fill), ("7", Positive)],
            "N,7",
        ),
        Case::filled(
            "layer_norm",
            Op::LayerNorm { epsilon: 1e-6, shift: true },
            &["N,3,5", "5", "5"],
            "N,3,5",
        ),
        Case::filled(
            "layer_norm_scale",
            Op::LayerNorm { epsilon: 1e-6, shift: false },
            &["N,3,5", "5"],
            "N,3,5",
        ),
        Case::filled(
            "group_norm",
            Op::GroupNorm { groups: 3, epsilon: 1e-5 },
            &["N,6,2,3", "6", "6"],
            "N,6,2,3",
        ),
    ]
}

fn reductions() -> Vec<Case> {
    let map = "N,2,5,4";
    let reduce =
        |reduction, axes: &[usize], keep_dims| Op::Reduce { reduction, axes: axes.to_vec(), keep_dims };
    let extreme = |axis, largest| Op::ArgExtreme { axis, largest };
    vec![
        Case::filled("softmax", Op::Softmax { axis: 1 }, &[map], map),
        Case::filled("log_softmax", Op::LogSoftmax { axis: 3 }, &[map], map),
        Case::filled("reduce_mean", reduce(Reduction::Mean, &[2, 3], true), &[map], "N,2,1,1"),
        Case::filled("reduce_sum", reduce(Reduction::Sum, &[0, 2], false), &[map], "2,4"),
        Case::filled("reduce_max", reduce(Reduction::Max, &[1, 3], false), &[map], "N,5"),
        Case::filled("reduce_min", reduce(Reduction::Min, &[2], true), &[map], "N,2,1,4"),
        Case::filled("reduce_prod", reduce(Reduction::Prod, &[2], false), &["N,3,4"], "N,3"),
        Case::filled("reduce_nothing", reduce(Reduction::Sum, &[], false), &["N,7"], "N,7"),
        Case::filled("arg_max", extreme(2, true), &[map], "N,2,1,4").gives(ElementType::I64),
        Case::filled("arg_min", extreme(3, false), &[map], "N,2,5,1").gives(ElementType::I64),
        Case::filled("top_k", Op::TopK { axis: 2, k: 3, largest: true }, &[map], "N,2,3,4")
            .and("N,2,3,4", ElementType::I64),
        Case::filled("bottom_k", Op::TopK { axis: 3, k: 2, largest: false }, &[map], "N,2,5,2")
            .and("N,2,5,2", ElementType::I64),
    ]
}

fn maps() -> Vec<Case> {
    let (map, even) = ("N,2,5,4", "N,2,6,4");
    let avg = |pool, count_include_pad| Op::AvgPool { pool, count_include_pad };
    let resize = |mode, align_corners| Op::Resize { mode, align_corners };
    vec![
        Case::filled("max_pool", Op::MaxPool(pool(2, 2, 0, 1, false)), &[map], "N,2,2,2"),
        Case::filled("max_pool_ceil", Op::MaxPool(pool(3, 2, 1, 1, true)), &[even], "N,2,4,3"),
        Case::filled("max_pool_dilated", Op::MaxPool(pool(2, 1, 0, 2, false)), &[map], "N,2,3,2"),
        Case::filled("avg_pool", avg(pool(3, 2, 1, 1, false), true), &[map], "N,2,3,2"),
        Case::filled("avg_pool_inside", avg(pool(3, 2, 1, 1, false), false), &[map], "N,2,3,2"),
        Case::filled("avg_pool_ceil", avg(pool(3, 2, 1, 1, true), true), &[even], "N,2,4,3"),
        Case::filled("avg_pool_inside_ceil", avg(pool(3, 2, 1, 1, true), false), &[even], "N,2,4,3"),
        Case::filled("avg_pool_ceil_plain", avg(pool(2, 2, 0, 1, true), true), &[map], "N,2,3,2"),
        Case::filled("adaptive_to_one", Op::AdaptiveAvgPool, &[map], "N,2,1,1"),
        Case::filled("adaptive_even", Op::AdaptiveAvgPool, &[even], "N,2,3,2"),
        Case::filled("adaptive_uneven", Op::AdaptiveAvgPool, &[map], "N,2,3,3"),
        Case::filled("adaptive_larger", Op::AdaptiveAvgPool, &["N,1,2,3"], "N,1,3,4"),
        Case::filled("nearest", resize(ResizeMode::Nearest, false), &["N,1,2,3"], "N,1,4,9"),
        Case::filled("nearest_uneven", resize(ResizeMode::Nearest, false), &[map], "N,2,7,3"),
        Case::filled("bilinear", resize(ResizeMode::Bilinear, false), &[map], "N,2,7,3"),
        Case::filled("bilinear_corners", resize(ResizeMode::Bilinear, true), &[map], "N,2,7,3"),
        Case::filled("bicubic", resize(ResizeMode::Bicubic, false), &[map], "N,2,3,7"),
        Case::filled("bicubic_corners", resize(ResizeMode::Bicubic, true), &[map], "N,2,3,7"),
    ]
}

fn movement() -> Vec<Case> {
    use Content::{Fill, Index, Truth, Whole};
    let map = "N,2,5,4";
    let transpose = |order: &[usize]| Op::Transpose { permutation: order.to_vec() };
    let slice = |starts: [usize; 4], ends: [Option<usize>; 4], steps: [usize; 4]| Op::Slice {
        starts: starts.to_vec(),
        ends: ends.to_vec(),
        steps: steps.to_vec(),
    };
    let pad = |mode, before: [usize; 4], after: [usize; 4]| Op::Pad {
        mode,
        before: before.into(),
        after: after.into(),
    };
    let (i64, bool) = (ElementType::I64, ElementType::Bool);
    vec![
        Case::filled("flatten", Op::Reshape, &[map], "N,40"),
        Case::filled("split_channels", Op::Reshape, &["N,4,3"], "N,2,2,3"),
        Case::filled("into_batch", Op::Reshape, &["N,2,6"], "2N,6"),
        Case::filled("out_of_batch", Op::Reshape, &["2N,6"], "N,12"),
        Case::filled("two_open", Op::Reshape, &["N,2N"], "2N,1,N"),
        Case::filled("transpose", transpose(&[0, 3, 1, 2]), &[map], "N,4,2,5"),
        Case::filled("transpose_batch", transpose(&[1, 0]), &["N,3"], "3,N"),
        Case::filled("expand", Op::Expand, &["N,1,3"], "N,4,3"),
        Case::filled("expand_batch", Op::Expand, &["1,3"], "N,3").anchored(),
        Case::filled(
            "slice",
            slice([0, 1, 0, 1], [None, None, Some(4), Some(3)], [1, 1, 2, 1]),
            &[map],
            "N,1,2,2",
        ),
        Case::filled("slice_whole", slice([0; 4], [None, Some(2), Some(5), None], [1; 4]), &[map], map),
        Case::filled(
            "slice_batch",
            slice([1, 0, 0, 0], [Some(2), None, None, None], [1, 1, 1, 3]),
            &[map],
            "1,2,5,2",
        ),
        Case::filled("flip", Op::Flip { axes: vec![0, 3] }, &[map], map),
        Case::filled("concat", Op::Concat { axis: 1 }, &["N,2,3", "N,1,3", "N,3,3"], "N,6,3"),
        Case::filled(
            "pad_constant",
            pad(PadMode::Constant(0.25), [0, 0, 0, 1], [0, 0, 1, 2]),
            &[map],
            "N,2,6,7",
        ),
        Case::filled("pad_reflect", pad(PadMode::Reflect, [0, 0, 3, 1], [0, 0, 1, 2]), &[map], "N,2,9,7"),
        Case::filled("pad_edge", pad(PadMode::Edge, [0, 0, 3, 1], [0, 0, 1, 2]), &[map], "N,2,9,7"),
        Case::new("gather", Op::Gather { axis: 2 }, &[(map, Fill), ("3", Index(5))], "N,2,3,4"),
        Case::new(
            "gather_elements",
            Op::GatherElements { axis: 1 },
            &[("N,4,3", Fill), ("N,2,3", Index(4))],
            "N,2,3",
        ),
        Case::new("cast_to_i64", Op::Cast, &[("N,7", Fill)], "N,7").gives(i64),
        Case::new("cast_to_bool", Op::Cast, &[("N,7", Whole(2))], "N,7").gives(bool),
        Case::new("cast_to_f32", Op::Cast, &[("N,7", Truth)], "N,7"),
        Case::new("full", Op::Full { value: 1.5 }, &[], "N,3").anchored(),
        Case::new("full_multiple", Op::Full { value: 7.0 }, &[], "3,2N,2").gives(i64).anchored(),
        Case::new("full_bool", Op::Full { value: 1.0 }, &[], "2,2").gives(bool).anchored(),
    ]
}

/// All cases.
pub fn all() -> Vec<Case> {
    [unaries(), binaries(), layers(), reductions(), maps(), movement()].into_iter().flatten().collect()
}
