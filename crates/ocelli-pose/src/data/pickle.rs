//! The pickled dictionaries inside of VideoPose3D's archives: names, and float arrays. Nothing else is built, no code is run.

/// What a pickle may hold here.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// Tuples and lists.
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// `module.name`, of which only numpy's array machinery is acted upon.
    Global(String),
    /// An element type such as `f4`, and whether its bytes stand the other way round.
    Kind(String, bool),
    Array {
        shape: Vec<usize>,
        values: Vec<f32>,
    },
    Mark,
}

/// Most entries of memo and stack.
const MOST_VALUES: usize = 1 << 22;

/// Deepest nesting: the archives' dictionaries of dictionaries of arrays need six levels.
const DEEPEST: usize = 32;

impl Value {
    /// The values directly inside of it.
    fn inside(&self) -> impl Iterator<Item = &Value> {
        let (list, dict): (&[Value], &[(Value, Value)]) = match self {
            Self::List(items) => (items, &[]),
            Self::Dict(entries) => (&[], entries),
            _ => (&[], &[]),
        };
        list.iter().chain(dict.iter().flat_map(|(key, value)| [key, value]))
    }

    /// Whether it nests no deeper than `levels`.
    fn fits(&self, levels: usize) -> bool {
        levels > 0 && self.inside().all(|value| value.fits(levels - 1))
    }

    /// About how many bytes a copy takes.
    fn bytes(&self) -> usize {
        let own = match self {
            Self::Text(text) | Self::Global(text) | Self::Kind(text, _) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Array { values, .. } => 4 * values.len(),
            _ => 0,
        };
        size_of::<Self>() + own + self.inside().map(Value::bytes).sum::<usize>()
    }
}

/// Values that a pickle may name again. References could otherwise make much of little: a list of two references to a list of two
/// references, and so on.
struct Memo {
    values: std::collections::HashMap<usize, Value>,
    /// Bytes that may still be copied.
    left: usize,
}

impl Memo {
    fn copy(left: &mut usize, value: &Value) -> Result<Value, String> {
        *left = left.checked_sub(value.bytes()).ok_or("references that multiply")?;
        Ok(value.clone())
    }

    fn put(&mut self, key: usize, value: &Value) -> Result<(), String> {
        let copy = Self::copy(&mut self.left, value)?;
        self.values.insert(key, copy);
        Ok(())
    }

    fn get(&mut self, key: usize) -> Result<Value, String> {
        Self::copy(&mut self.left, self.values.get(&key).ok_or("a reference to nothing")?)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("the pickle ends at byte {}", self.bytes.len()))?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    fn unsigned(&mut self, bytes: usize) -> Result<usize, String> {
        let part = self.take(bytes)?;
        let value = part.iter().rev().fold(0u64, |value, &byte| (value << 8) | u64::from(byte));
        usize::try_from(value).map_err(|_| "a length beyond this machine".to_string())
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or("the pickle ends within a line")?;
        let line = std::str::from_utf8(&rest[..length]).map_err(|_| "a line that is no text".to_string());
        self.at += length + 1;
        line
    }
}

fn text(bytes: &[u8]) -> Result<Value, String> {
    String::from_utf8(bytes.to_vec()).map(Value::Text).map_err(|_| "a name that is no text".to_string())
}

/// Reads the value at the start of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    let mut reader = Reader { bytes, at: 0 };
    let mut stack: Vec<Value> = Vec::new();
    let mut memo =
        Memo { values: Default::default(), left: bytes.len().saturating_mul(8).saturating_add(16 << 20) };
    loop {
        if stack.len() > MOST_VALUES || memo.values.len() > MOST_VALUES {
            return Err("more values than expected".into());
        }
        let code = reader.take(1)?[0];
        match code {
            0x80 => drop(reader.take(1)?),
            0x95 => drop(reader.take(8)?),
            b'.' => return pop(&mut stack),
            b'(' => stack.push(Value::Mark),
            b'N' => stack.push(Value::None),
            0x88 => stack.push(Value::Bool(true)),
            0x89 => stack.push(Value::Bool(false)),
            b'K' => stack.push(Value::Int(reader.unsigned(1)? as i64)),
            b'M' => stack.push(Value::Int(reader.unsigned(2)? as i64)),
            b'J' => stack.push(Value::Int(i64::from(reader.unsigned(4)? as u32 as i32))),
            0x8a => {
                let count = reader.unsigned(1)?;
                let part = reader.take(count)?;
                if count > 8 {
                    return Err("a whole number of more than 8 bytes".into());
                }
                let negative = part.last().is_some_and(|byte| byte & 0x80 != 0);
                let start = if negative { -1i64 } else { 0 };
                let value = part.iter().rev().fold(start, |value, &byte| (value << 8) | i64::from(byte));
                stack.push(Value::Int(value));
            }
            b'G' => {
                let part: [u8; 8] = reader.take(8)?.try_into().map_err(|_| "a short number")?;
                stack.push(Value::Float(f64::from_be_bytes(part)));
            }
            b'X' => {
                let count = reader.unsigned(4)?;
                stack.push(text(reader.take(count)?)?);
            }
            0x8c => {
                let count = reader.unsigned(1)?;
                stack.push(text(reader.take(count)?)?);
            }
            0x8d => {
                let count = reader.unsigned(8)?;
                stack.push(text(reader.take(count)?)?);
            }
            b'U' | b'C' => {
                let count = reader.unsigned(1)?;
                stack.push(Value::Bytes(reader.take(count)?.to_vec()));
            }
            b'T' | b'B' => {
                let count = reader.unsigned(4)?;
                stack.push(Value::Bytes(reader.take(count)?.to_vec()));
            }
            0x8e => {
                let count = reader.unsigned(8)?;
                stack.push(Value::Bytes(reader.take(count)?.to_vec()));
            }
            b'c' => {
                let (module, name) = (reader.line()?, reader.line()?);
                stack.push(Value::Global(format!("{module}.{name}")));
            }
            0x93 => match (pop(&mut stack)?, pop(&mut stack)?) {
                (Value::Text(name), Value::Text(module)) => {
                    stack.push(Value::Global(format!("{module}.{name}")));
                }
                _ => return Err("a global without a name".into()),
            },
            b']' => stack.push(Value::List(Vec::new())),
            b')' => stack.push(Value::List(Vec::new())),
            b'}' => stack.push(Value::Dict(Vec::new())),
            b't' | b'l' => {
                let items = above_mark(&mut stack)?;
                shallow(&items)?;
                stack.push(Value::List(items));
            }
            0x85..=0x87 => {
                let count = usize::from(code - 0x84);
                let start = stack.len().checked_sub(count).ok_or("an empty stack")?;
                let items = stack.split_off(start);
                shallow(&items)?;
                stack.push(Value::List(items));
            }
            b'a' => {
                let item = pop(&mut stack)?;
                extend(stack.last_mut(), vec![item])?;
            }
            b'e' => {
                let items = above_mark(&mut stack)?;
                extend(stack.last_mut(), items)?;
            }
            b's' => {
                let (value, key) = (pop(&mut stack)?, pop(&mut stack)?);
                insert(stack.last_mut(), vec![key, value])?;
            }
            b'u' => {
                let items = above_mark(&mut stack)?;
                insert(stack.last_mut(), items)?;
            }
            b'q' => {
                let key = reader.unsigned(1)?;
                memo.put(key, top(&stack)?)?;
            }
            b'r' => {
                let key = reader.unsigned(4)?;
                memo.put(key, top(&stack)?)?;
            }
            0x94 => {
                let key = memo.values.len();
                memo.put(key, top(&stack)?)?;
            }
            b'h' | b'j' => {
                let key = reader.unsigned(if code == b'h' { 1 } else { 4 })?;
                stack.push(memo.get(key)?);
            }
            b'R' => {
                let (arguments, called) = (pop(&mut stack)?, pop(&mut stack)?);
                stack.push(call(called, arguments)?);
            }
            b'b' => {
                let (state, object) = (pop(&mut stack)?, pop(&mut stack)?);
                stack.push(build(object, state)?);
            }
            b'0' => drop(pop(&mut stack)?),
            other => return Err(format!("the pickle operation {other:#04x} has no place here")),
        }
    }
}

fn pop(stack: &mut Vec<Value>) -> Result<Value, String> {
    stack.pop().ok_or_else(|| "an empty stack".to_string())
}

fn top(stack: &[Value]) -> Result<&Value, String> {
    stack.last().ok_or_else(|| "an empty stack".to_string())
}

fn above_mark(stack: &mut Vec<Value>) -> Result<Vec<Value>, String> {
    let mark = stack.iter().rposition(|value| *value == Value::Mark).ok_or("a list without a beginning")?;
    let items = stack.split_off(mark + 1);
    stack.pop();
    Ok(items)
}

/// Refuses values that nest too deep to be put into another: they would be taken down level by level on the stack of calls.
fn shallow(items: &[Value]) -> Result<(), String> {
    match items.iter().all(|item| item.fits(DEEPEST)) {
        true => Ok(()),
        false => Err(format!("values nested deeper than {DEEPEST} levels")),
    }
}

fn extend(list: Option<&mut Value>, items: Vec<Value>) -> Result<(), String> {
    shallow(&items)?;
    match list {
        Some(Value::List(own)) => own.extend(items),
        _ => return Err("items without a list".into()),
    }
    Ok(())
}

fn insert(dict: Option<&mut Value>, items: Vec<Value>) -> Result<(), String> {
    shallow(&items)?;
    let Some(Value::Dict(own)) = dict else { return Err("entries without a dictionary".into()) };
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        own.push((key, value));
    }
    Ok(())
}

/// The few calls that make arrays.
fn call(called: Value, arguments: Value) -> Result<Value, String> {
    let Value::Global(name) = called else { return Err("a call of what is no function".into()) };
    let Value::List(arguments) = arguments else { return Err("a call without arguments".into()) };
    match name.as_str() {
        "numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct" => {
            Ok(Value::Array { shape: Vec::new(), values: Vec::new() })
        }
        "numpy.dtype" => match arguments.first() {
            Some(Value::Text(kind)) => Ok(Value::Kind(kind.clone(), false)),
            Some(Value::Bytes(kind)) => Ok(Value::Kind(String::from_utf8_lossy(kind).into(), false)),
            _ => Err("a numpy type without a name".into()),
        },
        // How Python 3 pickles bytes in old protocols.
        "_codecs.encode" => match arguments.first() {
            Some(Value::Text(text)) => text
                .chars()
                .map(|c| u8::try_from(u32::from(c)).map_err(|_| "bytes beyond latin-1".to_string()))
                .collect::<Result<Vec<u8>, _>>()
                .map(Value::Bytes),
            _ => Err("encoded bytes without a text".into()),
        },
        other => Err(format!("the object {other} has no place here")),
    }
}

fn build(object: Value, state: Value) -> Result<Value, String> {
    let Value::List(state) = state else { return Err("a state that is no tuple".into()) };
    match object {
        Value::Kind(kind, _) => {
            let big = matches!(state.get(1), Some(Value::Text(order)) if order == ">");
            Ok(Value::Kind(kind, big))
        }
        Value::Array { .. } => array(&state),
        _ => Err("a state for what has none".into()),
    }
}

/// `(version, shape, type, fortran, bytes)`
fn array(state: &[Value]) -> Result<Value, String> {
    let [_, Value::List(shape), Value::Kind(kind, big), fortran, content] = state else {
        return Err("an array's state of another form".into());
    };
    if *fortran == Value::Bool(true) || *big {
        return Err("an array whose bytes stand in another order".into());
    }
    let shape: Vec<usize> = shape
        .iter()
        .map(|extent| match extent {
            Value::Int(extent) => usize::try_from(*extent).map_err(|_| "a negative extent".to_string()),
            _ => Err("an extent that is no number".into()),
        })
        .collect::<Result<_, _>>()?;
    let count =
        shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent)).ok_or("a huge array")?;
    if let (Value::List(objects), true) = (content, kind.starts_with('O')) {
        return Ok(Value::List(objects.clone()));
    }
    let Value::Bytes(bytes) = content else { return Err(format!("an array of {kind} without bytes")) };
    let values: Vec<f32> = match kind.trim_start_matches(['<', '=', '|']) {
        "f4" => bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        "f8" => bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect(),
        other => return Err(format!("an array of {other}, expected f4 or f8")),
    };
    if values.len() != count {
        return Err(format!("an array of {shape:?} with {} numbers", values.len()));
    }
    Ok(Value::Array { shape, values })
}
