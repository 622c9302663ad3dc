//! Initial weights, as a function of a seed and the tensors' names.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use ocelli_nn::random;
use ocelli_nn::state_dict::{Path, fnv1a, is_buffer};

/// Draws the weights of `module`: kernels and biases uniform in `±1 / sqrt(fan_in)`; the attention's two layers normal with variance
/// `2 / fan_out`, its bias 0. Norms, running statistics and assignments stay as they were built.
pub fn initialize<M: Module>(module: M, seed: u64) -> M {
    module.map(&mut Draw { seed, path: Path::default(), fan_in: 1 })
}

struct Draw {
    seed: u64,
    path: Path,
    /// Fan-in of the weight seen last: biases follow their weights.
    fan_in: usize,
}

impl ModuleMapper for Draw {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        let dims: Vec<usize> = param.lazy_shape().iter().copied().collect();
        let norm = self.path.owner() == "BatchNorm";
        if norm || is_buffer(&name) || name.ends_with("sgt_trans_mat") || name.ends_with("adjacency") {
            return param;
        }
        let count: usize = dims.iter().product();
        let attention = name.contains("atten_conv");
        random::seed_thread(self.seed, fnv1a(&name));
        let values: Vec<f32> = if dims.len() < 2 && attention {
            vec![0.0; count]
        } else if attention {
            // fan_out of a 1 x 1 convolution is its channels_out.
            let deviation = (2.0 / dims[0] as f64).sqrt();
            let draws = random::uniform(2 * count);
            let normal =
                |pair: &[f64]| (-2.0 * (1.0 - pair[0]).ln()).sqrt() * (std::f64::consts::TAU * pair[1]).cos();
            draws.chunks(2).map(|pair| (deviation * normal(pair)) as f32).collect()
        } else {
            if dims.len() >= 2 {
                self.fan_in = dims[1..].iter().product();
            }
            let bound = 1.0 / (self.fan_in as f64).sqrt();
            random::uniform(count).into_iter().map(|u| ((2.0 * u - 1.0) * bound) as f32).collect()
        };
        let (device, id) = (param.lazy_device(), param.id);
        param.transform_for_load(Tensor::from_data(TensorData::new(values, dims), &device), id)
    }
}
