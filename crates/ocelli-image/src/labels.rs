//! Names of classes that published weights leave out.

const IMAGENET_1K: &str = include_str!("../assets/imagenet1k.txt");

/// Names for weights with `classes` classes: ImageNet-1k's for 1000, else `class 0`, `class 1`, ...
pub fn default_labels(classes: usize) -> Vec<String> {
    match classes {
        1000 => IMAGENET_1K.lines().map(str::to_string).collect(),
        _ => (0..classes).map(|index| format!("class {index}")).collect(),
    }
}
