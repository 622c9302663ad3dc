//! Adder convolutions, of numbers and of codes.

use ocelli_engine::{Model, RunOptions};
use ocelli_graph::adder_conv::{AdderCodes, AdderConv};
use ocelli_graph::{Constant, ConvAttrs, Graph, Op, Unary, ValueId, passes};
use ocelli_kernels::adder::sad::Coding;

use proptest::prelude::*;

use crate::files::{load, number, survives};
use crate::graphs::{Maker, random};
use crate::running::compare;

struct Layer {
    channels: usize,
    size: [usize; 2],
    filters: usize,
    kernel: usize,
    stride: usize,
    residual: bool,
    activation: Option<Unary>,
}

/// A graph of one layer; `codes` are bits, sign and groups.
fn graph(layer: &Layer, codes: Option<(u8, bool, usize)>) -> Graph {
    let &Layer { channels, size: [h, w], filters, kernel, stride, residual, activation } = layer;
    let (mut m, x) = Maker::new(&[channels, h, w]);
    let pad = kernel / 2;
    let attrs = ConvAttrs {
        stride: vec![stride; 2],
        pad_begin: vec![pad; 2],
        pad_end: vec![pad; 2],
        dilation: vec![1; 2],
        groups: 1,
    };
    let along = |size: usize| (size + 2 * pad - kernel) / stride + 1;
    let (oh, ow) = (along(h), along(w));
    let shape = [filters, channels, kernel, kernel];
    let numbers = random(shape.iter().product(), 3);
    let mut own = AdderConv { affine: true, residual, activation, ..AdderConv::new(attrs) };
    let weight: ValueId = match codes {
        None => m.graph.add_constant("weight", &shape, numbers),
        Some((bits, signed, groups)) => {
            let scales: Vec<f32> = (0..groups).map(|g| 0.4 + 0.3 * g as f32).collect();
            let labels: Vec<u8> = (0..filters).map(|o| (o * 7 % groups) as u8).collect();
            let coding = Coding { bits, signed };
            let filter = channels * kernel * kernel;
            let q: Vec<i8> = numbers
                .iter()
                .enumerate()
                .map(|(i, w)| coding.weight(*w, scales[usize::from(labels[i / filter])]))
                .collect();
            own.codes = Some(AdderCodes { bits, signed, scales, labels });
            m.graph.add_known("weight", &shape, Constant::I8(q.into()))
        }
    };
    // Sums have about a number per term: of the inputs' size they are afterwards.
    let terms = (channels * kernel * kernel) as f32;
    let scale = random(filters, 5).into_iter().map(|s| s / terms).collect();
    let scale = m.graph.add_constant("scale", &[filters], scale);
    let shift = m.graph.add_constant("shift", &[filters], random(filters, 6));
    let mut inputs = vec![x, weight, scale, shift];
    if residual {
        let twin = m.node(Op::Unary { function: Unary::Abs }, &[x], &[channels, h, w]);
        inputs.push(twin);
    }
    let y = m.node(Op::AdderConv(own), &inputs, &[filters, oh, ow]);
    m.finish(&[y])
}

fn layers() -> Vec<Layer> {
    let layer = |channels, size, filters, kernel, stride| Layer {
        channels,
        size,
        filters,
        kernel,
        stride,
        residual: false,
        activation: None,
    };
    vec![
        layer(3, [7, 9], 5, 3, 1),
        layer(16, [8, 8], 16, 3, 2),
        layer(20, [6, 5], 33, 1, 1),
        layer(8, [9, 7], 12, 5, 1),
        Layer { residual: true, activation: Some(Unary::Relu), ..layer(24, [6, 6], 24, 3, 1) },
        Layer { activation: Some(Unary::HardSwish), ..layer(16, [6, 6], 40, 3, 1) },
    ]
}

#[test]
fn distances_of_numbers() {
    for (at, layer) in layers().iter().enumerate() {
        compare(&format!("layer {at}"), &graph(layer, None), 5e-6);
    }
}

#[test]
fn distances_of_codes() {
    for (at, layer) in layers().iter().enumerate() {
        for codes in [(8, false, 4), (4, false, 3), (5, true, 1), (8, true, 2), (6, false, 1)] {
            compare(&format!("layer {at}, {codes:?}"), &graph(layer, Some(codes)), 5e-6);
        }
    }
}

/// The engine's codes are the graph's.
#[test]
fn codes_are_the_kernels() {
    for (bits, signed) in [(8, false), (4, false), (5, true), (8, true)] {
        let coding = Coding { bits, signed };
        let own = AdderCodes { bits, signed, scales: vec![0.37], labels: vec![0] };
        for x in random(500, 8).into_iter().chain([0.37, -0.37, 9.0, -9.0, 0.0, f32::NAN, f32::INFINITY]) {
            assert_eq!(own.code(x, 0), i32::from(coding.activation(x, 0.37)), "{x}");
        }
        assert_eq!(own.step(0), coding.step(0.37));
    }
}

/// A model of one layer, and its file.
fn stored(codes: Option<(u8, bool, usize)>) -> (Model, Vec<u8>) {
    let mut own = graph(&layers()[4], codes);
    passes::optimize(&mut own);
    let model = Model::compile(own, "").expect("it compiles");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("adder.ocelli");
    model.save(&path).expect("saved");
    (model, std::fs::read(path).expect("reads"))
}

#[test]
fn a_stored_model_computes_the_same() {
    for codes in [None, Some((8, false, 4))] {
        let (model, bytes) = stored(codes);
        let loaded = load(&bytes).expect("loaded");
        let x = random(24 * 36, 9);
        let options = RunOptions { threads: 1, pin: false };
        assert_eq!(model.run(1, options, &[&x]).expect("runs"), loaded.run(1, options, &[&x]).expect("runs"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(800) })]

    #[test]
    fn any_changed_number(which in any::<prop::sample::Index>(), value in number(), coded in any::<bool>()) {
        survives(&stored(coded.then_some((8, false, 4))).1, which, value);
    }
}
