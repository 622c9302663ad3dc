//! VideoPose3D's archives, as numpy writes them; skipped where there is no numpy.

use std::path::Path;
use std::process::Command;

use ocelli_pose::data::{OpenOptions, open};

const SCRIPT: &str = "
import numpy as np, sys
pose = np.zeros((5, 32, 3), np.float32)
pose[:, :, 2] = np.arange(32) * 0.05
pose[:, :, 0] = np.arange(5)[:, None]
data = {'S1': {'Walking 1': pose, 'Eating': pose[:2].astype(np.float64)}, 'S9': {'Walking': pose[:, :17]}}
np.savez_compressed(sys.argv[1], positions_3d=data)
np.savez(sys.argv[2], positions_3d=np.zeros((2, 17, 3)))
";

#[test]
fn dictionaries_of_positions_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("data_3d_h36m.npz"), folder.path().join("other.npz"));
    let python = std::env::var("OCELLI_PYTHON").unwrap_or_else(|_| "python3".into());
    let made = Command::new(&python).arg("-c").arg(SCRIPT).arg(&good).arg(&bad).output();
    if !made.is_ok_and(|output| output.status.success()) {
        eprintln!("{python} has no numpy: not tested");
        return;
    }
    let read = |path: &Path| open(path, &OpenOptions::default());
    let sequences = read(&good).unwrap();
    let names: Vec<(&str, usize)> =
        sequences.iter().map(|own| (own.name.as_str(), own.frames.len())).collect();
    assert_eq!(names, [("S1 Walking 1", 5), ("S1 Eating", 2), ("S9 Walking", 5)]);
    // Joint 16 is the 28th of 32; z became y, and the walk is centred.
    let pose = &sequences[0].frames[0];
    assert!((pose[16][1] - 27.0 * 0.05).abs() < 1e-6 && (pose[0][0] + 2.0).abs() < 1e-6, "{pose:?}");
    let error = read(&bad).unwrap_err().to_string();
    assert!(error.contains("other.npz") && error.contains("dictionary"), "{error}");
    let bytes = std::fs::read(&good).unwrap();
    for length in (0..bytes.len()).step_by(97) {
        std::fs::write(&bad, &bytes[..length]).unwrap();
        assert!(read(&bad).unwrap_err().to_string().contains("other.npz"));
    }
}
