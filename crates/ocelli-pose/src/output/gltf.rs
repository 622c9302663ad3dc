//! glTF 2.0: a skeleton of nodes with animated translations, its bones drawn as lines.

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::skeleton::{JOINTS, NAMES, PARENTS, Pose3, bones};

/// Component type of unsigned shorts.
const U16: u32 = 5123;
/// Component type of floats.
const F32: u32 = 5126;

/// A buffer with its views and accessors.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    views: Vec<Value>,
    accessors: Vec<Value>,
}

impl Buffer {
    /// Adds an accessor; returns its index.
    fn add(&mut self, bytes: &[u8], component: u32, kind: &str, count: usize, more: Value) -> usize {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
        let view = json!({"buffer": 0, "byteOffset": self.bytes.len(), "byteLength": bytes.len()});
        self.bytes.extend(bytes);
        self.views.push(view);
        let mut accessor = json!({
            "bufferView": self.views.len() - 1, "componentType": component, "type": kind, "count": count,
        });
        if let (Some(own), Some(more)) = (accessor.as_object_mut(), more.as_object()) {
            own.extend(more.clone());
        }
        self.accessors.push(accessor);
        self.accessors.len() - 1
    }

    fn floats(&mut self, values: &[f32], kind: &str, width: usize, more: Value) -> usize {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.add(&bytes, F32, kind, values.len() / width, more)
    }
}

/// One person's frames as the text of a `.gltf` file with its data inside. Poses are metres in the camera's axes (y down, z away); glTF has y up.
pub fn gltf(name: &str, poses: &[Pose3], frames_per_second: f64) -> String {
    let upright = |[x, y, z]: [f32; 3]| [x, -y, -z];
    let local = |pose: &Pose3, joint: usize| -> [f32; 3] {
        let own = upright(pose[joint]);
        let from = PARENTS[joint].map_or([0.0; 3], |parent| upright(pose[parent]));
        std::array::from_fn(|axis| own[axis] - from[axis])
    };
    let mut buffer = Buffer::default();
    // Every vertex sits at the origin of the joint that carries it.
    let first = poses.first().copied().unwrap_or([[0.0; 3]; JOINTS]);
    let bounds = json!({"min": [0.0, 0.0, 0.0], "max": [0.0, 0.0, 0.0]});
    let positions = buffer.floats(&[0.0; 3 * JOINTS], "VEC3", 3, bounds);
    let carried: Vec<u8> =
        (0..JOINTS as u16).flat_map(|joint| [joint, 0, 0, 0]).flat_map(u16::to_le_bytes).collect();
    let joints = buffer.add(&carried, U16, "VEC4", JOINTS, json!({}));
    let weights: Vec<f32> = (0..JOINTS).flat_map(|_| [1.0, 0.0, 0.0, 0.0]).collect();
    let weights = buffer.floats(&weights, "VEC4", 4, json!({}));
    let lines: Vec<u8> = bones().flat_map(|(a, b)| [a as u16, b as u16]).flat_map(u16::to_le_bytes).collect();
    let lines = buffer.add(&lines, U16, "SCALAR", lines.len() / 2, json!({}));
    let identity = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
    let binds: Vec<f32> = (0..JOINTS).flat_map(|_| identity).collect();
    let binds = buffer.floats(&binds, "MAT4", 16, json!({}));
    let rate = if frames_per_second > 0.0 { frames_per_second } else { 30.0 };
    let times: Vec<f32> = (0..poses.len()).map(|frame| (frame as f64 / rate) as f32).collect();
    let mut nodes: Vec<Value> = (0..JOINTS)
        .map(|joint| {
            let children: Vec<usize> = (0..JOINTS).filter(|&child| PARENTS[child] == Some(joint)).collect();
            let mut node = json!({"name": NAMES[joint], "translation": local(&first, joint)});
            if !children.is_empty() {
                node["children"] = json!(children);
            }
            node
        })
        .collect();
    nodes.push(json!({"name": name, "mesh": 0, "skin": 0}));
    let mut document = json!({
        "asset": {"version": "2.0", "generator": concat!("ocelli ", env!("CARGO_PKG_VERSION"))},
        "scene": 0,
        "scenes": [{"nodes": [0, JOINTS]}],
        "nodes": nodes,
        "meshes": [{"name": "bones", "primitives": [{
            "attributes": {"POSITION": positions, "JOINTS_0": joints, "WEIGHTS_0": weights},
            "indices": lines, "mode": 1,
        }]}],
        "skins": [{"joints": (0..JOINTS).collect::<Vec<_>>(), "skeleton": 0, "inverseBindMatrices": binds}],
    });
    if poses.len() > 1 {
        let last = times.last().copied().unwrap_or(0.0);
        let input = buffer.floats(&times, "SCALAR", 1, json!({"min": [0.0], "max": [last]}));
        let mut samplers = Vec::new();
        let mut channels = Vec::new();
        for joint in 0..JOINTS {
            let values: Vec<f32> = poses.iter().flat_map(|pose| local(pose, joint)).collect();
            let output = buffer.floats(&values, "VEC3", 3, json!({}));
            channels.push(json!({"sampler": joint, "target": {"node": joint, "path": "translation"}}));
            samplers.push(json!({"input": input, "output": output, "interpolation": "LINEAR"}));
        }
        document["animations"] = json!([{"name": name, "samplers": samplers, "channels": channels}]);
    }
    let uri = format!("data:application/octet-stream;base64,{}", BASE64.encode(&buffer.bytes));
    document["buffers"] = json!([{"byteLength": buffer.bytes.len(), "uri": uri}]);
    document["bufferViews"] = json!(buffer.views);
    document["accessors"] = json!(buffer.accessors);
    document.to_string()
}
