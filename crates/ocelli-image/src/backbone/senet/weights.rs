//! The three naming layouts of published SENets and the way from each to each.
//!
//! | Caffe (authors) | legacy (timm `legacy_*`, Cadene) | modern (timm) |
//! | --- | --- | --- |
//! | `conv1/7x7_s2` | `layer0.conv1` | `conv1` |
//! | `conv1_1/3x3_s2`, `conv1_2/3x3`, `conv1_3/3x3` | `layer0.conv1`, `conv2`, `conv3` | `conv1.0`, `.3`, `.6` |
//! | `conv3_2_1x1_reduce`, `_3x3`, `_1x1_increase` | `layer2.1.conv1`, `conv2`, `conv3` | the same |
//! | `conv3_2_1x1_down`, `_1x1_up` | `layer2.1.se_module.fc1`, `fc2` | `layer2.1.se.fc1`, `fc2` |
//! | `conv3_1_1x1_proj` | `layer2.0.downsample.0` | the same |
//! | `<conv>/bn` and `<conv>/bn/scale` | `bn1`, ..., `downsample.1` | `bn1`, ..., `conv1.1` |
//! | `classifier` | `last_linear` | `fc` |
//!
//! A conversion changes names only. Weights from Caffe keep Caffe's preprocessing, see [`CAFFE_INPUT`]:
//! folding it into the first convolution would be inexact at the borders, where zero padding stands for the
//! mean. The modern layout names the same tensors but computes another network for SE-ResNet (see
//! [`legacy`](super::legacy)).

/// How pictures enter networks with the authors' Caffe weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CaffeInput {
    /// Subtracted per channel, for values of 0 to 255, in the order blue, green, red.
    pub mean_bgr: [f32; 3],
    /// Divisor after that.
    pub std: f32,
}

/// Blue, green, red; 0 to 255; minus the mean; no scaling.
pub const CAFFE_INPUT: CaffeInput = CaffeInput { mean_bgr: [104.0, 117.0, 123.0], std: 1.0 };

/// A naming layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Layer names of the authors' prototxts.
    Caffe,
    /// timm's `legacy_*`.
    Legacy,
    /// timm's `seresnet*`, `seresnext*`, `senet154`.
    Modern,
}

/// Name in the layout `to` of the tensor that is called `name` in the layout `from`; `None` if `name` is not
/// of that layout or has no counterpart (Caffe knows no `num_batches_tracked`).
///
/// `deep_stem` tells SENet-154's stem of three convolutions from the others' single one.
pub fn convert(name: &str, from: Layout, to: Layout, deep_stem: bool) -> Option<String> {
    let (place, leaf) = match from {
        Layout::Caffe => from_caffe(name, deep_stem),
        Layout::Legacy => from_legacy(name, deep_stem),
        Layout::Modern => from_modern(name, deep_stem),
    }?;
    match to {
        Layout::Caffe => to_caffe(place, leaf, deep_stem),
        Layout::Legacy => Some(format!("{}.{leaf}", to_legacy(place))),
        Layout::Modern => Some(format!("{}.{leaf}", to_modern(place, deep_stem))),
    }
}

/// A layer, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Convolution 1..=3 of the stem.
    Stem(usize, Part),
    /// Convolution 1..=3 of a block.
    Conv { stage: usize, block: usize, index: usize, part: Part },
    /// The block's projection.
    Proj { stage: usize, block: usize, part: Part },
    /// Fully connected layer 1 or 2 of the block's gate.
    Gate { stage: usize, block: usize, index: usize },
    /// The classifier.
    Classifier,
}

/// A convolution or the batch norm behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Conv,
    Norm,
}

const LEAVES: [&str; 5] = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"];

/// Splits the tensor off its layer.
fn leaf(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('.').filter(|(_, leaf)| LEAVES.contains(leaf))
}

/// `conv2` → convolution 2, `bn2` → its norm.
fn numbered(name: &str) -> Option<(usize, Part)> {
    let (index, part) = match (name.strip_prefix("conv"), name.strip_prefix("bn")) {
        (Some(index), _) => (index, Part::Conv),
        (_, Some(index)) => (index, Part::Norm),
        _ => return None,
    };
    index.parse().ok().filter(|index| (1..=3).contains(index)).map(|index| (index, part))
}

/// `layerL.J.…` of both PyTorch layouts, which differ in the gate's name.
fn block_place(layer: &str, gate: &str) -> Option<Place> {
    let (stage, rest) = layer.strip_prefix("layer")?.split_once('.')?;
    let (block, inside) = rest.split_once('.')?;
    let (stage, block) = (stage.parse().ok().filter(|stage| (1..=4).contains(stage))?, block.parse().ok()?);
    if let Some((index, part)) = numbered(inside) {
        return Some(Place::Conv { stage, block, index, part });
    }
    let (owner, index) = inside.split_once('.')?;
    match (owner, index) {
        ("downsample", "0") => Some(Place::Proj { stage, block, part: Part::Conv }),
        ("downsample", "1") => Some(Place::Proj { stage, block, part: Part::Norm }),
        (owner, "fc1") if owner == gate => Some(Place::Gate { stage, block, index: 1 }),
        (owner, "fc2") if owner == gate => Some(Place::Gate { stage, block, index: 2 }),
        _ => None,
    }
}

fn block_name(place: Place, gate: &str) -> String {
    match place {
        Place::Conv { stage, block, index, part: Part::Conv } => format!("layer{stage}.{block}.conv{index}"),
        Place::Conv { stage, block, index, part: Part::Norm } => format!("layer{stage}.{block}.bn{index}"),
        Place::Proj { stage, block, part: Part::Conv } => format!("layer{stage}.{block}.downsample.0"),
        Place::Proj { stage, block, part: Part::Norm } => format!("layer{stage}.{block}.downsample.1"),
        Place::Gate { stage, block, index } => format!("layer{stage}.{block}.{gate}.fc{index}"),
        Place::Stem(..) | Place::Classifier => String::new(),
    }
}

fn from_legacy(name: &str, deep: bool) -> Option<(Place, &str)> {
    let (layer, leaf) = leaf(name)?;
    let place = match layer.strip_prefix("layer0.") {
        Some(inside) => {
            let (index, part) = numbered(inside).filter(|(index, _)| deep || *index == 1)?;
            Place::Stem(index, part)
        }
        None if layer == "last_linear" => Place::Classifier,
        None => block_place(layer, "se_module")?,
    };
    Some((place, leaf))
}

fn to_legacy(place: Place) -> String {
    match place {
        Place::Stem(index, Part::Conv) => format!("layer0.conv{index}"),
        Place::Stem(index, Part::Norm) => format!("layer0.bn{index}"),
        Place::Classifier => "last_linear".into(),
        block => block_name(block, "se_module"),
    }
}

/// The modern deep stem is a sequential whose last norm stands outside.
const MODERN_STEM: [(&str, usize, Part); 6] = [
    ("conv1.0", 1, Part::Conv),
    ("conv1.1", 1, Part::Norm),
    ("conv1.3", 2, Part::Conv),
    ("conv1.4", 2, Part::Norm),
    ("conv1.6", 3, Part::Conv),
    ("bn1", 3, Part::Norm),
];

fn from_modern(name: &str, deep: bool) -> Option<(Place, &str)> {
    let (layer, leaf) = leaf(name)?;
    let place = match layer {
        "fc" => Place::Classifier,
        "conv1" if !deep => Place::Stem(1, Part::Conv),
        "bn1" if !deep => Place::Stem(1, Part::Norm),
        _ => match MODERN_STEM.iter().find(|(name, ..)| deep && *name == layer) {
            Some(&(_, index, part)) => Place::Stem(index, part),
            None => block_place(layer, "se")?,
        },
    };
    Some((place, leaf))
}

fn to_modern(place: Place, deep: bool) -> String {
    match place {
        Place::Stem(index, part) if deep => MODERN_STEM
            .iter()
            .find(|(_, i, p)| (*i, *p) == (index, part))
            .map_or_else(String::new, |(name, ..)| (*name).into()),
        Place::Stem(_, Part::Conv) => "conv1".into(),
        Place::Stem(_, Part::Norm) => "bn1".into(),
        Place::Classifier => "fc".into(),
        block => block_name(block, "se"),
    }
}

const CAFFE_STEM: [&str; 3] = ["conv1_1/3x3_s2", "conv1_2/3x3", "conv1_3/3x3"];
const CAFFE_CONVS: [&str; 3] = ["1x1_reduce", "3x3", "1x1_increase"];
const CAFFE_GATE: [&str; 2] = ["1x1_down", "1x1_up"];

fn from_caffe(name: &str, deep: bool) -> Option<(Place, &str)> {
    let (layer, leaf) = leaf(name)?;
    // Caffe splits a batch norm: statistics in one layer, gain and shift in the next.
    let statistics = leaf.starts_with("running_");
    let (conv, part) = match (layer.strip_suffix("/bn/scale"), layer.strip_suffix("/bn")) {
        (Some(conv), _) if !statistics => (conv, Part::Norm),
        (_, Some(conv)) if statistics => (conv, Part::Norm),
        (None, None) if !statistics => (layer, Part::Conv),
        _ => return None,
    };
    let place = if conv == "classifier" {
        Place::Classifier
    } else if !deep && conv == "conv1/7x7_s2" {
        Place::Stem(1, part)
    } else if let Some(index) = CAFFE_STEM.iter().position(|stem| deep && *stem == conv) {
        Place::Stem(index + 1, part)
    } else {
        let mut parts = conv.strip_prefix("conv")?.splitn(3, '_');
        let stage = parts.next()?.parse::<usize>().ok().filter(|stage| (2..=5).contains(stage))? - 1;
        let block = parts.next()?.parse::<usize>().ok()?.checked_sub(1)?;
        let inside = parts.next()?;
        if let Some(index) = CAFFE_CONVS.iter().position(|conv| *conv == inside) {
            Place::Conv { stage, block, index: index + 1, part }
        } else if let Some(index) = CAFFE_GATE.iter().position(|gate| *gate == inside) {
            Place::Gate { stage, block, index: index + 1 }
        } else if inside == "1x1_proj" {
            Place::Proj { stage, block, part }
        } else {
            return None;
        }
    };
    Some((place, leaf))
}

fn to_caffe(place: Place, leaf: &str, deep: bool) -> Option<String> {
    if leaf == "num_batches_tracked" {
        return None;
    }
    let layer =
        |stage: usize, block: usize, inside: &str| format!("conv{}_{}_{inside}", stage + 1, block + 1);
    let (conv, part) = match place {
        Place::Stem(index, part) if deep => (CAFFE_STEM[index - 1].to_string(), part),
        Place::Stem(_, part) => ("conv1/7x7_s2".to_string(), part),
        Place::Conv { stage, block, index, part } => (layer(stage, block, CAFFE_CONVS[index - 1]), part),
        Place::Proj { stage, block, part } => (layer(stage, block, "1x1_proj"), part),
        Place::Gate { stage, block, index } => (layer(stage, block, CAFFE_GATE[index - 1]), Part::Conv),
        Place::Classifier => ("classifier".to_string(), Part::Conv),
    };
    let behind = match part {
        Part::Conv => "",
        Part::Norm if leaf.starts_with("running_") => "/bn",
        Part::Norm => "/bn/scale",
    };
    Some(format!("{conv}{behind}.{leaf}"))
}
