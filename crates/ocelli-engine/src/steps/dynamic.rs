//! Convolutions whose kernel is mixed for every picture.

use ocelli_kernels::rows::mix;

use super::conv::{Dense, DepthwiseStep};
use super::{Context, Shared, Step, part, tasks};

/// The mixture of every picture, then its convolution.
pub(crate) struct DynamicStep {
    /// Packed experts, one after the other.
    pub experts: *const f32,
    pub expert_len: usize,
    pub count: usize,
    /// `[batch][count]`
    pub shares: *const f32,
    /// Room for a mixture per picture.
    pub mixed: *mut f32,
    pub pictures: Pictures,
}

/// One convolution per picture, reading its own mixture.
pub(crate) enum Pictures {
    Dense(Vec<Dense>),
    Depthwise(Vec<DepthwiseStep>),
}

impl Step for DynamicStep {
    fn run(&self, context: &mut Context<'_, '_>) {
        let isa = context.isa;
        let batch = match &self.pictures {
            Pictures::Dense(all) => all.len(),
            Pictures::Depthwise(all) => all.len(),
        };
        let pieces =
            tasks(self.expert_len * self.count, context.pool.threads(), self.expert_len.div_ceil(64));
        let shared = Shared(self);
        context.pool.run(batch * pieces, &|task| {
            let own = shared.get();
            let (picture, piece) = (task / pieces, task % pieces);
            let range = part(own.expert_len, pieces, piece);
            // SAFETY: the builder gave room for a mixture per picture; tasks write apart from one another.
            unsafe {
                mix(
                    isa,
                    own.experts.add(range.start),
                    own.expert_len,
                    own.shares.add(picture * own.count),
                    own.count,
                    range.len(),
                    own.mixed.add(picture * own.expert_len + range.start),
                );
            }
        });
        match &self.pictures {
            Pictures::Dense(all) => all.iter().for_each(|step| step.run(context)),
            Pictures::Depthwise(all) => all.iter().for_each(|step| step.run(context)),
        }
    }
}
