//! One layer: groups, scales, weights clamped without loss, codes.

use ocelli_kernels::adder::sad::Coding;
use serde::{Deserialize, Serialize};

use super::cluster::{Clusters, cluster};
use super::range::{ALPHA, LEAST};
use crate::error::CompressError;

/// Which scales a layer has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scales {
    /// One per group, shared by both operands; weights are clamped to the activations' range where they reach further: the method.
    #[default]
    Groups,
    /// One per group, as far as its weights reach.
    GroupsUnclamped,
    /// One for the layer, as far as activations reach: far weights are cut off. The baseline of earlier work.
    SharedActivations,
    /// One for the layer, as far as weights reach: activations waste codes.
    SharedWeights,
}

/// How a layer is quantised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Bits of weights and activations, 2 to 8.
    pub bits: u8,
    /// Groups of filters.
    pub groups: usize,
    /// Share of activations that are kept; none: all.
    pub alpha: Option<f64>,
    /// Whether activations have codes on both sides of zero, of the weights' step; inputs behind a ReLU need none.
    pub signed: bool,
    /// Which scales there are.
    pub scales: Scales,
}

impl Settings {
    /// The method at `bits` bits: four groups.
    pub fn new(bits: u8) -> Self {
        Self { bits, groups: 4, alpha: Some(ALPHA), signed: false, scales: Scales::Groups }
    }

    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// If bits, groups or the share of activations are out of range.
    pub fn check(&self) -> Result<(), CompressError> {
        if !(2..=8).contains(&self.bits) {
            return Err(CompressError::Setting(format!("{} bits; 2 to 8 can be had", self.bits)));
        }
        if !(1..=256).contains(&self.groups) {
            return Err(CompressError::Setting(format!("{} groups; 1 to 256 can be had", self.groups)));
        }
        if let Some(alpha) = self.alpha.filter(|alpha| !(*alpha > 0.0 && *alpha <= 1.0)) {
            return Err(CompressError::Setting(format!("a share of {alpha}; more than 0 up to 1 is meant")));
        }
        Ok(())
    }

    /// The codes' form.
    pub fn coding(&self) -> Coding {
        Coding { bits: self.bits, signed: self.signed }
    }
}

/// What a layer becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How far activations reach.
    pub reach: f32,
    /// How far every filter reaches.
    pub filters: Vec<f32>,
    /// Group of every filter.
    pub labels: Vec<u8>,
    /// Scale of every group.
    pub scales: Vec<f32>,
    /// The weights, clamped.
    pub clamped: Vec<f32>,
    /// What clamping took from every filter's output: added to it, nothing is lost for activations within the range.
    pub extra: Vec<f32>,
    /// The weights' codes.
    pub codes: Vec<i8>,
}

/// Quantises the weights `[filters, ..]` of a layer whose input reaches `reach`.
///
/// # Errors
/// If a setting makes no sense, a weight is no number or the filters do not share the weights out.
pub fn plan(weights: &[f32], filters: usize, reach: f32, own: &Settings) -> Result<Plan, CompressError> {
    own.check()?;
    if filters == 0 || weights.is_empty() || !weights.len().is_multiple_of(filters) {
        return Err(CompressError::Setting(format!("{} weights for {filters} filters", weights.len())));
    }
    if let Some(w) = weights.iter().find(|w| !w.is_finite()) {
        let problem = format!("a weight is {w}; only finite weights can be quantised");
        return Err(CompressError::Number { place: "adder layer".into(), problem });
    }
    if !reach.is_finite() {
        let problem = format!("its input reaches {reach}");
        return Err(CompressError::Number { place: "adder layer".into(), problem });
    }
    let reach = reach.max(LEAST);
    let size = weights.len() / filters;
    let far: Vec<f32> = weights
        .chunks_exact(size)
        .map(|filter| filter.iter().fold(0.0, |a: f32, w| a.max(w.abs())))
        .collect();
    let grouped = matches!(own.scales, Scales::Groups | Scales::GroupsUnclamped);
    let Clusters { labels, count, .. } = cluster(&far, if grouped { own.groups } else { 1 });
    let mut furthest = vec![0.0f32; count];
    for (label, far) in labels.iter().zip(&far) {
        let most = &mut furthest[usize::from(*label)];
        *most = most.max(*far);
    }
    let clamp = |most: f32| own.scales == Scales::Groups && most > reach;
    let scales: Vec<f32> = furthest
        .iter()
        .map(|&most| match own.scales {
            Scales::SharedActivations => reach,
            // Filters of nothing but zeros: any scale does.
            _ if clamp(most) || most == 0.0 => reach,
            _ => most,
        })
        .collect();
    let (mut clamped, mut extra, mut codes) = (weights.to_vec(), vec![0.0f32; filters], Vec::new());
    let coding = own.coding();
    for (o, filter) in clamped.chunks_exact_mut(size).enumerate() {
        let group = usize::from(labels[o]);
        if clamp(furthest[group]) {
            let beyond: f64 = filter.iter().map(|w| f64::from((w.abs() - reach).max(0.0))).sum();
            extra[o] = if beyond > 0.0 { -beyond as f32 } else { 0.0 };
            filter.iter_mut().for_each(|w| *w = w.clamp(-reach, reach));
        }
        codes.extend(filter.iter().map(|w| coding.weight(*w, scales[group])));
    }
    Ok(Plan { reach, filters: far, labels, scales, clamped, extra, codes })
}

/// The layer that training with codes has left: its weights with the groups and scales it was trained with.
///
/// # Errors
/// As [`plan`].
pub fn plan_with(
    weights: &[f32],
    reach: f32,
    labels: Vec<u8>,
    scales: Vec<f32>,
    own: &Settings,
) -> Result<Plan, CompressError> {
    // The checks, and how far filters reach.
    let found = plan(weights, labels.len(), reach, own)?;
    if labels.iter().any(|label| usize::from(*label) >= scales.len()) {
        return Err(CompressError::Setting(format!("groups beyond {} scales", scales.len())));
    }
    if let Some(scale) = scales.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
        return Err(CompressError::Setting(format!("a scale of {scale}")));
    }
    let (reach, coding, size) = (found.reach, own.coding(), weights.len() / labels.len());
    let (mut clamped, mut extra, mut codes) = (weights.to_vec(), Vec::new(), Vec::new());
    for (o, filter) in clamped.chunks_exact_mut(size).enumerate() {
        let beyond: f64 = filter.iter().map(|w| f64::from((w.abs() - reach).max(0.0))).sum();
        extra.push(if beyond > 0.0 { -beyond as f32 } else { 0.0 });
        filter.iter_mut().for_each(|w| *w = w.clamp(-reach, reach));
        codes.extend(filter.iter().map(|w| coding.weight(*w, scales[usize::from(labels[o])])));
    }
    Ok(Plan { reach, filters: found.filters, labels, scales, clamped, extra, codes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clamping_loses_nothing() {
        let weights = [0.5, -3.0, 2.0, 0.1, -0.2, 0.3];
        let own = plan(&weights, 2, 1.0, &Settings::new(8)).expect("a plan");
        assert_eq!(own.labels, [1, 0]);
        assert_eq!(own.scales, [0.3, 1.0]);
        assert_eq!(own.extra, [-3.0, 0.0]);
        for x in [-1.0f32, -0.3, 0.0, 0.7, 1.0] {
            for (o, filter) in weights.chunks(3).enumerate() {
                let y: f32 = -filter.iter().map(|w| (w - x).abs()).sum::<f32>();
                let z: f32 =
                    own.extra[o] - own.clamped[o * 3..][..3].iter().map(|w| (w - x).abs()).sum::<f32>();
                assert!((y - z).abs() < 1e-5, "{y} is not {z}");
            }
        }
    }

    #[test]
    fn baselines_have_one_scale() {
        let weights = [0.5, -3.0, 2.0, 0.1, -0.2, 0.3];
        let of = |scales| plan(&weights, 2, 1.0, &Settings { scales, ..Settings::new(4) }).expect("a plan");
        assert_eq!(of(Scales::SharedActivations).scales, [1.0]);
        assert_eq!(of(Scales::SharedWeights).scales, [3.0]);
        assert_eq!(of(Scales::GroupsUnclamped).scales, [0.3, 3.0]);
        assert_eq!(of(Scales::SharedActivations).extra, [0.0, 0.0]);
        assert_eq!(of(Scales::SharedActivations).codes[1], -8);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(plan(&[1.0], 1, 1.0, &Settings::new(9)).is_err());
        assert!(plan(&[1.0, f32::NAN], 1, 1.0, &Settings::new(8)).is_err());
        assert!(plan(&[1.0; 3], 2, 1.0, &Settings::new(8)).is_err());
        assert!(plan(&[1.0], 1, f32::INFINITY, &Settings::new(8)).is_err());
        let with = |labels, scales| plan_with(&[1.0, 0.5], 1.0, labels, scales, &Settings::new(8)).is_ok();
        assert!(with(vec![0, 1], vec![1.0, 0.5]));
        assert!(
            !with(vec![0, 1], vec![1.0]) && !with(vec![0, 0], vec![f32::NAN]) && !with(vec![0, 0], vec![0.0])
        );
        assert_eq!(plan(&[0.0; 4], 2, 1.0, &Settings::new(8)).map(|p| p.codes).unwrap_or_default(), [0; 4]);
    }
}
