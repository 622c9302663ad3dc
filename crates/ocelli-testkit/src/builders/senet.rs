//! Cases of SENet.

use ocelli_image::backbone::resnet::{
    self, Bottleneck, BottleneckShape, Norms, SeConfig, SePlacement, cifar,
};
use ocelli_image::backbone::senet::{legacy, mobilenet};
use ocelli_image::network::NetworkConfig;
use ocelli_nn::{Activation, ConvKind, Squeeze, SqueezeExcite, Taps};

use super::{network, senet_files, unknown};
use crate::case::{Case, Result};
use crate::run::{Names, Outputs, device, run_module};

pub(super) fn run(case: &Case, kind: &str) -> Result<Outputs> {
    let device = device(case);
    match kind {
        "legacy" => {
            let standard = legacy::Config::new(case.config("block")?, case.config("layers")?);
            // Words such as "three 3x3" and "3x3 stride 2 pad 1 in stages 2-4".
            let says_3x3 = |key: &str, default: bool| {
                case.config[key].as_str().map_or(default, |text| text.contains("3x3"))
            };
            let deep_stem = says_3x3("stem", standard.deep_stem);
            let down_3x3 = says_3x3("downsample", standard.down_3x3);
            network(
                case,
                NetworkConfig::SeNet(legacy::Config {
                    groups: case.config_or("groups", standard.groups)?,
                    base_width: case.config_or("base_width", standard.base_width)?,
                    reduction: case.config_or("reduction", standard.reduction)?,
                    num_classes: case.config_or("num_classes", 1000)?,
                    drop_rate: case.config_or("dropout", 0.0)?,
                    deep_stem,
                    down_3x3,
                    ..standard
                }),
            )
        }
        "caffe_graph" => senet_files::caffe_graph(case),
        "se_mobilenet" => network(
            case,
            NetworkConfig::MobileNet(mobilenet::Config {
                num_classes: case.config_or("num_classes", 1000)?,
                ..mobilenet::Config::new(case.config_or("width", 1.0)?, case.config_or("reduction", None)?)
            }),
        ),
        "legacy_bottleneck" => {
            let shape = legacy::BlockShape {
                block: case.config_or("block", legacy::Block::ResNet)?,
                channels_in: case.config("inplanes")?,
                planes: case.config("planes")?,
                stride: case.config_or("stride", 1)?,
                groups: case.config_or("groups", 1)?,
                base_width: case.config_or("base_width", 4)?,
                reduction: case.config_or("reduction", 16)?,
                down_kernel: case.config_or("down_kernel", 1)?,
            };
            let module = legacy::Residual::new(shape, &device);
            run_module(case, module, &Names::same(), |module, x, _| module.forward(x))
        }
        "axpy" => senet_files::axpy(case),
        "stem_pooling" => senet_files::stem_pooling(case),
        "caffemodel" => senet_files::caffemodel(case),
        "modern" => {
            let says_3x3 = |key: &str| case.config[key].as_str().is_some_and(|text| text.contains("3x3"));
            // "three 3x3" is SENet-154's stem, which goes with a narrower first 1x1.
            let deep = says_3x3("stem");
            let config = resnet::Config {
                stem: if deep { resnet::Stem::Deep { width: 64 } } else { resnet::Stem::Conv7x7 },
                reduce_first: deep,
                down_3x3: says_3x3("downsample"),
                groups: case.config_or("groups", 1)?,
                base_width: case.config_or("base_width", 64)?,
                num_classes: case.config_or("num_classes", 1000)?,
                ..resnet::Config::new(
                    case.config_or("block", resnet::Block::Bottleneck)?,
                    case.config("layers")?,
                )
                .with_se()
            };
            network(case, NetworkConfig::ResNet(config))
        }
        "se_resnet_cifar" => {
            let standard = cifar::Config::new(case.config("blocks_per_stage")?);
            let se = case.config_or::<Option<usize>>("reduction", None)?.map(SeConfig::paper);
            let config = cifar::Config {
                num_classes: case.config_or("num_classes", 10)?,
                widths: case.config_or("widths", standard.widths)?,
                stem_stride: case.config_or("stem_stride", 1)?,
                se: match se {
                    Some(se) => Some(ablation(case, se)?),
                    None => None,
                },
                ..standard
            };
            network(case, NetworkConfig::ResNetCifar(config))
        }
        "se" | "se_modern" => {
            let channels: usize = case.config("channels")?;
            let reduction: usize = case.config("reduction")?;
            let se = if kind == "se" {
                SeConfig::paper(reduction)
            } else {
                SeConfig { reduction, ..SeConfig::MODERN }
            };
            let squeeze = case.config_or("squeeze", Squeeze::Avg)?;
            let gate = case.config_or("gate", Activation::Sigmoid)?;
            let module = SqueezeExcite::with_ablation(channels, se.hidden(channels), squeeze, gate, &device);
            run_module(case, module, &Names::same(), |module, x, _| module.forward(x))
        }
        "se_block" => {
            let channels_out: usize = case.config("channels")?;
            let width: usize = case.config("mid")?;
            let shape = BottleneckShape {
                channels_in: case.config_or("in_channels", channels_out)?,
                reduced: width,
                width,
                channels_out,
                stride: case.config_or("stride", 1)?,
                groups: case.config_or("groups", 1)?,
                down_kernel: 1,
                conv: ConvKind::Plain,
            };
            let placement: SePlacement = case.config("placement")?;
            let se = SeConfig { placement, ..ablation(case, SeConfig::paper(case.config("reduction")?))? };
            let module = Bottleneck::new(shape, Some(se), Norms::default(), &device);
            run_module(case, module, &Names::same(), |module, x, taps: &mut Taps| module.forward(x, taps))
        }
        _ => unknown(case),
    }
}

/// `se` with the squeeze and gate of the case, where it states them.
fn ablation(case: &Case, se: SeConfig) -> Result<SeConfig> {
    Ok(SeConfig {
        squeeze: case.config_or("squeeze", se.squeeze)?,
        gate: case.config_or("gate", se.gate)?,
        ..se
    })
}
