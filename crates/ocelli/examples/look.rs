//! What a network looks at, as a picture:
//! `cargo run --release --example look -- pvig_ti_224_gelu cat.jpg look.png [WEIGHTS]`.
//!
//! A Vision GNN shows the neighbours of the node in the middle, in the first block (left) and in the last (right). A TNT
//! shows how much its class token looks at every patch in the last block (left: mean over heads) and, enlarged, how the words
//! of the patch in the middle look at each other (right). Without weights the networks start at random: neighbours are then
//! places of like colour, attention is about even.

use burn::tensor::{Device, Tensor, TensorData};
use ocelli::Network;
use ocelli::data::{DecodeLimits, EvalTransform, RgbImage, decode_file};
use ocelli::nn::weights::WeightFile;
use ocelli::report::png::encode_rgb;
use ocelli::zoo::{self, Options};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, picture, output, weights @ ..] = args.as_slice() else {
        return Err("usage: look NETWORK PICTURE OUTPUT.png [WEIGHTS]".into());
    };
    let device = Device::flex();
    let mut network = zoo::create(name, &Options::default(), &device)?.initialize(0);
    if let Some(path) = weights.first() {
        network = network.load_weights(WeightFile::read(path)?, name, false)?.0;
    }
    let transform = EvalTransform::new(&zoo::entry(name)?.preprocess())?;
    let image = decode_file(picture, &DecodeLimits::default())?;
    let seen = transform.crop(&image)?;
    let (height, width) = (seen.height(), seen.width());
    let x = Tensor::<4>::from_data(TensorData::new(transform.apply(&image)?, [1, 3, height, width]), &device);
    let panels = match &network {
        Network::Vig(net) => {
            let last =
                (0..).take_while(|&index| net.has_block(index)).last().ok_or("a network without blocks")?;
            [0, last].map(|index| net.neighbours(x.clone(), index)).map(|found| {
                let (lists, [rows, columns]) = found.expect("the block exists");
                neighbours(&seen, &lists, [rows, columns])
            })
        }
        Network::Tnt(net) => {
            let attention = net.class_attention(x.clone()).mean_dim(1);
            let [_, _, rows, columns] = attention.dims();
            let words = net.word_attention(x).ok_or("a network without inner halves")?;
            let [_, _, count, _] = words.dims();
            let middle = (rows / 2) * columns + columns / 2;
            let words = words.narrow(0, middle, 1).mean_dim(1).reshape([count, count]);
            [
                heat(&seen, &attention.into_data().iter::<f32>().collect::<Vec<_>>(), [rows, columns]),
                matrix(&words.into_data().iter::<f32>().collect::<Vec<_>>(), count, [width, height]),
            ]
        }
        _ => return Err(format!("{name}: neither a Vision GNN nor a TNT").into()),
    };
    let (wide, pixels) = beside(&panels[0], &panels[1]);
    std::fs::write(output, encode_rgb(wide as u32, height as u32, &pixels)?)?;
    println!("{output}: {wide}x{height}");
    Ok(())
}

/// The picture, darkened but for the middle node (red frame) and its neighbours.
fn neighbours(seen: &RgbImage, lists: &TensorData, [rows, columns]: [usize; 2]) -> RgbImage {
    let k = lists.shape()[2];
    let node = (rows / 2) * columns + columns / 2;
    let list: Vec<i64> = lists.iter::<i64>().skip(node * k).take(k).collect();
    // Neighbours may be chosen on a coarser map, whose side is a whole part of the nodes'.
    let reduce = if rows * columns == 56 * 56 {
        4
    } else if rows * columns == 28 * 28 {
        2
    } else {
        1
    };
    let coarse = columns / reduce;
    let at = |x: usize, y: usize, across: usize, down: usize| {
        (y * down / seen.height()) * across + x * across / seen.width()
    };
    paint(seen, |x, y, pixel| {
        if at(x, y, columns, rows) == node {
            [255, 40, 40]
        } else if list.contains(&(at(x, y, coarse, rows / reduce) as i64)) {
            pixel
        } else {
            pixel.map(|v| v / 3)
        }
    })
}

/// The picture, as bright as the weights say.
fn heat(seen: &RgbImage, weights: &[f32], [rows, columns]: [usize; 2]) -> RgbImage {
    let most = weights.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    paint(seen, |x, y, pixel| {
        let weight = weights[(y * rows / seen.height()) * columns + x * columns / seen.width()] / most;
        pixel.map(|v| (f32::from(v) * (0.15 + 0.85 * weight)) as u8)
    })
}

/// A square matrix of weights as grey fields.
fn matrix(weights: &[f32], count: usize, [width, height]: [usize; 2]) -> RgbImage {
    let most = weights.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let blank = RgbImage::filled(width, height, [0; 3]).expect("the picture's own size");
    paint(&blank, |x, y, _| {
        [(255.0 * weights[(y * count / height) * count + x * count / width] / most) as u8; 3]
    })
}

fn paint(from: &RgbImage, colour: impl Fn(usize, usize, [u8; 3]) -> [u8; 3]) -> RgbImage {
    let mut to = from.clone();
    let width = from.width();
    for (i, pixel) in to.data_mut().chunks_exact_mut(3).enumerate() {
        let own = [pixel[0], pixel[1], pixel[2]];
        pixel.copy_from_slice(&colour(i % width, i / width, own));
    }
    to
}

fn beside(a: &RgbImage, b: &RgbImage) -> (usize, Vec<u8>) {
    let (left, right) = (3 * a.width(), 3 * b.width());
    let rows = a.data().chunks_exact(left).zip(b.data().chunks_exact(right));
    (a.width() + b.width(), rows.flat_map(|(a, b)| [a, b].concat()).collect())
}
