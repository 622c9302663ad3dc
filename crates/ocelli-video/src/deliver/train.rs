//! Joint training of one network and the modulations of all chunks (section 3.3 of the paper).

use burn::tensor::Tensor;
use ocelli_nn::Taps;

use super::cafm::Chunk;
use super::config::Config;
use super::net::Net;

/// The loss of a batch: L1 in levels of 0 to 255, the mean over all pixels and colours of every sample, summed and divided by the batch size.
/// Samples without a chunk (frames past the last run of the paper's protocol) add nothing to the sum and count in the divisor.
///
/// `low` is `[batch, 3, height, width]`, `high` of `scale` times the extents; nothing where no sample has a chunk.
pub fn joint_loss(
    config: &Config,
    net: &Net,
    low: Tensor<4>,
    high: Tensor<4>,
    chunks: &[Option<usize>],
) -> Option<Tensor<1>> {
    let batch = chunks.len();
    let kept: Vec<i64> = (0..batch as i64).filter(|&at| chunks[at as usize].is_some()).collect();
    let own: Vec<usize> = chunks.iter().flatten().copied().collect();
    if kept.is_empty() {
        return None;
    }
    let (low, high) = if kept.len() == batch {
        (low, high)
    } else {
        let rows = burn::tensor::Tensor::<1, burn::tensor::Int>::from_data(
            burn::tensor::TensorData::new(kept.clone(), [kept.len()]),
            &low.device(),
        );
        (low.select(0, rows.clone()), high.select(0, rows))
    };
    let chunk = if config.chunks == 0 { Chunk::One(0) } else { Chunk::Each(&own) };
    let found = config.enlarge(net, low, chunk, &mut Taps::none());
    let share = kept.len() as f64 / batch as f64;
    Some(found.sub(high).abs().mean().mul_scalar(share))
}

/// Whether the parameter called `name` is a modulation's: what is trained when a network is adapted to another film.
pub fn is_modulation(name: &str) -> bool {
    name.split('.').any(|part| part == "transformer" || part == "gamma")
}
