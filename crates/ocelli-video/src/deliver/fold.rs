//! Modulations as they are sent, and numbers as they are stored: gamma multiplied in, binary16, 8 bits per output channel.

use burn::tensor::Tensor;
use half::f16;

use super::cafm::Site;
use super::net::{Net, edsr, rcan};

/// Codes of 8 bits and a scale per row: `scale = max|w| / 127` (1 for a row of zeros), `code = clamp(round half to even(w / scale), -127, 127)`.
pub fn quantise_rows(weights: &[f32], rows: usize) -> (Vec<i8>, Vec<f32>) {
    let columns = weights.len() / rows.max(1);
    let mut codes = Vec::with_capacity(weights.len());
    let mut scales = Vec::with_capacity(rows);
    for row in weights.chunks_exact(columns.max(1)) {
        let largest = row.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        codes.extend(row.iter().map(|w| (w / scale).round_ties_even().clamp(-127.0, 127.0) as i8));
        scales.push(scale);
    }
    (codes, scales)
}

/// What the codes stand for.
pub fn dequantise_rows(codes: &[i8], scales: &[f32]) -> Vec<f32> {
    let columns = codes.len() / scales.len().max(1);
    codes
        .chunks_exact(columns.max(1))
        .zip(scales)
        .flat_map(|(row, scale)| row.iter().map(move |code| f32::from(*code) * scale))
        .collect()
}

/// Rounded to the nearest binary16, halves to even.
pub fn to_half(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

/// The modulations of `chunk` at every place, in the order of the network: the place's name, what is multiplied beyond the identity
/// `[channels · inputs]`, what is added `[channels]`.
pub fn folded_sites(net: &Net, chunk: usize) -> Vec<(String, Vec<f32>, Vec<f32>)> {
    let values = |tensor: Tensor<1>| tensor.into_data().iter::<f32>().collect::<Vec<f32>>();
    sites(net)
        .into_iter()
        .filter_map(|(name, site)| {
            let (scale, shift) = site.get(chunk)?.folded();
            Some((name, values(scale), values(shift)))
        })
        .collect()
}

/// All places of modulation of a network with their names, in the order of the network.
pub fn sites(net: &Net) -> Vec<(String, &Site)> {
    let mut found: Vec<(String, &Site)> = Vec::new();
    match net {
        Net::Espcn(net) => {
            found.extend([
                ("cafms1".into(), &net.cafms1),
                ("cafms2".into(), &net.cafms2),
                ("cafms3".into(), &net.cafms3),
            ]);
        }
        Net::Srcnn(net) => found.extend([("cafms1".into(), &net.cafms1), ("cafms2".into(), &net.cafms2)]),
        Net::Vdsr(net) => {
            found.extend(
                net.body.iter().enumerate().map(|(at, link)| (format!("body.{at}.cafms"), &link.cafms)),
            );
        }
        Net::Edsr(net) => {
            for (at, part) in net.body.iter().enumerate() {
                if let edsr::Part::Block(block) = part {
                    found.push((format!("body.{at}.cafms1"), &block.cafms1));
                    found.push((format!("body.{at}.cafms2"), &block.cafms2));
                }
            }
        }
        Net::Rcan(net) => {
            for (group, part) in net.body.iter().enumerate() {
                let rcan::Part::Group(own) = part else { continue };
                for (at, part) in own.body.iter().enumerate() {
                    let rcan::GroupPart::Block(block) = part else { continue };
                    let name = format!("body.{group}.body.{at}.modules_body");
                    found.push((format!("{name}.cafms1"), &block.modules_body.cafms1));
                    found.push((format!("{name}.cafms2"), &block.modules_body.cafms2));
                }
            }
        }
    }
    found
}
