//! Runs a graph for the sake of values inside of it.

use std::collections::HashMap;

use ocelli_engine::{EngineError, Model, RunOptions};
use ocelli_graph::{Graph, ValueId, passes};

/// Pictures, row-major `[count, ..]`.
#[derive(Clone, Debug)]
pub struct Batch {
    /// How many.
    pub count: usize,
    /// Their numbers.
    pub data: Vec<f32>,
}

/// A graph compiled for chosen values.
pub(crate) struct Probe {
    model: Model,
    /// Where among the model's outputs each chosen value is.
    places: Vec<usize>,
    options: RunOptions,
}

impl Probe {
    /// Compiles what `wanted` needs of `graph`.
    pub fn new(graph: &Graph, wanted: &[ValueId], options: RunOptions) -> Result<Self, EngineError> {
        let mut graph = graph.clone();
        let mut outputs: Vec<ValueId> = Vec::new();
        let mut at: HashMap<ValueId, usize> = HashMap::new();
        let places = wanted
            .iter()
            .map(|&id| {
                *at.entry(id).or_insert_with(|| {
                    outputs.push(id);
                    outputs.len() - 1
                })
            })
            .collect();
        graph.outputs = outputs;
        // Weights that are codes become numbers, and what is not needed goes.
        passes::remove_dead(&mut graph);
        passes::fold_constants(&mut graph);
        passes::remove_dead(&mut graph);
        Ok(Self { model: Model::compile(graph, "")?, places, options })
    }

    /// The chosen values for a batch, each row-major.
    pub fn run(&self, batch: &Batch) -> Result<Vec<Vec<f32>>, EngineError> {
        let found = self.model.run(batch.count, self.options, &[&batch.data])?;
        Ok(self.places.iter().map(|&place| found[place].clone()).collect())
    }
}
