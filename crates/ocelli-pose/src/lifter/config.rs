//! Configurations of the lifting networks.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::baseline::{FullyConnected, GraphNet};
use super::init::initialize;
use super::net::GridNet;
use super::network::Lifter;
use crate::grid::{Padding, TAPS};
use crate::sgt::{Assignment, Prior};

/// Most channels, blocks and cells that a configuration from a file may ask for.
const MOST_HIDDEN: usize = 4096;
const MOST_BLOCKS: usize = 64;
const MOST_CELLS: usize = 1024;

/// Which grid network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// Static kernels on the grid made by hand.
    GridConv,
    /// Kernels with attention on the grid made by hand.
    #[default]
    DGridConv,
    /// Kernels with attention on a learnt grid.
    AutoGrids,
}

/// A grid lifting network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which one.
    pub variant: Variant,
    /// Channels of the hidden maps.
    pub hidden: usize,
    /// Residual blocks of two layers.
    pub blocks: usize,
    /// Height and width of the grid.
    pub grid: [usize; 2],
    /// What the branches see beyond the border.
    pub padding: [Padding; 2],
    /// Share of channels that are dropped in training.
    pub dropout: f64,
    /// Start of a learnt grid.
    pub prior: Prior,
    /// How a learnt grid acts in training.
    pub assignment: Assignment,
}

impl Default for Config {
    /// The published D-GridConv network for 2D joints without noise.
    fn default() -> Self {
        Self {
            variant: Variant::default(),
            hidden: 256,
            blocks: 2,
            grid: [5, 5],
            padding: [Padding::Circular, Padding::Replicate],
            dropout: 0.25,
            prior: Prior::default(),
            assignment: Assignment::default(),
        }
    }
}

impl Config {
    /// Cells of the grid.
    pub fn cells(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Refuses what cannot be built.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=MOST_HIDDEN).contains(&self.hidden) {
            return Err(format!("{} hidden channels, expected 1 to {MOST_HIDDEN}", self.hidden));
        }
        if self.blocks > MOST_BLOCKS {
            return Err(format!("{} blocks, expected at most {MOST_BLOCKS}", self.blocks));
        }
        let [height, width] = self.grid;
        if height < 2 || width < 2 || height.saturating_mul(width) > MOST_CELLS {
            return Err(format!(
                "a grid of {height}x{width}, expected at least 2x2 and at most {MOST_CELLS} cells"
            ));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("a dropout of {}, expected [0, 1)", self.dropout));
        }
        match self.variant {
            Variant::AutoGrids if self.prior.grid().is_some() && self.grid != [5, 5] => {
                Err(format!("a grid of {height}x{width} starts from random_prob only: the others are 5x5"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the layers have attention.
    pub fn is_dynamic(&self) -> bool {
        self.variant != Variant::GridConv
    }

    /// Multiply-accumulates of one pose: both branches of every layer, and the attention's two.
    pub fn macs(&self) -> u64 {
        let (cells, hidden) = (self.cells() as u64, self.hidden as u64);
        let layer = |from: u64, to: u64| 2 * TAPS as u64 * cells * from * to;
        let attention = |from: u64| {
            let inner = (from / 16).max(16);
            if self.is_dynamic() { from * inner + inner * TAPS as u64 * cells } else { 0 }
        };
        let both = |from: u64, to: u64| layer(from, to) + attention(from);
        both(2, hidden) + 2 * self.blocks as u64 * both(hidden, hidden) + both(hidden, 3)
    }

    /// Builds the network. Parameters are zeros until initialised or loaded, but for the assignment, which is its prior.
    pub fn init(&self, device: &Device) -> GridNet {
        GridNet::new(self, 0, device)
    }
}

/// What grid networks are compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BaselineConfig {
    /// Width of the hidden layers.
    pub hidden: usize,
    /// Residual blocks of two layers.
    pub blocks: usize,
    /// Share of activations that are dropped in training.
    pub dropout: f64,
}

impl Default for BaselineConfig {
    fn default() -> Self {
        Self { hidden: 1024, blocks: 2, dropout: 0.25 }
    }
}

impl BaselineConfig {
    fn check(&self) -> Result<(), String> {
        Config { hidden: self.hidden, blocks: self.blocks, dropout: self.dropout, ..Config::default() }
            .check()
    }
}

/// Any lifting network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "network", rename_all = "snake_case")]
pub enum LifterConfig {
    /// On a grid.
    Grid(Config),
    /// Fully connected residual network (arXiv 1705.03098).
    Linear(BaselineConfig),
    /// Graph convolutions over the skeleton's bones (arXiv 1609.02907 with residual blocks).
    Graph(BaselineConfig),
}

impl LifterConfig {
    /// Refuses what cannot be built.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Grid(config) => config.check(),
            Self::Linear(config) | Self::Graph(config) => config.check(),
        }
    }

    /// Builds the network with weights drawn from `seed`.
    pub fn init(&self, seed: u64, device: &Device) -> Lifter {
        initialize(self.build(seed, device), seed)
    }

    /// Builds the network for weights that are loaded: nothing is allocated for them before they are there.
    pub(crate) fn build(&self, seed: u64, device: &Device) -> Lifter {
        match self {
            Self::Grid(config) => Lifter::Grid(GridNet::new(config, seed, device)),
            Self::Linear(config) => Lifter::Linear(FullyConnected::new(config, device)),
            Self::Graph(config) => Lifter::Graph(GraphNet::new(config, device)),
        }
    }

    /// Multiply-accumulates of one pose.
    pub fn macs(&self) -> u64 {
        match self {
            Self::Grid(config) => config.macs(),
            Self::Linear(config) => FullyConnected::macs(config),
            Self::Graph(config) => GraphNet::macs(config),
        }
    }

    /// A short name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Grid(Config { variant: Variant::GridConv, .. }) => "gridconv",
            Self::Grid(Config { variant: Variant::DGridConv, .. }) => "dgridconv",
            Self::Grid(Config { variant: Variant::AutoGrids, .. }) => "autogrids",
            Self::Linear(_) => "linear",
            Self::Graph(_) => "graph",
        }
    }
}
