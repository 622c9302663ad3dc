//! Tables: sizes of networks, frames and their chunks.

use burn::tensor::Device;
use ocelli_nn::state_dict::parameter_count;
use ocelli_video::deliver::chunks::{reference_chunk, reference_test_chunk};
use ocelli_video::deliver::{Backbone, Config};

use super::{figure, nets};
use crate::case::{Case, Result};
use crate::compare::Comparison;

pub(super) fn parameters(case: &Case) -> Result<Vec<Comparison>> {
    let mut all = Vec::new();
    for row in case.json["rows"].as_array().into_iter().flatten() {
        let model = row["model"].as_str().unwrap_or_default();
        let whole = |key: &str| row[key].as_u64().map(|n| n as usize);
        let backbone = match model {
            _ if model.starts_with("ESPCN") => Backbone::Espcn,
            _ if model.starts_with("SRCNN") => Backbone::Srcnn,
            _ if model.starts_with("VDSR") => Backbone::Vdsr,
            _ if model.starts_with("EDSR") => Backbone::Edsr,
            _ if model.starts_with("RCAN") => Backbone::Rcan,
            _ => return Err(format!("{}: no network called {model}", case.name)),
        };
        let base = Config::new(backbone, whole("scale").unwrap_or(2));
        // `EDSR16` and the like say their blocks in the name where no column does.
        let named = model.chars().filter(char::is_ascii_digit).collect::<String>().parse().ok();
        let blocks = whole("n_resblocks").or(whole("blocks")).or(named).unwrap_or(base.blocks);
        let config = Config { blocks: if base.blocks == 0 { 0 } else { blocks }, ..base };
        let device = Device::flex();
        let (plain, one) = (config.build(&device), config.with_chunks(1).build(&device));
        let shared = parameter_count(&plain);
        let mut check = |key: &str, found: f64, tolerance: f64| {
            if let Some(want) = row[key].as_f64() {
                all.push(figure(format!("{model} x{} {key}", config.scale), found, want, tolerance));
            }
        };
        let own = parameter_count(&one) - shared;
        check("shared_params", shared as f64, 0.0);
        check("per_chunk_params", own as f64, 0.0);
        check("per_chunk_pct", 100.0 * own as f64 / shared as f64, 1e-4);
        // The attention's products are per picture: the table's pictures have 10 x 10 pixels.
        let (picture, pixels) = ([1, 3, 10, 10], 100.0);
        check("macs_per_lr_pixel", nets::macs(&config, &plain, picture) as f64 / pixels, 0.1);
        let modulated = nets::macs(&config.with_chunks(1), &one, picture) as f64 / pixels;
        check("macs_per_lr_pixel_with_cafm", modulated, 0.1);
    }
    Ok(all)
}

pub(super) fn chunks(case: &Case) -> Result<Vec<Comparison>> {
    let mut all = Vec::new();
    let number = |value: &serde_json::Value| {
        value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default() as usize
    };
    let numbers =
        |value: &serde_json::Value| value.as_array().into_iter().flatten().map(number).collect::<Vec<_>>();
    for (name, own) in case.json["train"].as_object().into_iter().flatten() {
        // `train_len450_seg3`
        let after = |key: &str| {
            let text = name.split(key).nth(1)?;
            text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
        };
        let (Some(length), Some(segments)) = (after("len"), after("seg")) else {
            return Err(format!("{}: {name} says neither length nor chunks", case.name));
        };
        let found: Vec<Option<usize>> = numbers(&own["numbers"])
            .into_iter()
            .map(|frame| reference_chunk(frame, length, segments))
            .collect();
        for (chunk, group) in own["groups"].as_array().into_iter().flatten().enumerate() {
            let ours: Vec<usize> = (0..found.len()).filter(|&at| found[at] == Some(chunk)).collect();
            let differs = f64::from(u8::from(ours != numbers(group)));
            all.push(figure(format!("{name} chunk {chunk}"), differs, 0.0, 0.0));
        }
    }
    for (name, own) in case.json["test"].as_object().into_iter().flatten() {
        let seconds: usize =
            name.trim_end_matches('s').parse().map_err(|_| format!("{}: {name}", case.name))?;
        let wanted = numbers(&own["chunk"]);
        for (frame, want) in numbers(&own["numbers"]).into_iter().zip(wanted) {
            let ours = reference_test_chunk(frame, seconds / 5);
            all.push(figure(format!("{name} frame {frame}"), ours as f64, want as f64, 0.0));
        }
    }
    Ok(all)
}
