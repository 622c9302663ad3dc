//! Cases of GhostNet.

use ocelli_image::backbone::ghostnet::g_ghost::{Family, GGhostStage, StageShape};
use ocelli_image::backbone::ghostnet::{
    self, BlockConfig, GhostBottleneck, Style, g_ghost, resnet_cifar, resnet50, vgg_cifar,
};
use ocelli_image::network::NetworkConfig;
use ocelli_nn::{Activation, GhostConfig, MobileSqueezeExcite, make_divisible};

use super::{network, unknown};
use crate::case::{Case, Result};
use crate::run::{Names, Outputs, device, run_module};

pub(super) fn run(case: &Case, kind: &str) -> Result<Outputs> {
    let device = device(case);
    match kind {
        "c_ghostnet" => {
            let standard = ghostnet::Config::new(case.config_or("width", 1.0)?);
            network(
                case,
                NetworkConfig::GhostNet(ghostnet::Config {
                    blocks: case.config_or("blocks", standard.blocks.clone())?,
                    num_classes: case.config_or("num_classes", 1000)?,
                    // A case trains without dropout unless it says otherwise.
                    drop_rate: case.config_or("dropout", 0.0)?,
                    in_channels: case.config_or("in_channels", 3)?,
                    ..standard
                }),
            )
        }
        "ghost_resnet50_released" | "ghost_resnet50" => {
            let form =
                if kind.ends_with("released") { resnet50::Form::Released } else { resnet50::Form::Paper };
            let standard = resnet50::Config::new(form, case.config("s")?);
            network(
                case,
                NetworkConfig::GhostResNet50(resnet50::Config {
                    cheap_kernel: case.config_or("d", 3)?,
                    layers: case.config_or("layers", standard.layers)?,
                    num_classes: case.config_or("num_classes", 1000)?,
                    ..standard
                }),
            )
        }
        "ghost_vgg16_cifar" => {
            let ratio = case.config_or("s", 1)?;
            let cheap_kernel = case.config_or("d", 3)?;
            let ghost = (ratio > 1).then_some(vgg_cifar::Ghost { ratio, cheap_kernel });
            // [features, hidden ..., classes]
            let widths: Vec<usize> = case.config_or("classifier", vec![512, 512, 10])?;
            let [_, hidden @ .., classes] = widths.as_slice() else {
                return Err(format!("{}: config.classifier needs two widths at least", case.name));
            };
            network(
                case,
                NetworkConfig::VggCifar(vgg_cifar::Config {
                    hidden: hidden.to_vec(),
                    num_classes: *classes,
                    ..vgg_cifar::Config::new(ghost)
                }),
            )
        }
        "ghost_resnet_cifar" => {
            let standard = resnet_cifar::Config::new(case.config("blocks")?);
            network(
                case,
                NetworkConfig::GhostResNetCifar(resnet_cifar::Config {
                    ratio: case.config_or("s", 2)?,
                    cheap_kernel: case.config_or("d", 3)?,
                    widths: case.config_or("widths", standard.widths)?,
                    stem_stride: case.config_or("stem_stride", 1)?,
                    num_classes: case.config_or("num_classes", 10)?,
                    ..standard
                }),
            )
        }
        "ghost_module" => {
            let module = GhostConfig::new(case.config("inp")?, case.config("oup")?)
                .kernel(case.config_or("kernel", 1)?)
                .ratio(case.config_or("ratio", 2)?)
                .cheap_kernel(case.config_or("dw", 3)?)
                .stride(case.config_or("stride", 1)?)
                .relu(case.config_or("relu", true)?)
                .init(&device);
            run_module(case, module, &Names::same(), |module, x, _| module.forward(x))
        }
        "ghost_bottleneck" => {
            let block = BlockConfig {
                kernel: case.config_or("k", 3)?,
                hidden: case.config("mid")?,
                channels: case.config("out")?,
                se_ratio: case.config_or("se_ratio", 0.0)?,
                stride: case.config_or("stride", 1)?,
            };
            let module = GhostBottleneck::new(case.config("inp")?, block, Style::default(), 0.0, &device);
            run_module(case, module, &Names::same(), |module, x, _| module.forward(x))
        }
        "g_ghost_regnet" => {
            let config = g_ghost::Config::regnet(
                case.config("layers")?,
                case.config("widths")?,
                case.config("group_width")?,
            );
            network(
                case,
                NetworkConfig::GGhost(g_ghost::Config {
                    cheap_ratio: case.config_or("cheap_ratio", 0.5)?,
                    num_classes: case.config_or("num_classes", 1000)?,
                    drop_rate: case.config_or("dropout", 0.0)?,
                    ..config
                }),
            )
        }
        "g_ghost_stage" => {
            let shape = StageShape {
                family: Family::RegNetX { group_width: case.config("group_width")? },
                channels_in: case.config("inp")?,
                channels: case.config("planes")?,
                blocks: case.config("blocks")?,
                stride: case.config_or("stride", 1)?,
                cheap_ratio: case.config_or("cheap_ratio", 0.5)?,
                mix: true,
            };
            let module = GGhostStage::new(shape, &device);
            run_module(case, module, &Names::same(), |module, x, _| module.forward(x))
        }
        "se" => {
            let channels: usize = case.config("channels")?;
            let ratio: f64 = case.config_or("se_ratio", 0.25)?;
            let hidden = make_divisible(channels as f64 * ratio, case.config_or("divisor", 4)?, 0.9);
            let module = MobileSqueezeExcite::new(channels, hidden, Activation::HardSigmoid, &device);
            run_module(case, module, &Names::same(), |module, x, _| module.forward(x))
        }
        _ => unknown(case),
    }
}
