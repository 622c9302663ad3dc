//! Pixels: shuffles, enlargements, reductions, crops, and ratios.

use burn::tensor::{Device, Int, Tensor, TensorData};
use ocelli_data::{Interpolation, RgbImage};
use ocelli_video::deliver::bicubic::{upsample, upsample_rows};
use ocelli_video::deliver::metrics;
use ocelli_video::deliver::net::pixel_shuffle;
use ocelli_video::deliver::patches::{Turn, crop_planes};

use super::figure;
use crate::case::{Case, Result};
use crate::compare::Comparison;
use crate::run::Outputs;

pub(super) fn shuffled(case: &Case) -> Result<Outputs> {
    let factors: Vec<usize> = case.config("factors")?;
    let mut outputs = Outputs::new();
    for r in factors {
        let x = super::planes(&case.input_data(&format!("in.r{r}"))?, &Device::flex());
        let y: Tensor<4, Int> = pixel_shuffle(x, r).int();
        outputs.insert(format!("out.r{r}"), y.into_data());
    }
    Ok(outputs)
}

pub(super) fn enlarged(case: &Case) -> Result<Outputs> {
    let inputs = case.inputs();
    let (input, _) = inputs.first().ok_or_else(|| format!("{}: no input", case.name))?;
    let mut outputs = Outputs::new();
    for name in case.output_names() {
        let scale = name.rsplit('x').next().and_then(|text| text.parse().ok());
        let scale: usize = scale.ok_or_else(|| format!("{}: {name}", case.name))?;
        let x: Tensor<4> = case.input(input, &Device::flex())?;
        let y = upsample(x.clone(), scale);
        // The other way, over interleaved rows.
        let [batch, channels, height, width] = x.dims();
        if batch == 1 {
            let rows: Vec<f32> = x.permute([0, 2, 3, 1]).into_data().iter::<f32>().collect();
            let rows = upsample_rows(&rows, [height, width, channels], scale);
            let other = TensorData::new(rows, [1, scale * height, scale * width, channels]);
            let other = Tensor::<4>::from_data(other, &Device::flex()).permute([0, 3, 1, 2]);
            let apart = other.sub(y.clone()).abs().max().into_scalar::<f32>();
            if apart > 1e-5 {
                return Err(format!("{}: rows enlarged differ by {apart}", case.name));
            }
        }
        outputs.insert(name, y.into_data());
    }
    Ok(outputs)
}

/// Rows of bytes of a stored picture `[height, width, 3]`.
fn picture(case: &Case) -> Result<(Vec<u8>, [usize; 2])> {
    let inputs = case.inputs();
    let (name, shape) = inputs.first().ok_or_else(|| format!("{}: no input", case.name))?;
    let data = case.input_data(name)?;
    Ok((data.iter::<i64>().map(|value| value as u8).collect(), [shape[0], shape[1]]))
}

pub(super) fn reduced(case: &Case) -> Result<Outputs> {
    let (bytes, [height, width]) = picture(case)?;
    let image = RgbImage::from_vec(width, height, bytes.clone()).map_err(|error| error.to_string())?;
    let floats: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte)).collect();
    let mut outputs = Outputs::new();
    for scale in 2..=4 {
        let (h, w) = (height / scale, width / scale);
        let small =
            ocelli_data::resize(&image, w, h, Interpolation::Bicubic).map_err(|error| error.to_string())?;
        let small: Vec<i64> = small.data().iter().map(|&byte| byte.into()).collect();
        outputs.insert(format!("lr_u8.x{scale}"), TensorData::new(small, [h, w, 3]));
        let rows = downsample_rows(&floats, [height, width, 3], scale);
        let planes: Vec<f32> =
            (0..3).flat_map(|channel| rows.iter().skip(channel).step_by(3).copied()).collect();
        outputs.insert(format!("lr_f32.x{scale}"), TensorData::new(planes, [1, 3, h, w]));
    }
    Ok(outputs)
}

pub(super) fn patches(case: &Case) -> Result<Outputs> {
    let (bytes, [height, width]) = picture(case)?;
    let mut outputs = Outputs::new();
    for bits in 0..8usize {
        let turn = Turn { horizontal: bits & 4 > 0, vertical: bits & 2 > 0, transpose: bits & 1 > 0 };
        let (h, w) = if turn.transpose { (width, height) } else { (height, width) };
        let mut values: Vec<i64> = Vec::with_capacity(bytes.len());
        for y in 0..h {
            for x in 0..w {
                let [from_y, from_x] = turn.source(y, x, [height, width]);
                let at = (from_y * width + from_x) * 3;
                values.extend(bytes[at..at + 3].iter().map(|&byte| i64::from(byte)));
            }
        }
        let name = format!(
            "h{}v{}r{}",
            u8::from(turn.horizontal),
            u8::from(turn.vertical),
            u8::from(turn.transpose)
        );
        outputs.insert(name, TensorData::new(values, [h, w, 3]));
    }
    // Both pictures count up; the crop is cut by the product's function where numbers stay below 256, and at the same places here.
    let (ix, iy): (usize, usize) = (case.config("ix")?, case.config("iy")?);
    let (patch, scale): (usize, usize) = (case.config("patch_size")?, case.config("scale")?);
    let ranges: Vec<[usize; 2]> = case.config("randrange_calls")?;
    let side = patch / scale;
    let small = [ranges[1][1] - 1 + side, ranges[0][1] - 1 + side];
    let mut cut = |name: &str, [height, width]: [usize; 2], [top, left]: [usize; 2], side: usize| {
        let mut planes = Vec::new();
        // Low and high bytes of the counters.
        let bytes =
            |shift: usize| -> Vec<u8> { (0..height * width * 3).map(|i| (i >> shift) as u8).collect() };
        crop_planes(&bytes(0), width, [top, left], side, Turn::default(), &mut planes);
        crop_planes(&bytes(8), width, [top, left], side, Turn::default(), &mut planes);
        let area = side * side;
        let value = |channel: usize, at: usize| {
            planes[channel * area + at] as i64 + 256 * planes[(3 + channel) * area + at] as i64
        };
        let values: Vec<i64> =
            (0..area).flat_map(|at| (0..3).map(move |c| (c, at))).map(|(c, at)| value(c, at)).collect();
        outputs.insert(name.into(), TensorData::new(values, [side, side, 3]));
    };
    cut("patch.lr", small, [iy, ix], side);
    cut("patch.hr", small.map(|extent| extent * scale), [iy * scale, ix * scale], patch);
    Ok(outputs)
}

pub(super) fn quantised(case: &Case) -> Result<Outputs> {
    let mut outputs = Outputs::new();
    for name in case.output_names() {
        let Some(input) = name.strip_suffix(".quantized") else { continue };
        let data = case.input_data(input)?;
        let values: Vec<f32> = data.iter::<f32>().map(metrics::quantise).collect();
        outputs.insert(name.clone(), TensorData::new(values, data.shape().to_vec()));
    }
    Ok(outputs)
}

/// Every ratio the case lists, under its name.
pub(super) fn psnr(case: &Case) -> Result<Vec<Comparison>> {
    let rows = |name: &str| -> Result<(Vec<f32>, [usize; 2])> {
        let data = case.input_data(name)?;
        let shape = data.shape().to_vec();
        let (planes, area) = (data.iter::<f32>().collect::<Vec<_>>(), shape[2] * shape[3]);
        let rows = (0..area).flat_map(|at| (0..3).map(move |c| (c, at))).map(|(c, at)| planes[c * area + at]);
        Ok((rows.collect(), [shape[2], shape[3]]))
    };
    let (raw, size) = rows("sr")?;
    let (high, _) = rows("hr")?;
    let rounded: Vec<f32> = raw.iter().copied().map(metrics::quantise).collect();
    let tolerance = case.json["tolerance"]["psnr_abs_db"].as_f64().unwrap_or(1e-3);
    let stated = case.json["psnr_db"].as_object().into_iter().flatten();
    let mut found = Vec::new();
    for (name, want) in stated {
        let want = want.as_f64().unwrap_or(f64::NAN);
        let scale = name.rsplit('x').next().and_then(|text| text.parse().ok()).unwrap_or(2);
        let ours = match name.split("_x").next().unwrap_or_default() {
            "rgb" => metrics::psnr_rgb(&rounded, &high, size, scale),
            "y" => metrics::psnr_y(&rounded, &high, size, scale),
            "rgb_unquantised" => metrics::psnr_rgb(&raw, &high, size, scale),
            "identical" => metrics::psnr_rgb(&high, &high, size, 2),
            // One channel, cut as a benchmark: here the mean over the first colour.
            "one_channel_benchmark" => {
                let first = |x: &[f32]| x.iter().step_by(3).flat_map(|&v| [v; 3]).collect::<Vec<f32>>();
                // A cut of `scale` pixels is the ratio for a network of a factor six smaller.
                metrics::psnr_cut(&first(&rounded), &first(&high), size, scale)
            }
            // Values from 0 to 1 are levels divided by 255.
            "rgb_range1" => {
                let unit = |x: &[f32]| x.iter().map(|v| v / 255.0).map(|v| v * 255.0).collect::<Vec<f32>>();
                metrics::psnr_rgb(&unit(&rounded), &unit(&high), size, scale)
            }
            // A reference of one number has no picture.
            "hr_single_element" => metrics::psnr_rgb(&[3.0], &[5.0], [1, 1], 2),
            _ => return Err(format!("{}: no ratio called {name}", case.name)),
        };
        found.push(figure(format!("psnr.{name}"), ours, want, tolerance));
    }
    Ok(found)
}

/// Reduces rows of interleaved pixels by `scale` with antialiasing: the bicubic filter of a = -0.5, stretched by the factor, cut off at the edges
/// and normalised; neither rounded nor clamped. `x` is `[height, width, channels]`, both extents multiples of `scale`.
fn downsample_rows(x: &[f32], [height, width, channels]: [usize; 3], scale: usize) -> Vec<f32> {
    let filter = |x: f64| {
        let x = x.abs();
        match x {
            _ if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            _ if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            _ => 0.0,
        }
    };
    let taps = |extent: usize| -> Vec<Vec<(usize, f64)>> {
        (0..extent / scale)
            .map(|at| {
                let (s, centre) = (scale as f64, (at as f64 + 0.5) * scale as f64);
                let first = (centre - 2.0 * s + 0.5).max(0.0) as usize;
                let end = ((centre + 2.0 * s + 0.5) as usize).min(extent);
                let own: Vec<(usize, f64)> =
                    (first..end).map(|i| (i, filter((i as f64 + 0.5 - centre) / s))).collect();
                let total: f64 = own.iter().map(|(_, weight)| weight).sum();
                own.into_iter().map(|(i, weight)| (i, weight / total)).collect()
            })
            .collect()
    };
    let (rows, columns) = (taps(height), taps(width));
    let mut across = vec![0.0f64; height * columns.len() * channels];
    for y in 0..height {
        for (column, taps) in columns.iter().enumerate() {
            for channel in 0..channels {
                across[(y * columns.len() + column) * channels + channel] = taps
                    .iter()
                    .map(|(i, weight)| weight * f64::from(x[(y * width + i) * channels + channel]))
                    .sum();
            }
        }
    }
    let wide = columns.len() * channels;
    rows.iter()
        .flat_map(|taps| {
            let across = &across;
            (0..wide).map(move |i| {
                taps.iter().map(|(y, weight)| weight * across[y * wide + i]).sum::<f64>() as f32
            })
        })
        .collect()
}
