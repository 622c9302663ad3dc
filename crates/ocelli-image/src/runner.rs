//! What computes logits: burn on some device, or the engine on the CPU.

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_engine::{EngineError, Model, RunOptions};

use crate::backbone::drnet::{Decision, Routed};
use crate::network::Network;
use crate::routed::RoutedEngine;

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
    /// The engine, for a network that chooses the resolution per picture.
    Routed(Box<RoutedEngine>),
}

/// What came out for a batch.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// `[batch, classes]`, row-major.
    pub logits: Vec<f32>,
    /// The resolution chosen for each picture; empty for networks that do not choose, and for compiled files, which
    /// compute every candidate and do not tell which one they took.
    pub decisions: Vec<Decision>,
}

impl From<Vec<f32>> for Answers {
    fn from(logits: Vec<f32>) -> Self {
        Self { logits, decisions: Vec::new() }
    }
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
        Ok(self.answers(pixels, shape)?.logits)
    }

    /// As [`logits`](Self::logits), with the resolutions chosen.
    ///
    /// # Errors
    /// As [`logits`](Self::logits).
    pub fn answers(&self, pixels: Vec<f32>, shape: [usize; 4]) -> Result<Answers, EngineError> {
        match self {
            Self::Burn { network, device } => Ok(burn_answers(network, device, pixels, shape)),
            Self::Engine { model, options } => {
                // A classifier has one output (`deploy::load` checks the files).
                Ok(model.run(shape[0], *options, &[&pixels])?.swap_remove(0).into())
            }
            Self::Routed(engine) => engine.answers(&pixels, shape[0]),
        }
    }

    /// The network's weights and structure, where they are at hand (not in a compiled model).
    pub fn network(&self) -> Option<&Network> {
        match self {
            Self::Burn { network, .. } => Some(network),
            Self::Engine { .. } | Self::Routed(_) => None,
        }
    }
}

/// As [`Runner::answers`], by a network on `device` outside of autodiff.
pub fn burn_answers(network: &Network, device: &Device, pixels: Vec<f32>, shape: [usize; 4]) -> Answers {
    let x = Tensor::<4>::from_data(TensorData::new(pixels, shape), device);
    let (logits, decisions) = match network.dynamic() {
        Some(net) => {
            let Routed { logits, decisions } = net.route(x);
            (logits, decisions)
        }
        None => (network.forward(x), Vec::new()),
    };
    Answers { logits: logits.into_data().try_into_vec().expect("logits are float32"), decisions }
}
