//! What computes logits: burn on some device, or the engine on the CPU.

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_engine::{EngineError, Model, RunOptions};

use crate::network::Network;

/// A network ready to be asked.
#[derive(Debug)]
pub enum Runner {
    /// burn, outside of autodiff.
    Burn {
        /// The network, on `device`.
        network: Box<Network>,
        /// Where it lives.
        device: Device,
    },
    /// The engine. The input's height and width are those it was compiled for.
    Engine {
        /// The compiled network.
        model: Model,
        /// Its threads.
        options: RunOptions,
    },
}

impl Runner {
    /// burn on `device`.
    pub fn burn(network: Network, device: &Device) -> Self {
        Self::Burn { network: Box::new(network), device: device.clone() }
    }

    /// Pictures `[batch, channels, height, width]`, row-major → logits `[batch, classes]`, row-major.
    ///
    /// # Errors
    /// If the engine has no memory for so many pictures, or they are not of the size it was compiled for.
    pub fn logits(&self, pixels: Vec<f32>, shape: [usize; 4]) -> Result<Vec<f32>, EngineError> {
        match self {
            Self::Burn { network, device } => Ok(burn_logits(network, device, pixels, shape)),
            Self::Engine { model, options } => {
                // A classifier has one output (`deploy::load` checks the files).
                Ok(model.run(shape[0], *options, &[&pixels])?.swap_remove(0))
            }
        }
    }

    /// The network's weights and structure, where they are at hand (not in a compiled model).
    pub fn network(&self) -> Option<&Network> {
        match self {
            Self::Burn { network, .. } => Some(network),
            Self::Engine { .. } => None,
        }
    }
}

/// As [`Runner::logits`], by a network on `device` outside of autodiff.
pub fn burn_logits(network: &Network, device: &Device, pixels: Vec<f32>, shape: [usize; 4]) -> Vec<f32> {
    let x = Tensor::<4>::from_data(TensorData::new(pixels, shape), device);
    network.forward(x).into_data().try_into_vec().expect("logits are float32")
}
