//! A whole network: look at its activations, plan every adder layer, re-estimate the norms of the network of codes.
//!
//! The layers are known by their weights (`ocelli_nn::adder`): any network that has adder layers will do, without a change.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use ocelli_nn::adder::{Codes, LayerCodes, observe, with_codes};
use ocelli_nn::state_dict::Path;
use ocelli_nn::with_momentum;

use super::layer::{Plan, Settings, plan};
use super::range::{LEAST, reach};
use crate::error::CompressError;

/// An adder layer of a network.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name: that of its weights without `.adder`.
    pub name: String,
    /// What its weights are known by.
    pub id: ParamId,
    /// `[filters, channels, kernel height, kernel width]`
    pub shape: [usize; 4],
    /// The weights, row-major.
    pub weights: Vec<f32>,
}

/// An adder layer and what it becomes.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The layer.
    pub found: Found,
    /// What it becomes.
    pub plan: Plan,
}

/// All adder layers of `module`, in its order.
pub fn layers<M: Module>(module: &M) -> Vec<Found> {
    struct Visitor(Path, Vec<Found>);
    impl ModuleVisitor for Visitor {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let name = self.0.name();
            let shape = param.lazy_shape();
            let dims: Vec<usize> = shape.iter().copied().collect();
            let (Ok(shape), Some(layer)) = (<[usize; 4]>::try_from(dims), own_name(&name)) else { return };
            let weights = param.val().into_data().iter::<f32>().collect();
            self.1.push(Found { name: layer.to_string(), id: param.id, shape, weights });
        }
    }
    let mut visitor = Visitor(Path::default(), Vec::new());
    module.visit(&mut visitor);
    visitor.1
}

/// The layer whose weights are called `name`, if it is an adder layer.
fn own_name(name: &str) -> Option<&str> {
    if name == "adder" { Some("") } else { name.strip_suffix(".adder") }
}

/// How far the inputs of all adder layers reach when `forward` runs on `batches`: of every batch the range without outliers, the
/// farthest of them, and at least [`LEAST`].
pub fn calibrate<T>(
    batches: impl IntoIterator<Item = T>,
    alpha: Option<f64>,
    mut forward: impl FnMut(T),
) -> HashMap<ParamId, f32> {
    let found: Rc<RefCell<HashMap<ParamId, f32>>> = Rc::default();
    for batch in batches {
        let seen = found.clone();
        let look = move |id: ParamId, x: &Tensor<4>| {
            let values: Vec<f32> = x.clone().into_data().iter::<f32>().collect();
            let mut seen = seen.borrow_mut();
            let most = seen.entry(id).or_insert(LEAST);
            *most = most.max(reach(&values, alpha));
        };
        observe(Box::new(look), || forward(batch));
    }
    found.take()
}

/// Plans all adder layers of `module` whose inputs reach as `reaches` says, but those in `keep`.
///
/// # Errors
/// If there is no adder layer, one was not seen while calibrating, `keep` names none, or its numbers or the settings make no sense.
pub fn plan_all<M: Module>(
    module: &M,
    reaches: &HashMap<ParamId, f32>,
    settings: &Settings,
    keep: &BTreeSet<String>,
) -> Result<Vec<Layer>, CompressError> {
    let all = layers(module);
    if all.is_empty() {
        return Err(CompressError::Setting("the network has no adder layer".into()));
    }
    if let Some(name) = keep.iter().find(|name| all.iter().all(|found| found.name != **name)) {
        let names: Vec<&str> = all.iter().map(|found| found.name.as_str()).collect();
        let message = format!("'{name}' is no adder layer; these are {}", names.join(", "));
        return Err(CompressError::Setting(message));
    }
    let of = |found: Found| {
        let Some(&reach) = reaches.get(&found.id) else {
            let problem = "the layer was not reached by any picture".to_string();
            return Err(CompressError::Number { place: found.name, problem });
        };
        match plan(&found.weights, found.shape[0], reach, settings) {
            Ok(plan) => Ok(Layer { found, plan }),
            Err(CompressError::Number { problem, .. }) => {
                Err(CompressError::Number { place: found.name, problem })
            }
            Err(other) => Err(other),
        }
    };
    all.into_iter().filter(|found| !keep.contains(&found.name)).map(of).collect()
}

/// What the layers compute with, for [`with_codes`].
pub fn codes(layers: &[Layer], settings: &Settings) -> Arc<Codes> {
    let of = |layer: &Layer| {
        let Plan { scales, labels, codes, extra, .. } = layer.plan.clone();
        let shape = layer.found.shape;
        (layer.found.id, LayerCodes { coding: settings.coding(), scales, labels, codes, shape, extra })
    };
    Arc::new(layers.iter().map(of).collect())
}

/// Runs `forward` on `batches`, all norms averaging what the batches' statistics are: means, and unbiased variances. The module and
/// the batches must live on an autodiff device, where norms look at their batch. The statistics are changed in place, for all
/// clones of the module.
pub fn reestimate<T>(batches: impl IntoIterator<Item = T>, mut forward: impl FnMut(T)) {
    for (i, batch) in batches.into_iter().enumerate() {
        with_momentum(1.0 / (i + 1) as f64, || forward(batch));
    }
}

/// As [`reestimate`], the adder layers computing with `codes`.
pub fn reestimate_with<T>(codes: &Arc<Codes>, batches: impl IntoIterator<Item = T>, forward: impl FnMut(T)) {
    with_codes(codes, || reestimate(batches, forward));
}
