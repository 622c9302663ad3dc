//! Recording a module's forward pass on burn's capture device: what costs and graphs are read off.

use std::cell::LazyCell;
use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Int, Tensor};
use burn_capture::{CaptureBackend, TensorId};

use crate::state_dict::{Path, is_buffer};

thread_local! {
    // One per thread: their number is limited, and a device serves one recording at a time.
    static CAPTURE: LazyCell<Device> = LazyCell::new(Device::capture);
}

/// This thread's capture device.
pub fn device() -> Device {
    CAPTURE.with(|device| (**device).clone())
}

/// Whether `tensor` lives on a capture device: nothing is computed there, so no value can decide what runs next.
pub fn is_recorded<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.clone().try_into_primitive::<CaptureBackend>().is_ok()
}

/// The identity of a tensor.
///
/// # Panics
/// If the tensor does not live on a capture device: a mistake in the code that records.
pub fn id<const D: usize>(tensor: &Tensor<D>) -> TensorId {
    let primitive = tensor.clone().try_into_primitive::<CaptureBackend>();
    primitive.expect("the tensor lives on the capture device").id()
}

/// A copy of `module` with recorded zeros in the place of every parameter, and the parameters' names by the zeros'
/// identities. Nothing is filled or copied.
pub fn shadowed<M: Module>(module: &M, device: &Device) -> (M, HashMap<TensorId, String>) {
    let mut shadow = Shadow { device: device.clone(), path: Path::default(), parameters: HashMap::new() };
    let module = module.clone().map(&mut shadow);
    (module, shadow.parameters)
}

struct Shadow {
    device: Device,
    path: Path,
    parameters: HashMap<TensorId, String>,
}

impl ModuleMapper for Shadow {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        // Clones share their running statistics: what is put here would reach the original.
        if is_buffer(&name) {
            return param;
        }
        let zeros = Tensor::zeros(param.lazy_shape(), &self.device);
        self.parameters.insert(id(&zeros), name);
        Param::initialized(param.id, zeros)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        let zeros = Tensor::<D, Int>::zeros(param.lazy_shape(), &self.device);
        let primitive = zeros.clone().try_into_primitive::<CaptureBackend>();
        let own = primitive.expect("made on the capture device").id();
        self.parameters.insert(own, self.path.name());
        Param::initialized(param.id, zeros)
    }
}
