//! The weights of single layers of a network, by name.

use std::collections::{BTreeMap, HashMap};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::state_dict::Path as Place;

use crate::network::Network;

/// A parameter `[list.len()]` on `device`.
pub(super) fn parameter(list: &[f32], device: &Device) -> Param<Tensor<1>> {
    let data = TensorData::new(list.to_vec(), [list.len()]);
    Param::from_tensor(Tensor::from_data(data, device))
}

/// The numbers of a parameter.
pub(super) fn numbers(param: &Param<Tensor<1>>) -> Vec<f32> {
    param.val().into_data().iter::<f32>().collect()
}

/// Keeps learned units above `least`: they are positive.
pub(super) fn keep_positive<'a>(units: impl Iterator<Item = &'a mut Param<Tensor<1>>>, least: f32) {
    for unit in units {
        *unit = unit.clone().map(|unit| unit.clamp_min(least).detach().require_grad());
    }
}

/// The weights of `layers`, in order.
pub(super) fn weights(network: &Network, layers: &[String]) -> Vec<(String, Vec<f32>)> {
    struct Collect<'a>(Place, &'a [String], Vec<(String, Vec<f32>)>);
    impl ModuleVisitor for Collect<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let name = self.0.name();
            if name.strip_suffix(".weight").is_some_and(|layer| self.1.iter().any(|own| own == layer)) {
                self.2.push((name, param.val().into_data().iter::<f32>().collect()));
            }
        }
    }
    let mut visitor = Collect(Place::default(), layers, Vec::new());
    network.visit(&mut visitor);
    visitor.2
}

/// The network with the weights at zero whose mask says so.
pub(super) fn masked(network: Network, masks: &HashMap<String, Vec<bool>>) -> Network {
    struct Apply<'a>(Place, &'a HashMap<String, Vec<bool>>);
    impl ModuleMapper for Apply<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.exit();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(stays) = self.1.get(&self.0.name()) else { return param };
            param.map(|weights| {
                let device = weights.device();
                let (shape, data) = (weights.dims(), weights.into_data());
                let kept = data.iter::<f32>().zip(stays).map(|(w, stays)| if *stays { w } else { 0.0 });
                let kept = TensorData::new(kept.collect::<Vec<f32>>(), shape);
                Tensor::from_data(kept, &device).require_grad()
            })
        }
    }
    network.map(&mut Apply(Place::default(), masks))
}

/// The identity of every parameter, by name.
pub(super) fn weight_ids(network: &Network) -> HashMap<String, ParamId> {
    struct Ids(Place, HashMap<String, ParamId>);
    impl ModuleVisitor for Ids {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.insert(self.0.name(), param.id);
        }
    }
    let mut visitor = Ids(Place::default(), HashMap::new());
    network.visit(&mut visitor);
    visitor.1
}

/// The names of `layers` that `network` has a weight for, with the largest magnitude of every output channel.
pub fn trainable(network: &Network, layers: &[String]) -> BTreeMap<String, Vec<f32>> {
    let specs: HashMap<String, usize> = ocelli_nn::state_dict::specs(network)
        .into_iter()
        .filter_map(|spec| Some((spec.name, *spec.shape.first()?)))
        .collect();
    let of = |(name, list): (String, Vec<f32>)| {
        let row = (list.len() / specs.get(&name).copied().unwrap_or(1).max(1)).max(1);
        let largest = list.chunks_exact(row).map(|own| own.iter().fold(0.0f32, |most, w| most.max(w.abs())));
        (name.trim_end_matches(".weight").to_string(), largest.collect())
    };
    weights(network, layers).into_iter().map(of).collect()
}
