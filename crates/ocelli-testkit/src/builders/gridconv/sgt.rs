//! Handcrafted and learnable grids.

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::state_dict::load_state_dict;
use ocelli_pose::grid::{cells_of, map_of};
use ocelli_pose::sgt::{
    Assignment, LearnableSgt, Prior, forward_matrix, inverse_matrix, owners, to_grid, to_joints,
};
use ocelli_pose::skeleton::JOINTS;

use crate::case::{Case, Result};
use crate::fill;
use crate::run::Outputs;

fn scaled(matrix: &[f32], factor: f32, shape: [usize; 2]) -> TensorData {
    TensorData::new(matrix.iter().map(|v| v * factor).collect::<Vec<f32>>(), shape)
}

pub(super) fn handcrafted(case: &Case) -> Result<Outputs> {
    let device = Device::flex();
    let (forward, inverse) = (forward_matrix(), inverse_matrix());
    let matrix =
        |values: &[f32], shape| Tensor::<3>::from_data(TensorData::new(values.to_vec(), shape), &device);
    let cells = forward.len() / JOINTS;
    let (to, back) = (matrix(&forward, [1, cells, JOINTS]), matrix(&inverse, [1, JOINTS, cells]));
    let [grid_height, grid_width]: [usize; 2] = case.config("grid")?;
    let inputs = case.inputs();
    let [(pose, _), (grid, _)] = inputs.as_slice() else {
        return Err(format!("{}: expected two inputs", case.name));
    };
    let laid = to_grid(to, case.input::<3>(pose, &device)?);
    let stored = cells_of(case.input::<4>(grid, &device)?);
    let mut outputs = Outputs::new();
    outputs.insert("forward_matrix_x2".into(), scaled(&forward, 2.0, [cells, JOINTS]));
    outputs.insert("inverse_matrix_x30".into(), scaled(&inverse, 30.0, [JOINTS, cells]));
    outputs.insert("roundtrip".into(), to_grid(back.clone(), laid.clone()).into_data());
    outputs.insert("grid".into(), map_of(laid, [grid_height, grid_width]).into_data());
    outputs.insert("inverse_of_grid_input".into(), to_grid(back, stored).into_data());
    Ok(outputs)
}

pub(super) fn priors(case: &Case) -> Result<Outputs> {
    let mut outputs = Outputs::new();
    for name in case.output_names().iter().filter_map(|name| name.strip_prefix("prior.")) {
        let prior = prior(case, name)?;
        let grid = prior.grid().ok_or_else(|| format!("{}: {name} has no grid", case.name))?;
        let joints: Vec<i64> = grid.iter().map(|&joint| joint as i64).collect();
        let counts: Vec<i64> =
            (0..JOINTS).map(|joint| grid.iter().filter(|&&own| own == joint).count() as i64).collect();
        outputs.insert(format!("prior.{name}"), TensorData::new(joints, [5, 5]));
        outputs.insert(format!("cells_per_joint.{name}"), TensorData::new(counts, [JOINTS]));
    }
    Ok(outputs)
}

pub(super) fn prior(case: &Case, name: &str) -> Result<Prior> {
    serde_json::from_value(name.into()).map_err(|error| format!("{}: {error}", case.name))
}

/// The layer with `matrix` `[1, cells, 17]`.
fn with_matrix(matrix: TensorData, device: &Device) -> Result<LearnableSgt> {
    let cells = matrix.shape()[1];
    let layer = LearnableSgt::new(Prior::RandomProb, cells, 0, device);
    let (layer, mismatch) = load_state_dict(layer, [("sgt_trans_mat".to_string(), matrix)].into());
    if mismatch.is_empty() { Ok(layer) } else { Err(mismatch.to_string()) }
}

/// The way back to joints, of a prior or of the matrix that the fill rule gives.
pub(super) fn inverse(case: &Case) -> Result<Outputs> {
    let device = Device::flex();
    let name: String = case.config("prior")?;
    let inputs = case.inputs();
    let (input, shape) = inputs.first().ok_or_else(|| format!("{}: no input", case.name))?;
    let shape = [1, shape[1], JOINTS];
    let layer = if name == "filled" {
        // Under the name that it has in the network.
        let values = fill::parameter("sgt_layer.sgt_trans_mat", &shape);
        with_matrix(TensorData::new(values, shape), &device)?
    } else {
        LearnableSgt::new(prior(case, &name)?, shape[1], 0, &device)
    };
    let joints = to_joints(layer.fixed(), case.input::<3>(input, &device)?);
    let assignment: Vec<i64> = layer.owners().into_iter().map(|joint| joint as i64).collect();
    let mut outputs = Outputs::new();
    outputs.insert("assignment".into(), TensorData::new(assignment, [shape[1]]));
    outputs.insert("joints".into(), joints.into_data());
    Ok(outputs)
}

/// All ways of assigning, with the gradient of `sum(grid · grad_out)`.
pub(super) fn learnable(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let stored = |name: &str| case.input_data(name);
    let noise = Tensor::<3>::from_data(stored("gumbel_noise")?, &device);
    let matrix = stored("sgt_trans_mat")?;
    let inputs = case.inputs();
    let pose = inputs.first().ok_or_else(|| format!("{}: no input", case.name))?;
    let grad = inputs.iter().find(|(name, _)| name.ends_with("grad_out"));
    let grad = grad.ok_or_else(|| format!("{}: no gradient", case.name))?;
    let (pose, grad) = (case.input::<3>(&pose.0, &device)?, case.input::<3>(&grad.0, &device)?);
    let mut outputs = Outputs::new();
    let layer = with_matrix(matrix, &device)?;
    let fixed = layer.fixed();
    // The same as one-hot of the owners.
    if owners(&fixed.clone().into_data()) != layer.owners() {
        return Err(format!("{}: evaluation does not choose the owners", case.name));
    }
    outputs.insert("eval.grid".into(), to_grid(fixed.clone(), pose.clone()).into_data());
    outputs.insert("eval.S".into(), fixed.into_data());
    let mut ways = vec![("straight_through".to_string(), Assignment::StraightThrough)];
    for tau in case.config::<Vec<f64>>("taus")? {
        // As Python writes them.
        ways.push((format!("gumbel_soft_tau{tau:?}"), Assignment::GumbelSoft { tau }));
        ways.push((format!("gumbel_hard_tau{tau:?}"), Assignment::GumbelHard { tau }));
    }
    for (name, how) in ways {
        let assignment = layer.trained(how, Some(noise.clone()));
        let grid = to_grid(assignment.clone(), pose.clone());
        let grads = grid.clone().mul(grad.clone()).sum().backward();
        let own = layer.sgt_trans_mat.val().grad(&grads);
        outputs.insert(format!("{name}.S"), assignment.into_data());
        outputs.insert(format!("{name}.grid"), grid.into_data());
        outputs.extend(own.map(|own| (format!("{name}.grad"), own.into_data())));
    }
    Ok(outputs)
}
