//! Quantisers, ranges, equalisation, rounding, pruning.

use ocelli_compress::equalise::{self, Layer};
use ocelli_compress::quantiser::{QuantisedWeights, WeightRange, affine};
use ocelli_compress::range::{self, Estimator, Observer};
use ocelli_compress::round::{self, Memory, Moments, Soft};
use ocelli_compress::{kl, prune};
use ocelli_graph::Codes;

use super::{Found, numbers, parameter};
use crate::case::{Case, Result};
use crate::fill;
use crate::run::Outputs;

pub(super) fn basics(case: &Case) -> Result<Outputs> {
    let mut found = Found::default();
    let (x, shape) = numbers(case, "halves")?;
    let codes = Codes { scale: 1.0, zero_point: 10, bits: 8 };
    let coded: Vec<u8> = x.iter().map(|x| codes.code(*x)).collect();
    found.whole("halves.q", &shape, &coded);
    for name in ["zeros", "allpos", "allneg", "one"] {
        let (x, shape) = numbers(case, name)?;
        let mut observer = Observer::new(Estimator::MinMax);
        observer.observe(&x).map_err(|at| format!("element {at} is no number"))?;
        let codes = observer.codes(8);
        found.list(format!("{name}.scale_zp"), vec![codes.scale, codes.zero_point as f32]);
        let coded: Vec<u8> = x.iter().map(|x| codes.code(*x)).collect();
        found.whole(format!("{name}.q"), &shape, &coded);
    }
    let shape = [5, 3, 3, 3];
    let mut w = parameter("w", &shape);
    w[2 * 27..3 * 27].fill(0.0);
    for bits in case.config::<Vec<u8>>("bits")? {
        for (name, per_channel, range) in [
            ("pc", true, WeightRange::MinMax),
            ("pc_mse", true, WeightRange::Mse),
            ("pt", false, WeightRange::MinMax),
        ] {
            let own = QuantisedWeights::new(&w, 5, per_channel, range, bits);
            found.list(format!("w{bits}.{name}_scale"), own.scales);
            found.whole(format!("w{bits}.{name}_q"), &shape, &own.codes);
        }
    }
    Ok(found.0)
}

pub(super) fn calibrators(case: &Case) -> Result<Outputs> {
    let bits: u8 = case.config("bits")?;
    let momentum: f64 = case.config("ema_momentum")?;
    let mut found = Found::default();
    let mut moving = Observer::new(Estimator::MovingAverage { momentum });
    let items = case.config["items"].as_array().cloned().unwrap_or_default();
    for item in items {
        let name = item["tensor"].as_str().unwrap_or_default();
        let (x, shape) = numbers(case, name)?;
        moving.observe(&x).map_err(|at| format!("element {at} is no number"))?;
        let mut ratios = Vec::new();
        for (rule, estimator) in [
            ("minmax", Estimator::MinMax),
            ("percentile_99.9", Estimator::Percentile(99.9)),
            ("percentile_99.99", Estimator::Percentile(99.99)),
            ("percentile_99.999", Estimator::Percentile(99.999)),
            ("mse", Estimator::Mse),
            ("cosine", Estimator::Cosine),
        ] {
            let mut observer = Observer::new(estimator);
            observer.observe(&x).map_err(|at| format!("element {at} is no number"))?;
            let (low, high) = observer.range(bits);
            let codes = observer.codes(bits);
            found.doubles(format!("{name}.{rule}.range"), &[low, high]);
            found.list(format!("{name}.{rule}.scale"), vec![codes.scale]);
            found.whole(format!("{name}.{rule}.zp"), &[1], &[codes.zero_point]);
            let loss = range::squared_error(&x, codes) / x.len() as f64;
            found.doubles(format!("{name}.{rule}.mse"), &[loss]);
            let coded: Vec<u8> = x.iter().map(|x| codes.code(*x)).collect();
            found.whole(format!("{name}.{rule}.q"), &shape, &coded);
            let extremes = observer.extremes();
            match estimator {
                Estimator::Mse => ratios.push(range::best_ratio(&x, extremes, bits, range::squared_error)),
                Estimator::Cosine => {
                    ratios.push(range::best_ratio(&x, extremes, bits, |x, codes| -range::cosine(x, codes)));
                }
                _ => {}
            }
        }
        found.doubles(format!("{name}.ratios_mse_cos"), &ratios);
    }
    let (low, high) = moving.range(bits);
    found.doubles("ema.range", &[low, high]);
    Ok(found.0)
}

pub(super) fn kl(case: &Case) -> Result<Outputs> {
    let mut found = Found::default();
    for (i, item) in case.config["items"].as_array().into_iter().flatten().enumerate() {
        let names: Vec<&str> =
            item["inputs"].as_array().into_iter().flatten().filter_map(|n| n.as_str()).collect();
        let count: usize =
            item["shape"].as_array().into_iter().flatten().filter_map(|n| n.as_u64()).product::<u64>()
                as usize;
        let rectified = item["relu"].as_bool().unwrap_or(false);
        let bits = item["bits"].as_u64().unwrap_or(8) as u8;
        // Sums of three uniform numbers, bent outwards.
        let mut x = vec![0f64; count];
        for name in names {
            for (x, v) in x.iter_mut().zip(fill::uniform(name, count)) {
                *x += v;
            }
        }
        let x: Vec<f32> = x
            .into_iter()
            .map(|v| (v + 0.125 * (((v * v) * (v * v)) * v)) as f32)
            .map(|x| if rectified { x.max(0.0) } else { x })
            .collect();
        let most = x.iter().fold(0f64, |most, x| most.max(f64::from(x.abs())));
        let counts = kl::histogram(&x, most, rectified);
        let cut = kl::threshold(&counts, bits, rectified, most);
        found.doubles(format!("{i}.max"), &[most]);
        let counts: Vec<i64> = counts.into_iter().map(|n| n as i64).collect();
        found.whole(format!("{i}.hist"), &[kl::BINS], &counts);
        found.whole(format!("{i}.bin"), &[1], &[cut.bins as i64]);
        found.doubles(format!("{i}.threshold"), &[cut.value]);
        found.doubles(format!("{i}.kl"), &[cut.divergence]);
        let low = if rectified { 0.0 } else { -cut.value };
        let scale = if rectified {
            affine(low, cut.value, bits).scale
        } else {
            ocelli_compress::quantiser::symmetric_scale(cut.value, bits)
        };
        found.list(format!("{i}.scale"), vec![scale]);
        let (low, high) = range::percentile(&x, 99.99);
        found.doubles(format!("{i}.percentile_99.99"), &[low, high]);
        let mut observer = Observer::new(Estimator::Mse);
        observer.observe(&x).map_err(|at| format!("element {at} is no number"))?;
        let (low, high) = observer.range(bits);
        found.doubles(format!("{i}.mse_range"), &[low, high]);
    }
    Ok(found.0)
}

pub(super) fn pruning(case: &Case) -> Result<Outputs> {
    let sparsity: f64 = case.config("sparsity")?;
    let steps: usize = case.config("schedule_steps")?;
    let shapes: Vec<Vec<usize>> = case.config("layers")?;
    let weights: Vec<Vec<f32>> =
        shapes.iter().enumerate().map(|(i, shape)| parameter(&format!("pr.{i}.weight"), shape)).collect();
    let mut found = Found::default();
    let slices: Vec<&[f32]> = weights.iter().map(Vec::as_slice).collect();
    let masks = prune::global_masks(&slices, sparsity);
    for (i, (shape, own)) in shapes.iter().zip(&weights).enumerate() {
        let bytes = |mask: &[bool]| mask.iter().map(|&stays| u8::from(stays)).collect::<Vec<u8>>();
        found.whole(format!("global_mask{i}"), shape, &bytes(&masks[i]));
        let mask = prune::mask(own, sparsity);
        found.whole(format!("layer_mask{i}"), shape, &bytes(&mask));
        let left: Vec<f32> = own.iter().zip(&mask).map(|(w, stays)| if *stays { *w } else { 0.0 }).collect();
        let codes = QuantisedWeights::new(&left, shape[0], true, WeightRange::MinMax, 8);
        found.whole(format!("layer_q{i}"), shape, &codes.codes);
        found.list(format!("layer_scale{i}"), codes.scales);
    }
    let length = case.expected().iter().find(|e| e.name == "cubic_schedule").map_or(0, |e| e.shape[0]);
    let schedule: Vec<f64> = (0..length).map(|t| prune::gradual(sparsity, t, steps)).collect();
    found.doubles("cubic_schedule", &schedule);
    Ok(found.0)
}

pub(super) fn equalisation(case: &Case) -> Result<Outputs> {
    let [c0, c1, c2, c3]: [usize; 4] = case.config("channels")?;
    let six = case.config::<String>("activation")? == "relu6";
    let shapes = [vec![c1, c0, 3, 3], vec![c2, 1, 3, 3], vec![c3, c2, 1, 1]];
    let mut layers: Vec<Layer> = shapes
        .iter()
        .enumerate()
        .map(|(i, shape)| Layer {
            weights: parameter(&format!("cle.{i}.weight"), shape),
            bias: parameter(&format!("cle.{i}.bias"), &shape[..1]),
            channels: shape[0],
            depth: shape[1],
            depthwise: i == 1,
        })
        .collect();
    // Channels of very different ranges.
    for (layer, own) in layers.iter_mut().enumerate().take(2) {
        let row = own.weights.len() / own.channels;
        for (c, weights) in own.weights.chunks_exact_mut(row).enumerate() {
            let exponent = if layer == 0 { (3 * c % 7) as i32 - 3 } else { (2 * c % 5) as i32 - 2 };
            weights.iter_mut().for_each(|w| *w *= 2f32.powi(exponent));
        }
        let more = if layer == 0 { 0.5 } else { 0.25 };
        own.bias.iter_mut().for_each(|b| *b += more);
    }
    let (x, shape) = numbers(case, "cle.x")?;
    let done = equalise::equalise(&mut layers);
    let mut found = Found::default();
    found.doubles("scale12", &done.factors[0]);
    found.doubles("scale23", &done.factors[1]);
    found.whole("iterations", &[1], &[done.rounds as i64]);
    // The network that came out must compute what the one that went in did.
    let bound = |factors: &[f64], c: usize| if six { (6.0 / factors[c]) as f32 } else { f32::INFINITY };
    let mut map = x;
    for (i, layer) in layers.iter().enumerate() {
        map = convolve(&map, layer, [shape[0], shape[2], shape[3]], if i == 2 { 1 } else { 3 });
        if i < 2 {
            let area = shape[2] * shape[3];
            for (at, v) in map.iter_mut().enumerate() {
                *v = v.clamp(0.0, bound(&done.factors[i], at / area % layer.channels));
            }
        }
    }
    found.floats("y", &[shape[0], c3, shape[2], shape[3]], map);
    for (i, (layer, shape)) in layers.into_iter().zip(&shapes).enumerate() {
        found.floats(format!("w{}", i + 1), shape, layer.weights);
        found.list(format!("b{}", i + 1), layer.bias);
    }
    Ok(found.0)
}

/// A convolution of stride 1 that keeps the map's extent.
fn convolve(x: &[f32], layer: &Layer, [batch, height, width]: [usize; 3], kernel: usize) -> Vec<f32> {
    let inputs = x.len() / (batch * height * width);
    let pad = kernel / 2;
    let mut y = Vec::with_capacity(batch * layer.channels * height * width);
    for n in 0..batch {
        for o in 0..layer.channels {
            for (i, j) in (0..height).flat_map(|i| (0..width).map(move |j| (i, j))) {
                let mut sum = f64::from(layer.bias[o]);
                for d in 0..layer.depth {
                    let c = if layer.depthwise { o } else { d };
                    for (a, b) in (0..kernel).flat_map(|a| (0..kernel).map(move |b| (a, b))) {
                        let (r, s) = ((i + a).wrapping_sub(pad), (j + b).wrapping_sub(pad));
                        if r < height && s < width {
                            let w = layer.weights[((o * layer.depth + d) * kernel + a) * kernel + b];
                            sum += f64::from(w) * f64::from(x[((n * inputs + c) * height + r) * width + s]);
                        }
                    }
                }
                y.push(sum as f32);
            }
        }
    }
    y
}

pub(super) fn absorption(case: &Case) -> Result<Outputs> {
    let channels: usize = case.config("channels")?;
    let out: usize = case.config("out")?;
    let bits: u8 = case.config("next_bits")?;
    let gain = parameter("abs.bn.weight", &[channels]);
    let shift: Vec<f64> = fill::uniform("abs.bn.shift", channels).map(|v| 4.0 * v).collect();
    let amounts: Vec<f64> =
        gain.iter().zip(&shift).map(|(g, b)| (b - 3.0 * f64::from(g.abs())).max(0.0)).collect();
    let rounded: Vec<f32> = shift.iter().map(|b| *b as f32).collect();
    let mut found = Found::default();
    let own = equalise::absorbable(&gain, &rounded);
    found.doubles("absorb_c", &own);
    let mut first =
        Layer { weights: Vec::new(), bias: rounded.clone(), channels, depth: 0, depthwise: false };
    let weights = parameter("abs.next.weight", &[out, channels, 3, 3]);
    let mut second = Layer {
        weights: weights.clone(),
        bias: parameter("abs.next.bias", &[out]),
        channels: out,
        depth: channels,
        depthwise: false,
    };
    let bias = second.bias.clone();
    equalise::absorb(&mut first, &mut second, &amounts);
    found.list("new_bias1", first.bias);
    found.list("new_bias2", second.bias);
    let mean = |high: f64| -> Vec<f64> {
        let each = gain.iter().zip(&shift);
        each.map(|(g, b)| equalise::clipped_mean(*b, f64::from(*g), 0.0, high)).collect()
    };
    found.doubles("mean_relu", &mean(f64::INFINITY));
    let means = mean(6.0);
    found.doubles("mean_relu6", &means);
    let codes = QuantisedWeights::new(&weights, out, true, WeightRange::MinMax, bits).numbers(out);
    let correction: Vec<f64> = (0..out)
        .map(|o| {
            let row = o * channels * 9..(o + 1) * channels * 9;
            row.clone()
                .map(|i| (f64::from(codes[i]) - f64::from(weights[i])) * means[(i - row.start) / 9])
                .sum()
        })
        .collect();
    found.doubles("analytic_correction", &correction);
    let corrected: Vec<f64> = bias.iter().zip(&correction).map(|(b, c)| f64::from(*b) - c).collect();
    found.doubles("new_bias2_corrected", &corrected);
    Ok(found.0)
}

pub(super) fn adaround(case: &Case) -> Result<Outputs> {
    let (out, inp, k): (usize, usize, usize) =
        (case.config("out")?, case.config("inp")?, case.config("kernel")?);
    let bits: u8 = case.config("bits")?;
    let settings = round::Settings {
        steps: case.config("steps")?,
        rate: case.config("lr")?,
        regulariser: case.config("reg_weight")?,
        beta: case.config("beta")?,
        warm: case.config("warm_fraction")?,
    };
    let shape = [out, inp, k, k];
    let weights = parameter("ada.weight", &shape);
    let (mut x, extents) = numbers(case, "ada.x")?;
    x.iter_mut().for_each(|x| *x = x.max(-0.2));
    let depth = inp * k * k;
    // Windows of a convolution without padding.
    let (h, w) = (extents[2], extents[3]);
    let mut rows = Vec::new();
    for n in 0..extents[0] {
        for (i, j) in (0..=h - k).flat_map(|i| (0..=w - k).map(move |j| (i, j))) {
            for c in 0..inp {
                for (a, b) in (0..k).flat_map(|a| (0..k).map(move |b| (a, b))) {
                    rows.push(x[((n * inp + c) * h + i + a) * w + j + b]);
                }
            }
        }
    }
    let wanted: Vec<f32> = rows
        .chunks_exact(depth)
        .flat_map(|row| {
            weights.chunks_exact(depth).map(move |own| {
                own.iter().zip(row).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
            })
        })
        .collect();
    let mut moments = Moments::new(depth, out);
    moments.add(&rows, &wanted);
    let nearest = QuantisedWeights::new(&weights, out, true, WeightRange::Mse, bits);
    let chosen = match case.stored.get("scale") {
        // Which rule the scales come from is the case's affair.
        Some(stored) if stored.iter::<f32>().zip(&nearest.scales).any(|(a, b)| (a - b).abs() > 1e-6 * b) => {
            QuantisedWeights::new(&weights, out, true, WeightRange::MinMax, bits)
        }
        _ => nearest,
    };
    let mut found = Found::default();
    found.list("scale", chosen.scales.clone());
    let mut soft = Soft::new(&moments, &weights, &chosen.scales, bits);
    let floats = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<f32>>();
    found.floats("V0", &shape, floats(&soft.v));
    found.floats("h0", &shape, floats(&soft.h()));
    let error = |codes: &[i8]| {
        let numbers: Vec<f32> =
            codes.iter().enumerate().map(|(i, code)| f32::from(*code) * chosen.scales[i / depth]).collect();
        moments.total_error(&numbers)
    };
    let before = error(&chosen.codes);
    found.doubles("objective_nearest", &[before]);
    for beta in [20.0, 8.0, 2.0] {
        let (loss, gradient) = soft.loss(settings.regulariser, Some(beta));
        found.doubles(format!("loss_beta{beta}"), &[loss]);
        found.floats(format!("grad_beta{beta}"), &shape, floats(&gradient));
    }
    let mut memory = Memory::default();
    soft.learn(&settings, 0..5, &mut memory);
    found.floats("V_after5", &shape, floats(&soft.v));
    soft.learn(&settings, 5..settings.steps, &mut memory);
    let codes = soft.codes();
    let after = error(&codes);
    found.doubles("objective_final", &[after]);
    // Codes may differ in a few places as long as they are as good.
    let stored = case.stored.get("objective_final").map(|data| data.iter::<f64>().sum::<f64>());
    if !stored.is_some_and(|stored| after <= 1.05 * stored && after < before) {
        return Err(format!("{}: the error after learning is {after}, before {before}", case.name));
    }
    found.whole("w_int_final", &shape, &codes);
    Ok(found.0)
}

pub(super) fn enumeration(case: &Case) -> Result<Outputs> {
    let depth: usize = case.config("inputs")?;
    let bits: u8 = case.config("bits")?;
    let outputs = 2;
    let weights = parameter("opt.weight", &[outputs, depth]);
    let (x, _) = numbers(case, "opt.x")?;
    let wanted: Vec<f32> = x
        .chunks_exact(depth)
        .flat_map(|row| {
            weights.chunks_exact(depth).map(move |own| {
                own.iter().zip(row).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
            })
        })
        .collect();
    let mut moments = Moments::new(depth, outputs);
    moments.add(&x, &wanted);
    let nearest = QuantisedWeights::new(&weights, outputs, true, WeightRange::MinMax, bits);
    let learned = round::adaround(&moments, &weights, &nearest, &round::Settings::default());
    let mut found = Found::default();
    let (mut best, mut errors, mut before) = (Vec::new(), Vec::new(), Vec::new());
    for o in 0..outputs {
        let row = o * depth..(o + 1) * depth;
        let own = &weights[row.clone()];
        let (codes, error) = round::best_by_enumeration(&moments, o, own, nearest.scale(o), bits)
            .ok_or("too many weights to try all choices")?;
        best.extend(codes);
        errors.push(error);
        let numbers =
            |codes: &[i8]| codes.iter().map(|code| f32::from(*code) * nearest.scale(o)).collect::<Vec<f32>>();
        before.push(moments.error(o, &numbers(&nearest.codes[row.clone()])));
        let after = moments.error(o, &numbers(&learned.codes[row]));
        if after > before[o] || after > 1.1 * error {
            return Err(format!("{}: learned rounding leaves {after}, the best {error}", case.name));
        }
    }
    found.doubles("obj_nearest", &before);
    found.doubles("obj_best", &errors);
    found.whole("best", &[outputs, depth], &best);
    found.whole("nearest", &[outputs, depth], &nearest.codes);
    Ok(found.0)
}
