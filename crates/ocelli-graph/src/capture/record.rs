//! Recording a module's forward pass.

use std::cell::LazyCell;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_capture::{CaptureBackend, TensorId};
use burn_ir::OperationIr;
use ocelli_nn::state_dict::{Path, is_buffer};

use super::{CaptureError, id};

thread_local! {
    // One per thread: their number is limited, and a device serves one recording at a time.
    static CAPTURE: LazyCell<Device> = LazyCell::new(Device::capture);
}

/// This thread's capture device.
pub(super) fn device() -> Device {
    CAPTURE.with(|device| (**device).clone())
}

/// What happened during one forward pass.
pub(super) struct Recording {
    pub operations: Vec<OperationIr>,
    /// The elements of tensors made from data, running statistics among them.
    pub values: BTreeMap<TensorId, TensorData>,
    /// Names (of the module) of the parameters' stand-ins.
    pub parameters: HashMap<TensorId, String>,
    pub input: TensorId,
    pub outputs: Vec<TensorId>,
}

/// Records `forward`, which returns the input, the outputs and something that keeps the outputs alive.
pub(super) fn record<M: Module, K>(
    module: &M,
    device: &Device,
    forward: impl FnOnce(&M) -> (TensorId, Vec<TensorId>, K),
) -> Result<Recording, CaptureError> {
    let mut parameters = HashMap::new();
    let mut boundary = None;
    // burn reports shapes that do not fit by panicking; the scope is made for being unwound.
    let captured = catch_unwind(AssertUnwindSafe(|| {
        device.capture_scope(|scope| {
            let mut shadow =
                Shadow { device: device.clone(), path: Path::default(), parameters: HashMap::new() };
            let shadowed = module.clone().map(&mut shadow);
            parameters = shadow.parameters;
            let (input, outputs, _alive) = forward(&shadowed);
            let mut distinct = outputs.clone();
            distinct.sort();
            distinct.dedup();
            boundary = Some((input, outputs));
            scope.complete([], distinct)
        })
    }));
    let captured = match captured {
        Ok(captured) => captured.map_err(|e| CaptureError::Recording(e.to_string()))?,
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
            return Err(CaptureError::Forward(message.unwrap_or_else(|| "for an unknown reason".into())));
        }
    };
    let (input, outputs) = boundary.ok_or_else(|| CaptureError::Recording("nothing was recorded".into()))?;
    Ok(Recording {
        operations: captured.graph.operations,
        values: captured.values,
        parameters,
        input,
        outputs,
    })
}

/// Puts recorded zeros in the place of every parameter and remembers which is which.
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
        let own = primitive.expect("the tensor lives on the capture device").id();
        self.parameters.insert(own, self.path.name());
        Param::initialized(param.id, zeros)
    }
}
