//! Recording a module's forward pass.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::Module;
use burn::tensor::{Device, TensorData};
use burn_capture::TensorId;
use burn_ir::OperationIr;
use ocelli_nn::recording;

use super::CaptureError;

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
            let (shadowed, names) = recording::shadowed(module, device);
            parameters = names;
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
