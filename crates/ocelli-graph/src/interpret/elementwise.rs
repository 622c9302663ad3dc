//! Functions of elements, choices, reductions.

use super::{Call, Tensor, each_index, strides};
use crate::op::{Binary, Reduction, Unary};

/// `function` of one number.
pub(super) fn apply(function: Unary, x: f64) -> f64 {
    match function {
        Unary::Relu => x.max(0.0),
        Unary::Clamp { min, max } => x.max(f64::from(min)).min(f64::from(max)),
        Unary::LeakyRelu { slope } => {
            if x > 0.0 {
                x
            } else {
                f64::from(slope) * x
            }
        }
        Unary::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::HardSigmoid { alpha, beta } => (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0),
        Unary::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Unary::Silu => x / (1.0 + (-x).exp()),
        Unary::Tanh => x.tanh(),
        Unary::Erf => erf(x),
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Sqrt => x.sqrt(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign => {
            if x == 0.0 {
                0.0
            } else {
                x.signum()
            }
        }
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Not => f64::from(u8::from(x == 0.0)),
    }
}

/// Gauss's error function: its series near zero, a continued fraction further out.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a > 6.0 {
        return x.signum();
    }
    if a < 2.5 {
        // x · Σ (2x²)ⁿ / (1·3·5···(2n+1)), all terms of one sign.
        let (mut term, mut sum) = (x, x);
        for n in 1..80 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        return 2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum;
    }
    let mut fraction = a;
    for n in (1..80).rev() {
        fraction = a + f64::from(n) / 2.0 / fraction;
    }
    x.signum() * (1.0 - (-a * a).exp() / (std::f64::consts::PI.sqrt() * fraction))
}

pub(super) fn activate(activation: Option<Unary>, data: &mut [f32]) {
    if let Some(function) = activation {
        data.iter_mut().for_each(|v| *v = apply(function, f64::from(*v)) as f32);
    }
}

pub(super) fn unary(call: &Call<'_>, function: Unary) -> Vec<Tensor> {
    call.convert(call.inputs[0].numbers().into_iter().map(|x| apply(function, x)).collect())
}

fn combine(function: Binary, a: f64, b: f64) -> f64 {
    let truth = |holds: bool| f64::from(u8::from(holds));
    match function {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Pow => a.powf(b),
        Binary::Min => a.min(b),
        Binary::Max => a.max(b),
        Binary::Equal => truth(a == b),
        Binary::Less => truth(a < b),
        Binary::LessEqual => truth(a <= b),
        Binary::Greater => truth(a > b),
        Binary::GreaterEqual => truth(a >= b),
        Binary::And => truth(a != 0.0 && b != 0.0),
        Binary::Or => truth(a != 0.0 || b != 0.0),
    }
}

/// The place of every element of `shape` in an operand that is broadcast to it.
fn places(operand: &[usize], shape: &[usize]) -> Vec<usize> {
    let own = strides(operand);
    let missing = shape.len() - operand.len();
    let steps: Vec<usize> = (0..shape.len())
        .map(|d| match d.checked_sub(missing) {
            Some(d) if operand[d] > 1 => own[d],
            _ => 0,
        })
        .collect();
    let mut places = Vec::with_capacity(shape.iter().product());
    each_index(shape, |index| places.push(index.iter().zip(&steps).map(|(i, s)| i * s).sum()));
    places
}

pub(super) fn binary(call: &Call<'_>, function: Binary) -> Vec<Tensor> {
    let (a, b) = (call.inputs[0].numbers(), call.inputs[1].numbers());
    let shape = call.output();
    if call.shape(0) == shape && call.shape(1) == shape {
        return call.convert(a.iter().zip(&b).map(|(&a, &b)| combine(function, a, b)).collect());
    }
    let (at, bt) = (places(call.shape(0), shape), places(call.shape(1), shape));
    call.convert(at.iter().zip(&bt).map(|(&i, &j)| combine(function, a[i], b[j])).collect())
}

pub(super) fn choose(call: &Call<'_>) -> Vec<Tensor> {
    let [condition, a, b] =
        [0, 1, 2].map(|i| (call.inputs[i].numbers(), places(call.shape(i), call.output())));
    let pick = |i: usize| {
        let (numbers, places) = if condition.0[condition.1[i]] != 0.0 { &a } else { &b };
        numbers[places[i]]
    };
    call.convert((0..condition.1.len()).map(pick).collect())
}

pub(super) fn reduce(call: &Call<'_>, reduction: Reduction, axes: &[usize]) -> Vec<Tensor> {
    let shape = call.shape(0);
    let kept: Vec<usize> = (0..shape.len()).map(|d| if axes.contains(&d) { 1 } else { shape[d] }).collect();
    let steps = strides(&kept);
    let numbers = call.inputs[0].numbers();
    let start = match reduction {
        Reduction::Mean | Reduction::Sum => 0.0,
        Reduction::Max => f64::NEG_INFINITY,
        Reduction::Min => f64::INFINITY,
        Reduction::Prod => 1.0,
    };
    let mut out = vec![start; kept.iter().product()];
    let mut next = numbers.iter();
    each_index(shape, |index| {
        let at: usize = (0..shape.len()).filter(|d| kept[*d] > 1).map(|d| index[d] * steps[d]).sum();
        let x = next.next().copied().unwrap_or(0.0);
        out[at] = match reduction {
            Reduction::Mean | Reduction::Sum => out[at] + x,
            Reduction::Max => out[at].max(x),
            Reduction::Min => out[at].min(x),
            Reduction::Prod => out[at] * x,
        };
    });
    if reduction == Reduction::Mean {
        let count = (numbers.len() / out.len()) as f64;
        out.iter_mut().for_each(|sum| *sum /= count);
    }
    call.convert(out)
}
