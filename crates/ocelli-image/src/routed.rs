//! A dynamic resolution network on the engine: the predictor and every candidate's branch compiled on their own, so that
//! a picture costs the predictor and one branch.

use burn::tensor::Tensor;
use ocelli_engine::{EngineError, Model, RunOptions};
use ocelli_graph::capture;

use crate::backbone::Backbone;
use crate::backbone::drnet::{Config, Costs, Net, decide, decisions, groups};
use crate::deploy::{DeployError, compile_graph};
use crate::runner::Answers;

/// The compiled parts. Weights are folded with the norms of each resolution, so they are held once per candidate.
#[derive(Debug)]
pub struct RoutedEngine {
    /// None before there is a trained predictor: everything goes to the largest candidate.
    predictor: Option<Model>,
    branches: Vec<Model>,
    config: Config,
    costs: Costs,
    /// `[height, width]` of the pictures.
    picture: [usize; 2],
    classes: usize,
    /// Threads of all parts.
    pub options: RunOptions,
}

impl RoutedEngine {
    /// Compiles `net` for pictures of `[channels, height, width]`.
    ///
    /// # Errors
    /// If it has an operation the engine does not run.
    pub fn compile(net: &Net, picture: [usize; 3], options: RunOptions) -> Result<Self, DeployError> {
        let part = |name: &str, forward: &dyn Fn(&Net, Tensor<4>) -> Tensor<2>| {
            let rename = |name: &str| net.published_name(name).into_owned();
            compile_graph(capture::capture(net, picture, name, rename, forward)?, None)
        };
        let candidates = if net.chooses() { net.config().resolutions.len() } else { 1 };
        let predictor = net.chooses().then(|| part("predictor", &|net, x| net.scores(x))).transpose()?;
        let branches: Result<Vec<_>, _> =
            (0..candidates).map(|j| part(&format!("candidate {j}"), &|net, x| net.branch(j, x))).collect();
        let [_, height, width] = picture;
        Ok(Self {
            predictor,
            branches: branches?,
            config: net.config().clone(),
            costs: net.costs([height, width]),
            picture: [height, width],
            classes: net.config().num_classes,
            options,
        })
    }

    /// As [`Runner::answers`](crate::Runner::answers).
    pub(crate) fn answers(&self, pixels: &[f32], batch: usize) -> Result<Answers, EngineError> {
        let choice = match &self.predictor {
            Some(predictor) => {
                let scores = predictor.run(batch, self.options, &[pixels])?.swap_remove(0);
                decide(&self.config, scores)
            }
            None => vec![0; batch],
        };
        let length = pixels.len() / batch.max(1);
        let mut logits = vec![0.0; batch * self.classes];
        for (index, rows) in groups(&choice, self.branches.len()) {
            let own: Vec<f32>;
            // A batch of one mind needs no sorting.
            let input = if rows.len() == batch {
                pixels
            } else {
                own = rows.iter().flat_map(|row| &pixels[row * length..][..length]).copied().collect();
                &own
            };
            let found = self.branches[index].run(rows.len(), self.options, &[input])?.swap_remove(0);
            for (row, values) in rows.into_iter().zip(found.chunks_exact(self.classes)) {
                logits[row * self.classes..][..self.classes].copy_from_slice(values);
            }
        }
        Ok(Answers { logits, decisions: decisions(&self.config, &self.costs, &choice, self.picture) })
    }
}
