//! What computes logits: burn on some device, or the engine on the CPU.

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_engine::{Model, RunOptions};

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
    /// # Panics
    /// If the pictures do not have the size the network was made for: callers prepare them for it.
    pub fn logits(&self, pixels: Vec<f32>, shape: [usize; 4]) -> Vec<f32> {
        match self {
            Self::Burn { network, device } => burn_logits(network, device, pixels, shape),
            Self::Engine { model, options } => {
                let outputs = model.run(shape[0], *options, &[&pixels]).expect("a prepared batch fits");
                outputs.into_iter().next().expect("a classifier has one output")
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
