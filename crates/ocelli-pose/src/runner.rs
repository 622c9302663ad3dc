//! Lifting in the engine.

use ocelli_engine::{Model as Compiled, RunOptions};

use crate::PoseError;
use crate::deploy::graph;
use crate::lifter::Lifter;
use crate::skeleton::{JOINTS, Pose2, Pose3};

/// Poses that a thread lifts at once: the taps of so many stay in a second-level cache.
const TOGETHER: usize = 8;

/// A compiled lifting network. Threads share the poses of a call, not the layers of a pass.
#[derive(Clone, Debug)]
pub struct Runner {
    model: Compiled,
    threads: usize,
}

impl Runner {
    /// Compiles `lifter` at `temperature` for `threads` threads.
    ///
    /// # Errors
    /// If the network cannot be captured or compiled.
    pub fn new(lifter: &Lifter, temperature: f64, threads: usize) -> Result<Self, PoseError> {
        let model = Compiled::compile(graph(lifter, temperature)?, "")?;
        Ok(Self { model, threads: threads.max(1) })
    }

    /// The compiled network.
    pub fn model(&self) -> &Compiled {
        &self.model
    }

    /// Normalised joints to metres relative to the pelvis, in the camera's axes.
    ///
    /// # Errors
    /// If the engine cannot run.
    pub fn lift(&self, poses: &[Pose2]) -> Result<Vec<Pose3>, PoseError> {
        let mut lifted = vec![[[0.0; 3]; JOINTS]; poses.len()];
        let groups = poses.len().div_ceil(TOGETHER);
        let threads = self.threads.min(groups);
        if threads <= 1 {
            self.part(poses, &mut lifted)?;
            return Ok(lifted);
        }
        let share = groups.div_ceil(threads) * TOGETHER;
        std::thread::scope(|scope| {
            let workers: Vec<_> = poses
                .chunks(share)
                .zip(lifted.chunks_mut(share))
                .map(|(poses, lifted)| scope.spawn(move || self.part(poses, lifted)))
                .collect();
            workers.into_iter().try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        Ok(lifted)
    }

    fn part(&self, poses: &[Pose2], lifted: &mut [Pose3]) -> Result<(), PoseError> {
        for (poses, lifted) in poses.chunks(TOGETHER).zip(lifted.chunks_mut(TOGETHER)) {
            // Two sizes of sessions are kept: single poses, and full groups with zeros where there are fewer.
            let batch = if poses.len() == 1 { 1 } else { TOGETHER };
            let mut input = vec![0.0f32; batch * 2 * JOINTS];
            for (pose, planes) in poses.iter().zip(input.chunks_mut(2 * JOINTS)) {
                for (joint, point) in pose.iter().enumerate() {
                    planes[joint] = point[0];
                    planes[JOINTS + joint] = point[1];
                }
            }
            let outputs = self.model.run(batch, RunOptions { threads: 1, pin: false }, &[&input])?;
            for (pose, planes) in lifted.iter_mut().zip(outputs[0].chunks(3 * JOINTS)) {
                for (joint, point) in pose.iter_mut().enumerate() {
                    *point = std::array::from_fn(|axis| planes[axis * JOINTS + joint]);
                }
            }
        }
        Ok(())
    }
}
