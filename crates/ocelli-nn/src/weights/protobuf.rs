//! The wire format of protocol buffers, as far as weight files need it. Every length is checked against the
//! bytes that are there before anything is taken or allocated.

/// A value on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// Type 0.
    Varint(u64),
    /// Type 5.
    Fixed32([u8; 4]),
    /// Type 1.
    Fixed64([u8; 8]),
    /// Type 2: a string, a message or packed numbers.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The content of type 2.
    pub(super) fn bytes(self) -> Result<&'a [u8], String> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            other => Err(format!("expected bytes, found {other:?}")),
        }
    }

    /// The content of a string.
    pub(super) fn text(self) -> Result<String, String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| "a name is not UTF-8".to_string())
    }

    /// The content of type 0 as a size.
    pub(super) fn size(self) -> Result<usize, String> {
        match self {
            Value::Varint(n) => usize::try_from(n).map_err(|_| format!("{n} is no size")),
            other => Err(format!("expected a number, found {other:?}")),
        }
    }
}

/// The fields of a message, one after the other.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Number and value of the next field; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.array()?),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(self.array()?),
            kind => return Err(format!("unknown wire type {kind}")),
        };
        Ok(Some((key >> 3, value)))
    }

    /// Numbers packed into a message, read to its end.
    pub(super) fn varints(message: &'a [u8]) -> Result<Vec<u64>, String> {
        let mut fields = Self::new(message);
        let mut numbers = Vec::new();
        while !fields.rest.is_empty() {
            numbers.push(fields.varint()?);
        }
        Ok(numbers)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let there = self.rest.len();
        let length = usize::try_from(length)
            .ok()
            .filter(|&length| length <= there)
            .ok_or_else(|| format!("a field claims {length} bytes where {there} are left"))?;
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N as u64)?;
        let mut array = [0; N];
        array.copy_from_slice(bytes);
        Ok(array)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("a number has more than ten bytes".into())
    }
}

/// Appends `number` to `out`.
pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a field of bytes to `out`.
pub(super) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
