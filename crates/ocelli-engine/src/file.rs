//! The compiled model file: one file, mapped instead of read.
//!
//! | bytes | content |
//! | --- | --- |
//! | 0..8 | `OCELLI\r\n`, which a transfer in text mode would destroy |
//! | 8..12 | version, little-endian as all numbers |
//! | 12..16 | CRC-32 of the header |
//! | 16..24 | length of the header |
//! | 24..32 | length of the data |
//! | 32..36 | CRC-32 of the data |
//! | 36..64 | zeros |
//! | 64.. | the header: JSON, then zeros up to a multiple of 64 |
//! | .. | the data: `f32`, `i64` and bytes, every piece at a multiple of 64 |
//!
//! Weights of four bits and fewer (`-8..=7`) are stored two per byte, the first in the lower half, in two's complement.
//!
//! The header holds the graph and says where each constant and each layer's packed weights lie. Packed weights do not
//! depend on the processor. Everything is checked before it is used: lengths against the file, checksums, the graph
//! against itself, weights against the layers they belong to.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use ocelli_graph::{Constant, Graph, Node, Op, Value, ValueId};
use serde::{Deserialize, Serialize};

use crate::blob::Blob;
use crate::error::EngineError;
use crate::model::{Model, Parts};
use crate::prepare::{self, Kernel, Packed};

const MAGIC: [u8; 8] = *b"OCELLI\r\n";
/// Raised whenever a reader of the last version would misread the file.
const VERSION: u32 = 3;
const PREFIX: usize = 64;
const ALIGN: usize = 64;
/// Longest header that is believed: a graph of a hundred thousand nodes takes less.
const MAX_HEADER: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    name: String,
    description: String,
    values: Vec<Value>,
    nodes: Vec<Node>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    constants: Vec<ConstantPlace>,
    packed: Vec<PackedPlace>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Element {
    F32,
    I64,
    I32,
    U8,
    I8,
    Bool,
}

#[derive(Serialize, Deserialize)]
struct ConstantPlace {
    value: ValueId,
    element: Element,
    /// Byte of the data.
    start: usize,
    /// Elements.
    len: usize,
}

#[derive(Serialize, Deserialize)]
struct PackedPlace {
    node: usize,
    kernel: Kernel,
    start: usize,
    /// Words once it is unpacked.
    len: usize,
    /// Whether its weights are stored two per byte.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    halves: bool,
}

/// Packed weights as they are stored, where that is two per byte.
fn halved(graph: &Graph, node: usize, packed: &Packed) -> Option<Vec<u8>> {
    let count = prepare::weight_bytes(graph, graph.nodes.get(node)?, packed.kernel)?;
    let bytes = bytes_of(&packed.weights);
    let (weights, rest) = bytes.split_at_checked(count)?;
    if !weights.iter().all(|&w| (-8..8).contains(&(w as i8))) {
        return None;
    }
    let halves = weights.as_chunks().0.iter().map(|[low, high]| low & 15 | high << 4);
    Some(halves.chain(rest.iter().copied()).collect())
}

/// The words of `stored`, whose first `count` bytes were weights.
fn unhalved(stored: &[u8], count: usize) -> Vec<f32> {
    let (halves, rest) = stored.split_at(count / 2);
    let signed = |half: u8| ((half << 4) as i8 >> 4) as u8;
    let bytes: Vec<u8> =
        halves.iter().flat_map(|two| [signed(*two), signed(two >> 4)]).chain(rest.iter().copied()).collect();
    bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

/// Bytes of a layer's packed weights in a file.
pub(crate) fn stored_bytes(graph: &Graph, node: usize, packed: &Packed) -> usize {
    halved(graph, node, packed).map_or(4 * packed.weights.len(), |stored| stored.len())
}

/// Writes pieces one after the other and remembers what a checksum needs.
struct Data<W> {
    to: W,
    at: usize,
    sum: crc32fast::Hasher,
}

impl<W: Write> Data<W> {
    fn piece(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let zeros = [0; ALIGN];
        let gap = self.at.next_multiple_of(ALIGN) - self.at;
        for part in [&zeros[..gap], bytes] {
            self.to.write_all(part)?;
            self.sum.update(part);
            self.at += part.len();
        }
        Ok(())
    }
}

fn bytes_of(numbers: &[f32]) -> std::borrow::Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        // SAFETY: any `f32` is four readable bytes.
        std::borrow::Cow::Borrowed(unsafe {
            std::slice::from_raw_parts(numbers.as_ptr().cast(), numbers.len() * 4)
        })
    } else {
        numbers.iter().flat_map(|v| v.to_le_bytes()).collect()
    }
}

pub(crate) fn save(model: &Model, path: &Path) -> Result<(), EngineError> {
    let io = |source| EngineError::Io { path: path.to_path_buf(), source };
    let Parts { graph, packed, description } = &*model.parts;
    let mut at = 0usize;
    let mut place = |bytes: usize| {
        let start = at.next_multiple_of(ALIGN);
        at = start + bytes;
        start
    };
    let constants = graph.constants.iter().map(|(&value, constant)| {
        let (element, size) = match constant {
            Constant::F32(_) => (Element::F32, 4),
            Constant::I64(_) => (Element::I64, 8),
            Constant::I32(_) => (Element::I32, 4),
            Constant::U8(_) => (Element::U8, 1),
            Constant::I8(_) => (Element::I8, 1),
            Constant::Bool(_) => (Element::Bool, 1),
        };
        ConstantPlace { value, element, start: place(constant.len() * size), len: constant.len() }
    });
    let constants = constants.collect();
    let layers = packed.iter().map(|(&node, packed)| {
        let len = packed.weights.len();
        let stored = halved(graph, node, packed);
        let bytes = stored.as_ref().map_or(len * 4, Vec::len);
        PackedPlace { node, kernel: packed.kernel, start: place(bytes), len, halves: stored.is_some() }
    });
    let header = Header {
        name: graph.name.clone(),
        description: description.clone(),
        values: graph.values.clone(),
        nodes: graph.nodes.clone(),
        inputs: graph.inputs.clone(),
        outputs: graph.outputs.clone(),
        constants,
        packed: layers.collect(),
    };
    let mut header = serde_json::to_vec(&header).map_err(|e| io(e.into()))?;
    let header_len = header.len();
    header.resize(header.len().next_multiple_of(ALIGN), 0);

    let temporary = temporary_path(path);
    let written = (|| {
        use std::io::Seek;
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&temporary)?);
        file.write_all(&[0; PREFIX])?;
        file.write_all(&header)?;
        let mut data = Data { to: &mut file, at: 0, sum: crc32fast::Hasher::new() };
        for constant in graph.constants.values() {
            match constant {
                Constant::F32(numbers) => data.piece(&bytes_of(numbers))?,
                Constant::I64(numbers) => {
                    data.piece(&numbers.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())?;
                }
                Constant::I32(numbers) => {
                    data.piece(&numbers.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())?;
                }
                Constant::U8(numbers) => data.piece(numbers)?,
                Constant::I8(numbers) => {
                    data.piece(&numbers.iter().map(|&v| v as u8).collect::<Vec<u8>>())?;
                }
                Constant::Bool(values) => {
                    data.piece(&values.iter().map(|&v| u8::from(v)).collect::<Vec<u8>>())?
                }
            }
        }
        for (&node, packed) in packed {
            match halved(graph, node, packed) {
                Some(stored) => data.piece(&stored)?,
                None => data.piece(&bytes_of(&packed.weights))?,
            }
        }
        let (data_len, data_sum) = (data.at, data.sum.finalize());
        let mut prefix = [0u8; PREFIX];
        prefix[..8].copy_from_slice(&MAGIC);
        prefix[8..12].copy_from_slice(&VERSION.to_le_bytes());
        prefix[12..16].copy_from_slice(&crc32fast::hash(&header[..header_len]).to_le_bytes());
        prefix[16..24].copy_from_slice(&(header_len as u64).to_le_bytes());
        prefix[24..32].copy_from_slice(&(data_len as u64).to_le_bytes());
        prefix[32..36].copy_from_slice(&data_sum.to_le_bytes());
        file.seek(std::io::SeekFrom::Start(0))?;
        file.write_all(&prefix)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
    }
    written.map_err(io)
}

/// A file of this header and data with all lengths and checksums in order: for tests of what comes after them.
pub(crate) fn assemble(header: &[u8], data: &[u8]) -> Vec<u8> {
    let mut file = vec![0u8; PREFIX];
    file[..8].copy_from_slice(&MAGIC);
    file[8..12].copy_from_slice(&VERSION.to_le_bytes());
    file[12..16].copy_from_slice(&crc32fast::hash(header).to_le_bytes());
    file[16..24].copy_from_slice(&(header.len() as u64).to_le_bytes());
    file[24..32].copy_from_slice(&(data.len() as u64).to_le_bytes());
    file[32..36].copy_from_slice(&crc32fast::hash(data).to_le_bytes());
    file.extend_from_slice(header);
    file.resize(file.len().next_multiple_of(ALIGN), 0);
    file.extend_from_slice(data);
    file
}

/// A name beside `path` that no other process takes.
fn temporary_path(path: &Path) -> std::path::PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Whether the file at `path` begins like a compiled model.
pub(crate) fn is_compiled(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 8];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == MAGIC
}

pub(crate) fn load(path: &Path) -> Result<Model, EngineError> {
    let io = |source| EngineError::Io { path: path.to_path_buf(), source };
    let bad = |problem: String| EngineError::File { path: path.to_path_buf(), problem };
    let file = File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.len() < PREFIX as u64 {
        return Err(bad("too short for a compiled model (64 bytes of prefix are missing)".into()));
    }
    // SAFETY: the map is read only. If another program shortens or changes the file while it is mapped, reads see that
    // or fault: the risk of every mapped file; writers here replace files instead of changing them.
    let map = Arc::new(unsafe { Mmap::map(&file) }.map_err(io)?);
    let model = parse(&map).map_err(bad)?;
    // Whatever the builder would refuse is refused before anybody relies on the model.
    model.session(1, crate::RunOptions { threads: 1, pin: false }).map_err(|e| bad(e.to_string()))?;
    Ok(model)
}

fn parse(map: &Arc<Mmap>) -> Result<Model, String> {
    let bytes: &[u8] = map;
    let prefix = bytes.get(..PREFIX).ok_or("too short for a compiled model")?;
    let word = |at: usize| u32::from_le_bytes(prefix[at..at + 4].try_into().expect("four bytes"));
    let long = |at: usize| u64::from_le_bytes(prefix[at..at + 8].try_into().expect("eight bytes"));
    if prefix[..8] != MAGIC {
        return Err("not a compiled model (made by `ocelli export --format compiled`)".into());
    }
    if word(8) != VERSION {
        return Err(format!(
            "format version {}; this program reads version {VERSION}: compile the model again",
            word(8)
        ));
    }
    let (header_len, data_len) = (long(16), long(24));
    if header_len > MAX_HEADER {
        return Err(format!("a header of {header_len} bytes; at most {MAX_HEADER} are expected"));
    }
    let header_end = PREFIX + header_len as usize;
    let data_start = header_end.next_multiple_of(ALIGN);
    let expected = (data_start as u64).checked_add(data_len);
    if expected != Some(bytes.len() as u64) {
        let expected = expected.map_or("more than can exist".to_string(), |n| n.to_string());
        return Err(format!("{} bytes long, expected {expected}: cut short or damaged", bytes.len()));
    }
    let header = &bytes[PREFIX..header_end];
    if crc32fast::hash(header) != word(12) {
        return Err("damaged: the header's checksum does not fit".into());
    }
    let data = &bytes[data_start..];
    if crc32fast::hash(data) != word(32) {
        return Err("damaged: the data's checksum does not fit".into());
    }
    let header: Header =
        serde_json::from_slice(header).map_err(|e| format!("the header is not as expected: {e}"))?;
    let mut graph = Graph {
        name: header.name,
        values: header.values,
        nodes: header.nodes,
        inputs: header.inputs,
        outputs: header.outputs,
        constants: BTreeMap::new(),
    };
    let piece = |start: usize, len: usize, size: usize| {
        let end = len.checked_mul(size).and_then(|n| n.checked_add(start));
        end.and_then(|end| data.get(start..end)).ok_or("the header points outside of the data")
    };
    for c in header.constants {
        let constant = match c.element {
            Element::F32 => Constant::F32(
                piece(c.start, c.len, 4)?.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            ),
            Element::I64 => Constant::I64(
                piece(c.start, c.len, 8)?.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
            ),
            Element::I32 => Constant::I32(
                piece(c.start, c.len, 4)?.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect(),
            ),
            Element::U8 => Constant::U8(piece(c.start, c.len, 1)?.into()),
            Element::I8 => Constant::I8(piece(c.start, c.len, 1)?.iter().map(|&b| b as i8).collect()),
            Element::Bool => Constant::Bool(piece(c.start, c.len, 1)?.iter().map(|&b| b != 0).collect()),
        };
        graph.constants.insert(c.value, constant);
    }
    let layers: BTreeMap<usize, Kernel> = header.packed.iter().map(|p| (p.node, p.kernel)).collect();
    check(&graph, &layers)?;
    let mut packed = BTreeMap::new();
    for p in header.packed {
        let node = graph.nodes.get(p.node).ok_or("weights for a layer that does not exist")?;
        let expected = prepare::packed_len(&graph, node, p.kernel).map_err(|e| e.to_string())?;
        if p.len != expected {
            return Err(format!("{}: {} packed weights, expected {expected}", node.name, p.len));
        }
        let weights = if p.halves {
            let count = prepare::weight_bytes(&graph, node, p.kernel).filter(|count| count.is_multiple_of(4));
            let count = count.ok_or_else(|| format!("{}: weights of this kind have no halves", node.name))?;
            // Shorter than the words, which were checked above.
            let stored = piece(p.start, p.len * 4 - count / 2, 1)?;
            Blob::try_from(unhalved(stored, count)).ok()
        } else if cfg!(target_endian = "little") {
            Blob::mapped(map, data_start.saturating_add(p.start), p.len)
        } else {
            let bytes = piece(p.start, p.len, 4)?;
            let numbers: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            Blob::try_from(numbers).ok()
        };
        let weights = weights.ok_or("the header points outside of the data")?;
        packed.insert(p.node, Packed { kernel: p.kernel, weights });
    }
    Ok(Model::from_parts(Parts { graph, packed, description: header.description }))
}

/// What the builder relies on beyond a sound graph: every layer has weights for a kernel that can compute it.
fn check(graph: &Graph, layers: &BTreeMap<usize, Kernel>) -> Result<(), String> {
    ocelli_graph::passes::check(graph).map_err(|e| e.to_string())?;
    for (index, node) in graph.nodes.iter().enumerate() {
        let kernel = layers.get(&index).copied();
        let fits = match node.op {
            Op::Conv { .. } => kernel.is_some_and(|kernel| prepare::can_compute(graph, node, kernel)),
            Op::BinaryConv(_) => kernel.is_some_and(|kernel| prepare::can_compute(graph, node, kernel)),
            Op::DynamicConv { .. } => kernel.is_some_and(|kernel| {
                matches!(kernel, Kernel::Conv | Kernel::Depthwise)
                    && prepare::can_compute(graph, node, kernel)
            }),
            Op::AdderConv(ref own) => kernel == Some(prepare::adder_kernel(own)),
            Op::Linear { .. } => kernel == Some(Kernel::Linear),
            Op::ConvCodes { .. } | Op::LinearCodes { .. } => {
                kernel.is_some_and(|kernel| prepare::can_compute_codes(graph, node, kernel))
            }
            _ => kernel.is_none(),
        };
        if !fits {
            return Err(format!("{}: no weights for this layer, or for another kind of layer", node.name));
        }
    }
    Ok(())
}
