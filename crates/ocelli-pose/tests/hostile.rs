//! Files made to hurt: whatever is in them, reading ends in an error or in data, never in a panic, and no small file asks for much memory.

use std::io::Write;
use std::path::Path;

use burn::tensor::Device;
use ocelli_pose::Model;
use ocelli_pose::data::{OpenOptions, open};
use ocelli_pose::keypoints::{FillOptions, Order, detect, prepare, read_line};
use proptest::prelude::*;
use serde_json::json;

/// An archive whose `positions_3d` is this pickle.
fn archive(folder: &Path, pickle: &[u8]) -> std::path::PathBuf {
    let path = folder.join("data_3d.npz");
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    archive.start_file("positions_3d.npy", options).unwrap();
    let header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }\n";
    archive.write_all(b"\x93NUMPY\x01\x00").unwrap();
    archive.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
    archive.write_all(header).unwrap();
    archive.write_all(pickle).unwrap();
    archive.finish().unwrap();
    path
}

fn refused(pickle: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    open(&archive(folder.path(), pickle), &OpenOptions::default()).unwrap_err().to_string()
}

#[test]
fn pickles_neither_nest_without_end_nor_multiply() {
    let deep = [vec![b']'; 1_000_000], vec![b'a'; 999_999], b".".to_vec()].concat();
    assert!(refused(&deep).contains("nested deeper"), "{}", refused(&deep));
    let tuples = [b")".to_vec(), vec![0x85; 1_000_000], b".".to_vec()].concat();
    assert!(refused(&tuples).contains("nested deeper"), "{}", refused(&tuples));
    // A pair of references to a pair of references, 28 times over: a thousand million lists.
    let mut laughs = b"]q\x00".to_vec();
    (0..28).for_each(|_| laughs.extend(b"(h\x00h\x00lq\x00"));
    laughs.push(b'.');
    assert!(refused(&laughs).contains("multiply"), "{}", refused(&laughs));
    assert!(refused(b"cos\nsystem\n(X\x02\x00\x00\x00lstR.").contains("os.system"));
}

#[test]
fn a_header_of_many_parameters_allocates_none_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.safetensors");
    for network in ["grid", "linear", "graph"] {
        let description = json!({
            "format": 1, "task": "pose", "name": "large", "temperature": 1.0,
            "config": {"network": network, "hidden": 4096, "blocks": 64, "dropout": 0.0},
        });
        let header = json!({"__metadata__": {"ocelli": description.to_string()}}).to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        std::fs::write(&path, bytes).unwrap();
        let error = Model::load(&path, None, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains("large.safetensors") && error.contains("missing"), "{error}");
    }
}

/// Valid content with some bytes replaced.
fn damaged(text: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec((0..text.len(), any::<u8>()), 1..6).prop_map(|changes| {
        let mut bytes = text.to_vec();
        changes.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        bytes
    })
}

const BVH: &[u8] = b"HIERARCHY\nROOT Hips\n{\n\tOFFSET 0 0 0\n\tCHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation\n\t\
    JOINT Chest\n\t{\n\t\tOFFSET 0 5 0\n\t\tCHANNELS 3 Zrotation Yrotation Xrotation\n\t\tEnd Site\n\t\t{\n\t\t\tOFFSET 0 2 0\n\t\t}\n\t}\n}\n\
    MOTION\nFrames: 2\nFrame Time: 0.0333\n0 0 0 1 2 3 4 5 6\n0 0 0 1 2 3 4 5 6\n";

const KEYPOINTS: &[u8] = br#"{"size": [1000, 1000], "order": "h36m", "frames": [{"people": [{"id": 1, "keypoints":
    [[500,500,1],[470,505,1],[465,610,1],[460,710,1],[530,505,1],[535,610,1],[540,710,1],[500,440,1],[500,380,1],
    [500,350,1],[500,320,1],[545,390,1],[565,460,1],[570,520,1],[455,390,1],[435,460,1],null]}]}]}"#;

/// `{'S1': {'Walk': array of float32 [1, 17, 3]}}` as numpy pickles it.
fn pickle() -> Vec<u8> {
    let mut bytes = b"\x80\x03}q\x00X\x02\x00\x00\x00S1q\x01}q\x02X\x04\x00\x00\x00Walkq\x03cnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\x00\x85q\x06C\x01bq\x07\x87q\x08Rq\x09(K\x01K\x01K\x11K\x03\x87q\x0acnumpy\ndtype\nq\x0bX\x02\x00\x00\x00f4q\x0cK\x00K\x01\x87q\x0dRq\x0e(K\x03X\x01\x00\x00\x00<q\x0fNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x10b\x89B\xcc\x00\x00\x00".to_vec();
    bytes.extend((0..51).flat_map(|i| (0.01 * i as f32).to_le_bytes()));
    bytes.extend(b"q\x11tq\x12bss.");
    bytes
}

#[test]
fn the_whole_pickle_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let sequences = open(&archive(folder.path(), &pickle()), &OpenOptions::default()).unwrap();
    assert_eq!((sequences[0].name.as_str(), sequences[0].frames.len()), ("S1 Walk", 1));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn damaged_motion_capture(bytes in damaged(BVH)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.bvh");
        std::fs::write(&path, bytes).unwrap();
        // Two joints are no person, whatever they are called.
        prop_assert!(open(&path, &OpenOptions::default()).is_err());
    }

    #[test]
    fn damaged_archives(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = pickle();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let folder = tempfile::tempdir().unwrap();
        if let Ok(sequences) = open(&archive(folder.path(), &bytes), &OpenOptions::default()) {
            prop_assert!(sequences.iter().all(|own| !own.frames.is_empty()));
        }
    }

    #[test]
    fn damaged_keypoints(bytes in damaged(KEYPOINTS)) {
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        let Ok(clip) = read_line(&text) else { return Ok(()) };
        detect(&clip);
        for order in [Order::Coco, Order::H36m, Order::Body25] {
            for person in prepare(&clip, order, &FillOptions::default()).into_iter().flatten().flatten() {
                if let Ok(joints) = person.joints {
                    prop_assert!(joints.iter().flatten().all(|v| v.is_finite()));
                }
            }
        }
        if let Some(size) = clip.size {
            prop_assert!(size.iter().all(|side| side.is_finite() && *side > 0.0));
        }
    }
}
