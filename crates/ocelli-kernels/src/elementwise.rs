//! Functions of one and two elements over runs of memory.

use crate::math;
use crate::simd::Simd;

/// A function of one element.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Function {
    Clamp { low: f32, high: f32 },
    LeakyRelu { slope: f32 },
    Gelu,
    Sigmoid,
    HardSigmoid { alpha: f32, beta: f32 },
    HardSwish,
    Silu,
    Tanh,
    Erf,
    Exp,
    Log,
    Sqrt,
    Reciprocal,
    Neg,
    Abs,
    Sign,
    Floor,
    Ceil,
    Round,
    Trunc,
    Sin,
    Cos,
    Not,
}

impl Function {
    /// The function of one number, in plain Rust.
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Self::Clamp { low, high } => {
                if x.is_nan() {
                    x
                } else {
                    x.max(low).min(high)
                }
            }
            Self::LeakyRelu { slope } => {
                if x >= 0.0 {
                    x
                } else {
                    slope * x
                }
            }
            Self::Gelu => {
                let x = f64::from(x);
                (0.5 * x * (1.0 + erf64(x / core::f64::consts::SQRT_2))) as f32
            }
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Self::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::Tanh => x.tanh(),
            Self::Erf => erf64(f64::from(x)) as f32,
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Sqrt => x.sqrt(),
            Self::Reciprocal => 1.0 / x,
            Self::Neg => -x,
            Self::Abs => x.abs(),
            Self::Sign => {
                if x > 0.0 {
                    1.0
                } else if x < 0.0 {
                    -1.0
                } else {
                    0.0
                }
            }
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            Self::Round => x.round_ties_even(),
            Self::Trunc => x.trunc(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Not => f32::from(x == 0.0),
        }
    }
}

/// The error function by its series, or its continued fraction far out; exact to float32.
fn erf64(x: f64) -> f64 {
    let z = x.abs();
    let value = if z < 2.5 {
        // 2/√π Σ (-1)^n z^(2n+1) / (n! (2n+1))
        let (mut term, mut sum) = (z, z);
        for n in 1..60 {
            term *= -z * z / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / core::f64::consts::PI.sqrt()
    } else {
        // erfc(z) = e^(-z²) / (z √π) · 1 / (1 + 1/(2z²) / (1 + 2/(2z²) / ..))
        let mut fraction = 0.0;
        for n in (1..60).rev() {
            fraction = f64::from(n) / 2.0 / (z + fraction);
        }
        1.0 - (-z * z).exp() / core::f64::consts::PI.sqrt() / (z + fraction)
    };
    value.copysign(x)
}

#[inline(always)]
unsafe fn unary_of<S: Simd>(function: Function, x: *const f32, y: *mut f32, n: usize) {
    // SAFETY: `n` elements on both sides by the caller's promise.
    unsafe {
        macro_rules! run {
            ($f:expr) => {{
                let mut i = 0;
                while i + S::LANES <= n {
                    S::store(y.add(i), $f(S::load(x.add(i))));
                    i += S::LANES;
                }
                if i < n {
                    S::store_n(y.add(i), $f(S::load_n(x.add(i), n - i)), n - i);
                }
            }};
        }
        let (zero, one) = (S::splat(0.0), S::splat(1.0));
        match function {
            Function::Clamp { low, high } => {
                let (low, high) = (S::splat(low), S::splat(high));
                run!(|v| S::min(high, S::max(low, v)));
            }
            Function::LeakyRelu { slope } => {
                let slope = S::splat(slope);
                run!(|v| S::fma(slope, S::min(zero, v), S::max(zero, v)));
            }
            Function::Gelu => run!(|v| math::gelu::<S>(v)),
            Function::Sigmoid => run!(|v| math::sigmoid::<S>(v)),
            Function::Silu => run!(|v| S::mul(v, math::sigmoid::<S>(v))),
            Function::Tanh => run!(|v| math::tanh::<S>(v)),
            Function::Erf => run!(|v| math::erf::<S>(v)),
            Function::HardSigmoid { alpha, beta } => {
                let (alpha, beta) = (S::splat(alpha), S::splat(beta));
                run!(|v| S::min(one, S::max(zero, S::fma(alpha, v, beta))));
            }
            Function::HardSwish => {
                let (three, six, sixth) = (S::splat(3.0), S::splat(6.0), S::splat(1.0 / 6.0));
                run!(|v| S::mul(S::mul(v, sixth), S::min(six, S::max(zero, S::add(v, three)))));
            }
            Function::Sqrt => run!(|v| S::sqrt(v)),
            Function::Reciprocal => run!(|v| S::div(one, v)),
            Function::Neg => run!(|v| S::sub(zero, v)),
            Function::Abs => run!(|v| S::max(v, S::sub(zero, v))),
            function => {
                for i in 0..n {
                    *y.add(i) = function.apply(*x.add(i));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn unary_rows_of<S: Simd>(
    function: Function,
    rows: usize,
    n: usize,
    x: *const f32,
    x_row: usize,
    y: *mut f32,
    y_row: usize,
) {
    for row in 0..rows {
        // SAFETY: the caller's promise.
        unsafe { unary_of::<S>(function, x.add(row * x_row), y.add(row * y_row), n) };
    }
}

crate::dispatch! {
    /// `y[row · y_row + i] = function(x[row · x_row + i])` for `rows` rows of `n` elements.
    ///
    /// # Safety
    /// `isa` must be available; `x` and `y` hold the rows and are the same or apart.
    pub fn unary(
        function: Function,
        rows: usize,
        n: usize,
        x: *const f32,
        x_row: usize,
        y: *mut f32,
        y_row: usize,
    ) = unary_rows_of;
}

/// A function of two elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operation {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
    Equal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
}

impl Operation {
    /// The function of two numbers; truth values are 0 and 1.
    pub fn apply(self, a: f32, b: f32) -> f32 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Pow => a.powf(b),
            Self::Min => {
                if a < b {
                    a
                } else {
                    b
                }
            }
            Self::Max => {
                if a > b {
                    a
                } else {
                    b
                }
            }
            Self::Equal => f32::from(a == b),
            Self::Less => f32::from(a < b),
            Self::LessEqual => f32::from(a <= b),
            Self::Greater => f32::from(a > b),
            Self::GreaterEqual => f32::from(a >= b),
            Self::And => f32::from(a != 0.0 && b != 0.0),
            Self::Or => f32::from(a != 0.0 || b != 0.0),
        }
    }
}

/// Two operands, each advancing by 0 (one number for all) or 1 per element.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// The left operand.
    pub a: *const f32,
    /// 0 or 1.
    pub a_step: usize,
    /// The right operand.
    pub b: *const f32,
    /// 0 or 1.
    pub b_step: usize,
    /// Lower bound of the result.
    pub low: f32,
    /// Upper bound of the result.
    pub high: f32,
}

#[inline(always)]
unsafe fn binary_of<S: Simd>(operation: Operation, x: Pair, y: *mut f32, n: usize) {
    // SAFETY: `n` elements on all sides by the caller's promise.
    unsafe {
        let (low, high) = (S::splat(x.low), S::splat(x.high));
        macro_rules! run {
            ($f:expr, $a:expr, $b:expr) => {{
                let mut i = 0;
                while i + S::LANES <= n {
                    let v = $f($a(i, S::LANES), $b(i, S::LANES));
                    S::store(y.add(i), S::min(high, S::max(low, v)));
                    i += S::LANES;
                }
                if i < n {
                    let v = $f($a(i, n - i), $b(i, n - i));
                    S::store_n(y.add(i), S::min(high, S::max(low, v)), n - i);
                }
            }};
        }
        macro_rules! steps {
            ($f:expr) => {{
                let vector = |p: *const f32| {
                    move |i: usize, n: usize| {
                        if n == S::LANES { S::load(p.add(i)) } else { S::load_n(p.add(i), n) }
                    }
                };
                match (x.a_step, x.b_step) {
                    (1, 1) => run!($f, vector(x.a), vector(x.b)),
                    (0, 1) => {
                        let a = S::splat(*x.a);
                        run!($f, |_, _| a, vector(x.b));
                    }
                    (1, _) => {
                        let b = S::splat(*x.b);
                        run!($f, vector(x.a), |_, _| b);
                    }
                    _ => {
                        let (a, b) = (S::splat(*x.a), S::splat(*x.b));
                        run!($f, |_, _| a, |_, _| b);
                    }
                }
            }};
        }
        match operation {
            Operation::Add => steps!(|a, b| S::add(a, b)),
            Operation::Sub => steps!(|a, b| S::sub(a, b)),
            Operation::Mul => steps!(|a, b| S::mul(a, b)),
            Operation::Div => steps!(|a, b| S::div(a, b)),
            Operation::Min => steps!(|a, b| S::min(a, b)),
            Operation::Max => steps!(|a, b| S::max(a, b)),
            operation => {
                for i in 0..n {
                    let v = operation.apply(*x.a.add(i * x.a_step), *x.b.add(i * x.b_step));
                    *y.add(i) = if v < x.low {
                        x.low
                    } else if v > x.high {
                        x.high
                    } else {
                        v
                    };
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn binary_rows_of<S: Simd>(
    operation: Operation,
    rows: usize,
    n: usize,
    x: Pair,
    a_row: usize,
    b_row: usize,
    y: *mut f32,
    y_row: usize,
) {
    for row in 0..rows {
        // SAFETY: the caller's promise.
        unsafe {
            let x = Pair { a: x.a.add(row * a_row), b: x.b.add(row * b_row), ..x };
            binary_of::<S>(operation, x, y.add(row * y_row), n);
        }
    }
}

crate::dispatch! {
    /// `y[i] = clamp(operation(a[i · a_step], b[i · b_step]), low, high)` for `rows` rows of `n` elements, which
    /// are `a_row`, `b_row` and `y_row` apart.
    ///
    /// # Safety
    /// `isa` must be available; the operands hold what their steps need, and `y` is one of them or apart.
    pub fn binary(
        operation: Operation,
        rows: usize,
        n: usize,
        x: Pair,
        a_row: usize,
        b_row: usize,
        y: *mut f32,
        y_row: usize,
    ) = binary_rows_of;
}

/// Operands of `a · b + c`; `b` advances by 0 or 1 per element.
#[derive(Clone, Copy, Debug)]
pub struct Triple {
    /// The left factor.
    pub a: *const f32,
    /// The right factor.
    pub b: *const f32,
    /// 0 or 1.
    pub b_step: usize,
    /// The addend.
    pub c: *const f32,
    /// Lower bound of the result.
    pub low: f32,
    /// Upper bound of the result.
    pub high: f32,
}

#[inline(always)]
unsafe fn multiply_add_of<S: Simd>(
    rows: usize,
    n: usize,
    x: Triple,
    strides: [usize; 3],
    y: *mut f32,
    y_row: usize,
) {
    // SAFETY: the operands hold `rows` rows of `n` elements by the caller's promise.
    unsafe {
        let (low, high) = (S::splat(x.low), S::splat(x.high));
        let read = |p: *const f32, n: usize| if n == S::LANES { S::load(p) } else { S::load_n(p, n) };
        for row in 0..rows {
            let (a, b, c) = (x.a.add(row * strides[0]), x.b.add(row * strides[1]), x.c.add(row * strides[2]));
            let y = y.add(row * y_row);
            let mut i = 0;
            while i < n {
                let left = (n - i).min(S::LANES);
                let factor = if x.b_step == 0 { S::splat(*b) } else { read(b.add(i), left) };
                let v = S::fma(read(a.add(i), left), factor, read(c.add(i), left));
                let v = S::min(high, S::max(low, v));
                if left == S::LANES {
                    S::store(y.add(i), v)
                } else {
                    S::store_n(y.add(i), v, left)
                }
                i += left;
            }
        }
    }
}

crate::dispatch! {
    /// `y[i] = clamp(a[i] · b[i · b_step] + c[i], low, high)` for `rows` rows of `n` elements; the rows of a, b and c
    /// are `strides` apart.
    ///
    /// # Safety
    /// `isa` must be available; the operands hold what their steps need, and `y` is one of them or apart.
    pub fn multiply_add(
        rows: usize,
        n: usize,
        x: Triple,
        strides: [usize; 3],
        y: *mut f32,
        y_row: usize,
    ) = multiply_add_of;
}
