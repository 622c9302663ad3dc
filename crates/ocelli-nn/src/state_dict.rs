//! Reading and writing a module's tensors by name.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};

/// Where a traversal stands in the module tree. Enum variants (the choice among networks) leave no name.
#[derive(Debug, Default)]
pub struct Path {
    parts: Vec<(Option<String>, String)>,
}

impl Path {
    /// To be called from `enter_module`.
    pub fn enter(&mut self, name: &str, container: &str) {
        let named = !container.starts_with("Enum:");
        self.parts.push((named.then(|| name.to_string()), container.to_string()));
    }

    /// To be called from `exit_module`.
    pub fn exit(&mut self) {
        self.parts.pop();
    }

    /// Dotted name, as PyTorch's state dict has it.
    pub fn name(&self) -> String {
        self.parts.iter().filter_map(|(name, _)| name.as_deref()).collect::<Vec<_>>().join(".")
    }

    /// Last part of the name.
    pub fn leaf(&self) -> &str {
        self.parts.last().and_then(|(name, _)| name.as_deref()).unwrap_or_default()
    }

    /// Type of the struct that owns the layer, such as `SqueezeExcite`.
    pub fn block(&self) -> &str {
        let depth = self.parts.len().saturating_sub(2);
        self.parts.get(depth).map_or("", |(_, container)| container.trim_start_matches("Struct:"))
    }

    /// Type of the struct that owns the last part, such as `Conv2d`.
    pub fn owner(&self) -> &str {
        self.parts.last().map_or("", |(_, container)| container.trim_start_matches("Struct:"))
    }
}

/// Whether the tensor called `name` is a buffer (running statistics) and not a trained parameter.
pub fn is_buffer(name: &str) -> bool {
    name.ends_with("running_mean") || name.ends_with("running_var")
}

/// Whether the tensor called `name` is never trained: a buffer, a table computed from a formula, the labels of signs, a mean colour.
pub fn is_frozen(name: &str) -> bool {
    is_buffer(name)
        || name.ends_with("relative_pos")
        || name.ends_with(".label")
        || name.starts_with("sub_mean.")
        || name.starts_with("add_mean.")
}

/// FNV-1a, 64 bits: a stable number for a name.
pub fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Name and shape of one tensor of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Dotted name.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
}

/// Names and shapes of all tensors of `module` (parameters and buffers) in field order, without initialising
/// lazy ones.
pub fn specs<M: Module>(module: &M) -> Vec<TensorSpec> {
    struct Specs(Path, Vec<TensorSpec>);
    impl ModuleVisitor for Specs {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let shape = param.lazy_shape().iter().copied().collect();
            self.1.push(TensorSpec { name: self.0.name(), shape });
        }
    }
    let mut visitor = Specs(Path::default(), Vec::new());
    module.visit(&mut visitor);
    visitor.1
}

/// Number of trained parameters: all elements that are not frozen.
pub fn parameter_count<M: Module>(module: &M) -> usize {
    specs(module)
        .iter()
        .filter(|spec| !is_frozen(&spec.name))
        .map(|spec| spec.shape.iter().product::<usize>())
        .sum()
}

/// All tensors of `module` by name.
pub fn state_dict<M: Module>(module: &M) -> BTreeMap<String, TensorData> {
    struct Collect(Path, BTreeMap<String, TensorData>);
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.insert(self.0.name(), param.val().into_data());
        }
    }
    let mut visitor = Collect(Path::default(), BTreeMap::new());
    module.visit(&mut visitor);
    visitor.1
}

/// What did not fit when a state dict met a module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// Names the module has and the file lacks.
    pub missing: Vec<String>,
    /// Names the file has and the module lacks.
    pub unexpected: Vec<String>,
    /// Tensors of another shape: name, shape in the module, shape in the file.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// What the network makes of it.
    pub note: Option<String>,
}

impl Mismatch {
    /// Whether everything fitted.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 12;
        if let Some(note) = &self.note {
            write!(f, "\n  {note}")?;
        }
        let mut list = |what: &str, lines: Vec<String>| -> std::fmt::Result {
            if lines.is_empty() {
                return Ok(());
            }
            write!(f, "\n  {} {what}:", lines.len())?;
            for line in lines.iter().take(SHOWN) {
                write!(f, "\n    {line}")?;
            }
            if lines.len() > SHOWN {
                write!(f, "\n    ... and {} more", lines.len() - SHOWN)?;
            }
            Ok(())
        };
        list("missing (the network has them, the file does not)", self.missing.clone())?;
        list("unexpected (the file has them, the network does not)", self.unexpected.clone())?;
        list(
            "of another shape",
            self.misshapen
                .iter()
                .map(|(name, want, found)| format!("{name}: the network has {want:?}, the file {found:?}"))
                .collect(),
        )
    }
}

/// Puts `tensors` into `module` by name; tensors of another shape stay as they are in the module.
///
/// Returns the module and what did not fit. `num_batches_tracked` entries are counters no inference uses:
/// they are neither required nor unexpected.
pub fn load_state_dict<M: Module>(module: M, mut tensors: BTreeMap<String, TensorData>) -> (M, Mismatch) {
    tensors.retain(|name, _| !name.ends_with("num_batches_tracked"));
    let mut loader =
        Loader { path: Path::default(), tensors, used: BTreeSet::new(), mismatch: Mismatch::default() };
    let module = module.map(&mut loader);
    let mut mismatch = loader.mismatch;
    mismatch.unexpected.extend(loader.tensors.into_keys().filter(|name| !loader.used.contains(name)));
    (module, mismatch)
}

struct Loader {
    path: Path,
    tensors: BTreeMap<String, TensorData>,
    used: BTreeSet<String>,
    mismatch: Mismatch,
}

impl ModuleMapper for Loader {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        let Some(data) = self.tensors.remove(&name) else {
            self.mismatch.missing.push(name);
            return param;
        };
        let want: Vec<usize> = param.lazy_shape().iter().copied().collect();
        let found: Vec<usize> = data.shape().iter().copied().collect();
        self.used.insert(name.clone());
        if want != found {
            self.mismatch.misshapen.push((name, want, found));
            return param;
        }
        let device = param.lazy_device();
        let id = param.id;
        param.transform_for_load(Tensor::from_data(data, &device), id)
    }
}

/// Gives every parameter the identity that follows from its name, so that optimiser states written by one
/// process are found again by the next.
pub fn name_param_ids<M: Module>(module: M) -> M {
    struct Rename(Path);
    impl ModuleMapper for Rename {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.exit();
        }
        fn map_float<const D: usize>(&mut self, mut param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.id = ParamId::from(fnv1a(&self.0.name()));
            param
        }
    }
    module.map(&mut Rename(Path::default()))
}
