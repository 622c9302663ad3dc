//! Cases of ParameterNet's vision half.

use burn::tensor::Tensor;
use ocelli_image::backbone::ghostnet::{self, BlockConfig, GhostBottleneck, Style};
use ocelli_image::network::NetworkConfig;
use ocelli_nn::{Activation, Conv2dConfig, ConvKind, Convolution, Dynamic, GhostConfig, GhostModule, Taps};

use super::{network, unknown};
use crate::case::{Case, Result};
use crate::run::{Names, Outputs, device, run_module};

pub(super) fn run(case: &Case, kind: &str) -> Result<Outputs> {
    let device = device(case);
    match kind {
        "dynamic_ghostnet" => {
            let standard = ghostnet::Config::new(case.config_or("width", 1.0)?);
            let act = act(case, "act", Activation::Relu)?;
            network(
                case,
                NetworkConfig::GhostNet(ghostnet::Config {
                    blocks: case.config_or("blocks", standard.blocks.clone())?,
                    style: Style {
                        conv: experts(case)?,
                        activation: act,
                        se_activation: self::act(case, "se_act", act)?,
                    },
                    num_classes: case.config_or("num_classes", 1000)?,
                    drop_rate: 0.0,
                    ..standard
                }),
            )
        }
        "dynamic_conv" => {
            let kernel: usize = case.config("kernel_size")?;
            let [stride, dilation] = [case.config_or("stride", 1)?, case.config_or("dilation", 1)?];
            let symmetric = ((stride - 1) + dilation * (kernel - 1)) / 2;
            let config = Conv2dConfig::new(case.config("in_features")?, case.config("out_features")?, kernel)
                .stride(stride)
                .dilation(dilation)
                .padding(case.config::<usize>("padding").unwrap_or(symmetric))
                .groups(case.config_or("groups", 1)?)
                .bias(case.config_or("bias", false)?);
            let Convolution::Dynamic(module) = experts(case)?.init(config, &device) else {
                return unknown(case);
            };
            run_module(case, module, &Names::same(), |module, x, taps| {
                taps.see("routing_weights", &module.shares(x.clone()));
                module.forward(x)
            })
        }
        "ghost_module" => {
            let module = GhostConfig::new(case.config("inp")?, case.config("oup")?)
                .kernel(case.config_or("kernel", 1)?)
                .ratio(case.config_or("ratio", 2)?)
                .cheap_kernel(case.config_or("dw", 3)?)
                .stride(case.config_or("stride", 1)?)
                .activation(act(case, "act", Activation::Relu)?)
                .conv(experts(case)?)
                .init(&device);
            run_module(case, module, &Names::same(), |module, x, taps| {
                see_shares(module, &x, taps);
                module.forward_tapped(x, taps)
            })
        }
        "ghost_bottleneck" => {
            let block = BlockConfig {
                kernel: case.config_or("k", 3)?,
                hidden: case.config("mid")?,
                channels: case.config("out")?,
                se_ratio: case.config_or("se_ratio", 0.0)?,
                stride: case.config_or("stride", 1)?,
            };
            let act = act(case, "act", Activation::Relu)?;
            let style = Style {
                conv: experts(case)?,
                activation: act,
                se_activation: self::act(case, "se_act", act)?,
            };
            let module = GhostBottleneck::new(case.config("inp")?, block, style, 0.0, &device);
            run_module(case, module, &Names::same(), |module, x, taps| {
                see_shares(module.ghost1(), &x, taps);
                module.forward_tapped(x, taps)
            })
        }
        _ => unknown(case),
    }
}

/// The shares of the primary convolution's experts.
fn see_shares(module: &GhostModule, x: &Tensor<4>, taps: &mut Taps) {
    if let Convolution::Dynamic(conv) = &module.primary_conv.0 {
        taps.see("routing_weights", &conv.shares(x.clone()));
    }
}

fn experts(case: &Case) -> Result<ConvKind> {
    Ok(ConvKind::Dynamic(Dynamic::new(case.config_or("num_experts", 4)?)))
}

fn act(case: &Case, key: &str, default: Activation) -> Result<Activation> {
    case.config_or(key, default)
}
