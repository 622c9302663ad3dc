//! Rounding weights so that the layer's output, not the weight, is closest: AdaRound.
//!
//! Source: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization" (2020). The layer's squared error is a
//! quadratic form in its weights, so that the inputs are needed once, as products of each with each ([`Moments`]), whatever the
//! number of steps.

use ocelli_kernels::Isa;
use ocelli_kernels::gemm::{self, Epilogue, Product};

use crate::quantiser::{QuantisedWeights, largest_code, symmetric_code};

/// Up to so many products sums are kept in `f64` throughout.
const FEW_PRODUCTS: usize = 100_000_000;

/// What the inputs of one group of a layer say about its error, `depth` inputs and `channels` outputs.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Inputs of an output.
    pub depth: usize,
    /// Outputs.
    pub channels: usize,
    /// Sums of products of the quantised layer's inputs, `[depth, depth]`.
    inputs: Vec<f64>,
    /// Sums of products of wanted outputs and inputs, `[channels, depth]`.
    outputs: Vec<f64>,
    /// Sums of squares of wanted outputs.
    power: Vec<f64>,
    count: f64,
}

impl Moments {
    /// Nothing seen.
    pub fn new(depth: usize, channels: usize) -> Self {
        Self {
            depth,
            channels,
            inputs: vec![0.0; depth * depth],
            outputs: vec![0.0; channels * depth],
            power: vec![0.0; channels],
            count: 0.0,
        }
    }

    /// Takes in `rows` windows: the quantised layer's inputs `[rows, depth]` and the outputs `[rows, channels]` it should give
    /// (without bias).
    pub fn add(&mut self, inputs: &[f32], outputs: &[f32]) {
        let (k, n) = (self.depth, self.channels);
        let rows = inputs.len() / k;
        self.count += rows as f64;
        for row in outputs.chunks_exact(n) {
            for (all, y) in self.power.iter_mut().zip(row) {
                *all += f64::from(*y) * f64::from(*y);
            }
        }
        if rows * k * (k + n) <= FEW_PRODUCTS {
            for (x, y) in inputs.chunks_exact(k).zip(outputs.chunks_exact(n)) {
                for (all, a) in
                    self.inputs.chunks_exact_mut(k).zip(x).chain(self.outputs.chunks_exact_mut(k).zip(y))
                {
                    all.iter_mut().zip(x).for_each(|(sum, b)| *sum += f64::from(*a) * f64::from(*b));
                }
            }
            return;
        }
        let transposed = |x: &[f32], width: usize| -> Vec<f32> {
            let mut turned = vec![0.0; x.len()];
            for (r, row) in x.chunks_exact(width).enumerate() {
                for (j, v) in row.iter().enumerate() {
                    turned[j * rows + r] = *v;
                }
            }
            turned
        };
        // Few rows at a time: sums of products in `f32` stay exact enough.
        let packed = gemm::pack(rows, k, |row, column| inputs[row * k + column]);
        let mut sums = vec![0.0; k * k];
        multiply(&transposed(inputs, k), &packed, [k, rows, k], &mut sums);
        for (all, own) in self.inputs.iter_mut().zip(&sums) {
            *all += f64::from(*own);
        }
        let mut sums = vec![0.0; n * k];
        multiply(&transposed(outputs, n), &packed, [n, rows, k], &mut sums);
        for (all, own) in self.outputs.iter_mut().zip(&sums) {
            *all += f64::from(*own);
        }
    }

    /// The mean squared error of output `o` with `weights`.
    pub fn error(&self, o: usize, weights: &[f32]) -> f64 {
        let k = self.depth;
        let mut sum = self.power[o];
        for (i, &a) in weights.iter().enumerate() {
            let row = &self.inputs[i * k..(i + 1) * k];
            let own: f64 = row.iter().zip(weights).map(|(g, &b)| g * f64::from(b)).sum();
            sum += f64::from(a) * (own - 2.0 * self.outputs[o * k + i]);
        }
        sum / self.count.max(1.0)
    }

    /// The mean over windows of the sum over outputs of the squared errors with weights `[channels, depth]`.
    pub fn total_error(&self, weights: &[f32]) -> f64 {
        weights.chunks_exact(self.depth).enumerate().map(|(o, row)| self.error(o, row)).sum()
    }
}

/// `c = a b`, `[m, k]` by packed `[k, n]`, shared out over the machine's threads.
fn multiply(a: &[f32], packed: &[f32], [m, k, n]: [usize; 3], c: &mut [f32]) {
    struct Shared(Product);
    // SAFETY: threads compute different columns of the result and only read the operands.
    #[allow(unsafe_code)]
    unsafe impl Sync for Shared {}
    let product = Shared(Product {
        a: a.as_ptr(),
        a_stride: k,
        b: packed.as_ptr(),
        depth: k,
        columns: n,
        c: c.as_mut_ptr(),
        c_stride: n,
        accumulate: false,
        epilogue: Epilogue::NONE,
    });
    let panels = gemm::panels(n);
    let threads = match m * k * n {
        0..1_000_000 => 1,
        _ => std::thread::available_parallelism().map_or(1, usize::from).min(panels),
    };
    let isa = Isa::best();
    std::thread::scope(|scope| {
        for t in 0..threads {
            let product = &product;
            let own = panels * t / threads..panels * (t + 1) / threads;
            let work = move || {
                let product = product;
                // SAFETY: the operands have the extents given; every thread writes columns of its own.
                #[allow(unsafe_code)]
                unsafe {
                    gemm::product(isa, &product.0, 0..m, own);
                }
            };
            if t + 1 == threads { work() } else { drop(scope.spawn(work)) }
        }
    });
}

/// How AdaRound learns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Steps of Adam.
    pub steps: usize,
    /// Its learning rate.
    pub rate: f64,
    /// Weight of the regulariser that drives every choice to up or down.
    pub regulariser: f64,
    /// Its exponent, from the first to the last step.
    pub beta: [f64; 2],
    /// Share of the steps without it.
    pub warm: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { steps: 1000, rate: 1e-2, regulariser: 0.01, beta: [20.0, 2.0], warm: 0.2 }
    }
}

/// The rectified sigmoid reaches a little beyond 0 and 1.
const STRETCH: f64 = 1.2;
const BELOW: f64 = -0.1;

/// Weights between up and down.
#[derive(Clone, Debug)]
pub struct Soft<'a> {
    moments: &'a Moments,
    scales: Vec<f32>,
    /// The lower code of every weight.
    floors: Vec<f64>,
    /// What decides between it and the next.
    pub v: Vec<f64>,
    most: f64,
    packed: Vec<f32>,
    /// The weights as they are, half the error's slope there, and the error.
    weights: Vec<f32>,
    slope: Vec<f64>,
    error: f64,
}

impl<'a> Soft<'a> {
    /// Weights `[channels, depth]`, each as far up as it is; `scales` has one number per channel.
    pub fn new(moments: &'a Moments, weights: &[f32], scales: &[f32], bits: u8) -> Self {
        let k = moments.depth;
        let steps = |i: usize| f64::from(weights[i] / scales[i / k]);
        let floors: Vec<f64> = (0..weights.len()).map(|i| steps(i).floor()).collect();
        let v = (0..weights.len()).map(|i| -(STRETCH / (steps(i) - floors[i] - BELOW) - 1.0).ln()).collect();
        // Symmetric, so that it is its own transpose.
        let packed = gemm::pack(k, k, |row, column| {
            (moments.inputs[row * k + column] / moments.count.max(1.0)) as f32
        });
        let most = f64::from(largest_code(bits));
        let count = moments.count.max(1.0);
        let slope = (0..weights.len())
            .map(|i| {
                let row = &moments.inputs[i % k * k..(i % k + 1) * k];
                let own = &weights[i / k * k..(i / k + 1) * k];
                let product: f64 = row.iter().zip(own).map(|(g, w)| g * f64::from(*w)).sum();
                (product - moments.outputs[i]) / count
            })
            .collect();
        let error = moments.total_error(weights);
        let (scales, weights) = (scales.to_vec(), weights.to_vec());
        Self { moments, scales, floors, v, most, packed, weights, slope, error }
    }

    fn scale(&self, i: usize) -> f64 {
        f64::from(self.scales[i / self.moments.depth])
    }

    /// How far up every weight is, 0 to 1.
    pub fn h(&self) -> Vec<f64> {
        self.v.iter().map(|v| stretched(*v).clamp(0.0, 1.0)).collect()
    }

    /// How far every weight has moved.
    fn moved(&self, h: &[f64]) -> Vec<f32> {
        let now = |i: usize| self.scale(i) * (self.floors[i] + h[i]).clamp(-self.most, self.most);
        (0..h.len()).map(|i| (now(i) - f64::from(self.weights[i])) as f32).collect()
    }

    /// The loss and its gradient; `beta`: the regulariser's exponent, none without it.
    pub fn loss(&self, regulariser: f64, beta: Option<f64>) -> (f64, Vec<f64>) {
        let (k, n) = (self.moments.depth, self.moments.channels);
        let h = self.h();
        // By the way from the weights, not by where they are: small differences stay exact.
        let moved = self.moved(&h);
        let mut products = vec![0.0; n * k];
        multiply(&moved, &self.packed, [n, k, k], &mut products);
        let mut loss = self.error;
        let mut gradient = vec![0.0; h.len()];
        for i in 0..h.len() {
            let (way, product) = (f64::from(moved[i]), f64::from(products[i]));
            loss += way * (product + 2.0 * self.slope[i]);
            let code = self.floors[i] + h[i];
            let inside = code >= -self.most && code <= self.most;
            let mut of_h = if inside { 2.0 * (product + self.slope[i]) * self.scale(i) } else { 0.0 };
            if let Some(beta) = beta {
                let away = 2.0 * h[i] - 1.0;
                loss += regulariser * (1.0 - away.abs().powf(beta));
                of_h -= regulariser * beta * away.abs().powf(beta - 1.0) * 2.0 * away.signum();
            }
            let s = sigmoid(self.v[i]);
            // A weight that is a code already stays one: it lies on the edge, where rounding must not decide.
            const EDGE: f64 = 1e-7;
            let free = (EDGE..1.0 - EDGE).contains(&(STRETCH * s + BELOW));
            gradient[i] = if free { of_h * STRETCH * s * (1.0 - s) } else { 0.0 };
        }
        (loss, gradient)
    }

    /// Learns for the steps `range` of `settings.steps`, with Adam's `memory` of earlier ones.
    pub fn learn(&mut self, settings: &Settings, range: std::ops::Range<usize>, memory: &mut Memory) {
        let warm = (settings.warm * settings.steps as f64) as usize;
        for step in range {
            let after = step.saturating_sub(warm) as f64 / settings.steps.saturating_sub(warm).max(1) as f64;
            let beta = settings.beta[0] + (settings.beta[1] - settings.beta[0]) * after;
            let (_, gradient) = self.loss(settings.regulariser, (step >= warm).then_some(beta));
            memory.step(settings.rate, &gradient, &mut self.v);
        }
    }

    /// The codes, up where a weight is at least half way up.
    pub fn codes(&self) -> Vec<i8> {
        let h = self.h();
        (0..h.len())
            .map(|i| {
                let up = if h[i] >= 0.5 { 1.0 } else { 0.0 };
                (self.floors[i] + up).clamp(-self.most, self.most) as i8
            })
            .collect()
    }
}

/// Adam's running means.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    first: Vec<f64>,
    second: Vec<f64>,
    steps: i32,
}

impl Memory {
    fn step(&mut self, rate: f64, gradient: &[f64], v: &mut [f64]) {
        const BETA: [f64; 2] = [0.9, 0.999];
        self.first.resize(v.len(), 0.0);
        self.second.resize(v.len(), 0.0);
        self.steps += 1;
        let corrections = BETA.map(|beta| 1.0 - beta.powi(self.steps));
        for i in 0..v.len() {
            self.first[i] = BETA[0] * self.first[i] + (1.0 - BETA[0]) * gradient[i];
            self.second[i] = BETA[1] * self.second[i] + (1.0 - BETA[1]) * gradient[i] * gradient[i];
            let (m, s) = (self.first[i] / corrections[0], self.second[i] / corrections[1]);
            v[i] -= rate * m / (s.sqrt() + 1e-8);
        }
    }
}

fn sigmoid(v: f64) -> f64 {
    1.0 / (1.0 + (-v).exp())
}

fn stretched(v: f64) -> f64 {
    STRETCH * sigmoid(v) + BELOW
}

/// Learns the rounding of weights `[channels, depth]` at the scales of `nearest`; the better of both, per output, is returned.
pub fn adaround(
    moments: &Moments,
    weights: &[f32],
    nearest: &QuantisedWeights,
    settings: &Settings,
) -> QuantisedWeights {
    let k = moments.depth;
    let scales: Vec<f32> = (0..moments.channels).map(|o| nearest.scale(o)).collect();
    let mut soft = Soft::new(moments, weights, &scales, nearest.bits);
    soft.learn(settings, 0..settings.steps, &mut Memory::default());
    let mut codes = soft.codes();
    for (o, scale) in scales.iter().enumerate() {
        let row = o * k..(o + 1) * k;
        let error = |codes: &[i8]| {
            let own: Vec<f32> = codes.iter().map(|code| f32::from(*code) * scale).collect();
            moments.error(o, &own)
        };
        if error(&nearest.codes[row.clone()]) <= error(&codes[row.clone()]) {
            codes[row.clone()].copy_from_slice(&nearest.codes[row]);
        }
    }
    QuantisedWeights { codes, scales: nearest.scales.clone(), bits: nearest.bits }
}

/// The best codes of one output of at most 20 weights, every choice of up and down tried; with the error.
pub fn best_by_enumeration(
    moments: &Moments,
    o: usize,
    weights: &[f32],
    scale: f32,
    bits: u8,
) -> Option<(Vec<i8>, f64)> {
    if weights.len() > 20 {
        return None;
    }
    let most = largest_code(bits) as f32;
    let floors: Vec<f32> = weights.iter().map(|w| (w / scale).floor()).collect();
    (0..1u32 << weights.len())
        .map(|choice| {
            let codes: Vec<i8> = floors
                .iter()
                .enumerate()
                .map(|(i, floor)| (floor + (choice >> i & 1) as f32).clamp(-most, most) as i8)
                .collect();
            let numbers: Vec<f32> = codes.iter().map(|code| f32::from(*code) * scale).collect();
            let error = moments.error(o, &numbers);
            (codes, error)
        })
        .min_by(|a, b| a.1.total_cmp(&b.1))
}

/// The nearest codes of one output.
pub fn nearest(weights: &[f32], scale: f32, bits: u8) -> Vec<i8> {
    weights.iter().map(|w| symmetric_code(*w, scale, bits)).collect()
}
