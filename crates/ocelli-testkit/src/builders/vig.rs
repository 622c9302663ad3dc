//! Cases of Vision GNN.
//!
//! Neighbours are a discontinuous choice: a network is run with the lists of the case, and the lists it would have chosen
//! itself must be as near as those (see [`Lists`]).

use burn::tensor::{Int, Tensor, TensorData};
use ocelli_image::backbone::vig::{
    Aggregate, BlockConfig, Config, Downsample, Ffn, Graph, GraphConv, GraphConvShape, Grapher, GrapherShape,
    Stem, relative_positions, sin_cos,
};
use ocelli_image::network::{Network, NetworkConfig};
use ocelli_nn::{Activation, Taps, graph, resize_positions};

use super::{network, unknown};
use crate::case::{Case, Result};
use crate::run::{Names, Outputs, check_counts, device, fill_module, run_module};

pub(super) fn run(case: &Case, kind: &str) -> Result<Outputs> {
    let device = device(case);
    match kind {
        "isotropic" => {
            let config = Config::isotropic(
                case.config("channels")?,
                case.config("blocks")?,
                k(case)?,
                case.config_or("image", 224)?,
            );
            whole(case, config)
        }
        "pyramid" | "pyramid_features" => whole(
            case,
            Config::pyramid(
                case.config("channels")?,
                case.config("blocks")?,
                k(case)?,
                case.config_or("reduce_ratios", [4, 2, 1, 1])?,
                case.config_or("image", 224)?,
            ),
        ),
        "grapher" => {
            let module = fill_module(case, Grapher::new(grapher(case)?, &device), &Names::same())?;
            check_counts(case, &module, |module, x, taps| module.forward(x, "", 0, taps))?;
            let outputs = forced(case, |taps| Ok(module.forward(case.image(&device)?, "", 0, taps)))?;
            Ok(outputs)
        }
        "grapher_ffn" => {
            let channels: usize = case.config("channels")?;
            let grapher = Grapher::new(grapher(case)?, &device);
            let ffn = Ffn::new(channels, 4 * channels, act(case)?, 0.0, &device);
            let module = (grapher, ffn);
            let run = |(grapher, ffn): &(Grapher, Ffn), x, taps: &mut Taps| {
                ffn.forward(grapher.forward(x, "0.", 0, taps))
            };
            let filled = fill_module(case, module.clone(), &Names::same())?;
            let mut outputs = run_module(case, module, &Names::same(), run)?;
            let lists = forced(case, |taps| Ok(run(&filled, case.image(&device)?, taps)))?;
            outputs.extend(lists.into_iter().filter(|(name, _)| name.starts_with("edges.")));
            Ok(outputs)
        }
        "graph_conv" => {
            let shape = GraphConvShape {
                aggregate: case.config("conv")?,
                channels_in: case.config("in_channels")?,
                channels_out: case.config("out_channels")?,
                groups: 4,
                activation: act(case)?,
                bias: case.config_or("bias", true)?,
            };
            let module = fill_module(case, GraphConv::new(shape, &device), &Names::same())?;
            let x: Tensor<4> = case.input("input", &device)?;
            let y = match case.inputs().iter().any(|(name, _)| name == "input_y") {
                true => case.input("input_y", &device)?,
                false => x.clone(),
            };
            let lists = Tensor::<3, Int>::from_data(case.input_data("edges")?.convert::<i64>(), &device);
            Ok([("output".to_string(), module.forward(x, y, lists).into_data())].into())
        }
        "knn" => ties(case),
        "relative_pos" => tables(case),
        "ffn" => {
            let module = Ffn::new(case.config("channels")?, case.config("hidden")?, act(case)?, 0.0, &device);
            run_module(case, module, &Names::same(), |module, x, _| module.forward(x))
        }
        "stem_isotropic" | "stem_pyramid" => {
            let stride = if kind == "stem_pyramid" { 4 } else { 16 };
            let module = Stem::new(3, case.config("out")?, stride, act(case)?, &device);
            run_module(case, module, &Names::same(), |module, x, _| module.forward(x))
        }
        "downsample" => {
            let [from, to] = [["in", "inp", "in_channels"], ["out", "oup", "out_channels"]].map(|names| {
                names
                    .iter()
                    .find_map(|name| case.config::<usize>(name).ok())
                    .ok_or("downsample without channels")
            });
            let module = Downsample::new(from?, to?, &device);
            run_module(case, module, &Names::same(), |module, x, _| module.forward(x))
        }
        _ => unknown(case),
    }
}

fn k(case: &Case) -> Result<usize> {
    case.config_or("k", 9)
}

fn act(case: &Case) -> Result<Activation> {
    match case.config_or("norm", "batch".to_string())?.as_str() {
        "batch" => case.config_or("act", Activation::Gelu),
        other => Err(format!("{}: only batch norm is offered, not {other}", case.name)),
    }
}

fn grapher(case: &Case) -> Result<GrapherShape> {
    let channels: usize = case.config("channels")?;
    let nodes: usize = case.config("n")?;
    Ok(GrapherShape {
        conv: GraphConvShape {
            aggregate: case.config_or("conv", Aggregate::MaxRelative)?,
            channels_in: channels,
            channels_out: 2 * channels,
            groups: 4,
            activation: act(case)?,
            bias: case.config_or("bias", true)?,
        },
        block: BlockConfig { k: k(case)?, dilation: case.config_or("dilation", 1)? },
        graph: Graph::Nearest,
        reduce: case.config_or("reduce", 1)?,
        table: if case.config_or("relative_pos", false)? { nodes.isqrt() } else { 0 },
        fc: true,
        random_neighbours: 0.0,
        drop_path: 0.0,
    })
}

/// A whole network.
fn whole(case: &Case, config: Config) -> Result<Outputs> {
    if !case.config_or("bias", true)? {
        return Err(format!("{}: networks without biases are not offered", case.name));
    }
    let config = if case.config_or("use_dilation", true)? { config } else { config.without_dilation() };
    let config = NetworkConfig::Vig(Config {
        aggregate: case.config_or("conv", Aggregate::MaxRelative)?,
        activation: act(case)?,
        num_classes: case.config_or("num_classes", 1000)?,
        in_channels: case.config_or("in_channels", 3)?,
        ..config
    });
    if case.task != "forward" {
        return network(case, config);
    }
    let device = device(case);
    let network = fill_module(case, config.init(&device), &Names::same())?;
    check_counts(case, &network, |network: &Network, x, taps| network.forward_tapped(x, taps))?;
    let outputs = forced(case, |taps| Ok(network.forward_tapped(case.image(&device)?, taps)))?;
    free(case, network.forward(case.image(&device)?).into_data())?;
    Ok(outputs)
}

/// Running on the network's own graph: within the loose bound, and the same best class.
fn free(case: &Case, found: TensorData) -> Result<()> {
    let Some(want) = case.stored.get("output") else { return Ok(()) };
    let sensitivity = &case.json["sensitivity"];
    let safe = sensitivity["free_running_is_safe"].as_bool().unwrap_or(false)
        || sensitivity["rows_whose_neighbour_set_differs_float32_vs_float64_free_running"].as_u64()
            == Some(0);
    let bound = if safe { 1e-4 } else { case.json["tolerance"]["rel_free_running"].as_f64().unwrap_or(0.3) };
    let (found, want): (Vec<f64>, Vec<f64>) = (found.iter::<f64>().collect(), want.iter::<f64>().collect());
    let scale = want.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    let error = found.iter().zip(&want).fold(0.0f64, |most, (a, b)| most.max((a - b).abs())) / scale;
    let best = |values: &[f64]| (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]));
    let same = best(&found) == best(&want);
    let must = sensitivity["free_running_same_argmax"].as_bool().unwrap_or(false);
    if error <= bound && (same || !must) {
        Ok(())
    } else {
        Err(format!(
            "{}: on its own graph: error {error:.2e}, admitted {bound:.0e}, same class: {same}",
            case.name
        ))
    }
}

/// Runs `forward` with the lists of the case and compares the lists it would have chosen.
fn forced<const D: usize>(case: &Case, forward: impl Fn(&mut Taps) -> Result<Tensor<D>>) -> Result<Outputs> {
    let lists: Vec<String> =
        case.output_names().into_iter().filter(|name| name.starts_with("edges.")).collect();
    let searched = lists.iter().flat_map(|name| {
        let index = name.trim_start_matches("edges.").to_string();
        ["nodes", "targets", "positions"].map(|what| format!("{what}.{index}"))
    });
    let mut taps = Taps::new(case.output_names().into_iter().chain(searched));
    for name in &lists {
        let stored = case.stored.get(name).ok_or_else(|| format!("{}: no {name} stored", case.name))?;
        taps.give(name.clone(), stored.clone().convert::<i64>());
    }
    let output = forward(&mut taps)?;
    let mut outputs: Outputs = taps.into_data().into_iter().collect();
    let mut equal = Vec::new();
    for name in &lists {
        let lists = Lists::read(case, name, &outputs)?;
        if let Some(distance) = outputs.get("positions.0").filter(|_| name == "edges.0") {
            outputs.insert("relative_pos_used".into(), distance.clone());
        }
        if name == "edges.0" && case.output_names().iter().any(|name| name == "distance") {
            outputs.insert("distance".into(), lists.distances());
        }
        let (same, worst) = lists.compare(case)?;
        equal.push(same);
        outputs.insert(name.clone(), TensorData::new(vec![worst as f32], [1]));
    }
    outputs.insert("output".into(), output.into_data());
    shares(case, &equal)?;
    Ok(outputs)
}

/// At least 99.5 % of the rows of the first two lists and 94 % of all must be equal as sets.
fn shares(case: &Case, equal: &[(usize, usize)]) -> Result<()> {
    for (lists, least) in [(&equal[..equal.len().min(2)], 0.995), (equal, 0.94)] {
        let (same, all) = lists.iter().fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
        // A single row of a small case is more than the share allows for.
        if all > 200 && (same as f64) < least * all as f64 {
            return Err(format!("{}: only {same} of {all} neighbour lists are equal", case.name));
        }
    }
    Ok(())
}

/// What a search worked with, and what the case has it find.
struct Lists {
    nodes: Tensor<4>,
    targets: Tensor<4>,
    positions: Option<Tensor<3>>,
    stored: Vec<i64>,
    k: usize,
    dilation: usize,
}

impl Lists {
    fn read(case: &Case, name: &str, outputs: &Outputs) -> Result<Self> {
        let device = burn::tensor::Device::flex();
        let index = name.trim_start_matches("edges.");
        let get = |what: &str| outputs.get(&format!("{what}.{index}")).cloned();
        let missing = || format!("{}: the network did not offer the nodes of {name}", case.name);
        let targets = Tensor::<4>::from_data(get("targets").ok_or_else(missing)?, &device);
        let stored = &case.stored[name];
        let k = *stored.shape().last().ok_or_else(missing)?;
        Ok(Self {
            nodes: Tensor::from_data(get("nodes").ok_or_else(missing)?, &device),
            targets,
            positions: get("positions").map(|table| Tensor::from_data(table, &device)),
            stored: stored.iter::<i64>().collect(),
            k,
            dilation: dilation(case, index.parse().unwrap_or(0), k)?,
        })
    }

    /// The table of distances, as the reference hands it to its search.
    fn distances(&self) -> TensorData {
        graph::distances(self.nodes.clone(), self.targets.clone(), self.positions.clone()).into_data()
    }

    /// Rows that are equal as sets and all rows, and the largest difference of sorted distances in the others.
    fn compare(&self, case: &Case) -> Result<((usize, usize), f64)> {
        let [batch, channels, rows, columns] = self.nodes.dims();
        let [_, _, height, width] = self.targets.dims();
        let (nodes, targets) = (rows * columns, height * width);
        let dilation = self.dilation.min(targets / self.k).max(1);
        let own = graph::neighbours(
            self.nodes.clone(),
            self.targets.clone(),
            self.positions.clone(),
            self.k,
            dilation,
        );
        let own: Vec<i64> = own.into_data().iter::<i64>().collect();
        if own.len() != self.stored.len() {
            return Err(format!(
                "{}: {} neighbours, the case has {}",
                case.name,
                own.len(),
                self.stored.len()
            ));
        }
        let values = |map: &Tensor<4>| -> Vec<f64> { map.clone().into_data().iter::<f64>().collect() };
        let (x, y) = (values(&self.nodes), values(&self.targets));
        let table: Option<Vec<f64>> =
            self.positions.as_ref().map(|table| table.clone().into_data().iter::<f64>().collect());
        let unit = |map: &[f64], picture: usize, count: usize, node: usize| -> Vec<f64> {
            let own: Vec<f64> = (0..channels).map(|c| map[(picture * channels + c) * count + node]).collect();
            let length = own.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12);
            own.into_iter().map(|v| v / length).collect()
        };
        let (mut same, mut worst) = (0, 0.0f64);
        for row in 0..batch * nodes {
            let (mut a, mut b) =
                (own[row * self.k..][..self.k].to_vec(), self.stored[row * self.k..][..self.k].to_vec());
            a.sort_unstable();
            b.sort_unstable();
            if a == b {
                same += 1;
                continue;
            }
            let (picture, node) = (row / nodes, row % nodes);
            let centre = unit(&x, picture, nodes, node);
            let sorted = |list: &[i64]| -> Vec<f64> {
                let distance = |&m: &i64| {
                    let other = unit(&y, picture, targets, m as usize);
                    let square = centre.iter().zip(&other).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
                    square + table.as_ref().map_or(0.0, |table| table[node * targets + m as usize])
                };
                let mut all: Vec<f64> = list.iter().map(distance).collect();
                all.sort_by(f64::total_cmp);
                all
            };
            for (a, b) in sorted(&a).into_iter().zip(sorted(&b)) {
                worst = worst.max((a - b).abs());
            }
        }
        Ok(((same, batch * nodes), worst))
    }
}

/// Dilation of the Grapher with number `index`.
fn dilation(case: &Case, index: usize, k: usize) -> Result<usize> {
    if case.builder.starts_with("vig.grapher") {
        return case.config_or("dilation", 1);
    }
    if !case.config_or("use_dilation", true)? {
        return Ok(1);
    }
    let image: usize = case.config_or("image", 224)?;
    let most = if case.builder.ends_with("isotropic") {
        let last = case
            .expected()
            .iter()
            .filter(|o| o.name.starts_with("edges."))
            .filter_map(|o| o.shape.last().copied())
            .max();
        (image / 16).pow(2) / last.unwrap_or(k)
    } else {
        (image / 32).pow(2) / k
    };
    Ok((index / 4 + 1).min(most.max(1)))
}

/// Exact ties: any list at the same distances is as good as the reference's.
fn ties(case: &Case) -> Result<Outputs> {
    let device = device(case);
    let x: Tensor<4> = case.input("input", &device)?;
    let (k, dilation) = (case.config("k")?, case.config_or("dilation", 1)?);
    let distances = graph::distances(x.clone(), x.clone(), None);
    let lists = graph::neighbours(x.clone(), x, None, k, dilation);
    let found = distances.clone().gather(2, lists);
    let wanted = case.stored.get("neighbour_distance").ok_or("no neighbour_distance stored")?;
    let worst = found
        .clone()
        .into_data()
        .iter::<f64>()
        .zip(wanted.iter::<f64>())
        .fold(0.0f64, |most, (a, b)| most.max((a - b).abs()));
    Ok([
        ("distance".to_string(), distances.into_data()),
        ("neighbour_distance".into(), found.into_data()),
        ("edges".into(), TensorData::new(vec![worst as f32], [1])),
    ]
    .into())
}

/// Tables by name: `relative_pos.c16_g8_r2`, `sincos.c16_g8`, `relative_pos.c16_g8_r2.resized_96x24`.
fn tables(case: &Case) -> Result<Outputs> {
    let mut outputs = Outputs::new();
    for expected in case.expected() {
        let parts: Vec<&str> = expected.name.split('.').collect();
        let number = |letter: char| {
            let own = parts.get(1)?.split('_').find_map(|part| part.strip_prefix(letter))?;
            own.parse::<usize>().ok()
        };
        let (Some(channels), Some(side)) = (number('c'), number('g')) else {
            return Err(format!("{}: what is {}?", case.name, expected.name));
        };
        let data = if parts[0] == "sincos" {
            let code: Vec<f32> = sin_cos(channels, side).into_iter().map(|v| v as f32).collect();
            TensorData::new(code, [side * side, channels])
        } else {
            let reduce = number('r').unwrap_or(1);
            let (nodes, targets) = (side * side, side * side / (reduce * reduce));
            let table = TensorData::new(relative_positions(channels, side, reduce), [1, nodes, targets]);
            match parts.get(2).and_then(|part| part.strip_prefix("resized_")?.split_once('x')) {
                Some((rows, columns)) => {
                    let (Ok(rows), Ok(columns)) = (rows.parse(), columns.parse()) else {
                        return Err(format!("{}: what size is {}?", case.name, expected.name));
                    };
                    let map = Tensor::<3>::from_data(table, &device(case)).reshape([1, 1, nodes, targets]);
                    resize_positions(map, [rows, columns]).reshape([1, rows, columns]).into_data()
                }
                None => table,
            }
        };
        outputs.insert(expected.name, data);
    }
    Ok(outputs)
}
