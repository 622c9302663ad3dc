//! The operators. Shapes are those of PyTorch's operators of the same name.

use serde::{Deserialize, Serialize};

use crate::adder_conv::AdderConv;
use crate::binary_conv::BinaryConv;
use crate::codes::{CodeLayer, CodeMean, CodeProduct, CodeSum, Codes};

/// A function applied to every element.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unary {
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, min), max)`; ReLU6 is `min = 0, max = 6`.
    Clamp {
        /// Lower bound.
        min: f32,
        /// Upper bound.
        max: f32,
    },
    /// `x` where positive, else `slope * x`
    LeakyRelu {
        /// Slope of the negative side.
        slope: f32,
    },
    /// `x / 2 * (1 + erf(x / sqrt 2))`
    Gelu,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `min(max(alpha * x + beta, 0), 1)`
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Offset.
        beta: f32,
    },
    /// `x * min(max(x + 3, 0), 6) / 6`
    HardSwish,
    /// `x * sigmoid(x)`
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// Gauss's error function.
    Erf,
    /// `e^x`
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// `1 / x`
    Reciprocal,
    /// `-x`
    Neg,
    /// Absolute value.
    Abs,
    /// -1, 0 or 1.
    Sign,
    /// Largest integer not above.
    Floor,
    /// Smallest integer not below.
    Ceil,
    /// Nearest integer, halves to even.
    Round,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// `not x` of truth values.
    Not,
}

/// A function of two elements, broadcast like PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// `a ^ b`
    Pow,
    /// The smaller.
    Min,
    /// The larger.
    Max,
    /// `a == b`
    Equal,
    /// `a < b`
    Less,
    /// `a <= b`
    LessEqual,
    /// `a > b`
    Greater,
    /// `a >= b`
    GreaterEqual,
    /// Both.
    And,
    /// Either.
    Or,
}

/// How a reduction combines elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Arithmetic mean.
    Mean,
    /// Sum.
    Sum,
    /// Largest.
    Max,
    /// Smallest.
    Min,
    /// Product.
    Prod,
}

/// How a resize fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeMode {
    /// The pixel at `floor(i * in / out)`.
    Nearest,
    /// Linear in both directions.
    Bilinear,
    /// Cubic (a = -0.75) in both directions.
    Bicubic,
}

/// What the border of a padded map holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadMode {
    /// This number.
    Constant(f32),
    /// The map mirrored at its edge, which is not repeated.
    Reflect,
    /// The edge, repeated.
    Edge,
}

/// A convolution's geometry; one entry per spatial dimension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvAttrs {
    /// Step of the window.
    pub stride: Vec<usize>,
    /// Zeros before each spatial dimension.
    pub pad_begin: Vec<usize>,
    /// Zeros after each spatial dimension.
    pub pad_end: Vec<usize>,
    /// Distance of the taps.
    pub dilation: Vec<usize>,
    /// Channel groups.
    pub groups: usize,
}

/// A pooling window over height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PoolAttrs {
    /// Extent of the window.
    pub kernel: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
    /// Padding before.
    pub pad_begin: [usize; 2],
    /// Padding after.
    pub pad_end: [usize; 2],
    /// Distance of the taps.
    pub dilation: [usize; 2],
    /// Whether the last window may reach beyond the padding.
    pub ceil_mode: bool,
}

/// What a node computes. Optional inputs are present when the attribute of the same name says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// Cross-correlation. Inputs: x `[n, c, spatial..]`, weight `[out, c / groups, kernel..]`, then the bias
    /// `[out]`, then the residual of the output's shape. Result: `activation(conv + bias + residual)`.
    Conv {
        /// Geometry.
        attrs: ConvAttrs,
        /// A bias follows the weight.
        bias: bool,
        /// A residual is the last input (fusion only).
        residual: bool,
        /// Applied last (fusion only).
        activation: Option<Unary>,
    },
    /// Transposed convolution. Inputs: x, weight `[c, out / groups, kernel..]`, bias.
    ConvTranspose {
        /// Geometry.
        attrs: ConvAttrs,
        /// Rows added at the end of the output.
        output_padding: Vec<usize>,
        /// A bias follows the weight.
        bias: bool,
    },
    /// Product with a constant matrix. Inputs: x `[.., in]`, weight `[in, out]`, then the bias `[out]`, then
    /// the residual of the output's shape. Result: `activation(x weight + bias + residual)`.
    Linear {
        /// A bias follows the weight.
        bias: bool,
        /// A residual is the last input (fusion only).
        residual: bool,
        /// Applied last (fusion only).
        activation: Option<Unary>,
    },
    /// Batched matrix product of `[.., m, k]` and `[.., k, n]`, leading dimensions broadcast.
    MatMul,
    /// `softmax(q kᵀ * scale) v` over `[batch, heads, tokens, size]`; a fourth input is added to the scores.
    Attention {
        /// Factor of the scores.
        scale: f32,
        /// Tokens see only those before them.
        causal: bool,
        /// An additive mask is the fourth input.
        mask: bool,
    },
    /// Inputs: x `[n, c, ..]`, scale, shift, mean, variance, each `[c]`.
    BatchNorm {
        /// Added to the variance.
        epsilon: f32,
    },
    /// Normalises the last dimension. Inputs: x, scale, then the shift if `shift`.
    LayerNorm {
        /// Added to the variance.
        epsilon: f32,
        /// A shift follows the scale.
        shift: bool,
    },
    /// Normalises groups of channels of `[n, c, ..]`. Inputs: x, scale `[c]`, shift `[c]`.
    GroupNorm {
        /// Number of groups.
        groups: usize,
        /// Added to the variance.
        epsilon: f32,
    },
    /// One input.
    Unary {
        /// The function.
        function: Unary,
    },
    /// Two inputs.
    Binary {
        /// The function.
        function: Binary,
    },
    /// Inputs: condition, value where true, value where false.
    Where,
    /// Exponentials that sum to one along `axis`.
    Softmax {
        /// The dimension.
        axis: usize,
    },
    /// Logarithm of [`Op::Softmax`].
    LogSoftmax {
        /// The dimension.
        axis: usize,
    },
    /// Combines the elements along `axes`, which become 1 or, without `keep_dims`, vanish.
    Reduce {
        /// How.
        reduction: Reduction,
        /// The dimensions, ascending.
        axes: Vec<usize>,
        /// Whether the dimensions stay as 1.
        keep_dims: bool,
    },
    /// Index of the largest (or smallest) element along `axis`, which becomes 1.
    ArgExtreme {
        /// The dimension.
        axis: usize,
        /// The largest, else the smallest.
        largest: bool,
    },
    /// The `k` largest (or smallest) along `axis`, best first. Outputs: values, indices.
    TopK {
        /// The dimension.
        axis: usize,
        /// How many.
        k: usize,
        /// The largest, else the smallest.
        largest: bool,
    },
    /// Largest element of each window; padding does not count.
    MaxPool(PoolAttrs),
    /// Mean of each window.
    AvgPool {
        /// The window.
        pool: PoolAttrs,
        /// Whether padding counts as zeros.
        count_include_pad: bool,
    },
    /// Mean over windows that share the map out into the output's extent.
    AdaptiveAvgPool,
    /// Resizes height and width of `[n, c, h, w]` to the output's.
    Resize {
        /// How.
        mode: ResizeMode,
        /// Corner pixels of both maps coincide.
        align_corners: bool,
    },
    /// The same elements in the output's shape.
    Reshape,
    /// Output dimension `i` is input dimension `permutation[i]`.
    Transpose {
        /// The order.
        permutation: Vec<usize>,
    },
    /// Repeats dimensions of extent 1 to the output's shape (aligned at the last dimension).
    Expand,
    /// Elements `start, start + step, ..` below `end` of every dimension; a `None` end reaches the end.
    Slice {
        /// First element per dimension.
        starts: Vec<usize>,
        /// End per dimension, exclusive; `None`: the extent, whatever the batch.
        ends: Vec<Option<usize>>,
        /// Step per dimension.
        steps: Vec<usize>,
    },
    /// Reverses dimensions.
    Flip {
        /// Which.
        axes: Vec<usize>,
    },
    /// Any number of inputs, one after the other along `axis`.
    Concat {
        /// The dimension.
        axis: usize,
    },
    /// Adds a border.
    Pad {
        /// What it holds.
        mode: PadMode,
        /// Elements before each dimension.
        before: Vec<usize>,
        /// Elements after each dimension.
        after: Vec<usize>,
    },
    /// Rows of x along `axis`. Inputs: x, indices `[count]`. (burn's `select`, ONNX's `Gather`.)
    Gather {
        /// The dimension.
        axis: usize,
    },
    /// Element by element along `axis`; the indices have the output's shape. (burn's `gather`.)
    GatherElements {
        /// The dimension.
        axis: usize,
    },
    /// A convolution whose kernel is mixed for every picture. Inputs: x `[n, c, h, w]`, experts
    /// `[m, out · c / groups · kernel]`, shares `[n, m]`, then the bias `[out]`. Result:
    /// `activation(conv(x, shares · experts) + bias)`.
    DynamicConv {
        /// Geometry.
        attrs: ConvAttrs,
        /// Extent of the kernel.
        kernel: [usize; 2],
        /// A bias follows the shares.
        bias: bool,
        /// Applied last (fusion only).
        activation: Option<Unary>,
    },
    /// A convolution of signs with signs.
    BinaryConv(BinaryConv),
    /// A convolution whose products are negative distances.
    AdderConv(AdderConv),
    /// The nearest nodes: x `[n, c, h, w]`, y `[n, c, h', w']`, then what is added to the distances,
    /// `[1, h · w, h' · w']`. Distances are the squares of those of unit vectors. Result: `[n, h · w, k]`, of the
    /// `k · dilation` nearest every `dilation`-th, the nearest first, of equals the lower index.
    Neighbours {
        /// Neighbours per node.
        k: usize,
        /// Step in the list of the nearest.
        dilation: usize,
        /// Something is added to the distances.
        positions: bool,
    },
    /// What neighbours have more: x `[n, c, h, w]`, y, neighbours `[n, h · w, k]`. Result `[n, 2 c, h, w]`: every
    /// channel of x followed by the largest difference of a neighbour's.
    MaxRelative,
    /// Numbers as codes: `clamp(round(x / scale) + zero_point, 0, 2^bits - 1)`, halves to even, divided in `f32`. Input: x;
    /// result: `U8`.
    Quantize(Codes),
    /// Codes as numbers: `(code - zero_point) * scale`. Inputs: codes, scale (a single number `[]`, or `[c]` for a code per
    /// element of `axis`).
    Dequantize {
        /// The code of zero.
        zero_point: i32,
        /// The dimension with a scale per element; none: one scale for all.
        axis: Option<usize>,
    },
    /// A convolution on codes. Inputs: x `U8`, weight `I8` `[out, c / groups, kernel..]`, its scales `[out]`, bias `I32`
    /// `[out]` in units of the products', then the residual `U8`. Padding is the code of zero.
    ConvCodes {
        /// Geometry.
        attrs: ConvAttrs,
        /// The arithmetic.
        layer: CodeLayer,
    },
    /// A product with a constant matrix on codes. Inputs: x `U8` `[.., in]`, weight `I8` `[in, out]`, its scales `[out]`, bias
    /// `I32` `[out]`, then the residual `U8`.
    LinearCodes {
        /// The arithmetic.
        layer: CodeLayer,
    },
    /// The sum of two tensors of codes.
    AddCodes(CodeSum),
    /// The product of two tensors of codes, or of `[n, c, h, w]` and a factor `[n, c, 1, 1]`.
    MulCodes(CodeProduct),
    /// The mean over height and width of codes `[n, c, h, w]`, which become 1 or, without `keep_dims`, vanish.
    MeanCodes {
        /// The arithmetic.
        mean: CodeMean,
        /// Height and width stay as 1.
        keep_dims: bool,
    },
    /// What a table says of every code. Inputs: codes, the table `U8` `[256]`.
    TableCodes,
    /// Changes the element type to the output's.
    Cast,
    /// A constant-filled tensor of the output's shape, for shapes that depend on the batch.
    Full {
        /// The element.
        value: f32,
    },
    /// An operation of ours that has no counterpart above.
    Custom {
        /// Its name.
        name: String,
        /// Its arguments in order.
        arguments: Vec<f64>,
    },
}

impl Unary {
    /// The function's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Clamp { .. } => "clamp",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::Gelu => "gelu",
            Self::Sigmoid => "sigmoid",
            Self::HardSigmoid { .. } => "hard_sigmoid",
            Self::HardSwish => "hard_swish",
            Self::Silu => "silu",
            Self::Tanh => "tanh",
            Self::Erf => "erf",
            Self::Exp => "exp",
            Self::Log => "log",
            Self::Sqrt => "sqrt",
            Self::Reciprocal => "reciprocal",
            Self::Neg => "neg",
            Self::Abs => "abs",
            Self::Sign => "sign",
            Self::Floor => "floor",
            Self::Ceil => "ceil",
            Self::Round => "round",
            Self::Sin => "sin",
            Self::Cos => "cos",
            Self::Not => "not",
        }
    }
}

impl Binary {
    /// The function's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Mul => "mul",
            Self::Div => "div",
            Self::Pow => "pow",
            Self::Min => "min",
            Self::Max => "max",
            Self::Equal => "equal",
            Self::Less => "less",
            Self::LessEqual => "less_equal",
            Self::Greater => "greater",
            Self::GreaterEqual => "greater_equal",
            Self::And => "and",
            Self::Or => "or",
        }
    }

    /// Whether the result is a truth value.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::Less
                | Self::LessEqual
                | Self::Greater
                | Self::GreaterEqual
                | Self::And
                | Self::Or
        )
    }
}

impl Op {
    /// A short name of what is computed.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Conv { .. } => "conv",
            Self::ConvTranspose { .. } => "conv_transpose",
            Self::Linear { .. } => "linear",
            Self::MatMul => "matmul",
            Self::Attention { .. } => "attention",
            Self::BatchNorm { .. } => "batch_norm",
            Self::LayerNorm { .. } => "layer_norm",
            Self::GroupNorm { .. } => "group_norm",
            Self::Unary { function } => function.name(),
            Self::Binary { function } => function.name(),
            Self::Where => "where",
            Self::Softmax { .. } => "softmax",
            Self::LogSoftmax { .. } => "log_softmax",
            Self::Reduce { reduction, .. } => match reduction {
                Reduction::Mean => "mean",
                Reduction::Sum => "sum",
                Reduction::Max => "reduce_max",
                Reduction::Min => "reduce_min",
                Reduction::Prod => "product",
            },
            Self::ArgExtreme { .. } => "arg_extreme",
            Self::TopK { .. } => "top_k",
            Self::MaxPool(_) => "max_pool",
            Self::AvgPool { .. } => "avg_pool",
            Self::AdaptiveAvgPool => "adaptive_avg_pool",
            Self::Resize { .. } => "resize",
            Self::Reshape => "reshape",
            Self::Transpose { .. } => "transpose",
            Self::Expand => "expand",
            Self::Slice { .. } => "slice",
            Self::Flip { .. } => "flip",
            Self::Concat { .. } => "concat",
            Self::Pad { .. } => "pad",
            Self::Gather { .. } => "gather",
            Self::GatherElements { .. } => "gather_elements",
            Self::DynamicConv { .. } => "dynamic_conv",
            Self::BinaryConv(_) => "binary_conv",
            Self::AdderConv(_) => "adder_conv",
            Self::Neighbours { .. } => "neighbours",
            Self::MaxRelative => "max_relative",
            Self::Quantize(_) => "quantize",
            Self::Dequantize { .. } => "dequantize",
            Self::ConvCodes { .. } => "conv_codes",
            Self::LinearCodes { .. } => "linear_codes",
            Self::AddCodes(_) => "add_codes",
            Self::MulCodes(_) => "mul_codes",
            Self::MeanCodes { .. } => "mean_codes",
            Self::TableCodes => "table_codes",
            Self::Cast => "cast",
            Self::Full { .. } => "full",
            Self::Custom { .. } => "custom",
        }
    }
}
