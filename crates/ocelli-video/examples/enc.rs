//! scratch
use ocelli_video::deliver::encode::*;
use ocelli_video::deliver::*;
#[global_allocator]
static ALLOCATOR: ocelli_train::Recycler = ocelli_train::Recycler::new();
fn main() {
    let args: Vec<String> = std::env::args().collect();
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().unwrap();
    let ffmpeg = ocelli_data::video::Ffmpeg::find().unwrap();
    let config = Config { residual: Residual::Bicubic, ..Config::preset(&args[2], 2).unwrap() };
    let options = EncodeOptions {
        steps: args[3].parse().unwrap(),
        lr: args[4].parse().unwrap(),
        seed: args[5].parse().unwrap(),
        verify_every: 30,
        ..EncodeOptions::new(config)
    };
    let folder = tempfile::tempdir().unwrap();
    let made = encode(
        &ffmpeg,
        args[1].as_ref(),
        &folder.path().join("p"),
        &options,
        1,
        ocelli_train::ProgressStyle::Auto,
        &Default::default(),
        &mut |_, _, _| {},
    )
    .unwrap()
    .unwrap();
    println!("{:?}: {:.3} against {:.3}", &args[1..], made.psnr, made.bicubic);
}
