//! The gradient as one long vector: its norm, clipping by it, and its parts by learning rate.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use ocelli_nn::state_dict::Path;

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

/// The gradients of `module` by the factor that `rate` gives their parameters' names, in the order in which the factors
/// first occur.
pub fn by_rate<M: Module>(
    module: &M,
    grads: GradientsParams,
    rate: impl Fn(&str) -> f64,
) -> Vec<(f64, GradientsParams)> {
    struct Split<F> {
        path: Path,
        rate: F,
        grads: GradientsParams,
        groups: Vec<(f64, GradientsParams)>,
    }
    impl<F: Fn(&str) -> f64> ModuleVisitor for Split<F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Some(grad) = self.grads.remove::<D>(param.id) else { return };
            let rate = (self.rate)(&self.path.name());
            let place = self.groups.iter().position(|(known, _)| *known == rate).unwrap_or_else(|| {
                self.groups.push((rate, GradientsParams::new()));
                self.groups.len() - 1
            });
            self.groups[place].1.register(param.id, grad);
        }
    }
    let mut visitor = Split { path: Path::default(), rate, grads, groups: Vec::new() };
    module.visit(&mut visitor);
    visitor.groups
}
