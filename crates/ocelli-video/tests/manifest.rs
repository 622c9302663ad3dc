//! Manifests and chunks.

use std::path::Path;

use ocelli_video::deliver::chunks::{chunk_of, cut, reference_chunk};
use ocelli_video::deliver::manifest::Manifest;
use serde_json::{Value, json};

fn manifest() -> Value {
    let part = |uri: &str| json!({"uri": uri, "bytes": 3, "sha256": "00"});
    let chunk = |index: usize, first: usize, frames: usize| {
        json!({"index": index, "start": first as f64 / 10.0, "end": (first + frames) as f64 / 10.0,
               "first_frame": first, "frames": frames, "segment": part("lr/seg.m4s"), "sr": true,
               "mod": part("model/mod.cafw")})
    };
    json!({
        "format": "cafm-package", "version": 1, "unknown": 1,
        "video": {"width": 20, "height": 16, "fps": {"numerator": 10, "denominator": 1}, "frames": 8, "duration": 0.8},
        "sr": {"network": {"backbone": "espcn", "scale": 2, "chunks": 2, "feats": 64, "blocks": 0, "groups": 0,
                           "res_scale": 1.0, "residual": "bicubic"},
               "arch_hash": hash(), "storage": "f16", "shared": part("model/shared.cafw")},
        "lr": {"playlist": part("lr/stream.m3u8"), "init": part("lr/init.mp4"), "codec": "h264", "width": 10,
               "height": 8, "bytes": 9},
        "chunks": [chunk(0, 0, 5), chunk(1, 5, 3)],
        "account": {"lr": 0, "shared": 0, "mod_total": 0, "manifest": 0, "total": 0, "kbit_per_s": 0.0}
    })
}

fn hash() -> String {
    let config = ocelli_video::deliver::Config {
        residual: ocelli_video::deliver::Residual::Bicubic,
        ..ocelli_video::deliver::Config::preset("espcn", 2).expect("a name")
    };
    let hash = ocelli_video::deliver::container::arch_hash(&config);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse(json: &Value) -> Result<Manifest, String> {
    Manifest::parse(Path::new("manifest.json"), json.to_string().as_bytes())
        .map_err(|error| error.to_string())
}

#[test]
fn a_manifest_is_read_and_unknown_fields_are_passed_over() {
    let own = parse(&manifest()).expect("reads");
    assert_eq!(own.chunks.len(), 2);
    assert_eq!(own.sr.network.architecture(), "espcn;2;3;64;0;0;1;bicubic");
    assert_eq!(own.parts().count(), 3 + 4);
}

#[test]
fn contradictions_are_refused() {
    let refused = |change: &dyn Fn(&mut Value), says: &str| {
        let mut json = manifest();
        change(&mut json);
        let error = parse(&json).expect_err(says);
        assert!(error.contains(says) && error.contains("manifest.json"), "{error}");
    };
    refused(&|json| json["version"] = 2.into(), "version 2");
    refused(&|json| json["format"] = "zip".into(), "manifest of a package");
    refused(&|json| json["video"]["frames"] = 9.into(), "9 frames");
    refused(&|json| json["chunks"][1]["first_frame"] = 4.into(), "chunk 1");
    refused(&|json| json["chunks"][0]["segment"]["uri"] = "../../etc/passwd".into(), "does not lie");
    refused(&|json| json["chunks"][0]["segment"]["uri"] = "/etc/passwd".into(), "does not lie");
    refused(&|json| json["lr"]["width"] = 100_000.into(), "sides");
    refused(&|json| json["lr"]["width"] = 8.into(), "low-resolution film");
    refused(&|json| json["lr"]["height"] = 16_000.into(), "low-resolution film");
    refused(&|json| json["video"]["duration"] = 0.into(), "a film of 0 s");
    // Times out of order, and past the end.
    let timed = |json: &mut Value, times: [f64; 3]| {
        json["video"]["variable_rate"] = true.into();
        json["chunks"][0]["times"] = json!([0.0, 0.1, 0.2, 0.3, 0.4]);
        json["chunks"][1]["times"] = json!(times);
    };
    let mut good = manifest();
    timed(&mut good, [0.5, 0.6, 0.7]);
    parse(&good).expect("reads");
    refused(&|json| timed(json, [0.5, 0.7, 0.6]), "do not follow");
    refused(&|json| timed(json, [0.3, 0.6, 0.7]), "do not follow");
    refused(&|json| timed(json, [0.5, 0.6, 9e9]), "do not follow");
    refused(&|json| json["sr"]["network"]["feats"] = 1_000_000.into(), "channels");
    refused(&|json| json["sr"]["network"]["scale"] = 3.into(), "hash");
    refused(&|json| json["sr"]["network"]["chunks"] = 3.into(), "3 chunks");
    refused(&|json| json["chunks"] = json!([]), "no chunks");
    refused(&|json| json["video"]["fps"]["denominator"] = 0.into(), "frames per second");
    refused(&|json| json["video"]["variable_rate"] = true.into(), "0 times");
    let error = Manifest::parse(Path::new("m"), b"{\"format\": ").expect_err("cut").to_string();
    assert!(error.contains("no JSON"), "{error}");
}

#[test]
fn films_are_cut_by_the_times_of_their_frames() {
    let times: Vec<f64> = (0..250).map(|frame| frame as f64 / 25.0).collect();
    assert_eq!(cut(&times, 10.0, 5.0), [0, 125]);
    assert_eq!(cut(&times, 10.0, 20.0), [0]);
    // 0.4 s are left over: they join the chunk before.
    assert_eq!(cut(&times[..235], 9.4, 3.0), [0, 75, 150]);
    assert_eq!(cut(&times[..235], 9.4, 8.0), [0, 200]);
    // A clock of 1001/24000 s does not hit the cuts.
    let film: Vec<f64> = (0..480).map(|frame| f64::from(frame) * 1001.0 / 24000.0).collect();
    assert_eq!(cut(&film, 20.02, 5.0), [0, 120, 240, 360]);
    // A gap of several chunks makes no empty ones.
    assert_eq!(cut(&[0.0, 0.5, 12.0, 12.5], 14.0, 5.0), [0, 2]);
}

#[test]
fn the_last_chunk_takes_the_rest() {
    assert_eq!(reference_chunk(451, 451, 3), None);
    assert_eq!(chunk_of(451, 451, 3), Some(2));
    assert_eq!((chunk_of(0, 451, 3), chunk_of(452, 451, 3)), (None, None));
    assert_eq!(reference_chunk(1, 0, 0), None);
}
