//! A network made ready for one batch size: memory planned, kernels bound to their places, threads kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ocelli_graph::ValueId;
use ocelli_kernels::Isa;

use crate::build;
use crate::error::EngineError;
use crate::model::{Parts, RunOptions};
use crate::pages::Pages;
use crate::pool::Pool;
use crate::steps::Context;

/// One step's name, kind and time.
#[derive(Clone, Debug)]
pub struct StepTime {
    /// Name of the node.
    pub name: String,
    /// The kernel.
    pub kind: &'static str,
    /// Products it computes.
    pub macs: u64,
    /// Time it took.
    pub time: Duration,
}

/// A network ready to run; one thread at a time uses it.
pub struct Session {
    // Steps point into these three, which therefore live as long.
    _arena: Pages,
    _constants: Vec<Arc<[f32]>>,
    parts: Arc<Parts>,
    steps: Vec<build::Planned>,
    batch: usize,
    options: RunOptions,
    pool: Pool,
    isa: Isa,
    arena_bytes: usize,
}

// SAFETY: the steps' pointers lead into the arena, which the session owns, and into the parts, which nobody writes.
unsafe impl Send for Session {}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({}, batch {}, {} steps)", self.parts.graph.name, self.batch, self.steps.len())
    }
}

impl Session {
    pub(crate) fn new(parts: Arc<Parts>, batch: usize, options: RunOptions) -> Result<Self, EngineError> {
        let pool = Pool::new(options.threads, options.pin);
        let program = build::build(&parts, batch)?;
        let elements = program.arena_len;
        let mut arena =
            Pages::zeros(elements).ok_or(EngineError::Memory { bytes: elements.saturating_mul(4) })?;
        let (steps, constants) = program.bind(arena.as_mut_ptr());
        let arena_bytes = arena.bytes();
        Ok(Self {
            _arena: arena,
            _constants: constants,
            parts,
            steps,
            batch,
            options,
            pool,
            isa: Isa::best(),
            arena_bytes,
        })
    }

    /// Batch size.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// How it runs.
    pub fn options(&self) -> RunOptions {
        self.options
    }

    /// Bytes of working memory, weights apart.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// Runs the network: one row-major slice per graph input, one to be filled per graph output.
    ///
    /// # Errors
    /// If a slice does not have the size the network wants.
    pub fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), EngineError> {
        self.check(inputs, outputs)?;
        let mut context = Context { pool: &mut self.pool, isa: self.isa, inputs, outputs };
        for planned in &self.steps {
            planned.step.run(&mut context);
        }
        Ok(())
    }

    /// As [`run`](Self::run), with the time of every step.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn profile(
        &mut self,
        inputs: &[&[f32]],
        outputs: &mut [&mut [f32]],
    ) -> Result<Vec<StepTime>, EngineError> {
        self.check(inputs, outputs)?;
        let mut context = Context { pool: &mut self.pool, isa: self.isa, inputs, outputs };
        let times = self.steps.iter().map(|planned| {
            let start = Instant::now();
            planned.step.run(&mut context);
            StepTime {
                name: planned.name.clone(),
                kind: planned.kind,
                macs: planned.macs,
                time: start.elapsed(),
            }
        });
        Ok(times.collect())
    }

    fn check(&self, inputs: &[&[f32]], outputs: &[&mut [f32]]) -> Result<(), EngineError> {
        let graph = &self.parts.graph;
        self.sizes("input", &graph.inputs, inputs.len(), |i| inputs[i].len())?;
        self.sizes("output", &graph.outputs, outputs.len(), |i| outputs[i].len())
    }

    /// Compares `count` slices with what the graph has in `ids`; allocates nothing unless something is wrong.
    fn sizes(
        &self,
        what: &str,
        ids: &[ValueId],
        count: usize,
        len: impl Fn(usize) -> usize,
    ) -> Result<(), EngineError> {
        if ids.len() != count {
            return Err(EngineError::Size {
                what: format!("number of {what}s"),
                expected: ids.len(),
                found: count,
            });
        }
        for (i, &id) in ids.iter().enumerate() {
            let shape = &self.parts.graph.value(id).shape;
            let (expected, found) = (shape.iter().map(|dim| dim.at(self.batch)).product(), len(i));
            if expected != found {
                return Err(EngineError::Size { what: format!("{what} {i}"), expected, found });
            }
        }
        Ok(())
    }
}
