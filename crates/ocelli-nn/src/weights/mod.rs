//! Weight files: published `.safetensors`, `.pth` and `.caffemodel` checkpoints, and ocelli's own model files.

mod caffe;
mod foreign;
mod protobuf;
mod pytorch;
mod safetensors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::TensorData;

pub use self::caffe::write_caffe;
pub use self::safetensors::write;
use crate::state_dict::{Mismatch, load_state_dict};

/// Key of the safetensors metadata under which ocelli keeps a model's description as JSON.
pub const METADATA_KEY: &str = "ocelli";

/// The key of `NetParameter.name`, which every Caffe release writes first.
const FIRST_BYTE_OF_CAFFE: u8 = 0x0a;

/// What goes wrong with weight files. Every message names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// The content is not what the format demands.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        problem: String,
    },
    /// Names or shapes do not fit the network.
    #[error("{}: the weights do not fit {network}:{mismatch}\n  (--lenient loads what fits)", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What the weights were to go into.
        network: String,
        /// What did not fit.
        mismatch: Box<Mismatch>,
    },
}

impl WeightsError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn malformed(path: &Path, problem: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_path_buf(), problem: problem.into() }
    }
}

/// Tensors of a weight file, converted to float32, and its description if ocelli wrote it.
#[derive(Debug, Default)]
pub struct WeightFile {
    /// Where it came from, for messages.
    pub path: PathBuf,
    /// Tensors by name. Integer tensors (counters) are left out, but for binary masks (`*.mask` of bytes 0 and 1), which become
    /// -0.5 and 0.5.
    pub tensors: BTreeMap<String, TensorData>,
    /// The `ocelli` entry of the header.
    pub description: Option<String>,
}

impl WeightFile {
    /// Reads a file whose kind is told by its content: safetensors, a PyTorch checkpoint (zip or legacy
    /// pickle; no code in it is run, objects beside the tensors are passed over), or a `.caffemodel` (also told by its ending). Training checkpoints are unwrapped (`state_dict`, `model`, ... and the
    /// `module.` prefix of data-parallel training).
    pub fn read(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let io = WeightsError::io(path);
        let mut head = [0u8; 9];
        let found = {
            use std::io::Read;
            let file = std::fs::File::open(path);
            match file.and_then(|file| {
                if file.metadata()?.is_dir() {
                    return Err(std::io::Error::other("is a directory, expected a weight file"));
                }
                let mut found = Vec::new();
                file.take(head.len() as u64).read_to_end(&mut found)?;
                Ok(found)
            }) {
                Ok(found) => found,
                Err(error) => return Err(io(error)),
            }
        };
        head[..found.len()].copy_from_slice(&found);
        // Any byte may stand at Caffe's place 8, the ending decides before safetensors' brace is looked for.
        let caffe = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("caffemodel"));
        let mut file = if caffe && !found.is_empty() {
            caffe::read(path)?
        } else if head[8] == b'{' {
            safetensors::read(path)?
        } else if head.starts_with(b"PK") || head[0] == 0x80 || is_tar(path) {
            pytorch::read(path)?
        } else if head[0] == FIRST_BYTE_OF_CAFFE {
            caffe::read(path)?
        } else {
            return Err(WeightsError::malformed(
                path,
                format!(
                    "expected a .safetensors, PyTorch .pth or .caffemodel file, found {}",
                    if found.is_empty() {
                        "an empty file".to_string()
                    } else {
                        format!("bytes {found:02x?}")
                    }
                ),
            ));
        };
        file.unwrap_checkpoint();
        Ok(file)
    }

    /// Whether the tensors are named by Caffe's layers (`conv1/7x7_s2.weight`).
    pub fn is_caffe(&self) -> bool {
        self.tensors.keys().any(|name| name.contains("/bn"))
    }

    /// Undoes the wrapping of training checkpoints.
    fn unwrap_checkpoint(&mut self) {
        let wrapper = CHECKPOINT_KEYS.into_iter().find(|wrapper| {
            let (inside, outside): (Vec<&String>, Vec<&String>) =
                self.tensors.keys().partition(|name| name.starts_with(wrapper));
            // A network may have a part called `model`; a checkpoint has nothing but training state beside it.
            !inside.is_empty() && outside.iter().all(|name| is_training_state(name))
        });
        if let Some(wrapper) = wrapper {
            self.keep_under(wrapper);
        }
        for prefix in ["module.", "_orig_mod."] {
            if !self.tensors.is_empty() && self.tensors.keys().all(|name| name.starts_with(prefix)) {
                self.keep_under(prefix);
            }
        }
    }

    fn keep_under(&mut self, prefix: &str) {
        self.tensors = std::mem::take(&mut self.tensors)
            .into_iter()
            .filter_map(|(name, data)| name.strip_prefix(prefix).map(|rest| (rest.to_string(), data)))
            .collect();
    }

    /// Puts the tensors into `module`.
    ///
    /// Strict unless `lenient`: missing, unexpected and misshapen names are all listed in one error. With
    /// `lenient` what fits is loaded and the rest is returned as the mismatch.
    pub fn load_into<M: Module>(
        self,
        module: M,
        network: &str,
        lenient: bool,
    ) -> Result<(M, Mismatch), WeightsError> {
        let (module, mismatch) = load_state_dict(module, self.tensors);
        if lenient || mismatch.is_empty() {
            Ok((module, mismatch))
        } else {
            Err(WeightsError::Mismatch {
                path: self.path,
                network: network.to_string(),
                mismatch: mismatch.into(),
            })
        }
    }
}

/// Keys under which training checkpoints keep the weights, best first.
const CHECKPOINT_KEYS: [&str; 6] =
    ["state_dict_ema.", "model_ema.", "state_dict.", "model_state_dict.", "model.", "net."];

/// Whether a checkpoint's tensor belongs to the training and not to the network that is looked for.
fn is_training_state(name: &str) -> bool {
    const STATE: [&str; 12] =
        ["optim", "lr", "sched", "scaler", "amp", "epoch", "step", "iter", "best", "acc", "loss", "rng"];
    let first = name.split('.').next().unwrap_or(name).to_lowercase();
    STATE.iter().any(|word| first.starts_with(word))
        || CHECKPOINT_KEYS.iter().any(|key| name.starts_with(key))
}

/// Oldest PyTorch files are tar archives: the magic stands at offset 257.
fn is_tar(path: &Path) -> bool {
    use std::io::{Read, Seek, SeekFrom};
    let mut magic = [0u8; 5];
    std::fs::File::open(path)
        .and_then(|mut file| {
            file.seek(SeekFrom::Start(257))?;
            file.read_exact(&mut magic)
        })
        .is_ok_and(|()| &magic == b"ustar")
}

/// Puts `bytes` at `path`: a temporary file beside it reaches the disk and replaces the old file in one step.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // Temporary files are private by default; a model file is an ordinary file, as the umask has it.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The rename itself must survive a power cut; not every platform can open a folder, none needs more.
    if let Ok(folder) = std::fs::File::open(folder) {
        folder.sync_all().ok();
    }
    Ok(())
}

/// Whether bytes called `name` are a binary mask.
fn is_mask(name: &str) -> bool {
    name.rsplit('.').next() == Some("mask")
}

/// Converts little-endian elements to float32; `None` for kinds that hold no weights.
fn to_f32(kind: Kind, bytes: &[u8]) -> Option<Vec<f32>> {
    fn each<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| convert(*chunk)).collect()
    }
    Some(match kind {
        Kind::F32 => each(bytes, f32::from_le_bytes),
        Kind::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
        Kind::F16 => each(bytes, |b| half::f16::from_le_bytes(b).to_f32()),
        Kind::Bf16 => each(bytes, |b| half::bf16::from_le_bytes(b).to_f32()),
        // As the masks' authors read them: only the sign counts, which -1 and 1 keep too.
        Kind::Mask => bytes.iter().map(|&byte| f32::from(byte as i8) - 0.5).collect(),
        Kind::Other => return None,
    })
}

#[derive(Clone, Copy)]
enum Kind {
    F32,
    F64,
    F16,
    Bf16,
    /// One byte per element.
    Mask,
    Other,
}
