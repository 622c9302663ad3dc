//! A basic block in integers alone.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_compress::adder::integer::{Fixed, Norm, STREAM, code, epilogue, rectified, stream, to_code};
use ocelli_compress::adder::{Plan, Settings, plan};
use ocelli_nn::adder::distances;

use super::layers::codes_of;
use super::{Found, listed, numbers, text, weights};
use crate::case::{Case, Result};
use crate::fill;
use crate::run::Outputs;

/// A map `[n, c, h, w]`, row-major.
#[derive(Clone)]
struct Map<T> {
    values: Vec<T>,
    shape: [usize; 4],
}

impl Map<f32> {
    fn tensor(&self) -> Tensor<4> {
        Tensor::from_data(TensorData::new(self.values.clone(), self.shape), &Device::flex())
    }

    fn of(tensor: Tensor<4>) -> Self {
        let shape = tensor.dims();
        Self { values: tensor.into_data().iter::<f32>().collect(), shape }
    }

    fn most(&self) -> f32 {
        self.values.iter().fold(0.0, |most, v| most.max(v.abs()))
    }
}

/// One of the block's layers with its norm.
struct Layer {
    name: String,
    shape: [usize; 4],
    stride: usize,
    weights: Vec<f32>,
    gain: Vec<f32>,
    shift: Vec<f32>,
}

impl Layer {
    fn read(case: &Case, name: &str, norm: &str, stride: usize) -> Result<Self> {
        let key =
            if name == "downsample" { "blk.downsample.0.adder".into() } else { format!("blk.{name}.adder") };
        let shape = super::shape_of(case, &key)?;
        let four = <[usize; 4]>::try_from(shape.as_slice()).map_err(|_| "weights have four dimensions")?;
        let vector = |leaf: &str| fill::parameter(&format!("blk.{norm}.{leaf}"), &[four[0]]);
        Ok(Self {
            name: name.into(),
            shape: four,
            stride,
            weights: weights(case, &key, &shape)?,
            gain: vector("weight"),
            shift: vector("bias"),
        })
    }

    fn padding(&self) -> usize {
        (self.shape[2] - 1) / 2
    }

    fn float(&self, x: &Map<f32>) -> Map<f32> {
        let w = Tensor::from_data(TensorData::new(self.weights.clone(), self.shape), &Device::flex());
        Map::of(distances(x.tensor(), w, self.stride, self.padding(), 0.0))
    }

    /// Mean and biased variance of every channel.
    fn statistics(y: &Map<f32>) -> [Vec<f32>; 2] {
        let [_, channels, h, w] = y.shape;
        let of = |c: usize| {
            let own: Vec<f64> = y
                .values
                .chunks_exact(h * w)
                .skip(c)
                .step_by(channels)
                .flatten()
                .map(|v| f64::from(*v))
                .collect();
            let mean = own.iter().sum::<f64>() / own.len() as f64;
            let variance = own.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / own.len() as f64;
            (mean as f32, variance as f32)
        };
        let (mean, variance) = (0..channels).map(of).unzip();
        [mean, variance]
    }

    fn normed(&self, y: &Map<f32>, [mean, variance]: &[Vec<f32>; 2], epsilon: f64) -> Map<f32> {
        let area = y.shape[2] * y.shape[3];
        let norm = |(i, v): (usize, &f32)| {
            let c = i / area % y.shape[1];
            let k = f64::from(self.gain[c]) / (f64::from(variance[c]) + epsilon).sqrt();
            ((f64::from(*v) - f64::from(mean[c])) * k + f64::from(self.shift[c])) as f32
        };
        Map { values: y.values.iter().enumerate().map(norm).collect(), shape: y.shape }
    }
}

fn relu(mut map: Map<f32>) -> Map<f32> {
    map.values.iter_mut().for_each(|v| *v = v.max(0.0));
    map
}

fn added(mut a: Map<f32>, b: &Map<f32>) -> Map<f32> {
    a.values.iter_mut().zip(&b.values).for_each(|(a, b)| *a += b);
    a
}

/// What the integer chain of one layer takes from the case: its BN statistics and scales are inputs of the deployment.
struct Given {
    plan: Plan,
    statistics: [Vec<f32>; 2],
}

/// What all layers share.
struct Chain<'a> {
    case: &'a Case,
    settings: Settings,
    epsilon: f64,
    found: Found,
}

impl Chain<'_> {
    fn stored(&self, name: &str) -> Option<Vec<f32>> {
        Some(self.case.stored.get(name)?.iter::<f32>().collect())
    }

    /// The layer's plan for inputs up to `reach`, and its statistics; what the case holds takes their place for what follows.
    fn given(&mut self, layer: &Layer, reach: f32, y: &Map<f32>) -> Result<Given> {
        let own = plan(&layer.weights, layer.shape[0], reach, &self.settings).map_err(text)?;
        let statistics = Layer::statistics(y);
        let name = |what: &str| format!("{}.{what}", layer.name);
        self.found.whole(name("labels"), &[own.labels.len()], &own.labels);
        self.found.list(name("group_scale"), own.scales.clone());
        self.found.list(name("bias_extra"), own.extra.clone());
        self.found.whole(name("w_int"), &layer.shape, &own.codes);
        self.found.list(name("bn_mean"), statistics[0].clone());
        self.found.list(name("bn_var"), statistics[1].clone());
        let or = |what: &str, own: Vec<f32>| self.stored(&name(what)).unwrap_or(own);
        let [mean, variance] = statistics;
        let statistics = [or("bn_mean", mean), or("bn_var", variance)];
        let plan = Plan {
            scales: or("group_scale", own.scales.clone()),
            extra: or("bias_extra", own.extra.clone()),
            ..own
        };
        Ok(Given { plan, statistics })
    }

    /// The layer on numbers that are values of codes.
    fn simulated(&self, layer: &Layer, given: &Given, x: &Map<f32>) -> Map<f32> {
        let codes = codes_of(&given.plan, &self.settings, layer.shape);
        let y = Map::of(codes.forward(x.tensor(), layer.stride, layer.padding()));
        layer.normed(&y, &given.statistics, self.epsilon)
    }

    /// The layer in integers: a stream of scale `from` to what its norm gives at scale `to`.
    fn integers(&mut self, layer: &Layer, given: &Given, x: &Map<i16>, from: f32, to: f32) -> Map<i64> {
        let bits = self.settings.bits;
        let name = |what: String| format!("{}.{what}", layer.name);
        let [n, channels, height, width] = x.shape;
        let [filters, _, kh, kw] = layer.shape;
        let codes: Vec<Vec<u8>> = given
            .plan
            .scales
            .iter()
            .enumerate()
            .map(|(group, &scale)| {
                let fixed = to_code(from.into(), scale, bits);
                let codes: Vec<u8> = x.values.iter().map(|v| code(fixed, i64::from(*v), bits)).collect();
                self.found.whole(name(format!("code_g{group}")), &x.shape, &codes);
                self.found.whole(
                    name(format!("code_mult_g{group}")),
                    &[2],
                    &[fixed.mantissa, i64::from(fixed.shift)],
                );
                codes
            })
            .collect();
        let padding = layer.padding();
        let along = |size: usize, kernel: usize| (size + 2 * padding - kernel) / layer.stride + 1;
        let (oh, ow) = (along(height, kh), along(width, kw));
        let mut sums = vec![0i64; n * filters * oh * ow];
        for (at, sum) in sums.iter_mut().enumerate() {
            let (x0, y0, o, picture) =
                (at % ow, at / ow % oh, at / (oh * ow) % filters, at / (oh * ow * filters));
            let codes = &codes[usize::from(given.plan.labels[o])];
            for (tap, q) in
                given.plan.codes[o * channels * kh * kw..][..channels * kh * kw].iter().enumerate()
            {
                let (c, ky, kx) = (tap / (kh * kw), tap / kw % kh, tap % kw);
                let place = |at: usize, k: usize, size: usize| {
                    (at * layer.stride + k).checked_sub(padding).filter(|&v| v < size)
                };
                let a = match (place(y0, ky, height), place(x0, kx, width)) {
                    (Some(y), Some(x)) => {
                        i64::from(codes[((picture * channels + c) * height + y) * width + x])
                    }
                    _ => 0,
                };
                *sum += (a - 2 * i64::from(*q)).abs();
            }
        }
        self.found.whole(name("acc".into()), &[n, filters, oh, ow], &sums);
        let rows: Vec<Fixed> = (0..filters)
            .map(|o| {
                let norm = Norm {
                    weight: layer.gain[o],
                    bias: layer.shift[o],
                    mean: given.statistics[0][o],
                    variance: given.statistics[1][o],
                    epsilon: self.epsilon,
                };
                let scale = given.plan.scales[usize::from(given.plan.labels[o])];
                epilogue(norm, scale, bits, given.plan.extra[o], to.into())
            })
            .collect();
        let table: Vec<i64> =
            rows.iter().flat_map(|row| [row.mantissa, i64::from(row.shift), row.add]).collect();
        self.found.whole(name("epi".into()), &[filters, 3], &table);
        let values =
            sums.iter().enumerate().map(|(at, sum)| rows[at / (oh * ow) % filters].apply(*sum)).collect();
        Map { values, shape: [n, filters, oh, ow] }
    }
}

pub(super) fn integers(case: &Case) -> Result<Outputs> {
    let settings = super::layers::settings(case)?;
    let words: String = case.config("input")?;
    let factor: f32 = words.split('*').next().and_then(|n| n.trim().parse().ok()).unwrap_or(1.0);
    let (x, shape) = numbers(case, "x")?;
    let x = Map {
        values: x.iter().map(|x| (x * factor).max(0.0)).collect(),
        shape: shape.try_into().map_err(|_| "a map has four dimensions")?,
    };
    let stride: usize = case.config("stride")?;
    let mut chain = Chain { case, settings, epsilon: case.config("bn_eps")?, found: Found::default() };
    let names: BTreeMap<String, Vec<usize>> = listed(case)?.into_iter().collect();
    let (one, two) = (Layer::read(case, "conv1", "bn1", stride)?, Layer::read(case, "conv2", "bn2", 1)?);
    let down = match names.contains_key("blk.downsample.0.adder") {
        true => Some(Layer::read(case, "downsample", "downsample.1", stride)?),
        false => None,
    };

    // Floating point, with the norms of this batch.
    let y1 = one.float(&x);
    let given1 = chain.given(&one, x.most(), &y1)?;
    let inner = relu(one.normed(&y1, &Layer::statistics(&y1), chain.epsilon));
    let y2 = two.float(&inner);
    let given2 = chain.given(&two, inner.most(), &y2)?;
    let z2 = two.normed(&y2, &Layer::statistics(&y2), chain.epsilon);
    let (given_down, shortcut) = match &down {
        Some(own) => {
            let y = own.float(&x);
            let given = chain.given(own, x.most(), &y)?;
            (Some(given), own.normed(&y, &Layer::statistics(&y), chain.epsilon))
        }
        None => (None, x.clone()),
    };
    let out = relu(added(z2, &shortcut));
    let scales: Vec<f32> = [&x, &inner, &out].map(|map| (f64::from(map.most()) / STREAM) as f32).to_vec();
    chain.found.list("scales", scales.clone());
    let scales = chain.stored("scales").unwrap_or(scales);
    let [s_x, s_inner, s_out] = <[f32; 3]>::try_from(scales).map_err(|_| "three scales are meant")?;
    chain.found.floats("y_float", &out.shape, out.values);

    // Numbers that are values of codes.
    let inner = relu(chain.simulated(&one, &given1, &x));
    let shortcut = match (&down, &given_down) {
        (Some(own), Some(given)) => chain.simulated(own, given, &x),
        _ => x.clone(),
    };
    let simulated = relu(added(chain.simulated(&two, &given2, &inner), &shortcut));
    chain.found.floats("y_sim", &simulated.shape, simulated.values);

    // Integers.
    let streamed = Map { values: stream(&x.values, s_x), shape: x.shape };
    chain.found.whole("x_stream", &x.shape, &streamed.values);
    let first = chain.integers(&one, &given1, &streamed, s_x, s_inner);
    let first =
        Map { values: first.values.into_iter().map(rectified).collect::<Vec<i16>>(), shape: first.shape };
    chain.found.whole("conv1.stream", &first.shape, &first.values);
    let second = chain.integers(&two, &given2, &first, s_inner, s_out);
    let residual: Vec<i64> = match (&down, &given_down) {
        (Some(own), Some(given)) => chain.integers(own, given, &streamed, s_x, s_out).values,
        _ => {
            let fixed = Fixed::new(f64::from(s_x) / f64::from(s_out));
            chain.found.whole("residual.mult", &[2], &[fixed.mantissa, i64::from(fixed.shift)]);
            streamed.values.iter().map(|v| fixed.apply(i64::from(*v))).collect()
        }
    };
    let out: Vec<i16> = second.values.iter().zip(&residual).map(|(a, b)| rectified(a + b)).collect();
    chain.found.whole("out.stream", &second.shape, &out);
    Ok(chain.found.0)
}
