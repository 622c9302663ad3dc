//! A compiled network.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ocelli_graph::{Graph, Node, ValueId};

use crate::error::EngineError;
use crate::prepare::{self, Packed};
use crate::session::Session;

/// How a network is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Threads, the caller's among them.
    pub threads: usize,
    /// Whether each thread stays on one processor (Linux).
    pub pin: bool,
}

impl Default for RunOptions {
    /// As many threads as processors, not pinned.
    fn default() -> Self {
        Self { threads: std::thread::available_parallelism().map_or(1, usize::from), pin: false }
    }
}

/// A compiled network: the optimised graph and packed weights. Cheap to clone and shared between threads.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) parts: Arc<Parts>,
    idle: Arc<Mutex<Vec<Session>>>,
}

/// What a model consists of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub graph: Graph,
    pub packed: BTreeMap<usize, Packed>,
    /// What the application stores with the network (labels, preprocessing), as JSON.
    pub description: String,
}

/// Sessions kept for later calls of [`Model::run`].
const KEPT: usize = 8;

impl Model {
    /// Compiles an optimised graph (see `ocelli_graph::passes::optimize`). `description` is stored with it: JSON that
    /// means something to the application.
    ///
    /// # Errors
    /// If the graph contradicts itself or has an operation the engine does not run.
    pub fn compile(mut graph: Graph, description: impl Into<String>) -> Result<Self, EngineError> {
        ocelli_graph::passes::check(&graph)
            .map_err(|e| EngineError::Malformed { node: graph.name.clone(), problem: e.to_string() })?;
        let packed = prepare::prepare(&mut graph)?;
        let model = Self::from_parts(Parts { graph, packed, description: description.into() });
        // Whatever a session would refuse is refused now.
        model.session(1, RunOptions { threads: 1, pin: false })?;
        Ok(model)
    }

    pub(crate) fn from_parts(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), idle: Arc::default() }
    }

    /// Loads a compiled model file; weights are mapped, not read.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, or was made for another version.
    pub fn load(path: &Path) -> Result<Self, EngineError> {
        crate::file::load(path)
    }

    /// Whether the file at `path` begins like a compiled model.
    pub fn is_compiled(path: &Path) -> bool {
        crate::file::is_compiled(path)
    }

    /// Writes a compiled model file, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), EngineError> {
        crate::file::save(self, path)
    }

    /// Prepares to run batches of `batch` inputs.
    ///
    /// # Errors
    /// If the graph has an operation the engine does not run.
    pub fn session(&self, batch: usize, options: RunOptions) -> Result<Session, EngineError> {
        Session::new(self.parts.clone(), batch, options)
    }

    /// Runs the network once on one row-major input per graph input, with sessions kept from earlier calls;
    /// several threads may call it at once. The result holds one row-major vector per graph output.
    ///
    /// # Errors
    /// If the inputs do not have the sizes the network wants.
    pub fn run(
        &self,
        batch: usize,
        options: RunOptions,
        inputs: &[&[f32]],
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let fits = |session: &Session| session.batch() == batch && session.options() == options;
        let kept = {
            let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            idle.iter().position(fits).map(|at| idle.swap_remove(at))
        };
        let mut session = match kept {
            Some(session) => session,
            None => self.session(batch, options)?,
        };
        let mut outputs: Vec<Vec<f32>> = self
            .parts
            .graph
            .outputs
            .iter()
            .map(|&id| vec![0.0; self.shape(id, batch).iter().product()])
            .collect();
        {
            let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
            session.run(inputs, &mut slices)?;
        }
        let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if idle.len() == KEPT {
            idle.remove(0);
        }
        idle.push(session);
        Ok(outputs)
    }

    /// The graph that is run.
    pub fn graph(&self) -> &Graph {
        &self.parts.graph
    }

    /// Bytes of packed weights and of constants in a file.
    pub fn weight_bytes(&self) -> u64 {
        let of = |(&node, packed)| crate::file::stored_bytes(&self.parts.graph, node, packed);
        let packed: usize = self.parts.packed.iter().map(of).sum();
        let constants = self.parts.graph.constants.values();
        let constants: usize = constants.map(|constant| constant.len() * constant.element().bytes()).sum();
        (packed + constants) as u64
    }

    /// The layers with packed weights, in order: their nodes, the kernels that compute them, and the bytes of their weights in a file.
    pub fn layers(&self) -> impl Iterator<Item = (&Node, &'static str, u64)> {
        let of = |(&index, packed): (&usize, &Packed)| {
            let node = self.parts.graph.nodes.get(index)?;
            Some((
                node,
                packed.kernel.name(),
                crate::file::stored_bytes(&self.parts.graph, index, packed) as u64,
            ))
        };
        self.parts.packed.iter().filter_map(of).collect::<Vec<_>>().into_iter()
    }

    /// What the application stored with the network.
    pub fn description(&self) -> &str {
        &self.parts.description
    }

    fn shape(&self, id: ValueId, batch: usize) -> Vec<usize> {
        self.parts.graph.value(id).shape_at(batch)
    }
}
