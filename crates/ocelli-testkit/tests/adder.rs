//! Adder networks through the whole way: burn, codes, graph, engine.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_compress::adder::assemble::assemble;
use ocelli_compress::adder::network::{calibrate, codes, plan_all, reestimate, reestimate_with};
use ocelli_compress::adder::{Scales, Settings};
use ocelli_engine::RunOptions;
use ocelli_image::backbone::addernet::cifar;
use ocelli_image::{Network, NetworkConfig, deploy};
use ocelli_nn::adder::with_codes;
use ocelli_testkit::fill;

const SIDE: usize = 16;
const ONE: RunOptions = RunOptions { threads: 1, pin: false };

fn config() -> NetworkConfig {
    NetworkConfig::AdderResNetCifar(cifar::Config {
        widths: [8, 12, 16],
        image_size: SIDE,
        ..cifar::Config::new(1)
    })
}

fn pictures(name: &str, count: usize) -> Vec<f32> {
    fill::input(name, &[count, 3, SIDE, SIDE])
}

fn tensor(values: &[f32], device: &Device) -> Tensor<4> {
    let count = values.len() / (3 * SIDE * SIDE);
    Tensor::from_data(TensorData::new(values.to_vec(), [count, 3, SIDE, SIDE]), device)
}

fn logits(network: &Network, x: &[f32]) -> Vec<f32> {
    network.forward(tensor(x, &Device::flex())).into_data().iter::<f32>().collect()
}

fn close(a: &[f32], b: &[f32], tolerance: f32, what: &str) {
    let scale = b.iter().fold(1e-3f32, |most, v| most.max(v.abs()));
    let worst = a.iter().zip(b).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(worst <= tolerance * scale, "{what}: {worst} of {scale}");
}

#[test]
fn codes_mean_the_same_in_burn_and_in_the_engine() {
    let (plain, learning) = (Device::flex(), Device::flex().autodiff());
    let network = config().init(&learning).initialize(3);
    let looked: Vec<Vec<f32>> = (0..3).map(|i| pictures(&format!("look{i}"), 6)).collect();
    reestimate(looked.iter().map(|x| tensor(x, &learning)), |x| drop(network.forward(x)));
    let x = pictures("x", 8);
    let size = [3, SIDE, SIDE];

    // Of numbers.
    let own = |network: &Network| {
        let (own, mismatch) = config().init(&plain).load_state_dict(network.state_dict());
        assert!(mismatch.is_empty());
        own
    };
    let float = own(&network);
    let model = deploy::compile(&float, "adder", size, None).expect("it compiles");
    let names: Vec<&str> = model.graph().nodes.iter().map(|node| node.op.kind()).collect();
    assert!(!names.contains(&"batch_norm") && !names.contains(&"add"), "norms and sums are fused: {names:?}");
    close(&model.run(8, ONE, &[&x]).expect("runs")[0], &logits(&float, &x), 1e-4, "numbers");

    for (bits, scales) in [(8, Scales::Groups), (4, Scales::Groups), (5, Scales::SharedWeights)] {
        let settings = Settings { scales, ..Settings::new(bits) };
        let inner = network.valid();
        let reaches = calibrate(looked.iter().map(|x| tensor(x, &plain)), settings.alpha, |x| {
            drop(inner.forward(x));
        });
        let layers = plan_all(&network, &reaches, &settings, &Default::default()).expect("a plan");
        assert_eq!(layers.len(), 8);
        let coded = codes(&layers, &settings);
        reestimate_with(&coded, looked.iter().map(|x| tensor(x, &learning)), |x| drop(network.forward(x)));
        let settled = own(&network);
        let graph = assemble(settled.graph(size).expect("a graph"), &layers, &settings).expect("codes");
        let model = deploy::compile_graph(graph, None).expect("it compiles");
        let found = model.run(8, ONE, &[&x]).expect("runs").remove(0);
        let simulated = with_codes(&coded, || logits(&network.valid(), &x));
        // Single codes may round the other way where norms are folded.
        close(&found, &simulated, 0.1, &format!("{bits} bits"));
        let best = |rows: &[f32]| -> Vec<usize> {
            let row = |row: &[f32]| (0..10).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0);
            rows.chunks_exact(10).map(row).collect()
        };
        assert_eq!(best(&found), best(&simulated), "{bits} bits");
    }
}

#[test]
fn what_cannot_be_is_said() {
    let network = config().init(&Device::flex().autodiff());
    let settings = Settings::new(8);
    let nothing = Default::default();
    let error = plan_all(&network, &nothing, &settings, &Default::default()).expect_err("nothing was seen");
    assert!(error.to_string().contains("layer1.0.conv1"), "{error}");
    let keep = ["fc".to_string()].into_iter().collect();
    let error = plan_all(&network, &nothing, &settings, &keep).expect_err("no adder layer");
    assert!(error.to_string().contains("'fc' is no adder layer"), "{error}");
    assert!(network.check_size([24, 24]).is_err());
}
