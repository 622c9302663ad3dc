//! Pinhole cameras that make 2D-3D pairs of world joints.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{PoseError, read_limited};
use crate::skeleton::{JOINTS, PELVIS, Pose2, Pose3};

/// Nearest distance of a joint that is used, in metres.
const NEAREST: f64 = 1.0;

/// Largest description of cameras that is read.
const LARGEST_FILE: u64 = 1 << 20;

/// A camera: `X_cam = R (X_world - C)`, x right, y down, z forward, metres; `u = fx X / Z + cx`, `v = fy Y / Z + cy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Camera {
    /// Its name.
    pub name: String,
    /// Rotation from the world to the camera, by rows.
    #[serde(rename = "R")]
    pub rotation: [[f64; 3]; 3],
    /// Where it stands, in metres.
    #[serde(rename = "C")]
    pub centre: [f64; 3],
    /// Focal length along x, in pixels.
    pub fx: f64,
    /// Focal length along y, in pixels.
    pub fy: f64,
    /// Principal point, x.
    pub cx: f64,
    /// Principal point, y.
    pub cy: f64,
    /// Width of its picture, in pixels.
    pub width: u32,
    /// Height of its picture, in pixels.
    pub height: u32,
}

/// What a camera sees of a pose.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Joints in the picture, in pixels.
    pub pixels: Pose2,
    /// Joints relative to the pelvis in the camera's axes, in metres.
    pub target: Pose3,
    /// Whether every joint lies inside of the picture and at least a metre away.
    pub whole: bool,
}

impl Camera {
    /// A camera on a circle of `radius` metres around the origin, `height` metres up, that looks at a point `aim` metres above it.
    pub fn around(azimuth_degrees: f64, radius: f64, height: f64, aim: f64, focal: f64) -> Self {
        let (sin, cos) = azimuth_degrees.to_radians().sin_cos();
        let centre = [radius * sin, height, radius * cos];
        let away = [-centre[0], aim - centre[1], -centre[2]];
        let length = away.iter().map(|v| v * v).sum::<f64>().sqrt();
        let forward = away.map(|v| v / length);
        let right = [cos, 0.0, -sin];
        // Down completes a right-handed system of right, down, forward.
        let down = [
            forward[1] * right[2] - forward[2] * right[1],
            forward[2] * right[0] - forward[0] * right[2],
            forward[0] * right[1] - forward[1] * right[0],
        ];
        Self {
            name: format!("cam_{azimuth_degrees:.0}"),
            rotation: [right, down, forward],
            centre,
            fx: focal,
            fy: focal,
            cx: 500.0,
            cy: 500.0,
            width: 1000,
            height: 1000,
        }
    }

    /// Four cameras around the origin, 5 m away and 1.6 m up, with pictures of 1000 x 1000 pixels.
    pub fn four() -> Vec<Self> {
        [45.0, 135.0, 225.0, 315.0].map(|azimuth| Self::around(azimuth, 5.0, 1.6, 0.9, 1150.0)).to_vec()
    }

    /// What it sees of `joints` in the world, in metres.
    pub fn see(&self, joints: &Pose3) -> Seen {
        let mut seen = Seen { pixels: [[0.0; 2]; JOINTS], target: [[0.0; 3]; JOINTS], whole: true };
        let mut own = [[0.0f64; 3]; JOINTS];
        for (joint, own) in joints.iter().zip(&mut own) {
            let from: [f64; 3] = std::array::from_fn(|axis| f64::from(joint[axis]) - self.centre[axis]);
            *own = self.rotation.map(|row| row.iter().zip(&from).map(|(a, b)| a * b).sum());
        }
        for (joint, [x, y, z]) in own.iter().enumerate() {
            let (u, v) = (self.fx * x / z + self.cx, self.fy * y / z + self.cy);
            seen.pixels[joint] = [u as f32, v as f32];
            let inside =
                (0.0..f64::from(self.width)).contains(&u) && (0.0..f64::from(self.height)).contains(&v);
            // Written so that a NaN is not whole.
            seen.whole &= inside && *z >= NEAREST;
            seen.target[joint] = std::array::from_fn(|axis| (own[joint][axis] - own[PELVIS][axis]) as f32);
        }
        seen
    }

    /// Width and height of its picture, in pixels.
    pub fn size(&self) -> [f32; 2] {
        [self.width as f32, self.height as f32]
    }

    fn check(&self) -> Result<(), String> {
        let numbers = self.rotation.iter().flatten().chain(&self.centre);
        let numbers = numbers.chain([&self.fx, &self.fy, &self.cx, &self.cy]);
        if numbers.into_iter().any(|number| !number.is_finite()) {
            return Err(format!("camera {}: a number is not finite", self.name));
        }
        if self.fx <= 0.0 || self.fy <= 0.0 || self.width == 0 || self.height == 0 {
            return Err(format!("camera {}: focal lengths and sizes must be above 0", self.name));
        }
        for a in 0..3 {
            for b in 0..3 {
                let product: f64 = (0..3).map(|i| self.rotation[a][i] * self.rotation[b][i]).sum();
                if (product - f64::from(u8::from(a == b))).abs() > 1e-3 {
                    return Err(format!("camera {}: R is not a rotation", self.name));
                }
            }
        }
        Ok(())
    }
}

/// Reads `{"cameras": [...]}`.
///
/// # Errors
/// If the file cannot be read or names no usable camera.
pub fn read_cameras(path: &Path) -> Result<Vec<Camera>, PoseError> {
    #[derive(Deserialize)]
    struct Rig {
        cameras: Vec<Camera>,
    }
    let bytes = read_limited(path, LARGEST_FILE)?;
    let rig: Rig = serde_json::from_slice(&bytes)
        .map_err(|error| PoseError::malformed(path, format!("expected {{\"cameras\": [...]}}: {error}")))?;
    if rig.cameras.is_empty() {
        return Err(PoseError::malformed(path, "names no camera"));
    }
    for camera in &rig.cameras {
        camera.check().map_err(|problem| PoseError::malformed(path, problem))?;
    }
    Ok(rig.cameras)
}
