//! `Event` messages in the protocol-buffer wire format.

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// A message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, wire: u64) {
        self.varint(field << 3 | wire);
    }

    fn int64(mut self, field: u64, value: i64) -> Self {
        self.key(field, VARINT);
        self.varint(value as u64);
        self
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        self.key(field, FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn float(mut self, field: u64, value: f32) -> Self {
        self.key(field, FIXED32);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.key(field, BYTES);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }
}

/// The first event of every file: `wall_time = 1`, `file_version = 3`.
pub(super) fn file_version(wall_time: f64) -> Vec<u8> {
    Message::default().double(1, wall_time).bytes(3, b"brain.Event:2").0
}

/// A scalar: `wall_time = 1`, `step = 2`, `summary = 5` with one `value = 1`, which has `tag = 1`,
/// `simple_value = 2` and `metadata = 9` naming the scalars plugin.
pub(super) fn scalar(wall_time: f64, step: i64, tag: &str, value: f32) -> Vec<u8> {
    let plugin = Message::default().bytes(1, b"scalars");
    let metadata = Message::default().bytes(1, &plugin.0);
    let value = Message::default().bytes(1, tag.as_bytes()).float(2, value).bytes(9, &metadata.0);
    let summary = Message::default().bytes(1, &value.0);
    Message::default().double(1, wall_time).int64(2, step).bytes(5, &summary.0).0
}

/// A restart: `session_log = 7` with `status = 1` set to `START`. Readers drop what earlier files say about
/// this step and later ones.
pub(super) fn session_start(wall_time: f64, step: i64) -> Vec<u8> {
    let log = Message::default().int64(1, 1);
    Message::default().double(1, wall_time).int64(2, step).bytes(7, &log.0).0
}
