//! Cases of SENet.

use ocelli_image::backbone::resnet::{self, Bottleneck, BottleneckShape, SeConfig, SePlacement, cifar};
use ocelli_image::network::NetworkConfig;
use ocelli_nn::{Activation, Squeeze, SqueezeExcite, Taps};

use crate::case::{Case, Result};
use crate::run::{Outputs, device, run_module};

pub(super) fn run(case: &Case, kind: &str) -> Result<Outputs> {
    let device = device(case);
    let same: &dyn Fn(&str) -> String = &|name| name.to_string();
    match kind {
        "modern" => {
            let config = resnet::Config {
                groups: case.config("groups")?,
                base_width: case.config("base_width")?,
                num_classes: case.config("num_classes")?,
                ..resnet::Config::new(resnet::Block::Bottleneck, case.config("layers")?).with_se()
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
            run_module(case, module, same, |module, x, _| module.forward(x))
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
            run_module(case, module, same, |module, x, taps: &mut Taps| module.forward(x, taps))
        }
        _ => Err(format!("{}: no builder called 'senet.{kind}'", case.name)),
    }
}

/// Runs a case on a registered kind of network.
pub(super) fn network(case: &Case, config: NetworkConfig) -> Result<Outputs> {
    let network = config.init(&device(case));
    let translate = config.init(&device(case));
    let names = move |name: &str| translate.published_name(name).into_owned();
    run_module(case, network, &names, |network, x, taps| network.forward_tapped(x, taps))
}
