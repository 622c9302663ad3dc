//! How networks start.

use burn::tensor::TensorData;
use ocelli_nn::InitScheme;
use ocelli_nn::init::Draw;
use ocelli_nn::random::{keyed, unit};
use ocelli_nn::state_dict::{fnv1a, is_frozen, load_state_dict, state_dict};

use super::config::{Backbone, Config, Residual};
use super::net::Net;

/// Draws the parameters of a network of `config` as a function of `seed`: PyTorch's default, for ESPCN orthogonal weights with gain √2
/// (1 in the last layer). With a bicubic residual the last convolution starts at zero.
pub fn initialize(net: Net, config: &Config, seed: u64) -> Net {
    let scheme = InitScheme {
        conv: Draw::PyTorchDefault,
        conv_bias: Draw::PyTorchDefault,
        linear: Draw::PyTorchDefault,
        linear_bias: Draw::PyTorchDefault,
        positions: Draw::Zeros,
    };
    // The mean colours are constants.
    let constants: Vec<_> = state_dict(&net).into_iter().filter(|(name, _)| is_frozen(name)).collect();
    let net = ocelli_nn::initialize(net, scheme, seed);
    let mut tensors = state_dict(&net);
    for (name, data) in &mut tensors {
        let (layer, leaf) = name.rsplit_once('.').unwrap_or(("", name));
        let shape = data.shape().to_vec();
        let values = if config.residual == Residual::Bicubic && layer == last_layer(config) {
            vec![0.0; shape.iter().product()]
        } else if config.backbone == Backbone::Espcn && leaf == "weight" && layer.starts_with("conv") {
            let gain = if layer == "conv4" { 1.0 } else { std::f64::consts::SQRT_2 };
            orthogonal(shape[0], shape[1..].iter().product(), gain, seed, fnv1a(name))
        } else {
            continue;
        };
        *data = TensorData::new(values, shape);
    }
    tensors.extend(constants);
    load_state_dict(net, tensors).0
}

/// The name of the layer that gives pixels.
fn last_layer(config: &Config) -> &'static str {
    match config.backbone {
        Backbone::Espcn => "conv4",
        Backbone::Srcnn => "conv3",
        Backbone::Vdsr => "tail.0",
        Backbone::Edsr | Backbone::Rcan => "tail.1",
    }
}

/// `[rows, columns]` with orthonormal rows (or columns, if there are fewer of those) times `gain`.
fn orthogonal(rows: usize, columns: usize, gain: f64, seed: u64, key: u64) -> Vec<f32> {
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut rng = keyed(seed, key);
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    while vectors.len() < count {
        let mut own: Vec<f64> = (0..length)
            .map(|_| {
                let radius = (-2.0 * (1.0 - unit(&mut rng)).ln()).sqrt();
                radius * (std::f64::consts::TAU * unit(&mut rng)).cos()
            })
            .collect();
        // Twice, for the rounding of the first time.
        for _ in 0..2 {
            for other in &vectors {
                let along: f64 = own.iter().zip(other).map(|(a, b)| a * b).sum();
                own.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
        }
        let norm = own.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm > 1e-6 {
            vectors.push(own.into_iter().map(|v| v / norm).collect());
        }
    }
    (0..rows * columns)
        .map(|at| {
            let (row, column) = (at / columns, at % columns);
            let value = if rows <= columns { vectors[row][column] } else { vectors[column][row] };
            (value * gain) as f32
        })
        .collect()
}
