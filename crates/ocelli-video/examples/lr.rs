//! scratch
use ocelli_video::deliver::encode::EncodeOptions;
use ocelli_video::deliver::low::LowCodec;
use ocelli_video::deliver::trial::*;
use ocelli_video::deliver::upscale::Upscaler;
use ocelli_video::deliver::*;
#[global_allocator]
static ALLOCATOR: ocelli_train::Recycler = ocelli_train::Recycler::new();
fn main() {
    let args: Vec<String> = std::env::args().collect();
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().unwrap();
    let ffmpeg = ocelli_data::video::Ffmpeg::find().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let choice = Choice {
        source: args[1].clone().into(),
        chunks: 3,
        frames: 12,
        size: if std::env::var_os("BIG").is_some() { [480, 854] } else { [240, 432] },
    };
    let crf: u32 = args[2].parse().unwrap();
    let material = Material::make(&ffmpeg, &choice, 2, (LowCodec::H264, crf), folder.path()).unwrap();
    println!(
        "bicubic {:.2} bytes {}",
        material.psnr(3, |_| Ok(Upscaler::bicubic(2, material.frames.size, 1))).unwrap(),
        material.low_bytes
    );
    let config = Config { residual: Residual::Bicubic, ..Config::preset(&args[3], 2).unwrap() };
    for lr in args[5..].iter() {
        let options = EncodeOptions {
            lr: lr.parse().unwrap(),
            steps: args[4].parse().unwrap(),
            ..EncodeOptions::new(config.clone())
        };
        for kind in [Kind::Shared, Kind::Modulated] {
            let begun = std::time::Instant::now();
            let out =
                run(&material, &config, kind, &options, (1, 3), ocelli_train::ProgressStyle::Quiet).unwrap();
            println!(
                "{} lr {lr} {kind:?}: {:.3} dB loss {:.3} ({:.0} s)",
                args[3],
                out.psnr,
                out.loss,
                begun.elapsed().as_secs_f64()
            );
        }
    }
}
