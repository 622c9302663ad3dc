//! What a network's convolutions and fully connected layers take to store, as papers on small filters count it.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::state_dict::Path;

/// Storage of weights, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Storage {
    /// Weights of convolutions and linear layers as float32; norms and biases are not counted.
    pub weights: u64,
    /// Binary masks at one bit per entry, each layer's rounded up to whole bytes.
    pub masks: u64,
}

impl Storage {
    /// Everything, in bytes.
    pub fn bytes(&self) -> u64 {
        self.weights + self.masks
    }

    /// Everything, in MiB: the unit of the papers' "MB".
    pub fn mebibytes(&self) -> f64 {
        self.bytes() as f64 / (1 << 20) as f64
    }
}

/// Storage of `module`'s weights. No lazy parameter is filled.
///
/// ```
/// use burn::tensor::Device;
/// use ocelli_nn::storage::storage;
/// use ocelli_nn::{Conv2dConfig, VersatileConv2dConfig};
///
/// let plain = Conv2dConfig::new(64, 64, 3);
/// let versatile = VersatileConv2dConfig::new(plain.clone()).init(&Device::flex());
/// assert_eq!(storage(&plain.init(&Device::flex())).bytes(), 2 * storage(&versatile).bytes());
/// ```
pub fn storage<M: Module>(module: &M) -> Storage {
    struct Count(Path, Storage);
    impl ModuleVisitor for Count {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let elements = param.lazy_shape().iter().product::<usize>() as u64;
            match (self.0.owner(), self.0.leaf()) {
                ("MaskConv2d", "mask") => self.1.masks += elements.div_ceil(8),
                (_, "weight" | "basis_list") if D > 1 => self.1.weights += 4 * elements,
                _ => {}
            }
        }
    }
    let mut visitor = Count(Path::default(), Storage::default());
    module.visit(&mut visitor);
    visitor.1
}
