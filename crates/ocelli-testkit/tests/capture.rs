//! Recorded operations against burn: the interpreter computes from the graph what burn computes.

use burn::module::{Module, Param};
use burn::tensor::ops::{InterpolateMode, InterpolateOptions, PadMode};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData, activation, module, s};
use ocelli_graph::capture::{CaptureError, Outputs, capture};
use ocelli_graph::{Constant, Dim, Graph, Op, Unary, interpret, passes};
use ocelli_nn::state_dict::{load_state_dict, specs, state_dict};
use ocelli_nn::{BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Linear, LinearConfig};

/// One of each layer with parameters.
#[derive(Module, Debug)]
struct Layers {
    conv: Conv2d,
    norm: BatchNorm,
    linear: Linear,
    token: Param<Tensor<3>>,
    scale: Param<Tensor<1>>,
}

fn layers() -> Layers {
    let device = Device::flex();
    let layers = Layers {
        conv: Conv2dConfig::new(3, 4, 3).bias(true).init(&device),
        norm: BatchNormConfig::new(3).init(&device),
        linear: LinearConfig::new(8, 5).init(&device),
        token: Param::from_tensor(Tensor::zeros([1, 1, 8], &device)),
        scale: Param::from_tensor(Tensor::zeros([8], &device)),
    };
    let tensors = crate::filled(specs(&layers).into_iter().map(|spec| (spec.name, spec.shape)));
    load_state_dict(layers, tensors).0
}

fn graph<O: Outputs>(forward: impl Fn(&Layers, Tensor<4>) -> O) -> Result<Graph, CaptureError> {
    capture(&layers(), [3, 8, 8], "test", str::to_string, forward)
}

/// Compares graph and burn for two batch sizes, the graph as it is and rewritten.
fn same<const D: usize>(forward: impl Fn(&Layers, Tensor<4>) -> Tensor<D>) -> Graph {
    let raw = graph(&forward).unwrap();
    let mut optimised = raw.clone();
    passes::optimize(&mut optimised);
    for batch in [1, 4] {
        let input: Vec<f32> = (0..batch * 192).map(|i| (i * 131 % 251) as f32 / 100.0 - 1.25).collect();
        let shape = [batch, 3, 8, 8];
        let x = Tensor::from_data(TensorData::new(input.clone(), shape), &Device::flex());
        let expected = forward(&layers(), x).into_data();
        for graph in [&raw, &optimised] {
            let found =
                interpret::interpret(graph, &[interpret::Tensor::new(&shape, input.clone())]).unwrap();
            assert_eq!(found[0].shape, expected.shape().iter().copied().collect::<Vec<usize>>());
            for (a, b) in expected.iter::<f32>().zip(found[0].floats()) {
                assert!((a - b).abs() <= 1e-4 * (1.0 + a.abs()), "burn has {a}, the graph {b}");
            }
        }
    }
    raw
}

/// `[n, 24, 8]`: rows of pixels as tokens.
fn tokens(x: Tensor<4>) -> Tensor<3> {
    let n = x.dims()[0];
    x.reshape([n, 24, 8])
}

#[test]
fn layers_keep_their_names_and_values() {
    let layers = layers();
    let before = state_dict(&layers);
    let published = |name: &str| format!("model.{name}");
    let graph =
        capture(&layers, [3, 8, 8], "test", published, |l, x| l.conv.forward(l.norm.forward(x))).unwrap();
    assert_eq!(state_dict(&layers), before, "the module is left alone");
    let names: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["model.norm", "model.conv"]);
    for (name, data) in before {
        let used = name.starts_with("conv") || name.starts_with("norm");
        let value = graph.values.iter().position(|value| value.name == published(&name));
        assert_eq!(value.is_some(), used, "{name}");
        let Some(value) = value else { continue };
        let constant = &graph.constants[&ocelli_graph::ValueId(value as u32)];
        assert_eq!(*constant, Constant::F32(data.iter::<f32>().collect()), "{name}");
    }
    assert_eq!(
        graph.value(graph.outputs[0]).shape,
        [Dim::Batch(1), Dim::Fixed(4), Dim::Fixed(8), Dim::Fixed(8)]
    );
}

#[test]
fn tokens_and_attention() {
    let linear = same(|l, x| activation::gelu(l.linear.forward(tokens(x))));
    assert!(matches!(linear.nodes[1].op, Op::Linear { bias: true, activation: None, .. }));
    assert_eq!(linear.nodes[1].name, "linear");
    assert_eq!(linear.value(linear.nodes[1].inputs[1]).name, "linear.weight");
    let mut joined = linear;
    passes::optimize(&mut joined);
    let layer = &joined.nodes[1];
    assert!(matches!(layer.op, Op::Linear { bias: true, activation: Some(Unary::Gelu), .. }));
    assert_eq!(joined.value(layer.inputs[2]).name, "linear.bias");
    let product = same(|l, x| tokens(x).matmul(l.linear.weight.val().transpose().unsqueeze()));
    assert!(matches!(product.nodes[1].op, Op::Linear { bias: false, .. }));
    same(|l, x| {
        let n = x.dims()[0];
        Tensor::cat(vec![l.token.val().expand([n, 1, 8]), tokens(x)], 1)
    });
    same(|l, x| Tensor::cat(vec![l.token.val().repeat_dim(0, x.dims()[0]), tokens(x)], 1));
    same(|l, x| module::layer_norm(tokens(x), l.scale.val(), None, 1e-5));
    same(|l, x| module::layer_norm(tokens(x), l.scale.val(), Some(l.scale.val()), 1e-6));
    let heads = |x: Tensor<4>| {
        let n = x.dims()[0];
        tokens(x).reshape([n, 24, 2, 4]).swap_dims(1, 2)
    };
    same(move |_, x| {
        let q = heads(x);
        let scores = q.clone().matmul(q.clone().transpose()).mul_scalar(0.5);
        activation::softmax(scores, 3).matmul(q)
    });
    same(move |_, x| {
        let q = heads(x);
        module::attention(q.clone(), q.clone().neg(), q, None, None, Default::default())
    });
    same(move |_, x| {
        let (n, device) = (x.dims()[0], x.device());
        let mask: Tensor<4, Bool> = Tensor::<1, Int>::arange(0..24, &device)
            .greater_elem(20)
            .reshape([1, 1, 1, 24])
            .expand([n, 2, 24, 24]);
        let q = heads(x);
        module::attention(q.clone(), q.clone(), q, Some(mask), None, Default::default())
    });
    same(|_, x| activation::log_softmax(tokens(x), 1));
}

#[test]
fn maps() {
    for mode in [InterpolateMode::Nearest, InterpolateMode::Bilinear, InterpolateMode::Bicubic] {
        for (size, align) in [([16, 16], false), ([5, 11], true)] {
            if align && matches!(mode, InterpolateMode::Nearest) {
                continue;
            }
            let mode = mode.clone();
            same(move |_, x| {
                let options = InterpolateOptions::new(mode.clone()).with_output_size(size);
                module::interpolate(x, options.with_align_corners(align))
            });
        }
    }
    same(|_, x| module::adaptive_avg_pool2d(x, [3, 2]));
    same(|_, x| module::adaptive_avg_pool2d(x, [1, 1]));
    for mode in [PadMode::Constant(0.5), PadMode::Reflect, PadMode::Edge] {
        same(move |_, x| x.pad((1, 2, 3, 1), mode));
    }
    same(|l, x| x.slice(s![.., .., ..;2, 1..7;3]) * l.scale.val().slice(s![0..1]).reshape([1, 1, 1, 1]));
    same(|_, x| x.flip([1, 3]));
    same(|_, x| x.slice(s![.., 1..3, .., ..;-1]));
    same(|_, x| {
        let [n, c, h, w] = x.dims();
        // Space to depth.
        x.reshape([n, c, h / 2, 2, w / 2, 2]).permute([0, 3, 5, 1, 2, 4]).reshape([n, 4 * c, h / 2, w / 2])
    });
    same(|_, x| {
        let [n, c, h, w] = x.dims();
        // Windows: the batch grows.
        x.reshape([n, c, h / 4, 4, w / 4, 4]).permute([0, 2, 4, 3, 5, 1]).reshape([n * 4, 16, c])
    });
    same(|_, x| {
        let [n, _, h, w] = x.dims();
        let zeros = Tensor::zeros([n, 2, h, w], &x.device());
        Tensor::cat(vec![zeros, x], 1)
    });
}

#[test]
fn elements() {
    same(|_, x| x.clone().powf_scalar(2.0).add(x.abs().sqrt()).sub_scalar(0.25).recip());
    same(|_, x| {
        x.clone().clamp_min(-0.5).clamp_max(0.5) + x.clone().exp() * x.clone().sin() - x.cos().tanh()
    });
    same(|_, x| {
        activation::leaky_relu(x.clone(), 0.1) + activation::sigmoid(x.clone()) * activation::silu(x)
    });
    same(|_, x| activation::hard_swish(x.clone()) + activation::hard_sigmoid(x, 0.2, 0.5));
    same(|l, x| activation::prelu(x, l.scale.val().slice(s![0..3])));
    same(|_, x| x.clone().mask_fill(x.lower_elem(0.0), 7.0));
    same(|_, x| x.clone().mask_where(x.clone().greater(x.clone().neg()), x.mul_scalar(3.0)));
    same(|_, x| x.floor().int().float());
    same(|_, x| x.clone().equal(x.clone().round()).bool_or(x.lower_equal_elem(-1.0)).float());
    same(|_, x| x.erf().log1p());
}

#[test]
fn reductions_and_choices() {
    same(|_, x| x.clone().mean_dim(3) + x.clone().sum_dim(1) * x.clone().max_dim(2) - x.min_dim(3));
    same(|_, x| x.mean());
    same(|_, x| tokens(x).argmax(2).float());
    same(|_, x| tokens(x).topk(3, 2));
    same(|_, x| {
        let (values, indices) = tokens(x).topk_with_indices(4, 1);
        values + indices.float()
    });
    same(|_, x| tokens(x).sort(1));
    same(|_, x| {
        let device = x.device();
        tokens(x).select(1, Tensor::<1, Int>::from_data([3, 0, 3, 23], &device))
    });
    same(|_, x| {
        let tokens = tokens(x);
        let order = tokens.clone().argsort_descending(2);
        tokens.gather(2, order)
    });
}

#[test]
fn what_cannot_be_expressed_is_named() {
    let error = graph(|l, x| l.norm.forward(x).cumsum(3)).unwrap_err();
    assert!(matches!(&error, CaptureError::Unsupported { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("CumSum") && text.contains("norm"), "{text}");
    let error = graph(|_, x| x.clone().mul_scalar(x.dims()[0] as f32)).unwrap_err();
    assert!(matches!(&error, CaptureError::Batch { .. }), "{error}");
    let error = graph(|_, x| x.slice(s![1.., .., .., ..])).unwrap_err();
    assert!(matches!(&error, CaptureError::Batch { .. }), "{error}");
    let error = capture(&layers(), [5, 8, 8], "test", str::to_string, |l, x| l.conv.forward(x)).unwrap_err();
    assert!(matches!(&error, CaptureError::Forward(_)), "{error}");
    // A failed recording leaves the device usable.
    assert!(graph(|l, x| l.conv.forward(x)).is_ok());
}

#[test]
fn several_outputs() {
    let graph = graph(|l, x| (vec![l.conv.forward(x.clone()), x.clone()], tokens(x))).unwrap();
    assert_eq!(graph.outputs.len(), 3);
    assert_eq!(graph.outputs[1], graph.inputs[0]);
    passes::check(&graph).unwrap();
}
