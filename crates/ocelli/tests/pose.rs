//! `ocelli pose`: motion capture in, networks out; keypoints in, skeletons out.

use std::path::{Path, PathBuf};

use ocelli::graph::onnx::Summary;
use serde_json::{Value, json};

use crate::common::{fails, ocelli, run};

fn capture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/pose/131_03.bvh")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A standing person in Human3.6M's order, in pixels of a 1000 x 1000 picture.
fn person() -> Vec<[f32; 3]> {
    let joints = [
        [500, 500],
        [470, 505],
        [465, 610],
        [460, 710],
        [530, 505],
        [535, 610],
        [540, 710],
        [500, 440],
        [500, 380],
        [500, 350],
        [500, 320],
        [545, 390],
        [565, 460],
        [570, 520],
        [455, 390],
        [435, 460],
        [430, 520],
    ];
    joints.iter().map(|&[x, y]| [x as f32, y as f32, 0.9]).collect()
}

fn write(folder: &Path, name: &str, value: &Value) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, value.to_string()).unwrap();
    path
}

fn train_args<'a>(data: &'a str, output: &'a str, epochs: &'a str) -> Vec<&'a str> {
    let mut args =
        vec!["pose", "train", "--data", data, "--val-fraction", "0.2", "--rate", "15", "--hidden", "16"];
    args.extend(["--blocks", "1", "--batch-size", "32", "--epochs", epochs, "--scale", "0.9,1.1", "--turn"]);
    args.extend(["--output", output, "--threads", "1", "--quiet"]);
    args
}

#[test]
fn a_network_learns_from_motion_capture_and_lifts() {
    let folder = tempfile::tempdir().unwrap();
    let (data, output) = (capture(), folder.path().join("run"));
    let (out, _) = run(&train_args(text(&data), text(&output), "6"), 0);
    assert!(out.contains("MPJPE") && out.contains("best.safetensors"), "{out}");
    let metrics = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let losses: Vec<f64> = lines.iter().map(|line| line["train_loss"].as_f64().unwrap()).collect();
    let errors: Vec<f64> = lines.iter().map(|line| line["metrics"]["mpjpe_mm"].as_f64().unwrap()).collect();
    // One clip's last frames are not like its first: the training's own loss tells of learning.
    assert!(losses.len() == 6 && losses[5] < 0.2 * losses[0], "{losses:?}");
    assert!(errors.iter().any(|error| *error < 0.8 * errors[0]), "{errors:?}");

    let eval =
        ["pose", "eval", "--data", text(&data), "--val-fraction", "0.2", "--rate", "15", "--format", "json"];
    let (out, _) = run(&[&eval[..], &["--model", text(&output)]].concat(), 0);
    let report: Value = serde_json::from_str(&out).unwrap();
    let (engine, burn) = (report["mean_over_actions"]["mpjpe"].as_f64().unwrap(), *errors.last().unwrap());
    let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
    assert!((engine - best).abs() < 0.01, "engine {engine}, training {burn}");

    let input =
        write(folder.path(), "one.json", &json!({"size": [1000, 1000], "people": [{"keypoints": person()}]}));
    let (out, err) = run(&["pose", "lift", text(&input), "--model", text(&output)], 0);
    let lifted: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(lifted["frames"][0]["people"][0]["joints"].as_array().unwrap().len(), 17);
    assert!(err.contains("h36m (detected)"), "{err}");
}

#[test]
fn the_same_settings_reach_the_same_bits_and_a_finished_run_resumes_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let data = capture();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    run(&train_args(text(&data), text(&whole), "3"), 0);
    run(&train_args(text(&data), text(&parts), "3"), 0);
    // Stops in the middle are tested in the trainer.
    run(&["pose", "train", "--resume", text(&parts), "--quiet", "--threads", "1"], 0);
    let bytes = |run: &Path| std::fs::read(run.join("best.safetensors")).unwrap();
    assert!(bytes(&whole) == bytes(&parts), "the same settings lead to other weights");
    let error = fails(&train_args(text(&data), text(&parts), "3"));
    assert!(error.contains("--resume"), "{error}");
}

/// A training that is killed like this cannot say goodbye.
#[test]
fn a_killed_training_goes_on_to_the_same_bits() {
    const EPOCHS: &str = "20";
    let folder = tempfile::tempdir().unwrap();
    let data = capture();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    run(&train_args(text(&data), text(&whole), EPOCHS), 0);
    let program = assert_cmd::cargo::cargo_bin("ocelli");
    let mut training = std::process::Command::new(program)
        .args(train_args(text(&data), text(&parts), EPOCHS))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let epochs =
        || std::fs::read_to_string(parts.join("metrics.jsonl")).map_or(0, |text| text.lines().count());
    let begun = std::time::Instant::now();
    while epochs() < 4 {
        assert!(begun.elapsed().as_secs() < 120, "no fourth epoch");
        assert!(training.try_wait().unwrap().is_none(), "ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    training.kill().unwrap();
    let status = training.wait().unwrap();
    let done = epochs();
    assert!(!status.success() && (4..20).contains(&done), "{status}, {done} epochs");
    let (out, _) = run(&["pose", "train", "--resume", text(&parts), "--quiet", "--threads", "1"], 0);
    assert!(out.contains("of 20, the best"), "{out}");
    let bytes = |run: &Path| std::fs::read(run.join("best.safetensors")).unwrap();
    assert!(bytes(&whole) == bytes(&parts), "killed after {done} epochs, the training reached other weights");
    let lines = |run: &Path| -> Vec<(Value, Value)> {
        let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| (line["train_loss"].clone(), line["metrics"].clone())).collect()
    };
    assert_eq!(lines(&whole), lines(&parts));
}

#[test]
fn the_shipped_network_becomes_an_onnx_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lift.onnx");
    let (out, _) = run(&["pose", "export", "--output", text(&path)], 0);
    assert!(out.contains("joints [N, 17, 2] to lifted [N, 17, 3]"), "{out}");
    // What it computes is compared with the networks in ocelli-pose's tests.
    let summary = Summary::read(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!((summary.inputs[0].name.as_str(), summary.outputs[0].name.as_str()), ("joints", "lifted"));
    assert_eq!(summary.inputs[0].shape, ["N", "17", "2"]);
    assert_eq!(summary.outputs[0].shape, ["N", "17", "3"]);

    let (help, _) = run(&["pose", "export", "--help"], 0);
    assert!(help.contains("joints [N, 17, 2]") && help.contains("metres relative to the pelvis"), "{help}");

    let checkpoint = capture().with_file_name("reference").join("dgridconv_legacy.pth.tar");
    let error = fails(&["pose", "export", text(&checkpoint), "--output", text(&path)]);
    assert!(error.contains("--padding"), "{error}");
    run(&["pose", "export", text(&checkpoint), "--padding", "c,z", "--output", text(&path)], 0);
    let error = fails(&["pose", "export", "--output", "lift.pb"]);
    assert!(error.contains("lift.pb") && error.contains(".onnx"), "{error}");
    let error = fails(&["pose", "export", "--output", text(&folder.path().join("none/lift.onnx"))]);
    assert!(error.contains("lift.onnx"), "{error}");
}

#[test]
fn the_shipped_network_writes_files_for_other_programs() {
    let folder = tempfile::tempdir().unwrap();
    let mut frames = Vec::new();
    for step in 0..4 {
        let moved: Vec<[f32; 3]> = person().iter().map(|&[x, y, s]| [x + 3.0 * step as f32, y, s]).collect();
        let mut second = moved.iter().map(|&[x, y, s]| [x + 200.0, y, s]).collect::<Vec<_>>();
        if step == 2 {
            second[16][2] = 0.1;
        }
        frames.push(json!({"people": [{"id": "a", "keypoints": moved}, {"id": "b", "keypoints": second}]}));
    }
    let clip = json!({"size": [1000, 1000], "order": "h36m", "frames": frames});
    let input = write(folder.path(), "clip.json", &clip);
    let at = |name: &str| folder.path().join(name);
    let (svg, bvh, gltf, out) = (at("c.svg"), at("c.bvh"), at("c.gltf"), at("c.out.json"));
    let (_, err) = run(
        &[
            "pose",
            "lift",
            text(&input),
            "--picture",
            text(&svg),
            "--bvh",
            text(&bvh),
            "--gltf",
            text(&gltf),
            "-o",
            text(&out),
        ],
        0,
    );
    assert!(err.contains("8 of 8 people in 4 frames") && err.contains("1 missing"), "{err}");
    let picture = std::fs::read_to_string(&svg).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("<animate") && !picture.contains("NaN"));
    for person in ["a", "b"] {
        let motion = std::fs::read_to_string(at(&format!("c-{person}.bvh"))).unwrap();
        assert!(motion.contains("Frames: 4"), "{motion}");
        let scene: Value =
            serde_json::from_str(&std::fs::read_to_string(at(&format!("c-{person}.gltf"))).unwrap()).unwrap();
        assert_eq!(scene["animations"][0]["channels"].as_array().unwrap().len(), 17);
        let bytes = scene["buffers"][0]["byteLength"].as_u64().unwrap();
        let end = |view: &Value| view["byteOffset"].as_u64().unwrap() + view["byteLength"].as_u64().unwrap();
        assert!(scene["bufferViews"].as_array().unwrap().iter().all(|view| end(view) <= bytes));
    }
    let lifted: Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!(lifted["frames"][2]["people"][1]["filled"], json!(["right_wrist"]));
    // A standing person: the head is above the pelvis, the ankles below (y is down).
    let joints = &lifted["frames"][0]["people"][0]["joints"];
    assert!(joints[10][1].as_f64().unwrap() < -0.3 && joints[3][1].as_f64().unwrap() > 0.4, "{joints}");
}

/// Width, height and frames of a GIF, and how long it lasts in hundredths of a second.
fn gif_of(bytes: &[u8]) -> (u16, u16, usize, u32) {
    assert!(bytes.starts_with(b"GIF89a") && bytes.ends_with(b";"));
    let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    // Every frame has a graphic control extension with its delay.
    let controls: Vec<usize> = (0..bytes.len() - 8)
        .filter(|&at| bytes[at..].starts_with(b"\x21\xf9\x04") && bytes[at + 7] == 0)
        .collect();
    (word(6), word(8), controls.len(), controls.iter().map(|&at| u32::from(word(at + 4))).sum())
}

#[test]
fn what_was_lifted_is_drawn_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let frame = |step: usize| -> Value {
        let moved = |shift: f32| -> Vec<[f32; 3]> {
            person().iter().map(|&[x, y, s]| [x + shift + 4.0 * step as f32, y, s]).collect()
        };
        json!({"people": [{"id": 1, "keypoints": moved(0.0)}, {"id": 2, "keypoints": moved(150.0)}]})
    };
    let frames: Vec<Value> = (0..12).map(frame).collect();
    let input =
        write(folder.path(), "clip.json", &json!({"size": [1000, 1000], "order": "h36m", "frames": frames}));
    let (lifted, lines) = (at("lifted.json"), at("lifted.jsonl"));
    let (svg, gif) = (at("lift.svg"), at("lift.gif"));
    run(&["pose", "lift", text(&input), "-o", text(&lifted), "--picture", text(&svg), "--fps", "25"], 0);
    run(&["pose", "lift", text(&input), "-o", text(&lifted), "--svg", text(&gif), "--fps", "25"], 0);
    let bytes = std::fs::read(&gif).unwrap();
    assert_eq!(gif_of(&bytes), (825, 285, 12, 48));
    assert!(bytes.len() < 100_000, "{} bytes", bytes.len());
    let drawn = |file: &Path, output: &str, more: &[&str]| {
        let output = at(output);
        run(&[&["pose", "draw", text(file), "-o", text(&output)][..], more].concat(), 0);
        std::fs::read(output).unwrap()
    };
    // The document holds six decimals and more: the same picture but for its title.
    assert!(drawn(&lifted, "again.gif", &["--fps", "25"]) == bytes, "another picture");
    assert_eq!(gif_of(&drawn(&lifted, "part.gif", &["--skip", "2", "--frames", "3", "--fps", "200"])).2, 1);
    let still = drawn(&lifted, "still.png", &[]);
    assert!(still.starts_with(b"\x89PNG"));
    let again = String::from_utf8(drawn(&lifted, "again.svg", &["--fps", "25"])).unwrap();
    let first = std::fs::read_to_string(&svg).unwrap();
    let body = |text: &str| text.lines().skip(2).collect::<Vec<_>>().join("\n");
    assert_eq!(body(&first), body(&again));

    let stream: String = (0..3).map(|step| format!("{}\n", frame(step))).collect::<String>() + "no JSON\n";
    let args = ["pose", "lift", "-", "--size", "1000x1000", "--order", "h36m"];
    let output = ocelli().args(args).write_stdin(stream).output().unwrap();
    std::fs::write(&lines, output.stdout).unwrap();
    assert_eq!(gif_of(&drawn(&lines, "lines.gif", &[])).2, 4);

    let (out, _) =
        run(&["pose", "draw", text(&capture()), "-o", text(&at("walk.gif")), "--frames", "240"], 0);
    assert!(out.contains("240 frames of 131_03"), "{out}");
    let (_, _, frames, hundredths) = gif_of(&std::fs::read(at("walk.gif")).unwrap());
    assert!(frames == 80 && (198..203).contains(&hundredths), "{frames} frames, {hundredths}/100 s");
    let compact = capture().with_file_name("cmu17.safetensors");
    assert!(
        fails(&["pose", "draw", text(&compact), "-o", "x.gif", "--sequence", "none"]).contains("there are")
    );
}

#[test]
fn what_cannot_be_drawn_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let draw = |value: &str| {
        let path = folder.path().join("bad.json");
        std::fs::write(&path, value).unwrap();
        fails(&["pose", "draw", text(&path), "-o", text(&folder.path().join("bad.gif"))])
    };
    let whole = |joints: Value| json!({"frames": [{"people": [{"joints": joints}]}]}).to_string();
    for (value, expected) in [
        ("", "holds no frame"),
        ("[1, 2]", "expected what ocelli pose lift writes"),
        ("{\"frames\": []}", "holds no frame"),
        ("{\"people\": []}\n{\"people\": 3}", "bad.json:2"),
        ("{\"people\": []}\n{}", "neither people nor an error"),
        ("{\"error\": \"nobody\"}", "nobody in 1 frames"),
    ] {
        let error = draw(value);
        assert!(error.contains("bad.json") && error.contains(expected), "{value}: {error}");
    }
    assert!(draw(&whole(json!([[0, 0, 0]]))).contains("joints of 1 points, expected 17"));
    assert!(draw(&whole(json!(vec![[1e30, 0.0, 0.0]; 17]))).contains("no coordinate"));
    assert!(draw(&whole(json!(vec![[1e60, 0.0, 0.0]; 17]))).contains("bad.json"));
    let error = fails(&["pose", "draw", text(&capture()), "-o", "walk.mp4"]);
    assert!(error.contains("walk.mp4") && error.contains(".gif"), "{error}");
    let error = fails(&["pose", "draw", text(&capture()), "-o", "walk.gif", "--skip", "999999"]);
    assert!(error.contains("no frame is left"), "{error}");
    let error = fails(&["pose", "lift", text(&capture()), "--picture", "lift.txt"]);
    assert!(error.contains("--picture lift.txt"), "{error}");
}

#[test]
fn coco_results_are_recognised_and_streams_answered_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let coco: Vec<f32> = [
        [500, 330],
        [510, 320],
        [490, 320],
        [520, 325],
        [480, 325],
        [545, 390],
        [455, 390],
        [565, 460],
        [435, 460],
        [570, 520],
        [430, 520],
        [530, 505],
        [470, 505],
        [535, 610],
        [465, 610],
        [540, 710],
        [460, 710],
    ]
    .iter()
    .flat_map(|&[x, y]| [x as f32, y as f32, 0.8])
    .collect();
    let results = json!([{"image_id": 7, "category_id": 1, "keypoints": coco, "score": 0.9}]);
    let input = write(folder.path(), "coco.json", &results);
    let (out, err) = run(&["pose", "lift", text(&input), "--size", "1000x1000"], 0);
    let lifted: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&lifted["frames"][0]["frame"], &lifted["input_order"]), (&json!("7"), &json!("coco")));
    assert!(err.contains("biased"), "{err}");

    let bare = json!({"people": [{"keypoints": coco}]}).to_string();
    let lines = format!("{bare}\nnot json\n{bare}\n");
    let output =
        ocelli().args(["pose", "lift", "-", "--size", "1000x1000"]).write_stdin(lines).output().unwrap();
    let answers: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[2]["people"][0]["lifted"], json!(true));
    assert!(answers[1]["error"].as_str().unwrap().contains("JSON"));
}

#[test]
fn bad_keypoints_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let lift = |value: &Value| {
        fails(&["pose", "lift", text(&write(folder.path(), "bad.json", value)), "--order", "h36m"])
    };
    let whole = |points: Value| json!({"size": [1000, 1000], "people": [{"keypoints": points}]});
    let error = lift(&whole(json!(person()[..15])));
    assert!(error.contains("bad.json") && error.contains("15 joints, expected 17"), "{error}");
    let error = lift(&whole(json!([["NaN", 2.0]])));
    assert!(error.contains("no finite number"), "{error}");
    let flat: Vec<[f32; 3]> = person().iter().map(|&[x, _, s]| [x, 500.0, s]).collect();
    let error = lift(&whole(json!(flat)));
    assert!(error.contains("no height"), "{error}");
    let unseen: Vec<[f32; 3]> = person().iter().map(|&[x, y, _]| [x, y, 0.1]).collect();
    let error = lift(&whole(json!(unseen)));
    assert!(error.contains("below 0.3") && error.contains("no earlier frame"), "{error}");
    let error = lift(&json!({"people": [{"keypoints": person()}]}));
    assert!(error.contains("--size"), "{error}");
    let far: Vec<[f32; 3]> = person().iter().map(|&[x, y, s]| [1e34 * x, y, s]).collect();
    let error = lift(&whole(json!(far)));
    assert!(error.contains("too far out"), "{error}");
    for size in [json!([0, 1000]), json!([1e300, 1000]), json!([1000])] {
        let error = lift(&json!({"size": size, "people": [{"keypoints": person()}]}));
        assert!(error.contains("expected [width, height]"), "{error}");
    }
    let images = json!({"images": [{"width": 0, "height": 5}], "annotations": [{"keypoints": person()}]});
    let error = lift(&images);
    assert!(error.contains("expected [width, height]"), "{error}");
    let path = folder.path().join("cut.json");
    std::fs::write(&path, &whole(json!(person())).to_string()[..60]).unwrap();
    assert!(fails(&["pose", "lift", text(&path)]).contains("truncated"));
    std::fs::write(&path, "{\"size\": [1000, 1000], \"people\": [{\"keypoints\": [NaN, 1]}]}").unwrap();
    assert!(fails(&["pose", "lift", text(&path)]).contains("cut.json"));
    assert!(fails(&["pose", "lift", text(&folder.path().join("none.json"))]).contains("none.json"));
    assert!(fails(&["pose", "lift", text(&path), "--model", "nothing"]).contains("no such model"));
}

#[test]
fn bad_motion_capture_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let train = |path: &Path| {
        fails(&["pose", "train", "--data", text(path), "--output", text(&folder.path().join("run"))])
    };
    let good = std::fs::read_to_string(capture()).unwrap();
    let path = folder.path().join("bad.bvh");
    std::fs::write(&path, good.lines().take(500).collect::<Vec<_>>().join("\n")).unwrap();
    assert!(train(&path).contains("the file ends after"));
    std::fs::write(&path, good.replace("RightKnee", "Tentacle")).unwrap();
    let error = train(&path);
    assert!(
        error.contains("unknown joints") && error.contains("RightKnee") && error.contains("--joint-map"),
        "{error}"
    );
    // Digits behind OFFSET only: a skeleton of no size.
    let flat: String = good
        .lines()
        .map(|line| {
            if line.trim_start().starts_with("OFFSET") {
                "OFFSET 0 0 0\n".into()
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    std::fs::write(&path, flat).unwrap();
    assert!(train(&path).contains("height of 0"));
    assert!(train(&capture()).contains("one subject"));
    let archive = folder.path().join("data_3d.npz");
    std::fs::write(&archive, b"PK\x03\x04 and no more").unwrap();
    assert!(train(&archive).contains("data_3d.npz"));
    assert!(train(&folder.path().join("absent.npz")).contains("absent.npz"));
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(train(&empty).contains("no .bvh file"));
    let compact = folder.path().join("c.safetensors");
    run(&["pose", "import", text(&capture()), "--rate", "10", "-o", text(&compact)], 0);
    let index = std::fs::read_to_string(compact.with_extension("json")).unwrap();
    std::fs::write(compact.with_extension("json"), index.replace("\"frames\": 92", "\"frames\": 9999999"))
        .unwrap();
    let error = train(&compact);
    assert!(error.contains("c.json") && error.contains("9999999"), "{error}");
    std::fs::write(&compact, b"short").unwrap();
    assert!(train(&compact).contains("not a safetensors file"));
}

#[test]
fn an_experiment_is_extended_only_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = capture().with_file_name("cmu17.safetensors");
    let output = folder.path().join("results");
    let extend = ["repro", "run", "gridconv", "--data", text(&data), "--extend", "--output", text(&output)];
    assert!(fails(&extend).contains("gridconv.json"));
    std::fs::write(output.join("gridconv.json"), "{}").unwrap();
    let error = fails(&extend);
    assert!(error.contains("gridconv.json") && error.contains("missing field"), "{error}");
    assert!(fails(&["repro", "run", "senet", "--extend"]).contains("--extend goes with gridconv only"));
}

#[test]
fn the_bench_says_what_it_timed() {
    let (out, _) = run(&["pose", "bench", "--batch", "16", "--rounds", "2", "--threads", "1"], 0);
    assert!(out.contains("poses/s") && out.contains("one pose"), "{out}");
}
