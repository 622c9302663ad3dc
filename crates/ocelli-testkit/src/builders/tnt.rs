//! Cases of TNT.

use burn::tensor::Tensor;
use ocelli_image::backbone::tnt::{Attention, Block, BlockShape, Config, PatchEmbed};
use ocelli_image::network::NetworkConfig;
use ocelli_nn::Taps;

use super::{network, unknown};
use crate::case::{Case, Result};
use crate::run::{Names, Outputs, device, fill_module, parameter_gradients, run_module};

pub(super) fn run(case: &Case, kind: &str) -> Result<Outputs> {
    match kind {
        "model" => {
            let standard = Config::new(
                case.config("outer_dim")?,
                case.config("outer_heads")?,
                case.config("inner_dim")?,
                case.config("inner_heads")?,
            );
            network(
                case,
                NetworkConfig::Tnt(Config {
                    image_size: case.config_or("img_size", 224)?,
                    patch_size: case.config_or("patch_size", 16)?,
                    inner_stride: case.config_or("inner_stride", 4)?,
                    depth: case.config_or("depth", 12)?,
                    mlp_ratio: case.config_or("mlp_ratio", 4.0)?,
                    qkv_bias: case.config_or("qkv_bias", false)?,
                    squeeze_excite: case.config_or("se", 0)? > 0,
                    in_channels: case.config_or("in_channels", 3)?,
                    num_classes: case.config_or("num_classes", 1000)?,
                    ..standard
                }),
            )
        }
        "patch_embed" => {
            let module = PatchEmbed::new(
                3,
                case.config("inner_dim")?,
                case.config_or("patch_size", 16)?,
                case.config_or("inner_stride", 4)?,
                &device(case),
            );
            run_module(case, module, &Names::same(), |module, x, _| module.forward(x))
        }
        "attention" => {
            let bias = case.config_or("qkv_bias", false)?;
            let module = Attention::new(case.config("dim")?, case.config("heads")?, bias, &device(case));
            let module = fill_module(case, module, &Names::same())?;
            let (name, _) = case.inputs().into_iter().next().ok_or("an attention case without input")?;
            let output = module.forward(case.input(&name, &device(case))?);
            Ok([("output".to_string(), output.into_data())].into())
        }
        "block" => block(case),
        _ => unknown(case),
    }
}

/// Words and tokens in, words and tokens out; with gradients where the case asks for them.
fn block(case: &Case) -> Result<Outputs> {
    let device = device(case);
    let shape = BlockShape {
        outer_dim: case.config("outer_dim")?,
        outer_heads: case.config("outer_heads")?,
        inner_dim: case.config("inner_dim")?,
        inner_heads: case.config("inner_heads")?,
        words: case.config("num_words")?,
        mlp_ratio: case.config_or("mlp_ratio", 4.0)?,
        qkv_bias: case.config_or("qkv_bias", false)?,
        squeeze_excite: case.config_or("se", 0)? > 0,
        inner: true,
        drop_path: 0.0,
        drop_rate: 0.0,
    };
    let module = fill_module(case, Block::new(shape, &device), &Names::same())?;
    let named = |end: &str| {
        let found = case.inputs().into_iter().map(|(name, _)| name).find(|name| name.ends_with(end));
        found.ok_or_else(|| format!("{}: no input called *{end}", case.name))
    };
    let with_grad = case.task == "gradients";
    let input = |end: &str| -> Result<Tensor<3>> {
        let x = case.input::<3>(&named(end)?, &device)?;
        Ok(if with_grad { x.require_grad() } else { x })
    };
    let (inner, outer) = (input("_inner")?, input("_outer")?);
    let (words, tokens) = module.forward(inner.clone(), outer.clone(), "block", &mut Taps::none());
    let mut outputs = Outputs::new();
    if with_grad {
        let weighted = |y: &Tensor<3>, end: &str| -> Result<Tensor<1>> {
            Ok(y.clone().mul(case.input::<3>(&named(end)?, &device)?).sum())
        };
        let loss = weighted(&words, "_inner_grad")?.add(weighted(&tokens, "_outer_grad")?);
        let grads = loss.backward();
        outputs = parameter_gradients(&module, &grads, &Names::same());
        for (end, x) in [("_inner", inner), ("_outer", outer)] {
            if let Some(grad) = x.grad(&grads) {
                outputs.insert(format!("grad.{}", named(end)?), grad.into_data());
            }
        }
        outputs.insert("loss".into(), loss.into_data());
    }
    outputs.insert("inner".into(), words.into_data());
    outputs.insert("outer".into(), tokens.into_data());
    Ok(outputs)
}
