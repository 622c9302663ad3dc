//! The network.
//!
//! Keys: `pos_embed, stem.convs.N, backbone.I.0.{fc1,graph_conv.gconv.nn,fc2,relative_pos}, backbone.I.1.{fc1,fc2},
//! backbone.I.conv` (between stages), `prediction.{0,1,4}`.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::init::{Draw, zeros};
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, InitScheme, Slot, Taps,
    global_avg_pool, graph::resize_distances, resize_positions,
};

use super::{Config, Ffn, GraphConvShape, Grapher, GrapherShape, Stem};
use crate::backbone::{Backbone, BackboneConfig, FeatureInfo};

/// Channels between pooling and classifier.
const HEAD: usize = 1024;

/// Between two stages: 3x3 convolution of stride 2 and norm.
#[derive(Module, Debug)]
pub struct Downsample {
    conv: (Conv2d, BatchNorm),
}

impl Downsample {
    /// `from → to` channels.
    pub fn new(from: usize, to: usize, device: &Device) -> Self {
        let conv = Conv2dConfig::new(from, to, 3).stride(2).bias(true).init(device);
        Self { conv: (conv, BatchNormConfig::new(to).init(device)) }
    }

    /// `[batch, from, h, w]` → `[batch, to, ⌈h / 2⌉, ⌈w / 2⌉]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (conv, norm) = &self.conv;
        norm.forward(conv.forward(x))
    }
}

/// One `backbone.I`.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Unit {
    Block((Grapher, Option<Ffn>)),
    Downsample(Downsample),
}

/// Stem, blocks, head.
#[derive(Module, Debug)]
pub struct Net {
    pos_embed: Param<Tensor<4>>,
    stem: Stem,
    backbone: Vec<Unit>,
    /// 1x1 convolution, norm, non-linearity, dropout, classifier.
    prediction: (Conv2d, BatchNorm, Slot, Dropout, Conv2d),
    #[module(skip)]
    activation: Activation,
    /// Channels of every stage and the place of its last block.
    #[module(skip)]
    stages: Vec<(usize, usize)>,
    stem_stride: usize,
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let count = self.stages.iter().map(|stage| stage.blocks.len()).sum::<usize>();
        let first = self.stages.first().map_or(0, |stage| stage.channels);
        let mut backbone = Vec::new();
        let mut stages = Vec::new();
        let (mut channels_in, mut index, mut grid) = (first, 0, self.image_size / self.stem_stride.max(1));
        for (number, stage) in self.stages.iter().enumerate() {
            if number > 0 {
                backbone.push(Unit::Downsample(Downsample::new(channels_in, stage.channels, device)));
                grid /= 2;
            }
            channels_in = stage.channels;
            for &block in &stage.blocks {
                let drop_path = self.drop_path * index as f64 / count.saturating_sub(1).max(1) as f64;
                let grapher = GrapherShape {
                    conv: GraphConvShape {
                        aggregate: self.aggregate,
                        channels_in,
                        channels_out: channels_in,
                        groups: self.groups,
                        activation: self.activation,
                        bias: true,
                    },
                    block,
                    graph: self.graph,
                    reduce: stage.reduce,
                    table: if self.relative_positions { grid } else { 0 },
                    fc: self.grapher_fc,
                    random_neighbours: self.random_neighbours,
                    drop_path,
                };
                let ffn = self
                    .ffn
                    .then(|| Ffn::new(channels_in, 4 * channels_in, self.activation, drop_path, device));
                backbone.push(Unit::Block((Grapher::new(grapher, device), ffn)));
                index += 1;
            }
            stages.push((stage.channels, backbone.len().saturating_sub(1)));
        }
        let grid = self.image_size / self.stem_stride.max(1);
        Net {
            pos_embed: zeros([1, first, grid, grid], device),
            stem: Stem::new(self.in_channels, first, self.stem_stride, self.activation, device),
            backbone,
            prediction: (
                Conv2dConfig::new(channels_in, HEAD, 1).bias(true).init(device),
                BatchNormConfig::new(HEAD).init(device),
                Slot {},
                Dropout::new(self.drop_rate),
                Conv2dConfig::new(HEAD, self.num_classes, 1).bias(true).init(device),
            ),
            activation: self.activation,
            stages,
            stem_stride: self.stem_stride,
        }
    }

    fn set_image_size(&mut self, side: usize) {
        self.image_size = side;
    }

    fn set_drop_path(&mut self, rate: f64) -> bool {
        self.drop_path = rate;
        true
    }
}

impl Net {
    fn is_pyramid(&self) -> bool {
        self.stages.len() > 1
    }

    /// Every Grapher with the side of the map it works on, for a picture of `size` pixels.
    fn graphers(&self, size: [usize; 2]) -> Vec<(&Grapher, [usize; 2])> {
        let mut map = size;
        for _ in 0..self.stem_stride.max(2).ilog2() {
            map = map.map(|side| side.div_ceil(2));
        }
        let mut found = Vec::new();
        for unit in &self.backbone {
            match unit {
                Unit::Block((grapher, _)) => found.push((grapher, map)),
                Unit::Downsample(_) => map = map.map(|side| side.div_ceil(2)),
            }
        }
        found
    }

    /// Whether there is a Grapher with number `index`.
    pub fn has_block(&self, index: usize) -> bool {
        index < self.graphers([self.stem_stride; 2]).len()
    }

    /// The neighbours of every node at the Grapher with number `index`, `[batch, nodes, k]`, and the height and width of
    /// its map; nothing if there is no such Grapher.
    pub fn neighbours(&self, x: Tensor<4>, index: usize) -> Option<(TensorData, [usize; 2])> {
        let [_, _, height, width] = x.dims();
        let (_, map) = self.graphers([height, width]).get(index).copied()?;
        let mut taps = Taps::new([format!("edges.{index}")]);
        self.forward_features(x, &mut taps);
        taps.into_data().pop().map(|(_, lists)| (lists, map))
    }
}

impl Backbone for Net {
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let x = self.stem.forward(x);
        taps.see("stem", &x);
        let [_, _, height, width] = x.dims();
        let mut x = x.add(resize_positions(self.pos_embed.val(), [height, width]));
        taps.see("stem_plus_pos", &x);
        let (mut index, mut stage) = (0, 0);
        for (place, unit) in self.backbone.iter().enumerate() {
            x = match unit {
                Unit::Downsample(down) => down.forward(x),
                Unit::Block((grapher, ffn)) => {
                    let x = grapher.forward(x, &format!("backbone.{place}.0."), index, taps);
                    taps.see(format_args!("backbone.{place}.0"), &x);
                    index += 1;
                    match ffn {
                        Some(ffn) => ffn.forward(x),
                        None => x,
                    }
                }
            };
            taps.see(format_args!("backbone.{place}"), &x);
            if self.stages[stage].1 == place {
                taps.see(format_args!("C{}", stage + 2), &x);
                stage += 1;
            }
        }
        x
    }

    fn forward_head(&self, features: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        let (conv, norm, _, dropout, classifier) = &self.prediction;
        let x = norm.forward_then(conv.forward(global_avg_pool(features)), self.activation);
        classifier.forward(dropout.forward(x)).flatten::<2>(1, 3)
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        let info = |(stage, (channels, _)): (usize, &(usize, usize))| {
            FeatureInfo::new(format!("C{}", stage + 2), *channels, self.stem_stride << stage)
        };
        self.stages.iter().enumerate().map(info).collect()
    }

    fn classifier(&self) -> &'static str {
        "prediction.4"
    }

    fn init_scheme(&self) -> InitScheme {
        InitScheme { conv: Draw::KaimingNormalFanIn, conv_bias: Draw::Zeros, ..InitScheme::KAIMING }
    }

    fn check_size(&self, size: [usize; 2]) -> Result<(), String> {
        let [height, width] = size;
        let least = self.stem_stride << (self.stages.len() - 1);
        if self.is_pyramid() && !(height.is_multiple_of(least) && width.is_multiple_of(least)) {
            return Err(format!(
                "{height}x{width} pixels: a pyramid of graphs needs sides that are multiples of {least}"
            ));
        }
        for (grapher, map) in self.graphers(size) {
            let targets: usize = map.iter().map(|side| side / grapher.reduce()).product();
            if targets < grapher.fewest() {
                return Err(format!(
                    "{height}x{width} pixels leave {targets} nodes to choose {} neighbours from; larger pictures are needed",
                    grapher.fewest()
                ));
            }
        }
        Ok(())
    }

    fn fit(&self, published: &str, data: TensorData, shape: &[usize]) -> TensorData {
        let found: Vec<usize> = data.shape().iter().copied().collect();
        let resizes = published == "pos_embed" || published.ends_with("relative_pos");
        if !resizes || found == shape || found.len() != shape.len() || found.len() < 3 {
            return data;
        }
        // Tables for pictures of another size: the last two dimensions are a picture.
        let (Some([rows, columns]), Some([to_rows, to_columns])) =
            (found.last_chunk::<2>(), shape.last_chunk::<2>())
        else {
            return data;
        };
        let planes = found[..found.len() - 2].iter().product::<usize>();
        if found[..found.len() - 2] != shape[..shape.len() - 2] {
            return data;
        }
        let (bytes, _, dtype) = data.convert::<f32>().into_parts();
        let size = [*to_rows, *to_columns];
        // As a forward pass resizes them, to the bit: near ties between neighbours would fall the other way.
        let values = if published == "pos_embed" {
            let map = TensorData::from_bytes(bytes, vec![1, planes, *rows, *columns], dtype);
            resize_positions(Tensor::<4>::from_data(map, &Device::flex()), size).into_data()
        } else {
            let table = TensorData::from_bytes(bytes, vec![planes, *rows, *columns], dtype);
            resize_distances(Tensor::<3>::from_data(table, &Device::flex()), size).into_data()
        };
        let (bytes, _, dtype) = values.into_parts();
        TensorData::from_bytes(bytes, shape.to_vec(), dtype)
    }

    fn optional(&self, published: &str) -> bool {
        published.ends_with("relative_pos")
    }
}
