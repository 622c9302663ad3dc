//! Cases whose figures stand in the JSON: metrics, schedules, parameter counts; and those about data.

use std::path::PathBuf;

use burn::tensor::TensorData;
use ocelli_pose::bvh::{Bvh, JointMap};
use ocelli_pose::camera::Camera;
use ocelli_pose::lifter::{Config, Variant};
use ocelli_pose::metrics::{Joints, Protocol, auc, joint_errors, mpjpe, pa_mpjpe, pck};
use ocelli_pose::picture::{coco_to_17, normalise};
use ocelli_pose::procrustes::align;
use ocelli_pose::schedule::{rising_temperature, step_rate, temperature};
use ocelli_pose::skeleton::{JOINTS, Pose2, Pose3};
use safetensors::SafeTensors;
use serde_json::Value;

use super::nets::parameters;
use super::numbers;
use crate::case::{Case, Measure, Result};
use crate::compare::{Comparison, Verdict};
use crate::run::Outputs;

fn list(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

/// float64 tensors `[poses, 17, 3]` as poses.
fn poses(case: &Case, name: &str) -> Result<Vec<Vec<[f64; 3]>>> {
    let path = case.path.with_extension("safetensors");
    let at = |problem: String| format!("{}: {problem}", path.display());
    let bytes = std::fs::read(&path).map_err(|error| at(error.to_string()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| at(error.to_string()))?;
    let view = file.tensor(name).map_err(|error| at(error.to_string()))?;
    let values: Vec<f64> = match view.dtype() {
        safetensors::Dtype::F64 => {
            view.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
        }
        safetensors::Dtype::F32 => {
            view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect()
        }
        other => return Err(at(format!("{name} is {other:?}"))),
    };
    let joints = view.shape().get(1).copied().unwrap_or(JOINTS);
    Ok(values.as_chunks::<3>().0.chunks(joints).map(<[[f64; 3]]>::to_vec).collect())
}

pub(super) fn metrics(case: &Case) -> Result<Vec<Comparison>> {
    let (targets, predictions) = (poses(case, "target")?, poses(case, "prediction")?);
    let pairs: Vec<_> = targets.iter().zip(&predictions).collect();
    let tolerance = case.json["tolerance"]["abs_mm"].as_f64().unwrap_or(1e-3);
    let json = &case.json;
    let compare =
        |name: &str, found: Vec<f64>| numbers(name, &found, &list(&json[name]), Measure::Absolute, tolerance);
    let each = |of: fn(Joints<'_>, Joints<'_>) -> f64| pairs.iter().map(|(t, p)| of(t, p)).collect();
    let mut found = vec![
        compare("mpjpe", each(mpjpe)),
        compare("pa_mpjpe", each(pa_mpjpe)),
        compare("pck150", each(|t, p| pck(&joint_errors(t, p), 150.0))),
        compare("auc", each(|t, p| auc(&joint_errors(t, p)))),
    ];
    let samples: Vec<&str> =
        json["samples"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let wanted = poses(case, "aligned_mm")?;
    for (index, (target, prediction)) in pairs.iter().enumerate() {
        let sample = samples.get(index).copied().unwrap_or_default();
        let name = format!("aligned_mm.{sample}");
        let aligned: Vec<f64> = align(target, prediction).into_iter().flatten().map(|v| 1000.0 * v).collect();
        let Some(want) = wanted.get(index) else { return Err(format!("{}: too few poses", case.name)) };
        let want: Vec<f64> = want.iter().flatten().copied().collect();
        let mut own = numbers(&name, &aligned, &want, Measure::Absolute, tolerance);
        if json["tolerance"]["aligned"].as_str().is_some_and(|text| text.contains(sample)) {
            own.verdict = Verdict::Skipped("its rotation is not unique".into());
        }
        found.push(own);
    }
    let finite: Vec<usize> = list(&json["finite_samples"]).into_iter().map(|v| v as usize).collect();
    let actions: Vec<&str> =
        json["actions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (mut plain, mut aligned) = (Protocol::default(), Protocol::default());
    for &index in &finite {
        let (Some((target, prediction)), Some(action)) = (pairs.get(index), actions.get(index)) else {
            return Err(format!("{}: no sample {index}", case.name));
        };
        plain.add(action, target, prediction);
        aligned.add(action, target, &align(target, prediction));
    }
    for (key, protocol) in [("action_mpjpe", plain), ("action_pa_mpjpe", aligned)] {
        let (report, want) = (protocol.report(), &json[key]);
        let mean = [report.mean_over_actions.mpjpe];
        let overall = [want["mean_over_actions"].as_f64().unwrap_or(f64::NAN)];
        found.push(numbers(&format!("{key}.mean"), &mean, &overall, Measure::Absolute, tolerance));
        for (action, figures) in &report.actions {
            let one = [want["per_action"][action].as_f64().unwrap_or(f64::NAN)];
            let name = format!("{key}.{action}");
            found.push(numbers(&name, &[figures.mpjpe], &one, Measure::Absolute, tolerance));
        }
        let axes = report.mean_over_actions.per_axis;
        found.push(numbers(
            &format!("{key}.per_axis"),
            &axes,
            &list(&want["per_axis"]),
            Measure::Absolute,
            tolerance,
        ));
    }
    Ok(found)
}

pub(super) fn schedules(case: &Case) -> Result<Vec<Comparison>> {
    let (highest, epochs): (f64, usize) = (case.config("max_temp")?, case.config("temp_epoch")?);
    let (rate, gamma): (f64, f64) = (case.config("lr")?, case.config("gamma")?);
    let tolerance = case.json["tolerance"]["rel"].as_f64().unwrap_or(1e-9);
    let mut found = Vec::new();
    for row in case.json["temperature"].as_array().into_iter().flatten() {
        let at = |key: &str| row[key].as_u64().unwrap_or(0) as usize;
        let (epoch, batch, batches) = (at("epoch"), at("iter"), at("iters"));
        let falling = temperature(highest, epochs, epoch, batch, batches);
        let rising = rising_temperature(highest, epochs, epoch, batch, batches);
        let name = format!("temperature.{epoch}.{batch}");
        if falling.is_some() == row["linear"].is_null() {
            return Err(format!("{}: the temperature moves in epoch {epoch}, or does not", case.name));
        }
        let mut own = vec![rising, falling.unwrap_or(1.0)];
        let mut want = vec![row["linear_increasing"].as_f64(), row["get_temperature_at_end"].as_f64()];
        if let Some(value) = falling {
            own.push(value);
            want.push(row["linear"].as_f64());
        }
        let want: Vec<f64> = want.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect();
        found.push(numbers(&name, &own, &want, Measure::Relative, tolerance));
    }
    for (key, value) in case.json.as_object().into_iter().flatten() {
        let Some(every) = key.strip_prefix("lr_decay").and_then(|every| every.parse::<usize>().ok()) else {
            continue;
        };
        let want = list(value);
        let own: Vec<f64> = (0..want.len()).map(|epoch| step_rate(rate, gamma, every, epoch)).collect();
        found.push(numbers(key, &own, &want, Measure::Relative, tolerance));
    }
    Ok(found)
}

/// Tables of parameter counts, or of normalised points.
pub(super) fn rows(case: &Case) -> Result<Vec<Comparison>> {
    let tolerance = case.json["tolerance"]["rel"].as_f64().unwrap_or(1e-6);
    let mut found = Vec::new();
    for row in case.json["rows"].as_array().into_iter().flatten() {
        let count = |key: &str| row[key].as_u64();
        if let (Some(hidden), Some(blocks)) = (count("hidden"), count("blocks")) {
            for (name, variant) in [
                ("gridconv", Variant::GridConv),
                ("dgridconv", Variant::DGridConv),
                ("autogrids", Variant::AutoGrids),
            ] {
                let config =
                    Config { variant, hidden: hidden as usize, blocks: blocks as usize, ..Config::default() };
                let mut exact = |what: String, own: u64, want: Option<u64>| {
                    let Some(want) = want else { return };
                    found.push(numbers(&what, &[own as f64], &[want as f64], Measure::Absolute, 0.0));
                };
                exact(format!("{name}.{hidden}x{blocks}"), parameters(&config), count(name));
                let macs = format!("macs_{name}");
                exact(format!("{macs}.{hidden}x{blocks}"), config.macs(), count(&macs));
            }
        } else {
            let side = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
            let (width, height) = (side("width"), side("height"));
            let points: Vec<Vec<f64>> = serde_json::from_value(row["points"].clone()).unwrap_or_default();
            let want: Vec<f64> = serde_json::from_value::<Vec<Vec<f64>>>(row["normalised"].clone())
                .unwrap_or_default()
                .concat();
            let own: Vec<f64> = points
                .iter()
                .filter(|point| point.len() == 2)
                .flat_map(|p| normalise([p[0] as f32, p[1] as f32], [width as f32, height as f32]))
                .map(f64::from)
                .collect();
            found.push(numbers(&format!("{width}x{height}"), &own, &want, Measure::Relative, tolerance));
        }
    }
    if found.is_empty() {
        return Err(format!("{}: no rows that are known here", case.name));
    }
    Ok(found)
}

pub(super) fn projection(case: &Case) -> Result<Outputs> {
    let cameras: Vec<Camera> = case.config("cameras")?;
    let world = case.input_data("joints_world")?;
    let values: Vec<f32> = world.iter::<f32>().collect();
    let frames: Vec<Pose3> = values.as_chunks::<3>().0.as_chunks::<JOINTS>().0.to_vec();
    let count = frames.len();
    let mut outputs = Outputs::new();
    for camera in &cameras {
        let seen: Vec<_> = frames.iter().map(|pose| camera.see(pose)).collect();
        let pixels: Vec<f32> = seen.iter().flat_map(|own| own.pixels.as_flattened().to_vec()).collect();
        let target: Vec<f32> = seen.iter().flat_map(|own| own.target.as_flattened().to_vec()).collect();
        let keep: Vec<i64> = seen.iter().map(|own| own.whole.into()).collect();
        outputs.insert(format!("uv.{}", camera.name), TensorData::new(pixels, [count, JOINTS, 2]));
        outputs.insert(format!("target.{}", camera.name), TensorData::new(target, [count, JOINTS, 3]));
        outputs.insert(format!("keep.{}", camera.name), TensorData::new(keep, [count]));
    }
    Ok(outputs)
}

pub(super) fn coco(case: &Case) -> Result<Outputs> {
    let inputs = case.inputs();
    let (name, shape) = inputs.first().ok_or_else(|| format!("{}: no input", case.name))?;
    // The case writes the transformation as words: `300*v+500, as pixels`.
    let values: Vec<f32> =
        crate::fill::input(name, shape).into_iter().map(|v| (300.0 * f64::from(v) + 500.0) as f32).collect();
    let poses: Vec<Pose2> =
        values.as_chunks::<2>().0.as_chunks::<JOINTS>().0.iter().map(coco_to_17).collect();
    let flat: Vec<f32> = poses.iter().flat_map(|pose| pose.as_flattened().to_vec()).collect();
    let normal: Vec<f32> =
        poses.iter().flatten().flat_map(|&point| normalise(point, [1000.0, 1000.0])).collect();
    let shape = [poses.len(), JOINTS, 2];
    let mut outputs = Outputs::new();
    outputs.insert("joints17".into(), TensorData::new(flat, shape));
    outputs.insert("normalised".into(), TensorData::new(normal, shape));
    Ok(outputs)
}

pub(super) fn bvh(case: &Case) -> Result<Outputs> {
    let file: String = case.config("file")?;
    let path = find(case, &file)?;
    let bvh = Bvh::read(&path).map_err(|error| error.to_string())?;
    let names: Vec<String> = case.config("joint_names")?;
    if bvh.names() != names {
        return Err(format!("{}: the joints are {:?}", case.name, bvh.names()));
    }
    let frames: Vec<usize> = case.config("frames")?;
    let map: [String; JOINTS] = case.config("map")?;
    let map = JointMap::new(map, case.config("scale")?);
    let chosen = map.resolve(&bvh, &path).map_err(|error| error.to_string())?;
    let (mut all, mut seventeen) = (Vec::new(), Vec::new());
    for &frame in &frames {
        let world = bvh.positions(frame).ok_or_else(|| format!("{}: no frame {frame}", case.name))?;
        seventeen.extend(chosen.pose(&world).into_iter().flatten());
        all.extend(world.into_iter().flatten().map(|v| v as f32));
    }
    if bvh.frames() as u64 != case.config::<u64>("total_frames")? {
        return Err(format!("{}: {} frames", case.name, bvh.frames()));
    }
    let mut outputs = Outputs::new();
    outputs.insert("world_all_joints".into(), TensorData::new(all, [frames.len(), names.len(), 3]));
    outputs.insert("joints17_m".into(), TensorData::new(seventeen, [frames.len(), JOINTS, 3]));
    Ok(outputs)
}

/// The file beside the case, or among the pose data next to the golden cases.
fn find(case: &Case, name: &str) -> Result<PathBuf> {
    let name = PathBuf::from(name);
    let name = name.file_name().ok_or_else(|| format!("{}: no file name", case.name))?;
    let folder = case.path.parent().unwrap_or(std::path::Path::new("."));
    let places = [
        folder.join(name),
        folder.join("../../pose").join(name),
        folder.join("../../data/pose").join(name),
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/pose")).join(name),
    ];
    places
        .iter()
        .find(|path| path.is_file())
        .cloned()
        .ok_or_else(|| format!("{}: {} is nowhere near the case", case.name, name.display()))
}
