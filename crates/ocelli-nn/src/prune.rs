//! Magnitude pruning.

/// Which of `weights` stay: all but the `floor(sparsity * n)` smallest magnitudes, of equals the earlier go first.
pub fn mask(weights: &[f32], sparsity: f64) -> Vec<bool> {
    let mut stays = vec![true; weights.len()];
    let mut order: Vec<u32> = (0..weights.len() as u32).collect();
    let Some(last) = pruned(weights.len(), sparsity).checked_sub(1) else { return stays };
    // Only what goes has to be told from what stays: training asks after every step.
    order.select_nth_unstable_by(last, |&a, &b| {
        weights[a as usize].abs().total_cmp(&weights[b as usize].abs()).then(a.cmp(&b))
    });
    for &i in &order[..=last] {
        stays[i as usize] = false;
    }
    stays
}

/// [`mask`] over several layers together.
pub fn global_masks(layers: &[&[f32]], sparsity: f64) -> Vec<Vec<bool>> {
    let all: Vec<f32> = layers.iter().flat_map(|layer| layer.iter().copied()).collect();
    let stays = mask(&all, sparsity);
    let mut rest = stays.as_slice();
    layers
        .iter()
        .map(|layer| {
            let (own, others) = rest.split_at(layer.len());
            rest = others;
            own.to_vec()
        })
        .collect()
}

fn pruned(count: usize, sparsity: f64) -> usize {
    ((count as f64 * sparsity.clamp(0.0, 1.0)) as usize).min(count)
}

/// The share that is pruned after `step` of `steps` steps towards `sparsity`: fast at first, slow at the end.
pub fn gradual(sparsity: f64, step: usize, steps: usize) -> f64 {
    let done = (step as f64 / steps.max(1) as f64).min(1.0);
    sparsity * (1.0 - (1.0 - done).powi(3))
}
