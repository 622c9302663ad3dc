//! Whole networks: folded, quantised, in integers.

use std::collections::BTreeSet;

use ocelli_compress::Batch;
use ocelli_compress::ptq::{Settings, quantise};
use ocelli_compress::quantiser::WeightRange;
use ocelli_compress::range::Estimator;
use ocelli_engine::RunOptions;
use ocelli_graph::codes::{Codes, Multiplier, Rounding};
use ocelli_graph::interpret::{Tensor, interpret};
use ocelli_graph::{Constant, Graph, Op, ValueId, passes};

use super::maker::{Act, Conv, Maker};
use super::{Found, numbers};
use crate::case::{Case, Result};
use crate::run::Outputs;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Runs `graph` for the values called `names`.
fn values(graph: &Graph, names: &[&str], x: (Vec<f32>, Vec<usize>)) -> Result<Vec<Tensor>> {
    let mut graph = graph.clone();
    let found: Result<Vec<ValueId>> = names
        .iter()
        .map(|name| {
            let at = graph.values.iter().position(|value| value.name == *name);
            at.map(|at| ValueId(at as u32)).ok_or_else(|| format!("no value called {name}"))
        })
        .collect();
    graph.outputs = found?;
    passes::remove_dead(&mut graph);
    interpret(&graph, &[Tensor::new(&x.1, x.0)]).map_err(text)
}

/// The graph's only result.
fn output(graph: &Graph, x: &(Vec<f32>, Vec<usize>)) -> Result<Tensor> {
    let mut found = interpret(graph, &[Tensor::new(&x.1, x.0.clone())]).map_err(text)?;
    Ok(found.remove(0))
}

fn constant<'g>(graph: &'g Graph, name: &str) -> Result<(&'g Constant, Vec<usize>)> {
    // What replaced a constant has its name and comes after it.
    let at = graph.values.iter().rposition(|value| value.name == name);
    let id = at.map(|at| ValueId(at as u32)).ok_or_else(|| format!("no constant called {name}"))?;
    let found = graph.constants.get(&id).ok_or_else(|| format!("{name} is no constant"))?;
    Ok((found, graph.value(id).shape_at(1)))
}

pub(super) fn folding(case: &Case) -> Result<Outputs> {
    let mut found = Found::default();
    for item in case.config["items"].as_array().into_iter().flatten() {
        let prefix = item["prefix"].as_str().unwrap_or_default();
        let number = |key: &str| item[key].as_u64().unwrap_or(0) as usize;
        let x = numbers(case, &format!("{prefix}.x"))?;
        let (mut maker, input) = Maker::new(prefix, "x", &x.1);
        let own = Conv {
            outputs: number("out_channels"),
            kernel: number("kernel"),
            stride: number("stride"),
            pad: number("padding"),
            groups: number("groups"),
            bias: item["conv_bias"].as_bool().unwrap_or(false),
        };
        let conv = maker.conv(input, "conv", &format!("{prefix}.0"), own, "conv");
        let epsilon = item["eps"].as_f64().unwrap_or(1e-5) as f32;
        let norm = maker.norm(conv, &format!("{prefix}.1"), epsilon, "y");
        let mut graph = maker.finish(norm);
        passes::simplify(&mut graph);
        let [node] = &graph.nodes[..] else { return Err("the norm is still there".into()) };
        for (place, name) in [(1, "weight"), (2, "bias")] {
            let shape = graph.value(node.inputs[place]).shape_at(1);
            let numbers = graph.constant_f32(node.inputs[place]).ok_or("weights that are computed")?.to_vec();
            found.floats(format!("{prefix}.{name}"), &shape, numbers);
        }
        let y = output(&graph, &x)?;
        found.floats(format!("{prefix}.y"), &y.shape, y.floats());
    }
    Ok(found.0)
}

pub(super) fn correction(case: &Case) -> Result<Outputs> {
    let bits: u8 = case.config("bits")?;
    let x = numbers(case, "bc.x")?;
    let (mut maker, input) = Maker::new("bc", "x", &x.1);
    let a = maker.conv(input, "0", "bc.0", Conv::new(6, 3, 1).biased(), "0");
    let a = maker.act(a, Act::Relu, "0r");
    let b = maker.conv(a, "1", "bc.1", Conv::new(6, 3, 1).groups(6).biased(), "1");
    let b = maker.act(b, Act::Relu, "1r");
    let c = maker.conv(b, "2", "bc.2", Conv::new(4, 1, 1).biased(), "2");
    let graph = maker.finish(c);
    let mut found = Found::default();
    let y = output(&graph, &x)?;
    found.floats("y_float", &y.shape, y.floats());
    let before: Vec<Vec<f32>> = (0..3)
        .map(|i| {
            constant(&graph, &format!("bc.{i}.bias")).map(|(c, _)| c.as_f32().unwrap_or_default().to_vec())
        })
        .collect::<Result<_>>()?;
    // Weights alone become codes.
    let settings = Settings {
        weight_bits: bits,
        weights: Some(WeightRange::MinMax),
        round_steps: None,
        ends_at_8: false,
        weights_only: true,
        ..Settings::default()
    };
    let batches = [Batch { count: x.1[0], data: x.0.clone() }];
    let own = quantise(graph, &batches, &settings, RunOptions::default(), &mut |_, _, _| {}).map_err(text)?;
    let y = output(&own.graph, &x)?;
    found.floats("y_quant", &y.shape, y.floats());
    for (i, before) in before.iter().enumerate() {
        let (Constant::I8(codes), shape) = constant(&own.graph, &format!("{i}.weight_q"))? else {
            return Err("weights that are no codes".into());
        };
        found.whole(format!("w_int{i}"), &shape, codes);
        let bias = constant(&own.graph, &format!("{i}.bias"))?.0.as_f32().unwrap_or_default();
        found.list(format!("bias{i}"), bias.to_vec());
        found.list(format!("shift{i}"), before.iter().zip(bias).map(|(a, b)| a - b).collect());
    }
    Ok(found.0)
}

/// The small network of the integer cases.
fn small(shape: &[usize]) -> Graph {
    let (mut m, x) = Maker::new("int_net", "x", shape);
    let unit = |m: &mut Maker, x, layer: &str, own, act, value: &str| {
        let name = layer.replace('.', "_");
        m.unit(x, layer, [&format!("qnet.{name}.0"), &format!("qnet.{name}.1")], own, act, value)
    };
    let t0 = unit(&mut m, x, "stem", Conv::new(8, 3, 2), Act::Relu6, "t0");
    let t1 = unit(&mut m, t0, "b1.expand", Conv::new(16, 1, 1), Act::Relu6, "t1");
    let t2 = unit(&mut m, t1, "b1.dw", Conv::new(16, 3, 1).groups(16), Act::Relu6, "t2");
    let t3 = unit(&mut m, t2, "b1.project", Conv::new(8, 1, 1), Act::None, "t3");
    let t4 = m.add(t0, t3, "t4");
    let t5 = unit(&mut m, t4, "b2.expand", Conv::new(24, 1, 1), Act::Relu6, "t5");
    let t6 = unit(&mut m, t5, "b2.dw", Conv::new(24, 3, 2).groups(24), Act::Relu6, "t6");
    let t7 = unit(&mut m, t6, "b2.project", Conv::new(12, 1, 1), Act::None, "t7");
    let t8 = unit(&mut m, t7, "head", Conv::new(20, 1, 1), Act::Relu, "t8");
    let t9 = m.mean(t8, "t9");
    let logits = m.linear(t9, "fc", "qnet.fc", 10, "logits");
    m.finish(logits)
}

fn calibration(case: &Case) -> Result<Vec<Batch>> {
    case.config::<Vec<String>>("calib")?
        .iter()
        .map(|name| numbers(case, name).map(|(data, shape)| Batch { count: shape[0], data }))
        .collect()
}

fn plain(weight_bits: u8, activation_bits: u8) -> Settings {
    Settings {
        weight_bits,
        activation_bits,
        activations: Estimator::MinMax,
        weights: Some(WeightRange::MinMax),
        round_steps: None,
        correct: false,
        ends_at_8: false,
        ..Settings::default()
    }
}

pub(super) fn integers(case: &Case) -> Result<Outputs> {
    let x = numbers(case, "x")?;
    let graph = small(&x.1);
    let settings = plain(case.config("wbits")?, case.config("abits")?);
    let mut found = Found::default();
    let logits = output(&graph, &x)?;
    found.floats("logits_float", &logits.shape, logits.floats());
    let own = quantise(graph, &calibration(case)?, &settings, RunOptions::default(), &mut |_, _, _| {})
        .map_err(text)?;
    let fake = output(&own.graph, &x)?;
    found.floats("logits_fake", &fake.shape, fake.floats());
    let lowered = |rounding| {
        let mut graph = own.graph.clone();
        passes::lower_to_integers(&mut graph, rounding);
        graph
    };
    let fixed = lowered(Rounding::Fixed);
    let float = lowered(Rounding::Float);
    let logits = output(&fixed, &x)?;
    found.floats("logits_int", &logits.shape, logits.floats());
    let logits = output(&float, &x)?;
    found.floats("logits_floatreq", &logits.shape, logits.floats());
    // ONNX Runtime's own kernels are as exact where products of two codes cannot saturate its pair sums.
    let runs: &[&str] = if settings.weight_bits <= 7 { &["ort_off", "ort_on"] } else { &["ort_off"] };
    for run in runs {
        found.floats(format!("{run}.logits"), &logits.shape, logits.floats());
    }
    // Every tensor's codes, and what they stand for.
    for node in &own.graph.nodes {
        if let Op::Quantize(codes) = node.op {
            let name = own.graph.value(node.inputs[0]).name.clone();
            found.list(format!("{name}.qparams"), vec![codes.scale, codes.zero_point as f32]);
            let coded = values(&fixed, &[&format!("{name}/codes")], x.clone())?.remove(0);
            let Constant::U8(list) = &coded.data else { return Err(format!("{name}: no codes")) };
            found.whole(format!("{name}.q"), &coded.shape, list);
        }
    }
    let coded = values(&float, &["t8/codes"], x.clone())?.remove(0);
    if let Constant::U8(list) = &coded.data {
        for run in runs {
            found.whole(format!("{run}.t8.q"), &coded.shape, list);
        }
    }
    // Multipliers are exact for the scales of the case; ours may differ from those in the last bit.
    let scales: Vec<f32> = case
        .stored
        .iter()
        .filter(|(name, _)| name.ends_with(".qparams"))
        .filter_map(|(_, data)| data.iter::<f32>().next())
        .collect();
    let stored = |own: f32| {
        let near = scales.iter().find(|scale| (*scale - own).abs() <= 1e-6 * own);
        f64::from(near.copied().unwrap_or(own))
    };
    for node in &fixed.nodes {
        match &node.op {
            Op::ConvCodes { layer, .. } | Op::LinearCodes { layer } => {
                let name = &node.name;
                let (Constant::I8(codes), mut shape) = constant(&fixed, &format!("{name}.weight_q"))? else {
                    return Err(format!("{name}: no codes"));
                };
                let mut codes = codes.to_vec();
                if matches!(node.op, Op::LinearCodes { .. }) {
                    let (rows, columns) = (shape[0], shape[1]);
                    codes = (0..rows * columns).map(|i| codes[i % rows * columns + i / rows]).collect();
                    shape.reverse();
                }
                found.whole(format!("{name}.w_int"), &shape, &codes);
                let scales = fixed.constant_f32(node.inputs[2]).unwrap_or_default().to_vec();
                found.list(format!("{name}.w_scale"), scales.clone());
                if let Constant::I32(bias) = constant(&fixed, &format!("{name}.bias_q"))?.0 {
                    found.whole(format!("{name}.b_int"), &[bias.len()], bias);
                }
                if let Some(output) = layer.output {
                    let factors: Vec<i64> = scales
                        .iter()
                        .flat_map(|scale| {
                            let factor = stored(layer.input.scale) * f64::from(*scale) / stored(output.scale);
                            let m = Multiplier::new(factor);
                            [m.mantissa, i64::from(m.shift)]
                        })
                        .collect();
                    found.whole(format!("{name}.mult"), &[scales.len(), 2], &factors);
                }
                if case.expected().iter().any(|e| e.name == format!("{name}.acc")) {
                    let (shape, sums) = sums(&fixed, name, &x)?;
                    found.whole(format!("{name}.acc"), &shape, &sums);
                }
            }
            Op::AddCodes(sum) => {
                let exact = |codes: Codes| Codes { scale: stored(codes.scale) as f32, ..codes };
                let sum = ocelli_graph::codes::CodeSum {
                    own: exact(sum.own),
                    other: exact(sum.other),
                    output: exact(sum.output),
                    ..*sum
                };
                let [a, b] = sum.factors();
                found.whole("t4.mult", &[3], &[a, b, 24]);
            }
            Op::MeanCodes { mean, .. } => {
                let shape = fixed.value(node.inputs[0]).shape_at(1);
                let area = (shape[2] * shape[3]) as f64;
                let m = Multiplier::new(stored(mean.input.scale) / (stored(mean.output.scale) * area));
                found.whole("t9.mult", &[2], &[m.mantissa, i64::from(m.shift)]);
            }
            _ => {}
        }
    }
    Ok(found.0)
}

/// The sums of products of a layer: what it gives where one step stands for 1.
fn sums(graph: &Graph, layer: &str, x: &(Vec<f32>, Vec<usize>)) -> Result<(Vec<usize>, Vec<i64>)> {
    let mut graph = graph.clone();
    let at = graph.nodes.iter().position(|node| node.name == layer).ok_or("no such layer")?;
    let channels = graph.value(graph.nodes[at].inputs[2]).shape_at(1)[0];
    let ones = graph.add_constant("ones", &[channels], vec![1.0; channels]);
    let shape = graph.value(graph.nodes[at].outputs[0]).shape.clone();
    let value = graph.add_value("sums", shape, ocelli_graph::ElementType::F32);
    let mut node = graph.nodes[at].clone();
    (node.inputs[2], node.outputs[0]) = (ones, value);
    if let Op::ConvCodes { layer, .. } | Op::LinearCodes { layer } = &mut node.op {
        layer.output = None;
        layer.input = Codes { scale: 1.0, ..layer.input };
    }
    node.name.push_str("/sums");
    graph.nodes.insert(at, node);
    let found = values(&graph, &["sums"], x.clone())?.remove(0);
    Ok((found.shape.clone(), found.floats().into_iter().map(|v| v as i64).collect()))
}

/// torchvision's MobileNetV2, its values called after its modules.
fn mobilenet_v2(shape: &[usize], classes: usize) -> Graph {
    let (mut m, x) = Maker::new("mobilenet_v2", "input", shape);
    let mut x = m.unit(
        x,
        "features.0",
        ["features.0.0", "features.0.1"],
        Conv::new(32, 3, 2),
        Act::Relu6,
        "features.0",
    );
    let mut inputs = 32;
    let mut index = 1;
    for (expansion, outputs, repeats, stride) in [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ] {
        for repeat in 0..repeats {
            let name = format!("features.{index}.conv");
            let hidden = inputs * expansion;
            let mut y = x;
            let mut part = 0;
            if expansion > 1 {
                let unit = format!("{name}.0");
                let own = Conv::new(hidden, 1, 1);
                y = m.unit(y, &unit, [&format!("{unit}.0"), &format!("{unit}.1")], own, Act::Relu6, &unit);
                part = 1;
            }
            let unit = format!("{name}.{part}");
            let own = Conv::new(hidden, 3, if repeat == 0 { stride } else { 1 }).groups(hidden);
            y = m.unit(y, &unit, [&format!("{unit}.0"), &format!("{unit}.1")], own, Act::Relu6, &unit);
            let unit = format!("{name}.{}", part + 1);
            let own = Conv::new(outputs, 1, 1);
            y = m.unit(y, &unit, [&unit, &format!("{name}.{}", part + 2)], own, Act::None, &unit);
            let shortcut = repeat > 0;
            x = if shortcut { m.add(x, y, &format!("features.{index}.add")) } else { y };
            inputs = outputs;
            index += 1;
        }
    }
    let own = Conv::new(1280, 1, 1);
    x = m.unit(x, "features.18", ["features.18.0", "features.18.1"], own, Act::Relu6, "features.18");
    let pooled = m.mean(x, "pool");
    let logits = m.linear(pooled, "classifier.1", "classifier.1", classes, "logits");
    m.finish(logits)
}

/// torchvision's ResNet-50.
fn resnet50(shape: &[usize]) -> Graph {
    let (mut m, x) = Maker::new("resnet50", "input", shape);
    let mut x = m.unit(x, "conv1", ["conv1", "bn1"], Conv::new(64, 7, 2).pad(3), Act::Relu, "relu");
    x = m.max_pool(x, "maxpool");
    for (stage, (width, blocks)) in [(64, 3), (128, 4), (256, 6), (512, 3)].into_iter().enumerate() {
        for block in 0..blocks {
            let name = format!("layer{}.{block}", stage + 1);
            let stride = if block == 0 && stage > 0 { 2 } else { 1 };
            let mut y = x;
            for (part, own, act) in [
                (1, Conv::new(width, 1, 1), Act::Relu),
                (2, Conv::new(width, 3, stride), Act::Relu),
                (3, Conv::new(4 * width, 1, 1), Act::None),
            ] {
                let (conv, norm) = (format!("{name}.conv{part}"), format!("{name}.bn{part}"));
                y = m.unit(y, &conv, [&conv, &norm], own, act, &format!("{name}.{part}"));
            }
            let skip = if block == 0 {
                let (conv, norm) = (format!("{name}.downsample.0"), format!("{name}.downsample.1"));
                m.unit(x, &conv, [&conv, &norm], Conv::new(4 * width, 1, stride), Act::None, &conv)
            } else {
                x
            };
            let sum = m.add(y, skip, &format!("{name}.sum"));
            x = m.act(sum, Act::Relu, &name);
        }
    }
    let pooled = m.mean(x, "avgpool");
    let logits = m.linear(pooled, "fc", "fc", 1000, "logits");
    m.finish(logits)
}

fn network(case: &Case, shape: &[usize]) -> Result<Graph> {
    match case.config::<String>("model")?.as_str() {
        "mobilenet_v2" => Ok(mobilenet_v2(shape, 1000)),
        "resnet50" => Ok(resnet50(shape)),
        other => Err(format!("{}: no network called {other}", case.name)),
    }
}

/// Runs a large network for named values, compiled.
fn compiled(
    graph: &Graph,
    names: &[String],
    x: &(Vec<f32>, Vec<usize>),
) -> Result<Vec<(Vec<usize>, Vec<f32>)>> {
    let mut graph = graph.clone();
    let find = |graph: &Graph, name: &str| {
        let at = graph.values.iter().position(|value| value.name == name);
        at.map(|at| ValueId(at as u32)).ok_or_else(|| format!("no value called {name}"))
    };
    let found: Result<Vec<ValueId>> = names.iter().map(|name| find(&graph, name)).collect();
    graph.outputs = found?;
    passes::fold_constants(&mut graph);
    passes::remove_dead(&mut graph);
    let shapes: Vec<Vec<usize>> = graph.outputs.iter().map(|&id| graph.value(id).shape_at(x.1[0])).collect();
    let model = ocelli_engine::Model::compile(graph, "").map_err(text)?;
    let numbers = model.run(x.1[0], RunOptions::default(), &[&x.0]).map_err(text)?;
    Ok(shapes.into_iter().zip(numbers).collect())
}

/// The part of a map that a case stores: evenly spaced elements, of pictures the first.
fn part(shape: &[usize], numbers: &[f32], wanted: &[usize]) -> Vec<f32> {
    let count: usize = wanted.iter().product();
    (0..count)
        .map(|i| {
            let (mut rest, mut at, mut stride) = (i, 0, 1);
            for d in (0..shape.len()).rev() {
                let step = if d == 0 { 1 } else { shape[d].div_ceil(wanted[d]) };
                at += rest % wanted[d] * step * stride;
                rest /= wanted[d];
                stride *= shape[d];
            }
            numbers[at]
        })
        .collect()
}

/// The value that module `name` gives: its own, or the last of those that are called after it.
fn last_value(graph: &Graph, name: &str) -> String {
    let names = graph.nodes.iter().map(|node| &graph.value(node.outputs[0]).name);
    let inner = format!("{name}.");
    let found = names.clone().find(|own| *own == name);
    found
        .or_else(|| names.rev().find(|own| own.starts_with(&inner) && !own.contains('/')))
        .unwrap_or(&inner)
        .clone()
}

pub(super) fn float(case: &Case) -> Result<Outputs> {
    let x = numbers(case, "x")?;
    let graph = network(case, &x.1)?;
    let wanted: Vec<_> = case.expected();
    let names: Vec<String> = wanted.iter().map(|e| e.name.trim_start_matches("act.").to_string()).collect();
    // A module is called as the last thing in it.
    let names: Vec<String> = names.into_iter().map(|name| last_value(&graph, &name)).collect();
    let mut simple = graph;
    passes::simplify(&mut simple);
    let values = compiled(&simple, &names, &x)?;
    let mut found = Found::default();
    for (expected, (shape, numbers)) in wanted.iter().zip(values) {
        found.floats(&expected.name, &expected.shape, part(&shape, &numbers, &expected.shape));
    }
    Ok(found.0)
}

pub(super) fn post_training(case: &Case) -> Result<Outputs> {
    let x = numbers(case, "x")?;
    let points: Vec<String> = case.config("act_points")?;
    let (wbits, abits) = (case.config("wbits")?, case.config("abits")?);
    let batches = calibration(case)?;
    let mut found = Found::default();
    let graph = network(case, &x.1)?;
    let options = RunOptions::default();
    let mut simple = graph.clone();
    passes::simplify(&mut simple);
    let logits = compiled(&simple, &["logits".into()], &x)?.remove(0);
    found.floats("logits_float", &logits.0, logits.1);
    let arms = [
        ("per_tensor", Settings { per_channel: false, ..plain(wbits, abits) }),
        ("per_channel", plain(wbits, abits)),
        ("per_channel_mse", Settings { weights: Some(WeightRange::Mse), ..plain(wbits, abits) }),
        ("per_channel_biascorr", Settings { correct: true, ..plain(wbits, abits) }),
    ];
    for (name, settings) in arms {
        // The cases keep biases as they are.
        let settings = Settings { float_bias: true, ..settings };
        let own = quantise(graph.clone(), &batches, &settings, options, &mut |_, _, _| {}).map_err(text)?;
        let logits = compiled(&own.graph, &["logits".into()], &x)?.remove(0);
        found.floats(format!("logits_{name}"), &logits.0, logits.1);
        let bias = |layer: &str| -> Result<Vec<f32>> {
            Ok(constant(&own.graph, &format!("{layer}.bias"))?.0.as_f32().unwrap_or_default().to_vec())
        };
        if name == "per_channel_biascorr" {
            for expected in case.expected() {
                if let Some(layer) = expected.name.strip_prefix("bias_corrected.") {
                    found.list(&expected.name, bias(layer)?);
                }
            }
        }
        if name != "per_channel" {
            continue;
        }
        let mut ranges = Vec::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for point in &points {
            if !seen.insert(point) {
                continue;
            }
            let (low, high) =
                own.ranges.get(point).copied().ok_or_else(|| format!("{point} has no codes"))?;
            ranges.extend([low as f32, high as f32]);
        }
        found.floats("act_ranges", &[points.len(), 2], ranges);
        for expected in case.expected() {
            if let Some(layer) = expected.name.strip_prefix("wscale.") {
                let scales = constant(&own.graph, &format!("{layer}.weight_scale"))?.0;
                found.list(&expected.name, scales.as_f32().unwrap_or_default().to_vec());
            }
            if let Some(value) = expected.name.strip_prefix("code.") {
                let node = own.graph.nodes.iter().find_map(|node| match node.op {
                    Op::Quantize(codes) if own.graph.value(node.inputs[0]).name == value => Some(codes),
                    _ => None,
                });
                let codes = node.ok_or_else(|| format!("{value} has no codes"))?;
                let (shape, numbers) = compiled(&own.graph, &[format!("{value}/numbers")], &x)?.remove(0);
                let own = part(&shape, &numbers, &expected.shape);
                let list: Vec<u8> = own.into_iter().map(|x| codes.code(x)).collect();
                found.whole(&expected.name, &expected.shape, &list);
            }
        }
    }
    Ok(found.0)
}
