//! Pictures and runs for the tests.

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use ocelli::report::png::encode_rgb;

/// The program, ready to be given arguments.
pub fn ocelli() -> Command {
    Command::cargo_bin("ocelli").unwrap()
}

/// Runs the program and demands `code`; gives standard output and error.
pub fn run(args: &[&str], code: i32) -> (String, String) {
    finished(ocelli().args(args).output().unwrap(), code)
}

/// Demands `code` of a finished program; gives standard output and error.
pub fn finished(output: Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout: {out}\nstderr: {err}");
    (out, err)
}

/// Runs the program, demands exit code 1, one `error:` line and no panic; gives it.
pub fn fails(args: &[&str]) -> String {
    let (_, err) = run(args, 1);
    assert!(!err.contains("panicked"), "{err}");
    let line = err.lines().position(|line| line.starts_with("error: "));
    let line = line.unwrap_or_else(|| panic!("no error line in {err}"));
    err.lines().skip(line).collect::<Vec<_>>().join("\n")
}

/// A picture of one colour with some texture.
pub fn picture(path: &Path, side: u32, colour: [u8; 3], shade: u32) {
    let pixels: Vec<u8> = (0..side * side)
        .flat_map(|i| {
            let dim = ((i * 7 + shade * 13) % 60) as u8;
            colour.map(|c| c.saturating_sub(dim))
        })
        .collect();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, encode_rgb(side, side, &pixels).unwrap()).unwrap();
}

pub const COLOURS: [(&str, [u8; 3]); 3] =
    [("blue", [30, 40, 230]), ("green", [30, 220, 40]), ("red", [230, 40, 30])];

/// `train/CLASS` and `val/CLASS` folders of three colours.
pub fn dataset(root: &Path, per_class: u32) -> PathBuf {
    let data = root.join("data");
    for (class, colour) in COLOURS {
        for i in 0..per_class {
            picture(&data.join(format!("train/{class}/{i}.png")), 20 + i, colour, i);
            if i < 3 {
                picture(&data.join(format!("val/{class}/{i}.png")), 24, colour, 100 + i);
            }
        }
    }
    data
}

/// Arguments of a training that takes a second or two.
pub fn train_args<'a>(data: &'a str, output: &'a str) -> Vec<&'a str> {
    vec![
        "image",
        "train",
        "--data",
        data,
        "--model",
        "resnet20_cifar",
        "--img-size",
        "16",
        "--batch-size",
        "6",
        "--epochs",
        "12",
        "--lr",
        "0.05",
        "--scale",
        "0.5,1",
        "--color-jitter",
        "0",
        "--output",
        output,
        "--threads",
        "1",
    ]
}

/// A trained model of [`COLOURS`] below `root`: its run folder.
pub fn trained(root: &Path) -> PathBuf {
    let data = dataset(root, 10);
    let output = root.join("run");
    run(&train_args(data.to_str().unwrap(), output.to_str().unwrap()), 0);
    output
}
