//! Cutting one dataset into train and val.

use super::Dataset;
use crate::error::{DataError, Result};
use crate::rng::{Purpose, Rng};

/// Indices for train and for val, so that val has the part `fraction` of every class, rounded.
///
/// Depends on `seed`, the labels and their order alone. A class with two pictures or more has at least one
/// in each part; a single picture goes to train. Both lists are sorted.
///
/// # Errors
/// [`DataError::Config`] when `fraction` is not between 0 and 1, or val would stay empty.
pub fn stratified(data: &dyn Dataset, fraction: f64, seed: u64) -> Result<(Vec<usize>, Vec<usize>)> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(DataError::config("split", "a part between 0 and 1, such as 0.2", fraction));
    }
    let mut by_class = vec![Vec::new(); data.classes().len().max(1)];
    for index in 0..data.len() {
        by_class[data.label(index)].push(index);
    }
    let (mut train, mut val) = (Vec::new(), Vec::new());
    for (class, mut members) in by_class.into_iter().enumerate() {
        Rng::keyed(seed, 0, class as u64, Purpose::Split).shuffle(&mut members);
        let n = members.len();
        let wanted = (n as f64 * fraction).round() as usize;
        let count = if n < 2 { 0 } else { wanted.clamp(1, n - 1) };
        train.extend(members.drain(count..));
        val.extend(members);
    }
    if val.is_empty() {
        return Err(DataError::config("split", "a class with two pictures or more", "none"));
    }
    train.sort_unstable();
    val.sort_unstable();
    Ok((train, val))
}
