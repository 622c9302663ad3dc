//! SGD and AdamW against PyTorch 2.15: three steps on `mean((x wᵀ + b)²)`, `x` growing with the step, decay 0.1
//! on `w` and none on `b`.

use burn::module::{Module, Param};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use ocelli_nn::state_dict::state_dict;
use ocelli_train::{AdamW, OptimizerConfig, OptimizerKind, Sgd, by_rate, clip_norm, global_norm};

#[derive(Module, Debug)]
struct Affine {
    w: Param<Tensor<2>>,
    b: Param<Tensor<1>>,
}

impl Affine {
    fn new(device: &Device) -> Self {
        Self {
            w: Param::from_tensor(Tensor::from_floats([[0.5, -1.0, 2.0], [0.1, 0.2, -0.3]], device)),
            b: Param::from_tensor(Tensor::from_floats([0.3, -0.4], device)),
        }
    }

    fn gradients(&self, step: usize) -> GradientsParams {
        let x = Tensor::<2>::from_floats([[1.0, 2.0, -1.0], [0.5, -0.5, 1.5]], &self.w.device());
        let x = x.mul_scalar((step + 1) as f32);
        let y = x.matmul(self.w.val().transpose()).add(self.b.val().unsqueeze());
        GradientsParams::from_grads(y.clone().mul(y).mean().backward(), self)
    }
}

fn three_steps(mut optimizer: ModuleOptimizer) -> (Vec<f32>, Vec<f32>) {
    let mut model = Affine::new(&Device::flex().autodiff());
    for step in 0..3 {
        let grads = model.gradients(step);
        model = optimizer.step(0.01, model, grads);
    }
    let mut state = state_dict(&model);
    let mut take = |name| state.remove(name).unwrap().as_slice::<f32>().unwrap().to_vec();
    (take("w"), take("b"))
}

fn close(found: (Vec<f32>, Vec<f32>), w: [f32; 6], b: [f32; 2]) {
    for (found, want) in found.0.iter().chain(&found.1).zip(w.iter().chain(&b)) {
        assert!((found - want).abs() < 1e-6, "{found} instead of {want}");
    }
}

fn settings(kind: OptimizerKind, nesterov: bool) -> OptimizerConfig {
    OptimizerConfig { kind, nesterov, weight_decay: 0.1, betas: [0.9, 0.99], ..Default::default() }
}

#[test]
fn sgd_with_nesterov_momentum() {
    let optimizer = Sgd::new(settings(OptimizerKind::Sgd, true));
    close(
        three_steps(optimizer.into()),
        [0.6298528, 0.0622559, 0.8014193, 0.0710491, 0.0044326, -0.0858879],
        [0.2417342, -0.3873985],
    );
}

#[test]
fn sgd_with_plain_momentum() {
    let optimizer = Sgd::new(settings(OptimizerKind::Sgd, false));
    close(
        three_steps(optimizer.into()),
        [0.6047734, -0.2554076, 1.1827667, 0.0793351, 0.0652297, -0.1536267],
        [0.2662031, -0.39115],
    );
}

#[test]
fn adamw() {
    let optimizer = AdamW::new(settings(OptimizerKind::AdamW, false));
    close(
        three_steps(optimizer.into()),
        [0.5256467, -0.9696066, 1.9665478, 0.0948188, 0.172273, -0.2714483],
        [0.2700901, -0.3756744],
    );
}

#[test]
fn clipping_scales_the_whole_gradient_to_the_norm() {
    let model = Affine::new(&Device::flex().autodiff());
    let norm = global_norm(&model, &model.gradients(0));
    let (clipped, before) = clip_norm(&model, model.gradients(0), norm / 4.0);
    assert!((before - norm).abs() < 1e-9);
    assert!((global_norm(&model, &clipped) - norm / 4.0).abs() < 1e-5 * norm);
    let (same, _) = clip_norm(&model, model.gradients(0), 2.0 * norm);
    assert!((global_norm(&model, &same) - norm).abs() < 1e-9, "small gradients are left alone");
}

#[test]
fn gradients_are_parted_by_rate() {
    let device = Device::default().autodiff();
    let affine = Affine::new(&device);
    let groups = by_rate(&affine, affine.gradients(0), |name| if name == "b" { 0.1 } else { 1.0 });
    let rates: Vec<f64> = groups.iter().map(|(rate, _)| *rate).collect();
    assert_eq!(rates, [1.0, 0.1]);
    assert!(groups[0].1.get::<2>(affine.w.id).is_some() && groups[0].1.get::<1>(affine.b.id).is_none());
    assert!(groups[1].1.get::<1>(affine.b.id).is_some() && groups[1].1.len() == 1);
}
