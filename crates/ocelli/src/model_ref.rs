//! What `--model` may name: a registered network, a file, a run folder, or `hf://org/repo[/file]`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use ocelli_image::classify::Classifier;
use ocelli_image::zoo;

/// A model reference, told apart but not yet opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelRef {
    /// A name of the registry.
    Name(String),
    /// A file, or the best model of a run folder.
    File(PathBuf),
    /// A file of a Hugging Face repository.
    Hub {
        /// `org/repo`
        repo: String,
        /// File inside, `model.safetensors` if not said.
        file: Option<String>,
    },
}

impl ModelRef {
    /// Tells what `reference` is.
    pub fn parse(reference: &str) -> Result<Self> {
        if let Some(rest) = reference.strip_prefix("hf://") {
            let parts: Vec<&str> = rest.splitn(3, '/').collect();
            return match parts.as_slice() {
                [org, repo] if !org.is_empty() && !repo.is_empty() => {
                    Ok(Self::Hub { repo: format!("{org}/{repo}"), file: None })
                }
                [org, repo, file] if !org.is_empty() && !repo.is_empty() && !file.is_empty() => {
                    Ok(Self::Hub { repo: format!("{org}/{repo}"), file: Some(file.to_string()) })
                }
                _ => bail!("'{reference}': expected hf://org/repo or hf://org/repo/file"),
            };
        }
        let path = Path::new(reference);
        if path.is_dir() {
            let best = path.join("best.safetensors");
            if best.is_file() {
                return Ok(Self::File(best));
            }
            bail!("{reference}: a folder without best.safetensors; expected a run folder or a model file");
        }
        if path.is_file() {
            return Ok(Self::File(path.to_path_buf()));
        }
        let looks_like_path = reference.contains(['/', '\\'])
            || path.extension().is_some_and(|end| {
                ["safetensors", "pth", "pt", "bin", "caffemodel", "tar"].iter().any(|known| end == *known)
            });
        if looks_like_path {
            bail!("{reference}: no such file");
        }
        zoo::entry(reference)?;
        Ok(Self::Name(reference.to_string()))
    }

    /// Opens the reference as a classifier. `weights` gives a registered network its weights.
    pub fn open(&self, weights: Option<&str>, lenient: bool, device: &Device) -> Result<Classifier> {
        let weights = weights.map(weights_file).transpose()?;
        Ok(match (self, weights) {
            (Self::Name(name), Some(weights)) => {
                Classifier::from_weights(name, &weights.path, lenient, device)?
            }
            (Self::Name(name), None) => {
                bail!(
                    "'{name}' names an untrained network: give it --weights FILE (or hf://...), or name a trained model file"
                )
            }
            (Self::File(path), None) => Classifier::from_file(path, device)?,
            (Self::Hub { .. }, None) => {
                let weights = self.download()?;
                match &weights.architecture {
                    Some(name) => Classifier::from_weights(name, &weights.path, lenient, device)?,
                    None => Classifier::from_file(&weights.path, device)?,
                }
            }
            (_, Some(_)) => bail!("--weights goes with a registered name as --model, not with a file"),
        })
    }

    #[cfg(feature = "hub")]
    fn download(&self) -> Result<Weights> {
        let Self::Hub { repo, file } = self else { bail!("not a hub reference") };
        let api = hf_hub::api::sync::ApiBuilder::from_env()
            .with_progress(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .build()
            .context("cannot set up the download")?;
        let repository = api.model(repo.clone());
        let name = file.as_deref().unwrap_or("model.safetensors");
        let path = repository.get(name).with_context(|| format!("hf://{repo}: cannot fetch {name}"))?;
        // timm's repositories say which network the weights are for.
        let architecture = repository
            .get("config.json")
            .ok()
            .and_then(|config| std::fs::read(config).ok())
            .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
            .and_then(|config| config["architecture"].as_str().map(str::to_string));
        Ok(Weights { path, architecture })
    }

    #[cfg(not(feature = "hub"))]
    fn download(&self) -> Result<Weights> {
        bail!("this ocelli was built without downloads (feature `hub`); fetch the file and name its path")
    }
}

/// A weight file at hand, and the network it is for if its source says so.
struct Weights {
    path: PathBuf,
    architecture: Option<String>,
}

fn weights_file(reference: &str) -> Result<Weights> {
    match ModelRef::parse(reference) {
        Ok(ModelRef::File(path)) => Ok(Weights { path, architecture: None }),
        Ok(hub @ ModelRef::Hub { .. }) => hub.download(),
        _ => bail!("{reference}: no such weight file"),
    }
}

/// The local file of a `--weights` reference, downloading it if it is a hub's.
pub fn local_weights(reference: &str) -> Result<PathBuf> {
    Ok(weights_file(reference)?.path)
}
