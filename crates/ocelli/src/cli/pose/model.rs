//! Which lifting network is meant.

use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::Device;
use ocelli_pose::Model;
use ocelli_pose::grid::Padding;

/// A network trained on motion capture of the CMU database (`assets/README.md`).
const SHIPPED: &[u8] = include_bytes!("../../../assets/pose-dgridconv-48.safetensors");

/// Name of the shipped network.
pub const SHIPPED_NAME: &str = "dgridconv_48_cmu";

/// Opens `reference`: the shipped network's name, a model file, a run folder, or a checkpoint of the reference.
pub fn open(reference: &str, padding: Option<&str>, device: &Device) -> Result<Model> {
    let padding =
        padding.map(Padding::pair).transpose().map_err(|problem| anyhow::anyhow!("--padding {problem}"))?;
    if reference == SHIPPED_NAME {
        let folder = tempfile::tempdir().context("a folder for the shipped network")?;
        let path = folder.path().join(format!("{SHIPPED_NAME}.safetensors"));
        std::fs::write(&path, SHIPPED).with_context(|| path.display().to_string())?;
        return Ok(Model::load(&path, None, device)?);
    }
    let path = Path::new(reference);
    let best = path.join("best.safetensors");
    let path = if path.is_dir() { best.as_path() } else { path };
    if !path.exists() {
        anyhow::bail!(
            "{reference}: no such model; expected {SHIPPED_NAME} (shipped), a model file or a run folder with best.safetensors"
        );
    }
    Ok(Model::load(path, padding, device)?)
}
