//! `.cafw`: the weights of a network, or the modulation of a chunk, without names: the architecture fixes them. A header of 32 bytes, since a chunk's
//! numbers are few.
//!
//! Little-endian: `CFW1`; kind (0 shared, 1 modulation); type of the numbers (0 binary32, 1 binary16, 2 eight bits); flags (bit 0: gamma multiplied in);
//! chunk; number of tensors; payload bytes; CRC-32 of the payload; the first 8 bytes of the SHA-256 of the architecture. Then the tensors in the order of
//! the state dict. Of eight bits, tensors of four dimensions hold a binary32 scale per row, then the codes; all others are binary16.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, TensorData};
use half::f16;
use ocelli_nn::state_dict::{TensorSpec, is_frozen, load_state_dict, specs, state_dict};
use sha2::{Digest, Sha256};

use super::config::Config;
use super::fold::{dequantise_rows, folded_sites, quantise_rows};
use super::net::Net;
use crate::VideoError;

const MAGIC: &[u8; 4] = b"CFW1";

/// Bytes before the payload.
pub const HEADER: usize = 32;

/// The most a file may hold, in bytes: far above any network here.
pub const MAX_BYTES: u64 = 1 << 30;

const FOLDED: u16 = 1;

/// How numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// Binary32.
    F32,
    /// Binary16.
    F16,
    /// Eight bits per weight, the rest binary16.
    I8,
}

impl Storage {
    /// For so many bits per weight.
    pub fn of_bits(bits: u8) -> Option<Self> {
        match bits {
            8 => Some(Self::I8),
            16 => Some(Self::F16),
            32 => Some(Self::F32),
            _ => None,
        }
    }

    /// Bits per weight.
    pub fn bits(self) -> u8 {
        match self {
            Self::F32 => 32,
            Self::F16 => 16,
            Self::I8 => 8,
        }
    }

    /// How a modulation is stored beside weights stored so: 8 bits are too few for it.
    pub fn of_modulation(self) -> Self {
        if self == Self::F32 { Self::F32 } else { Self::F16 }
    }

    fn code(self) -> u8 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::I8 => 2,
        }
    }
}

/// The first 8 bytes of the SHA-256 of the architecture.
pub fn arch_hash(config: &Config) -> [u8; 8] {
    let digest = Sha256::digest(config.architecture().as_bytes());
    std::array::from_fn(|i| digest[i])
}

/// The tensors of the shared network that are sent, in order.
fn shared_specs(config: &Config) -> Vec<TensorSpec> {
    let net = config.with_chunks(0).build(&Device::flex());
    specs(&net).into_iter().filter(|spec| !is_frozen(&spec.name)).collect()
}

fn push(values: &[f32], storage: Storage, payload: &mut Vec<u8>) {
    match storage {
        Storage::F32 => values.iter().for_each(|value| payload.extend(value.to_le_bytes())),
        _ => values.iter().for_each(|value| payload.extend(f16::from_f32(*value).to_le_bytes())),
    }
}

fn file(config: &Config, kind: u8, storage: Storage, chunk: u32, tensors: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend(MAGIC);
    bytes.extend([kind, storage.code()]);
    bytes.extend(if kind == 1 { FOLDED } else { 0 }.to_le_bytes());
    bytes.extend(chunk.to_le_bytes());
    bytes.extend(tensors.to_le_bytes());
    bytes.extend((payload.len() as u32).to_le_bytes());
    bytes.extend(crc32fast::hash(payload).to_le_bytes());
    bytes.extend(arch_hash(config));
    bytes.extend(payload);
    bytes
}

/// The shared weights of `net` as a file.
pub fn shared_bytes(config: &Config, net: &Net, storage: Storage) -> Vec<u8> {
    let tensors = state_dict(net);
    let mut payload = Vec::new();
    let specs = shared_specs(config);
    for spec in &specs {
        let values: Vec<f32> =
            tensors.get(&spec.name).map(|data| data.iter::<f32>().collect()).unwrap_or_default();
        if storage == Storage::I8 && spec.shape.len() == 4 {
            let (codes, scales) = quantise_rows(&values, spec.shape[0]);
            push(&scales, Storage::F32, &mut payload);
            payload.extend(codes.iter().map(|code| *code as u8));
        } else {
            push(&values, storage, &mut payload);
        }
    }
    file(config, 0, storage, 0, specs.len() as u32, &payload)
}

/// The modulation of `chunk` as a file: for every place what is multiplied beyond the identity, then what is added.
pub fn modulation_bytes(config: &Config, net: &Net, chunk: usize, storage: Storage) -> Vec<u8> {
    let storage = storage.of_modulation();
    let mut payload = Vec::new();
    let sites = folded_sites(net, chunk);
    for (_, scale, shift) in &sites {
        push(scale, storage, &mut payload);
        push(shift, storage, &mut payload);
    }
    file(config, 1, storage, chunk as u32, 2 * sites.len() as u32, &payload)
}

/// What a file says of itself.
struct Head<'a> {
    storage: Storage,
    chunk: usize,
    payload: &'a [u8],
}

fn open<'a>(path: &Path, bytes: &'a [u8], config: &Config, kind: u8) -> Result<Head<'a>, VideoError> {
    let wrong = |problem: String| Err(VideoError::malformed(path, problem));
    if bytes.len() < HEADER || &bytes[..4] != MAGIC {
        return wrong("expected a file of weights (CFW1), found something else or a cut file".into());
    }
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
    let flags = u16::from_le_bytes([bytes[6], bytes[7]]);
    if bytes[4] != kind {
        return wrong(format!(
            "expected kind {kind} (0: shared weights, 1: a modulation), found {}",
            bytes[4]
        ));
    }
    let storage = match bytes[5] {
        0 => Storage::F32,
        1 => Storage::F16,
        2 if kind == 0 => Storage::I8,
        other => return wrong(format!("numbers of type {other}, expected 0, 1 or 2")),
    };
    if flags != if kind == 1 { FOLDED } else { 0 } {
        return wrong(format!("flags {flags:#x}: written by a later version"));
    }
    if bytes[24..32] != arch_hash(config) {
        return wrong(format!("belongs to another network than {}", config.architecture()));
    }
    let payload = &bytes[HEADER..];
    if word(16) as usize != payload.len() {
        return wrong(format!("expected {} bytes of numbers, found {}", word(16), payload.len()));
    }
    if crc32fast::hash(payload) != word(20) {
        return wrong("damaged: the checksum does not fit".into());
    }
    Ok(Head { storage, chunk: word(8) as usize, payload })
}

/// Takes numbers off the front of a payload.
struct Numbers<'a> {
    path: &'a Path,
    rest: &'a [u8],
}

impl Numbers<'_> {
    fn bytes(&mut self, count: usize) -> Result<&[u8], VideoError> {
        let Some((own, rest)) = self.rest.split_at_checked(count) else {
            return Err(VideoError::malformed(self.path, "expected more numbers than there are"));
        };
        self.rest = rest;
        Ok(own)
    }

    fn take(&mut self, count: usize, storage: Storage) -> Result<Vec<f32>, VideoError> {
        let values: Vec<f32> = if storage == Storage::F32 {
            self.bytes(4 * count)?.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        } else {
            self.bytes(2 * count)?
                .as_chunks::<2>()
                .0
                .iter()
                .map(|b| f16::from_le_bytes(*b).to_f32())
                .collect()
        };
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(VideoError::malformed(self.path, format!("a number is {value}"))),
            None => Ok(values),
        }
    }

    fn finish(self) -> Result<(), VideoError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(VideoError::malformed(
            self.path,
            format!("{} bytes more than the network needs", self.rest.len()),
        ))
    }
}

/// Shared weights as tensors by name.
pub type Shared = BTreeMap<String, TensorData>;

/// Reads shared weights.
///
/// # Errors
/// If the file is not of this network, damaged, or not finite.
pub fn read_shared(path: &Path, bytes: &[u8], config: &Config) -> Result<(Shared, Storage), VideoError> {
    let head = open(path, bytes, config, 0)?;
    let mut numbers = Numbers { path, rest: head.payload };
    let mut tensors = Shared::new();
    for spec in shared_specs(config) {
        let count: usize = spec.shape.iter().product();
        let values = if head.storage == Storage::I8 && spec.shape.len() == 4 {
            let scales = numbers.take(spec.shape[0], Storage::F32)?;
            let codes: Vec<i8> = numbers.bytes(count)?.iter().map(|byte| *byte as i8).collect();
            dequantise_rows(&codes, &scales)
        } else {
            numbers.take(count, head.storage)?
        };
        tensors.insert(spec.name, TensorData::new(values, spec.shape));
    }
    numbers.finish()?;
    Ok((tensors, head.storage))
}

/// A modulation as sent: at every place what is multiplied beyond the identity, and what is added.
pub type Modulation = Vec<(Vec<f32>, Vec<f32>)>;

/// Reads the modulation of `chunk`.
///
/// # Errors
/// As [`read_shared`], or if it is another chunk's.
pub fn read_modulation(
    path: &Path,
    bytes: &[u8],
    config: &Config,
    chunk: usize,
) -> Result<Modulation, VideoError> {
    let head = open(path, bytes, config, 1)?;
    if head.chunk != chunk {
        return Err(VideoError::malformed(path, format!("is of chunk {}, expected {chunk}", head.chunk)));
    }
    let mut numbers = Numbers { path, rest: head.payload };
    let inputs = config.form().inputs();
    let sites = config.sites().into_iter().map(|channels| {
        let scale = numbers.take(channels * inputs, head.storage)?;
        Ok((scale, numbers.take(channels, head.storage)?))
    });
    let sites = sites.collect::<Result<_, VideoError>>()?;
    numbers.finish()?;
    Ok(sites)
}

/// The network of shared weights and modulations, one per chunk or none at all.
pub fn assemble(config: &Config, shared: &Shared, modulations: &[Modulation]) -> Net {
    let net = config.with_chunks(modulations.len()).build(&Device::flex());
    let mut tensors = shared.clone();
    let names: Vec<String> = super::fold::sites(&net).into_iter().map(|(name, _)| name).collect();
    let inputs = config.form().inputs();
    let tensor = |values: &[f32], shape: Vec<usize>| TensorData::new(values.to_vec(), shape);
    for (chunk, modulation) in modulations.iter().enumerate() {
        for (name, (scale, shift)) in names.iter().zip(modulation) {
            let channels = shift.len();
            // Gamma is multiplied in: one stands for it.
            tensors.insert(format!("{name}.{chunk}.gamma"), tensor(&[1.0], vec![1]));
            let weight = tensor(scale, vec![channels, inputs, 1, 1]);
            tensors.insert(format!("{name}.{chunk}.transformer.weight"), weight);
            tensors.insert(format!("{name}.{chunk}.transformer.bias"), tensor(shift, vec![channels]));
        }
    }
    // The mean colours are the fresh network's.
    for (name, data) in state_dict(&net) {
        if is_frozen(&name) {
            tensors.insert(name, data);
        }
    }
    load_state_dict(net, tensors).0
}
