//! Text for Graphviz.

use std::fmt::Write;

use super::label::Picture;
use crate::ir::Graph;

/// The graph in Graphviz's language: `dot -Tsvg network.dot > network.svg`.
pub fn dot(graph: &Graph) -> String {
    let picture = Picture::new(graph);
    let mut text = format!("digraph {} {{\n", quoted(&graph.name));
    text.push_str(
        "  rankdir=TB;\n  node [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\", fontsize=11];\n",
    );
    text.push_str("  edge [color=\"#64748b\", arrowsize=0.7];\n");
    for (at, label) in picture.boxes.iter().enumerate() {
        let (fill, border) = label.kind.colours();
        let words = quoted(&format!("{}\n{}\n{}", label.name, label.detail, label.shape));
        let _ = writeln!(text, "  n{at} [label={words}, fillcolor=\"{fill}\", color=\"{border}\"];");
    }
    for (from, to) in &picture.lines {
        let _ = writeln!(text, "  n{from} -> n{to};");
    }
    text.push_str("}\n");
    text
}

/// A string of the language; control characters, which it has no escape for, become spaces.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
