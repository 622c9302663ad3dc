//! The gradient as one long vector: its norm, and clipping by it.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Euclidean norm over all gradients of `module`.
pub fn global_norm<M: Module>(module: &M, grads: &GradientsParams) -> f64 {
    struct Squares<'a>(&'a GradientsParams, f64);
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.0.get::<D>(param.id) {
                self.1 += f64::from(grad.clone().mul(grad).sum().into_scalar::<f32>());
            }
        }
    }
    let mut visitor = Squares(grads, 0.0);
    module.visit(&mut visitor);
    visitor.1.sqrt()
}

/// Scales all gradients down so that their global norm is at most `max` (`clip_grad_norm_`); returns the norm
/// before.
pub fn clip_norm<M: Module>(module: &M, grads: GradientsParams, max: f64) -> (GradientsParams, f64) {
    let norm = global_norm(module, &grads);
    if norm <= max || !norm.is_finite() {
        return (grads, norm);
    }
    struct Scale(GradientsParams, f64);
    impl ModuleVisitor for Scale {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.0.remove::<D>(param.id) {
                self.0.register(param.id, grad.mul_scalar(self.1));
            }
        }
    }
    let mut visitor = Scale(grads, max / (norm + 1e-6));
    module.visit(&mut visitor);
    (visitor.0, norm)
}
