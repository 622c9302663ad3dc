//! PyTorch checkpoints with objects beside the weights: an optimiser pickled whole, an argument parser's answers, a class of the authors' own.
//! The tensors of the dictionaries on top are read; objects are passed over, whatever they are.

mod pickle;

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use burn::tensor::TensorData;

use self::pickle::{Id, Node, Pickled};
use super::{Kind, WeightFile, is_mask, to_f32};

/// Largest pickle and storage inside of an archive, and largest file of the older form.
const LARGEST: u64 = 8 << 30;

/// Reads the zip form or the older stream of pickles.
pub(super) fn read(path: &Path) -> Result<WeightFile, String> {
    let io = |error: std::io::Error| error.to_string();
    let mut magic = [0u8; 2];
    let mut file = std::fs::File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    file.read_exact(&mut magic).map_err(io)?;
    // Checkpoints are stored as they are; what unpacks to much more is none.
    let most = LARGEST.min(length.saturating_mul(8).saturating_add(1 << 20));
    let tensors = if &magic == b"PK" {
        let mut archive = zip::ZipArchive::new(file).map_err(|error| error.to_string())?;
        let name = archive.file_names().flatten().find(|name| name.ends_with("/data.pkl"));
        let name = name.ok_or("no data.pkl in the archive")?.into_owned();
        let root = name.strip_suffix("data.pkl").unwrap_or_default();
        let pickled = pickle::read(&member(&mut archive, &name, most)?)?;
        if member(&mut archive, &format!("{root}byteorder"), most).is_ok_and(|order| order != b"little") {
            return Err("written on a machine with the other order of bytes".into());
        }
        tensors(&pickled, length, |key| member(&mut archive, &format!("{root}data/{key}"), most))?
    } else if length <= LARGEST {
        stream(&std::fs::read(path).map_err(io)?)?
    } else {
        return Err(format!("{length} bytes, expected at most {LARGEST}"));
    };
    match tensors.is_empty() {
        true => Err("it holds no float tensors".into()),
        false => Ok(WeightFile {
            path: path.to_path_buf(),
            tensors: tensors.into_iter().collect(),
            description: None,
        }),
    }
}

fn member(archive: &mut zip::ZipArchive<std::fs::File>, name: &str, most: u64) -> Result<Vec<u8>, String> {
    let file = archive.by_name(name).map_err(|error| format!("{name}: {error}"))?;
    if file.size() > most {
        return Err(format!("{name}: {} bytes, expected at most {most}", file.size()));
    }
    let mut bytes = Vec::new();
    // The archive's own word on sizes is not relied upon.
    file.take(most).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
    Ok(bytes)
}

/// Before version 1.6: a magic number, a version, a word on the machine, the checkpoint, the keys of the storages, each a pickle; then the
/// storages in the order of their keys, each with its count of elements before it.
fn stream(bytes: &[u8]) -> Result<Vec<(String, TensorData)>, String> {
    let mut at = 0;
    let mut next = || -> Result<(Pickled, usize), String> {
        let pickled = pickle::read(bytes.get(at..).unwrap_or_default())?;
        at += pickled.length;
        Ok((pickled, at))
    };
    for _ in 0..3 {
        next()?;
    }
    let (pickled, _) = next()?;
    let (keys, mut at) = next()?;
    let Node::List(ids) = keys.node(keys.root) else { return Err("no list of storages".into()) };
    let kinds: HashMap<&str, &str> = pickled
        .nodes
        .iter()
        .filter_map(|node| match node {
            Node::Storage { kind, key } => Some((key.as_str(), kind.as_str())),
            _ => None,
        })
        .collect();
    let mut places: HashMap<&str, &[u8]> = HashMap::new();
    for &id in ids {
        let Node::Text(key) = keys.node(id) else { return Err("a storage without a name".into()) };
        let kind = kinds.get(key.as_str()).ok_or_else(|| format!("storage {key} belongs to nothing"))?;
        let (_, size) = element(kind, "").ok_or_else(|| format!("storage {key} is a {kind}"))?;
        let count = bytes.get(at..at.saturating_add(8)).and_then(|part| part.try_into().ok());
        let count = count.map(u64::from_le_bytes).and_then(|count| usize::try_from(count).ok());
        let length = count.and_then(|count| count.checked_mul(size));
        let end = length.and_then(|length| (at + 8).checked_add(length));
        let part = end.and_then(|end| bytes.get(at + 8..end));
        let part = part.ok_or_else(|| format!("the file ends within storage {key}"))?;
        at += 8 + part.len();
        places.insert(key, part);
    }
    tensors(&pickled, bytes.len() as u64, |key| {
        places.get(key).map(|part| part.to_vec()).ok_or_else(|| format!("no storage {key}"))
    })
}

/// How a storage's elements are kept, and the bytes of one.
fn element(kind: &str, name: &str) -> Option<(Kind, usize)> {
    Some(match kind.strip_prefix("torch.")?.strip_suffix("Storage")? {
        "Float" => (Kind::F32, 4),
        "Double" => (Kind::F64, 8),
        "Half" => (Kind::F16, 2),
        "BFloat16" => (Kind::Bf16, 2),
        "Byte" | "Char" | "Bool" if is_mask(name) => (Kind::Mask, 1),
        "Byte" | "Char" | "Bool" => (Kind::Other, 1),
        "Short" => (Kind::Other, 2),
        "Int" => (Kind::Other, 4),
        "Long" => (Kind::Other, 8),
        _ => return None,
    })
}

/// The tensors of the dictionary on top, and of the dictionaries in it by `outer.inner`.
fn tensors(
    pickled: &Pickled,
    length: u64,
    mut storage: impl FnMut(&str) -> Result<Vec<u8>, String>,
) -> Result<Vec<(String, TensorData)>, String> {
    let entries = |id: Id| -> Vec<(String, Id)> {
        let Node::Dict(entries) = pickled.node(id) else { return Vec::new() };
        let named = |&(key, value): &(Id, Id)| match pickled.node(key) {
            Node::Text(key) => Some((key.clone(), value)),
            _ => None,
        };
        entries.iter().filter_map(named).collect()
    };
    let mut found = Vec::new();
    // Many views of one storage could make much of a small file.
    let mut left = usize::try_from(length).unwrap_or(usize::MAX).saturating_mul(8);
    let mut add = |name: String, id: Id| -> Result<(), String> {
        let Node::Tensor { storage: place, offset, shape, strides } = pickled.node(id) else { return Ok(()) };
        let Node::Storage { kind, key } = pickled.node(*place) else {
            return Err(format!("tensor {name} has no storage"));
        };
        let (how, size) = element(kind, &name).ok_or_else(|| format!("tensor {name} is a {kind}"))?;
        if matches!(how, Kind::Other) {
            return Ok(());
        }
        let count = shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
        let count = count.filter(|&count| count <= left).ok_or_else(|| format!("tensor {name} is huge"))?;
        let bytes = storage(key)?;
        left = left.checked_sub(count.max(bytes.len())).ok_or("tensors that multiply their storages")?;
        let bytes = gather(&bytes, size, *offset, shape, strides)
            .ok_or_else(|| format!("tensor {name} {shape:?} reaches beyond its storage"))?;
        if let Some(values) = to_f32(how, &bytes) {
            found.push((name, TensorData::new(values, shape.clone())));
        }
        Ok(())
    };
    for (name, id) in entries(pickled.root) {
        match pickled.node(id) {
            Node::Dict(_) => entries(id)
                .into_iter()
                .try_for_each(|(inner, value)| add(format!("{name}.{inner}"), value))?,
            _ => add(name, id)?,
        }
    }
    Ok(found)
}

/// The elements of a view, row-major.
fn gather(bytes: &[u8], size: usize, offset: usize, shape: &[usize], strides: &[usize]) -> Option<Vec<u8>> {
    if shape.len() != strides.len() {
        return None;
    }
    let count: usize = shape.iter().product();
    let mut out = Vec::with_capacity(count * size);
    for place in 0..count {
        let (mut rest, mut at) = (place, offset);
        for (&extent, &stride) in shape.iter().zip(strides).rev() {
            at = at.checked_add((rest % extent).checked_mul(stride)?)?;
            rest /= extent;
        }
        let start = at.checked_mul(size)?;
        out.extend(bytes.get(start..start.checked_add(size)?)?);
    }
    Some(out)
}
