//! Protocol Buffers' wire format, as far as ONNX needs it: varints, 32-bit floats, lengths with bytes.

use super::OnnxError;

/// Appends fields to a message.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty message with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// The message.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn key(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }

    /// A whole number.
    pub fn int(&mut self, field: u32, value: i64) {
        self.key(field, 0);
        // Negative numbers are written in two's complement, ten bytes long.
        self.varint(value as u64);
    }

    /// A 32-bit floating point number.
    pub fn float(&mut self, field: u32, value: f32) {
        self.key(field, 5);
        self.bytes.extend(value.to_le_bytes());
    }

    /// Bytes with their length.
    pub fn bytes(&mut self, field: u32, value: &[u8]) {
        self.header(field, value.len());
        self.raw(value);
    }

    /// A text.
    pub fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// A message inside this one.
    pub fn message(&mut self, field: u32, write: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::default();
        write(&mut inner);
        self.bytes(field, &inner.bytes);
    }

    /// The beginning of a field of `length` bytes, which are to follow with [`raw`](Self::raw).
    pub fn header(&mut self, field: u32, length: usize) {
        self.key(field, 2);
        self.varint(length as u64);
    }

    /// Bytes without key or length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes without key or length, one chunk after the other.
    pub fn raw_chunks<const N: usize>(&mut self, chunks: impl Iterator<Item = [u8; N]>) {
        self.bytes.extend(chunks.flatten());
    }
}

/// Bytes that [`Writer::header`] takes.
pub(super) fn header_length(field: u32, length: usize) -> usize {
    varint_length(u64::from(field << 3)) + varint_length(length as u64)
}

fn varint_length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field<'a> {
    /// A whole number.
    Int(u64),
    /// Four or eight bytes of a fixed length.
    Fixed,
    /// Text, bytes or a message.
    Bytes(&'a [u8]),
}

/// Reads the fields of a message one after the other.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `message`.
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn varint(&mut self) -> Result<u64, OnnxError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or_else(cut)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(OnnxError::Unreadable("a number of more than ten bytes".into()))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], OnnxError> {
        let length = usize::try_from(length).map_err(|_| cut())?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(cut)?;
        self.rest = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u32, Field<'a>), OnnxError> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| OnnxError::Unreadable("a field's number".into()))?;
        let value = match key & 7 {
            0 => Field::Int(self.varint()?),
            1 => self.take(8).map(|_| Field::Fixed)?,
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Field::Fixed)?,
            kind => return Err(OnnxError::Unreadable(format!("a field of unknown kind {kind}"))),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u32, Field<'a>), OnnxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

fn cut() -> OnnxError {
    OnnxError::Unreadable("the file ends in the middle of a field".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.int(1, 300);
        writer.int(2, -1);
        writer.float(3, 1.5);
        writer.text(16, "abc");
        writer.message(5, |inner| inner.int(1, 0));
        let bytes = writer.into_bytes();
        assert_eq!(bytes[..3], [0x08, 0xac, 0x02]);
        let fields: Vec<_> = Reader::new(&bytes).map(Result::unwrap).collect();
        assert_eq!(
            fields,
            [
                (1, Field::Int(300)),
                (2, Field::Int(u64::MAX)),
                (3, Field::Fixed),
                (16, Field::Bytes(b"abc")),
                (5, Field::Bytes(&[0x08, 0])),
            ]
        );
        for length in 0..bytes.len() {
            let _ = Reader::new(&bytes[..length]).collect::<Vec<_>>();
        }
    }

    #[test]
    fn headers_are_as_long_as_said() {
        for field in [1, 15, 16, 200] {
            for length in [0usize, 1, 127, 128, 16383, 16384, 1 << 31] {
                let mut writer = Writer::default();
                writer.header(field, length);
                assert_eq!(writer.len(), header_length(field, length), "{field} {length}");
            }
        }
    }
}
