//! A pickle machine that builds names, numbers, lists, dictionaries and descriptions of tensors. What else a pickle asks for becomes
//! [`Node::Other`]: nothing is imported, no code is run.
//!
//! Values live in one list and refer to one another by their places in it: a reference costs four bytes however large what it means, and nothing
//! is walked recursively, so that neither references nor nesting make much of a small file.

use std::collections::HashMap;

/// A value's place in [`Pickled::nodes`].
pub(super) type Id = u32;

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Something that holds no weights, or is not understood.
    Other,
    Int(i64),
    Text(String),
    /// Tuples and lists.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// `module.name`
    Global(String),
    /// Elements of a kind such as `torch.FloatStorage`, kept in the file under `key`.
    Storage {
        kind: String,
        key: String,
    },
    /// A view of a storage.
    Tensor {
        storage: Id,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    },
}

/// A pickle's values.
#[derive(Debug)]
pub(super) struct Pickled {
    pub nodes: Vec<Node>,
    /// What the pickle is.
    pub root: Id,
    /// Bytes it took.
    pub length: usize,
}

impl Pickled {
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }
}

/// Reads the pickle at the start of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<Pickled, String> {
    let mut machine = Machine { bytes, at: 0, nodes: Vec::new(), stack: Vec::new(), memo: HashMap::new() };
    let root = machine.run()?;
    Ok(Pickled { nodes: machine.nodes, root, length: machine.at })
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    /// Values, and nothing for a mark.
    stack: Vec<Option<Id>>,
    memo: HashMap<usize, Id>,
}

impl<'a> Machine<'a> {
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
        self.at += length + 1;
        std::str::from_utf8(&rest[..length]).map_err(|_| "a line that is no text".to_string())
    }

    fn add(&mut self, node: Node) -> Result<Id, String> {
        let id = Id::try_from(self.nodes.len()).map_err(|_| "more values than expected".to_string())?;
        self.nodes.push(node);
        Ok(id)
    }

    fn push(&mut self, node: Node) -> Result<(), String> {
        let id = self.add(node)?;
        self.stack.push(Some(id));
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.stack.pop().flatten().ok_or_else(|| "an empty stack".to_string())
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().flatten().ok_or_else(|| "an empty stack".to_string())
    }

    fn above_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.stack.iter().rposition(Option::is_none).ok_or("a list without a beginning")?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items.into_iter().flatten().collect())
    }

    /// A string of bytes: names in Python 2 are such.
    fn text(&mut self, length_bytes: usize) -> Result<(), String> {
        let count = self.unsigned(length_bytes)?;
        let part = self.take(count)?;
        self.push(std::str::from_utf8(part).map_or(Node::Other, |text| Node::Text(text.into())))
    }

    /// A whole number of `count` bytes; wider ones than 64 bits are nothing that is looked at.
    fn long(&mut self, count: usize) -> Result<(), String> {
        let part = self.take(count)?;
        let negative = part.last().is_some_and(|byte| byte & 0x80 != 0);
        let value = |start| part.iter().rev().fold(start, |value: i64, &byte| (value << 8) | i64::from(byte));
        self.push(if count > 8 { Node::Other } else { Node::Int(value(if negative { -1 } else { 0 })) })
    }

    fn extend(&mut self, items: Vec<Id>) -> Result<(), String> {
        let list = self.top()?;
        if let Node::List(own) = &mut self.nodes[list as usize] {
            own.extend(items);
        }
        Ok(())
    }

    fn insert(&mut self, items: &[Id]) -> Result<(), String> {
        let dict = self.top()?;
        if let Node::Dict(own) = &mut self.nodes[dict as usize] {
            own.extend(items.as_chunks::<2>().0.iter().map(|&[key, value]| (key, value)));
        }
        Ok(())
    }

    fn remember(&mut self, key: usize) -> Result<(), String> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: usize) -> Result<(), String> {
        let id = *self.memo.get(&key).ok_or("a reference to nothing")?;
        self.stack.push(Some(id));
        Ok(())
    }

    fn number(text: &str) -> Node {
        text.trim_end_matches('L').parse().map_or(Node::Other, Node::Int)
    }

    fn run(&mut self) -> Result<Id, String> {
        loop {
            let code = self.take(1)?[0];
            match code {
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'.' => return self.pop(),
                b'(' => self.stack.push(None),
                b'N' | 0x88 | 0x89 | 0x8f => self.push(Node::Other)?,
                b'K' | b'M' => {
                    let value = self.unsigned(if code == b'K' { 1 } else { 2 })?;
                    self.push(Node::Int(value as i64))?;
                }
                b'J' => {
                    let value = self.unsigned(4)? as u32 as i32;
                    self.push(Node::Int(i64::from(value)))?;
                }
                0x8a | 0x8b => {
                    let count = self.unsigned(if code == 0x8a { 1 } else { 4 })?;
                    self.long(count)?;
                }
                b'I' | b'L' => {
                    let node = Self::number(self.line()?);
                    self.push(node)?;
                }
                b'G' => {
                    self.take(8)?;
                    self.push(Node::Other)?;
                }
                b'F' => {
                    self.line()?;
                    self.push(Node::Other)?;
                }
                b'X' | b'T' | b'B' => self.text(4)?,
                0x8c | b'U' | b'C' => self.text(1)?,
                0x8d | 0x8e => self.text(8)?,
                b'S' | b'V' => {
                    let text = self.line()?.trim_matches(['\'', '"']).to_string();
                    self.push(Node::Text(text))?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Node::Global(format!("{module}.{name}")))?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Node::Text(name), Node::Text(module)) =
                        (&self.nodes[name as usize], &self.nodes[module as usize])
                    else {
                        return Err("a global without a name".into());
                    };
                    let node = Node::Global(format!("{module}.{name}"));
                    self.push(node)?;
                }
                b']' | b')' => self.push(Node::List(Vec::new()))?,
                b'}' => self.push(Node::Dict(Vec::new()))?,
                b't' | b'l' => {
                    let items = self.above_mark()?;
                    self.push(Node::List(items))?;
                }
                b'd' => {
                    let items = self.above_mark()?;
                    self.push(Node::Dict(Vec::new()))?;
                    self.insert(&items)?;
                }
                0x85..=0x87 => {
                    let mut items: Vec<Id> =
                        (0..code - 0x84).map(|_| self.pop()).collect::<Result<_, _>>()?;
                    items.reverse();
                    self.push(Node::List(items))?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.extend(vec![item])?;
                }
                b'e' | 0x90 => {
                    let items = self.above_mark()?;
                    self.extend(items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.insert(&[key, value])?;
                }
                b'u' => {
                    let items = self.above_mark()?;
                    self.insert(&items)?;
                }
                b'q' | b'r' => {
                    let key = self.unsigned(if code == b'q' { 1 } else { 4 })?;
                    self.remember(key)?;
                }
                b'h' | b'j' => {
                    let key = self.unsigned(if code == b'h' { 1 } else { 4 })?;
                    self.recall(key)?;
                }
                b'p' | b'g' => {
                    let key = self.line()?.parse().map_err(|_| "a reference that is no number")?;
                    if code == b'p' { self.remember(key)? } else { self.recall(key)? }
                }
                0x94 => self.remember(self.memo.len())?,
                b'R' | 0x81 => {
                    let (arguments, called) = (self.pop()?, self.pop()?);
                    let id = self.call(called, arguments)?;
                    self.stack.push(Some(id));
                }
                0x92 => {
                    for _ in 0..3 {
                        self.pop()?;
                    }
                    self.push(Node::Other)?;
                }
                // The state of an object; a dictionary keeps what it has.
                b'b' => drop(self.pop()?),
                b'Q' => {
                    let id = self.pop()?;
                    let node = self.storage(id);
                    self.push(node)?;
                }
                b'0' => drop(self.stack.pop()),
                b'1' => drop(self.above_mark()?),
                b'2' => self.stack.push(Some(self.top()?)),
                other => return Err(format!("the pickle operation {other:#04x} has no place here")),
            }
        }
    }

    fn list(&self, id: Id) -> &[Id] {
        match &self.nodes[id as usize] {
            Node::List(items) => items,
            _ => &[],
        }
    }

    fn extents(&self, id: Id) -> Option<Vec<usize>> {
        self.list(id).iter().map(|&id| self.extent(id)).collect()
    }

    fn extent(&self, id: Id) -> Option<usize> {
        match self.nodes[id as usize] {
            Node::Int(value) => usize::try_from(value).ok(),
            _ => None,
        }
    }

    /// `('storage', kind, key, device, count)`, which older files follow by what is nothing but for views.
    fn storage(&self, id: Id) -> Node {
        let items: Vec<&Node> = self.list(id).iter().map(|&id| &self.nodes[id as usize]).collect();
        match items.as_slice() {
            [Node::Text(what), Node::Global(kind), Node::Text(key), _, Node::Int(_), rest @ ..]
                if what == "storage" && matches!(rest, [] | [Node::Other]) =>
            {
                Node::Storage { kind: kind.clone(), key: key.clone() }
            }
            _ => Node::Other,
        }
    }

    /// The few calls that make what is looked at; others make something that is not.
    fn call(&mut self, called: Id, arguments: Id) -> Result<Id, String> {
        let Node::Global(name) = &self.nodes[called as usize] else { return self.add(Node::Other) };
        let items = self.list(arguments);
        let node = match name.as_str() {
            "torch._utils._rebuild_parameter" => return Ok(items.first().copied().unwrap_or(arguments)),
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor" => match *items {
                [storage, offset, shape, strides, ..] => {
                    match (self.extent(offset), self.extents(shape), self.extents(strides)) {
                        (Some(offset), Some(shape), Some(strides)) => {
                            Node::Tensor { storage, offset, shape, strides }
                        }
                        _ => Node::Other,
                    }
                }
                _ => Node::Other,
            },
            "collections.OrderedDict" => {
                // Python 2 gives the entries here, as lists of two.
                let entries = items.first().map_or(&[][..], |&entries| self.list(entries));
                let pair = |&entry: &Id| match *self.list(entry) {
                    [key, value] => Some((key, value)),
                    _ => None,
                };
                Node::Dict(entries.iter().filter_map(pair).collect())
            }
            "collections.defaultdict" => Node::Dict(Vec::new()),
            _ => Node::Other,
        };
        self.add(node)
    }
}
