//! What the boxes say, and which are joined.

use crate::ir::{Dim, Graph, Node, Value, ValueId};
use crate::op::{Binary, ConvAttrs, Op, PadMode, PoolAttrs, Reduction, ResizeMode, Unary};

/// Kinds of boxes, told apart by colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Port,
    Convolution,
    Product,
    Normalisation,
    Activation,
    Arithmetic,
    Pooling,
    Reduction,
    Movement,
    Other,
}

impl Kind {
    /// Every kind, in the legend's order.
    pub const ALL: [Self; 10] = [
        Self::Port,
        Self::Convolution,
        Self::Product,
        Self::Normalisation,
        Self::Activation,
        Self::Arithmetic,
        Self::Pooling,
        Self::Reduction,
        Self::Movement,
        Self::Other,
    ];

    /// Its name in the legend.
    pub fn name(self) -> &'static str {
        match self {
            Self::Port => "input, output",
            Self::Convolution => "convolution",
            Self::Product => "matrix product",
            Self::Normalisation => "normalisation",
            Self::Activation => "activation",
            Self::Arithmetic => "arithmetic",
            Self::Pooling => "pooling, resizing",
            Self::Reduction => "reduction",
            Self::Movement => "shape, movement",
            Self::Other => "own operation",
        }
    }

    /// Colours of the box and of its border.
    pub fn colours(self) -> (&'static str, &'static str) {
        match self {
            Self::Port => ("#e8ebf0", "#475569"),
            Self::Convolution => ("#dbeafe", "#2563eb"),
            Self::Product => ("#ede9fe", "#7c3aed"),
            Self::Normalisation => ("#ccfbf1", "#0d9488"),
            Self::Activation => ("#ffedd5", "#ea7317"),
            Self::Arithmetic => ("#dcfce7", "#16a34a"),
            Self::Pooling => ("#fce7f3", "#db2777"),
            Self::Reduction => ("#fef3c7", "#b98207"),
            Self::Movement => ("#f4f4f5", "#8a8a94"),
            Self::Other => ("#fee2e2", "#dc2626"),
        }
    }
}

/// A box.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub name: String,
    pub detail: String,
    pub shape: String,
    pub kind: Kind,
}

/// Boxes and the lines between them, each from an earlier to a later box.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub boxes: Vec<Label>,
    pub lines: Vec<(usize, usize)>,
}

impl Picture {
    /// What is to be drawn of `graph`: its inputs, nodes and outputs. Values that do not exist are passed over.
    pub fn new(graph: &Graph) -> Self {
        let mut this = Self::default();
        let mut writer: Vec<Option<usize>> = vec![None; graph.values.len()];
        for &id in &graph.inputs {
            let Some(value) = graph.values.get(id.index()) else { continue };
            writer[id.index()] = Some(this.boxes.len());
            this.boxes.push(port(value, "input"));
        }
        for node in &graph.nodes {
            let at = this.boxes.len();
            this.join(&writer, &node.inputs, at);
            let output = node.outputs.first().and_then(|id| graph.values.get(id.index()));
            this.boxes.push(Label {
                name: node.name.clone(),
                detail: detail(graph, node),
                shape: output.map_or(String::new(), |value| shape(&value.shape)),
                kind: kind(&node.op),
            });
            for id in &node.outputs {
                if let Some(slot) = writer.get_mut(id.index()) {
                    *slot = Some(at);
                }
            }
        }
        for &id in &graph.outputs {
            let Some(value) = graph.values.get(id.index()) else { continue };
            this.join(&writer, &[id], this.boxes.len());
            this.boxes.push(port(value, "output"));
        }
        this
    }

    fn join(&mut self, writer: &[Option<usize>], inputs: &[ValueId], to: usize) {
        for id in inputs {
            if let Some(from) = writer.get(id.index()).copied().flatten()
                && !self.lines.iter().rev().take_while(|line| line.1 == to).any(|line| line.0 == from)
            {
                self.lines.push((from, to));
            }
        }
    }
}

fn port(value: &Value, detail: &str) -> Label {
    Label {
        name: value.name.clone(),
        detail: detail.to_string(),
        shape: shape(&value.shape),
        kind: Kind::Port,
    }
}

/// `N×64×56×56`; `scalar` without dimensions.
pub(super) fn shape(dims: &[Dim]) -> String {
    let text = |dim: &Dim| match dim {
        Dim::Fixed(extent) => extent.to_string(),
        Dim::Batch(1) => "N".to_string(),
        Dim::Batch(factor) => format!("{factor}N"),
    };
    if dims.is_empty() { "scalar".into() } else { dims.iter().map(text).collect::<Vec<_>>().join("×") }
}

fn kind(op: &Op) -> Kind {
    match op {
        Op::Conv { .. }
        | Op::ConvTranspose { .. }
        | Op::DynamicConv { .. }
        | Op::BinaryConv(_)
        | Op::AdderConv(_) => Kind::Convolution,
        Op::Linear { .. } | Op::MatMul | Op::Attention { .. } | Op::Neighbours { .. } => Kind::Product,
        Op::BatchNorm { .. } | Op::LayerNorm { .. } | Op::GroupNorm { .. } => Kind::Normalisation,
        Op::Unary { function } => match function {
            Unary::Relu
            | Unary::Clamp { .. }
            | Unary::LeakyRelu { .. }
            | Unary::Gelu
            | Unary::Sigmoid
            | Unary::HardSigmoid { .. }
            | Unary::HardSwish
            | Unary::Silu
            | Unary::Tanh => Kind::Activation,
            _ => Kind::Arithmetic,
        },
        Op::Binary { .. } | Op::Where => Kind::Arithmetic,
        Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::Reduce { .. }
        | Op::ArgExtreme { .. }
        | Op::TopK { .. } => Kind::Reduction,
        Op::MaxPool(_) | Op::AvgPool { .. } | Op::AdaptiveAvgPool | Op::Resize { .. } => Kind::Pooling,
        Op::Custom { .. } => Kind::Other,
        _ => Kind::Movement,
    }
}

/// `3×3`.
fn product(values: &[usize]) -> String {
    values.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

/// `, stride 2` unless it is 1 throughout.
fn unless_one(what: &str, values: &[usize]) -> String {
    match values {
        [] => String::new(),
        [first, rest @ ..] if rest.iter().all(|value| value == first) => {
            if *first == 1 {
                String::new()
            } else {
                format!(", {what} {first}")
            }
        }
        values => format!(", {what} {}", product(values)),
    }
}

fn detail(graph: &Graph, node: &Node) -> String {
    let input = |position: usize| -> Vec<Dim> {
        let value = node.inputs.get(position).and_then(|id| graph.values.get(id.index()));
        value.map(|value| value.shape.clone()).unwrap_or_default()
    };
    let extents = |dims: Vec<Dim>| dims.into_iter().map(|dim| dim.at(1)).collect::<Vec<_>>();
    let fused = |residual: bool, activation: &Option<Unary>| {
        let activation = activation.map_or(String::new(), |function| format!(" + {}", unary(function)));
        format!("{}{activation}", if residual { " + residual" } else { "" })
    };
    match &node.op {
        Op::Conv { attrs, residual, activation, .. } => {
            let weight = extents(input(1));
            let channels = match weight.get(..2) {
                Some([out, per_group]) => (per_group * attrs.groups, *out),
                _ => (0, 0),
            };
            format!("{}{}", window("Conv", &weight, attrs, channels), fused(*residual, activation))
        }
        Op::ConvTranspose { attrs, .. } => {
            let weight = extents(input(1));
            let channels = match weight.get(..2) {
                Some([channels, per_group]) => (*channels, per_group * attrs.groups),
                _ => (0, 0),
            };
            window("ConvTranspose", &weight, attrs, channels)
        }
        Op::Linear { residual, activation, .. } => {
            let weight = extents(input(1));
            let size = match weight.as_slice() {
                [from, to] => format!(" {from}→{to}"),
                _ => String::new(),
            };
            format!("Linear{size}{}", fused(*residual, activation))
        }
        Op::MatMul => "MatMul".into(),
        Op::Attention { causal, mask, .. } => {
            let heads = extents(input(0)).get(1).map_or(String::new(), |heads| format!(", {heads} heads"));
            let causal = if *causal { ", causal" } else { "" };
            format!("Attention{heads}{causal}{}", if *mask { ", mask" } else { "" })
        }
        Op::BatchNorm { .. } => "BatchNorm".into(),
        Op::LayerNorm { .. } => "LayerNorm".into(),
        Op::GroupNorm { groups, .. } => format!("GroupNorm, {groups} groups"),
        Op::Unary { function } => unary(*function),
        Op::Binary { function } => binary(*function).into(),
        Op::Where => "Where".into(),
        Op::Softmax { axis } => format!("Softmax, axis {axis}"),
        Op::LogSoftmax { axis } => format!("LogSoftmax, axis {axis}"),
        Op::Reduce { reduction, axes, .. } => {
            let name = match reduction {
                Reduction::Mean => "Mean",
                Reduction::Sum => "Sum",
                Reduction::Max => "Max",
                Reduction::Min => "Min",
                Reduction::Prod => "Product",
            };
            let axes: Vec<_> = axes.iter().map(usize::to_string).collect();
            format!("{name} over axes {}", axes.join(", "))
        }
        Op::ArgExtreme { axis, largest } => {
            format!("{}, axis {axis}", if *largest { "ArgMax" } else { "ArgMin" })
        }
        Op::TopK { axis, k, largest } => {
            format!("{} {k}, axis {axis}", if *largest { "Largest" } else { "Smallest" })
        }
        Op::MaxPool(pool) => pooling("MaxPool", pool),
        Op::AvgPool { pool, .. } => pooling("AvgPool", pool),
        Op::AdaptiveAvgPool => "AdaptiveAvgPool".into(),
        Op::Resize { mode, .. } => match mode {
            ResizeMode::Nearest => "Resize, nearest".into(),
            ResizeMode::Bilinear => "Resize, bilinear".into(),
            ResizeMode::Bicubic => "Resize, bicubic".into(),
        },
        Op::Reshape => "Reshape".into(),
        Op::Transpose { permutation } => {
            let order: Vec<_> = permutation.iter().map(usize::to_string).collect();
            format!("Transpose {}", order.join(" "))
        }
        Op::Expand => "Expand".into(),
        Op::Slice { .. } => "Slice".into(),
        Op::Flip { .. } => "Flip".into(),
        Op::Concat { axis } => format!("Concat, axis {axis}"),
        Op::Pad { mode, .. } => match mode {
            PadMode::Constant(value) => format!("Pad with {value}"),
            PadMode::Reflect => "Pad, reflected".into(),
            PadMode::Edge => "Pad, edge".into(),
        },
        Op::Gather { axis } => format!("Gather, axis {axis}"),
        Op::GatherElements { axis } => format!("GatherElements, axis {axis}"),
        Op::DynamicConv { kernel, attrs, .. } => {
            format!("Dynamic conv {}, stride {}", product(kernel), product(&attrs.stride))
        }
        Op::BinaryConv(own) => {
            format!("Binary conv {}, stride {}", product(&own.kernel), product(&own.attrs.stride))
        }
        Op::AdderConv(own) => {
            let weight = extents(input(1));
            let channels = (weight.get(1).copied().unwrap_or(0), weight.first().copied().unwrap_or(0));
            let kind = if own.codes.is_some() { "Adder, integers" } else { "Adder" };
            let layer = window(kind, &weight, &own.attrs, channels);
            format!("{layer}{}", fused(own.residual, &own.activation))
        }
        Op::Neighbours { k, dilation: 1, .. } => format!("{k} nearest nodes"),
        Op::Neighbours { k, dilation, .. } => format!("{k} near nodes, every {dilation}."),
        Op::MaxRelative => "Max-relative".into(),
        Op::Quantize(codes) => format!("Quantize, {} bits", codes.bits),
        Op::Dequantize { .. } => "Dequantize".into(),
        Op::ConvCodes { .. } => "Conv, integers".into(),
        Op::LinearCodes { .. } => "Linear, integers".into(),
        Op::AddCodes(_) => "Add, integers".into(),
        Op::MulCodes(_) => "Mul, integers".into(),
        Op::MeanCodes { .. } => "Mean, integers".into(),
        Op::TableCodes => "Table".into(),
        Op::Cast => "Cast".into(),
        Op::Full { value } => format!("Full of {value}"),
        Op::Custom { name, .. } => name.clone(),
    }
}

fn window(name: &str, weight: &[usize], attrs: &ConvAttrs, (from, to): (usize, usize)) -> String {
    let groups = match attrs.groups {
        1 => String::new(),
        groups if groups == from => ", depthwise".into(),
        groups => format!(", {groups} groups"),
    };
    format!(
        "{name} {}, {from}→{to}{}{}{groups}",
        product(weight.get(2..).unwrap_or_default()),
        unless_one("stride", &attrs.stride),
        unless_one("dilation", &attrs.dilation),
    )
}

fn pooling(name: &str, pool: &PoolAttrs) -> String {
    let stride = unless_one("stride", &pool.stride);
    format!("{name} {}{stride}{}", product(&pool.kernel), unless_one("dilation", &pool.dilation))
}

fn unary(function: Unary) -> String {
    match function {
        Unary::Relu => "ReLU".into(),
        Unary::Clamp { min, max } if min == 0.0 && max == 6.0 => "ReLU6".into(),
        Unary::Clamp { min, max } => format!("Clamp {min} to {max}"),
        Unary::LeakyRelu { slope } => format!("LeakyReLU {slope}"),
        Unary::Gelu => "GELU".into(),
        Unary::HardSigmoid { .. } => "HardSigmoid".into(),
        Unary::Silu => "SiLU".into(),
        other => format!("{other:?}"),
    }
}

fn binary(function: Binary) -> &'static str {
    match function {
        Binary::Add => "Add",
        Binary::Sub => "Subtract",
        Binary::Mul => "Multiply",
        Binary::Div => "Divide",
        Binary::Pow => "Power",
        Binary::Min => "Minimum",
        Binary::Max => "Maximum",
        Binary::Equal => "Equal",
        Binary::Less => "Less",
        Binary::LessEqual => "Less or equal",
        Binary::Greater => "Greater",
        Binary::GreaterEqual => "Greater or equal",
        Binary::And => "And",
        Binary::Or => "Or",
    }
}
