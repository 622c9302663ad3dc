//! A Matroska stream of uncompressed RGB frames, so that every frame can have a time of its own.
//!
//! Only what ffmpeg needs to read it from a pipe: a segment of unknown size and a cluster per frame. The elements are
//! those of RFC 9559.

use super::rate::Rate;

/// Nanoseconds per tick: times are written in µs.
const TICK: u64 = 1000;

/// What the stream begins with, for frames of `width` by `height` pixels. The rate is only nominal.
pub(super) fn header(width: usize, height: usize, rate: Rate) -> Vec<u8> {
    let frame_duration = (1e9 / rate.value()).round().max(1.0) as u64;
    let ebml = [
        unsigned(&[0x42, 0x86], 1),          // EBMLVersion
        unsigned(&[0x42, 0xf7], 1),          // EBMLReadVersion
        unsigned(&[0x42, 0xf2], 4),          // EBMLMaxIDLength
        unsigned(&[0x42, 0xf3], 8),          // EBMLMaxSizeLength
        element(&[0x42, 0x82], b"matroska"), // DocType
        unsigned(&[0x42, 0x87], 4),          // DocTypeVersion
        unsigned(&[0x42, 0x85], 2),          // DocTypeReadVersion
    ];
    let info = [
        unsigned(&[0x2a, 0xd7, 0xb1], TICK), // TimestampScale
        element(&[0x4d, 0x80], b"ocelli"),   // MuxingApp
        element(&[0x57, 0x41], b"ocelli"),   // WritingApp
    ];
    let video = [
        unsigned(&[0xb0], width as u64),          // PixelWidth
        unsigned(&[0xba], height as u64),         // PixelHeight
        element(&[0x2e, 0xb5, 0x24], b"RGB\x18"), // UncompressedFourCC: 24 bits, red first
    ];
    let track = [
        unsigned(&[0xd7], 1),                          // TrackNumber
        unsigned(&[0x73, 0xc5], 1),                    // TrackUID
        unsigned(&[0x83], 1),                          // TrackType: video
        unsigned(&[0x9c], 0),                          // FlagLacing
        element(&[0x86], b"V_UNCOMPRESSED"),           // CodecID
        unsigned(&[0x23, 0xe3, 0x83], frame_duration), // DefaultDuration, in ns
        element(&[0xe0], &video.concat()),             // Video
    ];
    [
        element(&[0x1a, 0x45, 0xdf, 0xa3], &ebml.concat()),
        vec![0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // Segment, size unknown
        element(&[0x15, 0x49, 0xa9, 0x66], &info.concat()),
        element(&[0x16, 0x54, 0xae, 0x6b], &element(&[0xae], &track.concat())),
    ]
    .concat()
}

/// What a frame of `bytes` bytes begins with, shown at `time` in s: a cluster and its only block. The frame's bytes
/// follow.
pub(super) fn frame(time: f64, bytes: usize) -> Vec<u8> {
    let timestamp = unsigned(&[0xe7], (time * 1e9 / TICK as f64).round() as u64);
    // Track 1, at the cluster's time, a key frame.
    let block = [0x81, 0, 0, 0x80];
    let mut head = [vec![0xa3], size(block.len() + bytes)].concat(); // SimpleBlock
    head.extend(block);
    let mut out = vec![0x1f, 0x43, 0xb6, 0x75]; // Cluster
    out.extend(size(timestamp.len() + head.len() + bytes));
    out.extend(timestamp);
    out.extend(head);
    out
}

fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    [id, &size(content.len()), content].concat()
}

fn unsigned(id: &[u8], value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

/// A size, in the longest form, which every reader takes.
fn size(bytes: usize) -> Vec<u8> {
    (bytes as u64 | 1 << 56).to_be_bytes().to_vec()
}
