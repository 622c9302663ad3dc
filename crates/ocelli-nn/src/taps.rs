//! Looking at intermediate tensors of a forward pass by their name.

use burn::tensor::{Int, Tensor, TensorData};

/// Collects named intermediate tensors while a network runs.
///
/// A network calls [`see`](Taps::see) at its named places; nothing is kept, and no name is even formatted,
/// unless the name was asked for. Detectors' feature maps and the parity tests both come from here. It can also carry
/// something to such a place: the graph of a Vision GNN, fixed from outside.
#[derive(Debug, Default)]
pub struct Taps {
    wanted: Vec<String>,
    /// Where in the network the current part stands: its name and a dot.
    scope: String,
    seen: Vec<(String, Seen)>,
    given: Vec<(String, TensorData)>,
}

#[derive(Debug)]
enum Seen {
    /// A map, still part of its computation.
    Map(Tensor<4>),
    /// The values of anything else.
    Data(TensorData),
}

impl Taps {
    /// Keeps nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Keeps the tensors called `names`.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self { wanted: names.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Runs a part of the network whose places are called `part.PLACE`.
    pub fn within<T>(&mut self, part: impl std::fmt::Display, run: impl FnOnce(&mut Self) -> T) -> T {
        if self.wanted.is_empty() {
            return run(self);
        }
        let outer = self.scope.clone();
        self.scope = format!("{outer}{part}.");
        let result = run(self);
        self.scope = outer;
        result
    }

    /// Carries `data` to the place called `name`.
    pub fn give(&mut self, name: impl Into<String>, data: TensorData) {
        self.given.push((name.into(), data));
    }

    /// What was given for the place called `name`.
    pub fn given(&self, name: impl std::fmt::Display) -> Option<&TensorData> {
        if self.given.is_empty() {
            return None;
        }
        let name = name.to_string();
        self.given.iter().find(|(given, _)| *given == name).map(|(_, data)| data)
    }

    /// Whether somebody asked for the tensor called `name`.
    pub fn wants(&self, name: impl std::fmt::Display) -> bool {
        !self.wanted.is_empty() && self.wanted.contains(&format!("{}{name}", self.scope))
    }

    /// Offers the tensor called `name`, a map `[batch, channels, height, width]` or of any other rank.
    pub fn see<const D: usize>(&mut self, name: impl std::fmt::Display, tensor: &Tensor<D>) {
        if self.wanted.is_empty() {
            return;
        }
        let name = format!("{}{name}", self.scope);
        if self.wanted.contains(&name) {
            let seen = match <[usize; 4]>::try_from(tensor.dims().as_slice()) {
                Ok(shape) => Seen::Map(tensor.clone().reshape(shape)),
                Err(_) => Seen::Data(tensor.clone().into_data()),
            };
            self.seen.push((name, seen));
        }
    }

    /// As [`see`](Self::see), for indices.
    pub fn see_indices<const D: usize>(&mut self, name: impl std::fmt::Display, indices: &Tensor<D, Int>) {
        if self.wants(&name) {
            self.seen.push((format!("{}{name}", self.scope), Seen::Data(indices.clone().into_data())));
        }
    }

    /// Offers the rows called `name`, `[batch, features]`, as maps of one pixel.
    pub fn see_vector(&mut self, name: impl std::fmt::Display, rows: &Tensor<2>) {
        if self.wants(&name) {
            let [batch, features] = rows.dims();
            self.see(name, &rows.clone().reshape([batch, features, 1, 1]));
        }
    }

    /// The kept map called `name`, if the network has such a place.
    pub fn get(&self, name: &str) -> Option<&Tensor<4>> {
        self.seen.iter().find_map(|(seen, tensor)| match tensor {
            Seen::Map(map) if seen == name => Some(map),
            _ => None,
        })
    }

    /// The kept maps in the order in which the network produced them.
    pub fn into_maps(self) -> Vec<(String, Tensor<4>)> {
        let map = |(name, seen)| match seen {
            Seen::Map(map) => Some((name, map)),
            Seen::Data(_) => None,
        };
        self.seen.into_iter().filter_map(map).collect()
    }

    /// The values of everything kept, in the order in which the network produced it.
    pub fn into_data(self) -> Vec<(String, TensorData)> {
        let data = |(name, seen)| match seen {
            Seen::Map(map) => (name, map.into_data()),
            Seen::Data(data) => (name, data),
        };
        self.seen.into_iter().map(data).collect()
    }
}
