//! Errors of 3D poses as the protocols define them. Poses in metres, errors in millimetres, everything in float64.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::procrustes::align;

/// Distance within which a joint counts as right, in millimetres (MPI-INF-3DHP).
pub const PCK_THRESHOLD: f64 = 150.0;

/// A pose of any number of joints, in metres.
pub type Joints<'a> = &'a [[f64; 3]];

/// Distance of every joint, in millimetres.
pub fn joint_errors(target: Joints<'_>, prediction: Joints<'_>) -> Vec<f64> {
    let distance =
        |(a, b): (&[f64; 3], &[f64; 3])| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    target.iter().zip(prediction).map(distance).map(|metres| 1000.0 * metres).collect()
}

/// Mean per joint position error, in millimetres.
pub fn mpjpe(target: Joints<'_>, prediction: Joints<'_>) -> f64 {
    mean(&joint_errors(target, prediction))
}

/// [`mpjpe`] after the best similarity transform: one without mirroring.
pub fn pa_mpjpe(target: Joints<'_>, prediction: Joints<'_>) -> f64 {
    mpjpe(target, &align(target, prediction))
}

/// Share of joints nearer than `threshold` millimetres.
pub fn pck(errors: &[f64], threshold: f64) -> f64 {
    errors.iter().filter(|&&error| error < threshold).count() as f64 / errors.len().max(1) as f64
}

/// Mean of [`pck`] over the 31 thresholds 0, 5, .., 150 mm. (Other code goes up to 195 mm.)
pub fn auc(errors: &[f64]) -> f64 {
    (0..=30).map(|i| pck(errors, 5.0 * f64::from(i))).sum::<f64>() / 31.0
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The name under which poses of `action` are averaged: what stands before the first space, so that `Walking 1` is `Walking`.
pub fn action_key(action: &str) -> &str {
    action.split(' ').next().unwrap_or(action)
}

/// Sums over the poses of one action.
#[derive(Clone, Debug, Default)]
struct Sums {
    poses: usize,
    mpjpe: f64,
    pa_mpjpe: f64,
    axes: [f64; 3],
    pck: f64,
    auc: f64,
}

/// Figures of one action, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Poses behind them.
    pub poses: usize,
    /// Mean per joint position error, mm.
    pub mpjpe: f64,
    /// The same after alignment, mm.
    pub pa_mpjpe: f64,
    /// Mean absolute difference along x, y and z, mm.
    pub per_axis: [f64; 3],
    /// Share of joints within 150 mm.
    pub pck150: f64,
    /// Mean share over 0, 5, .., 150 mm.
    pub auc: f64,
}

/// What an evaluation came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Unweighted mean over the actions: the protocols' figure.
    pub mean_over_actions: Figures,
    /// Mean over all poses.
    pub all_poses: Figures,
    /// Every action.
    pub actions: BTreeMap<String, Figures>,
}

/// Collects poses of an evaluation, action by action.
#[derive(Clone, Debug, Default)]
pub struct Protocol {
    actions: BTreeMap<String, Sums>,
}

impl Protocol {
    /// Adds one pose of `action`.
    pub fn add(&mut self, action: &str, target: Joints<'_>, prediction: Joints<'_>) {
        let errors = joint_errors(target, prediction);
        let sums = self.actions.entry(action_key(action).to_string()).or_default();
        sums.poses += 1;
        sums.mpjpe += mean(&errors);
        sums.pa_mpjpe += pa_mpjpe(target, prediction);
        for (axis, sum) in sums.axes.iter_mut().enumerate() {
            let apart = target.iter().zip(prediction).map(|(a, b)| 1000.0 * (a[axis] - b[axis]).abs());
            *sum += apart.sum::<f64>() / target.len().max(1) as f64;
        }
        sums.pck += pck(&errors, PCK_THRESHOLD);
        sums.auc += auc(&errors);
    }

    /// The figures.
    pub fn report(&self) -> Report {
        let actions: BTreeMap<String, Figures> =
            self.actions.iter().map(|(name, sums)| (name.clone(), figures(sums))).collect();
        let mut all = Sums::default();
        for sums in self.actions.values() {
            all.poses += sums.poses;
            all.mpjpe += sums.mpjpe;
            all.pa_mpjpe += sums.pa_mpjpe;
            all.pck += sums.pck;
            all.auc += sums.auc;
            all.axes.iter_mut().zip(sums.axes).for_each(|(sum, own)| *sum += own);
        }
        let count = actions.len().max(1) as f64;
        let over = |pick: fn(&Figures) -> f64| actions.values().map(pick).sum::<f64>() / count;
        let mean_over_actions = Figures {
            poses: all.poses,
            mpjpe: over(|f| f.mpjpe),
            pa_mpjpe: over(|f| f.pa_mpjpe),
            per_axis: [over(|f| f.per_axis[0]), over(|f| f.per_axis[1]), over(|f| f.per_axis[2])],
            pck150: over(|f| f.pck150),
            auc: over(|f| f.auc),
        };
        Report { mean_over_actions, all_poses: figures(&all), actions }
    }
}

fn figures(sums: &Sums) -> Figures {
    let count = sums.poses.max(1) as f64;
    Figures {
        poses: sums.poses,
        mpjpe: sums.mpjpe / count,
        pa_mpjpe: sums.pa_mpjpe / count,
        per_axis: sums.axes.map(|sum| sum / count),
        pck150: sums.pck / count,
        auc: sums.auc / count,
    }
}
