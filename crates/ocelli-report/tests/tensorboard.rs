//! Event files, read back by a parser of their own.

use std::fs;

use ocelli_report::tensorboard::{EventWriter, crc32c, masked_crc32c};

use crate::support::TempDir;

#[test]
fn known_checksums() {
    assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    assert_eq!(crc32c(b""), 0);
    // From RFC 3720, appendix B.4.
    assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
    assert_eq!(crc32c(&[0xff; 32]), 0x62A8_AB43);
    let ascending: Vec<u8> = (0..32).collect();
    assert_eq!(crc32c(&ascending), 0x46DD_794E);
    assert_eq!(masked_crc32c(b""), 0xA282_EAD8);
}

/// A field of a message.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Int(u64),
    Double(f64),
    Bytes(Vec<u8>),
    Float(f32),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return value;
        }
    }
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Value)> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Value::Int(varint(&mut bytes)),
            1 => {
                let (head, rest) = bytes.split_at(8);
                bytes = rest;
                Value::Double(f64::from_le_bytes(head.try_into().unwrap()))
            }
            2 => {
                let length = varint(&mut bytes) as usize;
                let (head, rest) = bytes.split_at(length);
                bytes = rest;
                Value::Bytes(head.to_vec())
            }
            5 => {
                let (head, rest) = bytes.split_at(4);
                bytes = rest;
                Value::Float(f32::from_le_bytes(head.try_into().unwrap()))
            }
            wire => panic!("wire type {wire}"),
        };
        out.push((key >> 3, value));
    }
    out
}

fn field(bytes: &[u8], number: u64) -> Option<Value> {
    fields(bytes).into_iter().find(|(n, _)| *n == number).map(|(_, value)| value)
}

fn bytes(value: Option<Value>) -> Vec<u8> {
    match value {
        Some(Value::Bytes(bytes)) => bytes,
        other => panic!("{other:?}"),
    }
}

/// The payloads of a file of TFRecords, with their checksums verified.
fn records(mut file: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    while !file.is_empty() {
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        assert_eq!(word(8), masked_crc32c(&file[..8]));
        let payload = &file[12..12 + length];
        assert_eq!(word(12 + length), masked_crc32c(payload));
        out.push(payload.to_vec());
        file = &file[16 + length..];
    }
    out
}

#[test]
fn scalars_read_back() {
    let dir = TempDir::new();
    let mut writer = EventWriter::create(dir.0.join("run/events")).unwrap();
    let path = writer.path().to_owned();
    assert!(path.file_name().unwrap().to_str().unwrap().starts_with("events.out.tfevents."));
    let points = [("train/loss", 2.5, 0), ("train/loss", f64::NAN, 1), ("Wert/ä", -1e-3, 3_000_000_000)];
    for (i, (tag, value, step)) in points.iter().enumerate() {
        writer.add_scalar(tag, *value, *step, 1.7e9 + i as f64).unwrap();
    }
    writer.flush().unwrap();

    let records = records(&fs::read(path).unwrap());
    assert_eq!(records.len(), 4);
    assert_eq!(bytes(field(&records[0], 3)), b"brain.Event:2");
    for (i, (tag, value, step)) in points.iter().enumerate() {
        let event = &records[i + 1];
        assert_eq!(field(event, 1), Some(Value::Double(1.7e9 + i as f64)));
        assert_eq!(field(event, 2), Some(Value::Int(*step as u64)));
        let summary = bytes(field(&bytes(field(event, 5)), 1));
        assert_eq!(bytes(field(&summary, 1)), tag.as_bytes());
        match field(&summary, 2) {
            Some(Value::Float(read)) => assert!(read == *value as f32 || read.is_nan() && value.is_nan()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_resumed_run_starts_a_later_file() {
    let dir = TempDir::new();
    let old = dir.0.join("events.out.tfevents.9000000000.host");
    fs::write(&old, b"kept").unwrap();
    fs::write(dir.0.join("events.out.tfevents.odd"), b"").unwrap();
    let mut paths = vec![old.clone()];
    for step in 0..3 {
        let mut writer = EventWriter::resume(&dir.0, step).unwrap();
        writer.add_scalar("a", 1.0, step, 0.0).unwrap();
        paths.push(writer.path().to_owned());
    }
    assert!(paths.is_sorted(), "{paths:?}");
    assert_eq!(fs::read(old).unwrap(), b"kept");
    let records = records(&fs::read(&paths[3]).unwrap());
    assert_eq!(records.len(), 3, "the last file is flushed when its writer is dropped");
    assert_eq!(field(&records[1], 2), Some(Value::Int(2)));
    assert_eq!(field(&bytes(field(&records[1], 7)), 1), Some(Value::Int(1)));
}

#[test]
fn a_directory_that_cannot_be_is_an_error() {
    let dir = TempDir::new();
    fs::write(dir.0.join("file"), b"").unwrap();
    assert!(EventWriter::create(dir.0.join("file/events")).is_err());
}
