//! Constants of a graph in the making: parameters, data, fills, and rearrangements of these.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Int, Tensor, TensorData};
use ocelli_nn::state_dict::Path;

use crate::ir::{Constant, ElementType, Graph, ValueId};

/// Where the elements of a constant come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// The module's parameter of this name.
    Parameter(String),
    /// Data that the recording kept.
    Data(TensorData),
    /// One number everywhere.
    Fill(f64),
}

/// A rearrangement of a constant's elements.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The same elements in this shape.
    Reshape(Vec<usize>),
    /// Dimension `i` is the former dimension `permutation[i]`.
    Permute(Vec<usize>),
}

/// A constant before it is known whether anything needs its elements.
#[derive(Clone, Debug)]
pub(super) struct Lazy {
    pub source: Source,
    /// Shape of the source.
    pub origin: Vec<usize>,
    pub steps: Vec<Step>,
    /// Shape after the steps.
    pub shape: Vec<usize>,
    pub element: ElementType,
}

impl Lazy {
    pub fn new(source: Source, shape: Vec<usize>, element: ElementType) -> Self {
        Self { source, origin: shape.clone(), steps: Vec::new(), shape, element }
    }

    /// With one more rearrangement.
    pub fn then(&self, step: Step, shape: Vec<usize>) -> Self {
        let mut next = self.clone();
        next.steps.push(step);
        next.shape = shape;
        next
    }

    /// The elements, given those of the source.
    fn arranged<T: Copy>(&self, mut elements: Vec<T>) -> Vec<T> {
        let mut shape = self.origin.clone();
        for step in &self.steps {
            match step {
                Step::Reshape(to) => shape.clone_from(to),
                Step::Permute(permutation) => {
                    elements = permuted(&elements, &shape, permutation);
                    shape = permutation.iter().map(|&d| shape[d]).collect();
                }
            }
        }
        elements
    }

    /// The constant, given the source's data.
    pub fn constant(&self, data: &TensorData) -> Constant {
        match self.element {
            ElementType::F32 => Constant::F32(self.arranged(floats(data)).into()),
            ElementType::I64 => Constant::I64(self.arranged(data.iter::<i64>().collect()).into()),
            ElementType::I32 => Constant::I32(self.arranged(data.iter::<i32>().collect()).into()),
            ElementType::U8 => Constant::U8(self.arranged(data.iter::<u8>().collect()).into()),
            ElementType::I8 => Constant::I8(self.arranged(data.iter::<i8>().collect()).into()),
            ElementType::Bool => Constant::Bool(self.arranged(data.iter::<bool>().collect()).into()),
        }
    }

    /// The constant, if it does not come from a parameter.
    pub fn own_constant(&self) -> Option<Constant> {
        let count = self.origin.iter().product();
        match &self.source {
            Source::Parameter(_) => None,
            Source::Data(data) => Some(self.constant(data)),
            Source::Fill(value) => Some(match self.element {
                ElementType::F32 => Constant::F32(vec![*value as f32; count].into()),
                ElementType::I64 => Constant::I64(vec![*value as i64; count].into()),
                ElementType::I32 => Constant::I32(vec![*value as i32; count].into()),
                ElementType::U8 => Constant::U8(vec![*value as u8; count].into()),
                ElementType::I8 => Constant::I8(vec![*value as i8; count].into()),
                ElementType::Bool => Constant::Bool(vec![*value != 0.0; count].into()),
            }),
        }
    }
}

fn floats(data: &TensorData) -> Vec<f32> {
    match data.as_slice::<f32>() {
        Ok(numbers) => numbers.to_vec(),
        Err(_) => data.iter::<f32>().collect(),
    }
}

fn permuted<T: Copy>(elements: &[T], shape: &[usize], permutation: &[usize]) -> Vec<T> {
    let mut strides = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d];
    }
    let to: Vec<(usize, usize)> = permutation.iter().map(|&d| (shape[d], strides[d])).collect();
    let mut out = Vec::with_capacity(elements.len());
    let mut index = vec![0; to.len()];
    let mut at = 0;
    while out.len() < elements.len() {
        out.push(elements[at]);
        for d in (0..to.len()).rev() {
            index[d] += 1;
            at += to[d].1;
            if index[d] < to[d].0 {
                break;
            }
            at -= to[d].1 * to[d].0;
            index[d] = 0;
        }
    }
    out
}

/// A constant of the graph whose elements are still in the module.
pub(super) struct Pending {
    pub value: ValueId,
    pub parameter: String,
    pub lazy: Lazy,
}

/// Reads the elements of `pending` from `module`.
pub(super) fn fill<M: Module>(graph: &mut Graph, pending: Vec<Pending>, module: &M) {
    struct Fill<'a> {
        path: Path,
        wanted: HashMap<String, Vec<Pending>>,
        graph: &'a mut Graph,
    }
    impl Fill<'_> {
        fn take(&mut self, data: impl FnOnce() -> TensorData) {
            let Some(wanted) = self.wanted.remove(&self.path.name()) else { return };
            let data = data();
            for own in wanted {
                self.graph.constants.insert(own.value, own.lazy.constant(&data));
            }
        }
    }
    impl ModuleVisitor for Fill<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.take(|| param.val().into_data());
        }
        fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
            self.take(|| param.val().into_data());
        }
    }
    let mut wanted: HashMap<String, Vec<Pending>> = HashMap::new();
    for own in pending {
        wanted.entry(own.parameter.clone()).or_default().push(own);
    }
    module.visit(&mut Fill { path: Path::default(), wanted, graph });
}
