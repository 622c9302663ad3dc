//! Cases of SENet.

use ocelli_image::backbone::resnet::{self, Bottleneck, BottleneckShape, SeConfig, SePlacement, cifar};
use ocelli_image::backbone::senet::{inception, legacy, mobilenet};
use ocelli_image::network::NetworkConfig;
use ocelli_nn::{Activation, Squeeze, SqueezeExcite, Taps};

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
        "caffe_graph" => {
            let plain = case.config_or::<String>("net", String::new())?.starts_with("BN-");
            let reduction = (!plain).then_some(case.config_or("reduction", 16)?);
            network(
                case,
                NetworkConfig::BnInception(inception::Config {
                    num_classes: case.config_or("num_classes", 1000)?,
                    ..inception::Config::new(reduction)
                }),
            )
        }
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
            let config = resnet::Config {
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
            let config = cifar::Config {
                num_classes: case.config_or("num_classes", 10)?,
                se: case.config_or::<Option<usize>>("reduction", None)?.map(SeConfig::paper),
                ..cifar::Config::new(case.config("blocks_per_stage")?)
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
                groups: 1,
                down_kernel: 1,
            };
            let placement: SePlacement = case.config("placement")?;
            let se = SeConfig { placement, ..SeConfig::paper(case.config("reduction")?) };
            let module = Bottleneck::new(shape, Some(se), &device);
            run_module(case, module, &Names::same(), |module, x, taps: &mut Taps| module.forward(x, taps))
        }
        _ => unknown(case),
    }
}
