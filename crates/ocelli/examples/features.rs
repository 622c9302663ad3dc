//! Maps at several scales for a detector: `cargo run --release --example features -- ghostnet_100 320`.

use burn::tensor::{Device, Tensor};
use ocelli::zoo::{self, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_else(|| "ghostnet_100".into());
    let side = args.next().map_or(Ok(224), |side| side.parse())?;

    let device = Device::flex();
    let network = zoo::create(&name, &Options::default(), &device)?.initialize(0);
    let picture = Tensor::zeros([1, 3, side, side], &device);

    println!("last map {:?}", network.forward_features(picture.clone()).dims());
    let maps = network.forward_multi_scale(picture, &[]);
    for (info, map) in network.feature_info().iter().zip(maps) {
        println!("{:<10} 1/{:<2} of the input  {:?}", info.module, info.reduction, map.dims());
    }
    Ok(())
}
