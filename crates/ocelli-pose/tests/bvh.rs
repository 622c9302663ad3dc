//! Motion capture files, good and bad.

use std::path::{Path, PathBuf};

use ocelli_pose::bvh::{Bvh, JointMap, write_bvh};
use ocelli_pose::skeleton::{JOINTS, PARENTS};

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/pose/131_03.bvh")
}

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.bvh");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn the_units_of_a_file_are_recognised() {
    let bvh = Bvh::read(&sample()).unwrap();
    let map = JointMap::known(&bvh, &sample()).unwrap();
    let pose = map.resolve(&bvh, &sample()).unwrap().pose(&bvh.positions(0).unwrap());
    let up = pose[10][1] - pose[3][1];
    assert!((1.2..1.9).contains(&up), "a person of {up} m");
    assert_eq!((bvh.frames(), bvh.positions(bvh.frames())), (1102, None));
}

#[test]
fn what_is_written_is_read_back() {
    let poses: Vec<[[f32; 3]; JOINTS]> = (0..3)
        .map(|frame| {
            let mut pose = [[0.0; 3]; JOINTS];
            for joint in 1..JOINTS {
                let parent = pose[PARENTS[joint].unwrap()];
                let step = (joint * 7 + frame) as f32;
                pose[joint] = [parent[0] + 0.2 * step.sin(), parent[1] - 0.25, parent[2] + 0.1 * step.cos()];
            }
            pose
        })
        .collect();
    let (_folder, path) = written(&write_bvh(&poses, 25.0));
    let bvh = Bvh::read(&path).unwrap();
    assert!((bvh.frame_time() - 0.04).abs() < 1e-9);
    let chosen = JointMap::known(&bvh, &path).unwrap().resolve(&bvh, &path).unwrap();
    for (frame, pose) in poses.iter().enumerate() {
        let found = chosen.pose(&bvh.positions(frame).unwrap());
        for (a, b) in found.iter().zip(pose) {
            let b = [b[0], -b[1], -b[2]];
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} {b:?}");
        }
    }
}

#[test]
fn bad_files_are_named_with_the_line() {
    let good = std::fs::read_to_string(sample()).unwrap();
    let short: String = good.lines().take(230).collect::<Vec<_>>().join("\n");
    let hierarchy: String = good.lines().take(60).collect::<Vec<_>>().join("\n");
    for (text, words) in [
        (short.as_str(), "the file ends after"),
        (hierarchy.as_str(), "the file ends where"),
        ("", "HIERARCHY"),
        ("not a bvh", "expected HIERARCHY"),
        ("HIERARCHY\nROOT a\n{\nOFFSET 0 x 0\n}", "expected an offset"),
        ("HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 99 Xposition\n}", "at most 6"),
        ("HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 1 Wposition\n}", "no channel"),
        ("HIERARCHY\nROOT a\n{\nJOINT a\n{\n}\n}", "second joint"),
        ("HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\n}\nMOTION\n", "no channels"),
        (
            "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 1 Xposition\n}\nMOTION\nFrames: 99999999999999\nFrame Time: 0.1\n1 2 3",
            "after 3 of",
        ),
        (
            "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 1 Xposition\n}\nMOTION\nFrames: 1\nFrame Time: 0.1\nNaN",
            "finite",
        ),
        (
            "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 1 Xposition\n}\nMOTION\nFrames: 1\nFrame Time: -1\n0",
            "more than 0",
        ),
    ] {
        let (_folder, path) = written(text);
        let error = Bvh::read(&path).unwrap_err().to_string();
        assert!(error.contains("clip.bvh:") && error.contains(words), "{error}");
    }
}

#[test]
fn unknown_joints_and_flat_skeletons_are_refused() {
    let strange = "HIERARCHY\nROOT tentacle\n{\nOFFSET 0 0 0\nCHANNELS 3 Xposition Yposition Zposition\n}\nMOTION\nFrames: 1\nFrame Time: 0.1\n0 0 0";
    let (_folder, path) = written(strange);
    let bvh = Bvh::read(&path).unwrap();
    let error = JointMap::known(&bvh, &path).unwrap_err().to_string();
    assert!(error.contains("unknown joints") && error.contains("tentacle"), "{error}");

    let flat = write_bvh(&[[[0.0; 3]; JOINTS]], 30.0);
    let (_folder, path) = written(&flat);
    let bvh = Bvh::read(&path).unwrap();
    let map = JointMap::known(&bvh, &path).unwrap();
    assert!(map.resolve(&bvh, &path).unwrap_err().to_string().contains("height of 0"));
}
