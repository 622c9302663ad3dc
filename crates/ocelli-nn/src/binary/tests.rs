//! Binary layers against their definitions.

use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::{Conv2dConfig, InitScheme, initialize};

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec().expect("float32")
}

fn row(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::from(values), device)
}

const POINTS: [f32; 11] = [-1.5, -1.0, -0.75, -0.25, -0.0, 0.0, 0.25, 0.75, 1.0, 1.5, f32::MIN_POSITIVE];

#[test]
fn both_zeros_are_positive() {
    let found = values(sign(row(&POINTS, &Device::flex()), Estimator::Approx));
    assert_eq!(found, [-1.0, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
}

#[test]
fn estimators_are_the_derivatives_of_their_surrogates() {
    for (estimator, slopes) in [
        (Estimator::Identity, [1.0; 11]),
        (Estimator::HardTanh, [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0]),
        (Estimator::Approx, [0.0, 0.0, 0.5, 1.5, 2.0, 2.0, 1.5, 0.5, 0.0, 0.0, 2.0]),
    ] {
        for device in [Device::flex().autodiff(), Device::flex().autodiff().gradient_checkpointing()] {
            let x = row(&POINTS, &device).require_grad();
            let grads = sign(x.clone(), estimator).mul_scalar(3.0).sum().backward();
            let found = values(x.grad(&grads).expect("a gradient"));
            let wanted: Vec<f32> = slopes.iter().map(|slope| 3.0 * slope).collect();
            assert_eq!(found, wanted, "{estimator:?}");
            assert_eq!(POINTS.map(|x| estimator.slope(x)), slopes, "{estimator:?}");
        }
    }
}

#[test]
fn scales_do_not_enter_the_gradient_of_weights() {
    let device = Device::flex().autodiff();
    let weight = Tensor::<2>::from_data([[0.5f32, -1.5], [-0.25, 0.75]], &device).require_grad();
    let filters = binarize(weight.clone(), true);
    assert_eq!(values(filters.clone()), [1.0, -1.0, -0.5, 0.5]);
    let upstream = Tensor::<2>::from_data([[1.0f32, 2.0], [3.0, 4.0]], &device);
    let grads = filters.mul(upstream).sum().backward();
    assert_eq!(values(weight.grad(&grads).expect("a gradient")), [1.0, 0.0, 3.0, 4.0]);
    assert_eq!(values(binarize(weight.without_autodiff(), false)), [1.0, -1.0, -1.0, 1.0]);
}

#[test]
fn links_squeeze_contiguous_blocks_and_expand_by_repetition() {
    let x = Tensor::<4>::from_data(TensorData::new(vec![1f32, 2.0, 3.0, 4.0], [1, 4, 1, 1]), &Device::flex());
    assert_eq!(values(link(x.clone(), 2, 1)), [2.0, 3.0]);
    assert_eq!(values(link(x.clone(), 8, 1)), [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
    assert_eq!(values(link(x, 4, 1)), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn pools_of_odd_maps_average_what_there_is() {
    let map: Vec<f32> = (0..15).map(|i| i as f32).collect();
    let x = Tensor::<4>::from_data(TensorData::new(map, [1, 1, 3, 5]), &Device::flex());
    let y = half_pool(x);
    assert_eq!(y.dims(), [1, 1, 2, 3]);
    assert_eq!(values(y), [3.0, 5.0, 6.5, 10.5, 12.5, 14.0]);
}

#[test]
fn layers_that_cannot_be_are_refused() {
    let el = |plain| BinaryConv2dConfig::new(plain).elastic_link(true).check();
    let problem = el(Conv2dConfig::new(6, 4, 1)).expect_err("6 and 4 do not divide");
    assert!(problem.contains("6 to 4 channels"), "{problem}");
    assert!(el(Conv2dConfig::new(6, 6, 3).padding(0)).is_err());
    assert!(el(Conv2dConfig::new(6, 6, 3).stride(3)).is_err());
    assert!(el(Conv2dConfig::new(6, 12, 3).stride(2)).is_ok());
    assert!(BinaryConv2dConfig::new(Conv2dConfig::new(6, 4, 1).bias(true)).check().is_err());
    assert!(BinaryConv2dConfig::new(Conv2dConfig::new(6, 4, 1).groups(3)).check().is_err());
    let mapped = BinaryConv2dConfig::new(Conv2dConfig::new(6, 4, 1)).mapping(Some(false));
    assert!(mapped.check().is_err(), "scaled filters from a mapping network");
    assert!(mapped.scaled(false).check().is_ok());
}

#[test]
fn a_mapping_network_with_a_skip_begins_at_the_weights_signs() {
    let plain = Conv2dConfig::new(4, 6, 3);
    let layer = BinaryConv2dConfig::new(plain).scaled(false).mapping(Some(true)).init(&Device::flex());
    let layer = initialize(layer, InitScheme::KAIMING, 3);
    assert_eq!(values(layer.filters()), values(layer.latent_signs()));
    assert!(values(layer.filters()).contains(&-1.0));
    assert!(values(layer.filters()).contains(&1.0));
}

#[test]
fn weights_begin_in_their_range() {
    let device = Device::flex();
    let config = BinaryConv2dConfig::new(Conv2dConfig::new(8, 8, 3)).range(0.0, 1e-3);
    let weights = values(initialize(config.init_flat(&device), InitScheme::KAIMING, 1).weights.val());
    assert!(weights.iter().all(|w| (0.0..1e-3).contains(w)));
    assert!(weights.iter().any(|w| *w > 5e-4));
    let weights =
        values(initialize(config.range(-1e-3, 1e-3).init(&device), InitScheme::KAIMING, 1).weight.val());
    assert!(weights.iter().any(|w| *w < -5e-4) && weights.iter().any(|w| *w > 5e-4));
}

/// Expectation over the noise of the label is the distance from the truth, whatever the rates.
#[test]
fn noise_is_corrected_in_expectation() {
    let device = Device::flex();
    for (plus, minus) in [(0.0, 0.0), (0.1, 0.1), (0.05, 0.2), (0.3, 0.0)] {
        let rates = NoiseRates::new(plus, minus).expect("rates within bounds");
        let q = [-1.3f32, -1.0, 0.2, 1.0];
        let loss = |label: f32| values(noisy_loss(row(&q, &device), row(&[label; 4], &device), rates));
        for (truth, flip) in [(1.0f32, plus as f32), (-1.0, minus as f32)] {
            for ((q, right), wrong) in q.iter().zip(loss(truth)).zip(loss(-truth)) {
                let mean = (1.0 - flip) * right + flip * wrong;
                assert!((mean - (q - truth).powi(2)).abs() < 1e-5, "{plus} {minus}: {mean} for {q}");
            }
        }
    }
    for (plus, minus) in [(0.5, 0.4), (-0.1, 0.0), (0.0, f64::NAN)] {
        let error = NoiseRates::new(plus, minus).expect_err("too noisy").to_string();
        assert!(error.contains("0.9"), "{error}");
    }
    assert!(serde_json::from_str::<NoiseRates>("[0.8, 0.8]").is_err());
    assert_eq!(serde_json::to_string(&NoiseRates::default()).expect("numbers"), "[0.1,0.1]");
}

#[test]
fn the_loss_has_its_closed_gradient() {
    let device = Device::flex().autodiff();
    let rates = NoiseRates::new(0.05, 0.2).expect("rates within bounds");
    let (q, labels) = ([-1.0f32, 1.0, 0.3, -0.6], [-1.0f32, -1.0, 1.0, 1.0]);
    let x = row(&q, &device).require_grad();
    let grads = Reduction::Sum.of(noisy_loss(x.clone(), row(&labels, &device), rates)).backward();
    for ((found, q), t) in values(x.grad(&grads).expect("a gradient")).into_iter().zip(q).zip(labels) {
        let own = if t > 0.0 { 0.05 } else { 0.2 };
        let wanted = 2.0 * (q - t) - 4.0 * own * t / 0.75;
        assert!((found - wanted).abs() < 1e-5, "{found}, expected {wanted}");
    }
}
