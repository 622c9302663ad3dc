//! Operations of ours, recorded under their names.

use crate::adder_conv::AdderConv;
use crate::binary_conv::BinaryConv;
use crate::op::{ConvAttrs, Op};

/// The operator for the recorded operation `name`, if there is one.
pub(super) fn operation(name: &str, arguments: &[f64], inputs: usize) -> Option<Op> {
    let whole: Vec<usize> = arguments.iter().map(|&argument| argument as usize).collect();
    match (name, whole.as_slice()) {
        ("neighbours", &[k, dilation]) => Some(Op::Neighbours { k, dilation, positions: inputs == 3 }),
        ("max_relative", []) => Some(Op::MaxRelative),
        ("dynamic_conv", &[_, kh, kw, sh, sw, ph, pw, dh, dw, groups]) => {
            let attrs = ConvAttrs {
                stride: vec![sh, sw],
                pad_begin: vec![ph, pw],
                pad_end: vec![ph, pw],
                dilation: vec![dh, dw],
                groups,
            };
            Some(Op::DynamicConv { attrs, kernel: [kh, kw], bias: false, activation: None })
        }
        ("binary_conv", &[_, kh, kw, sh, sw, ph, pw, dh, dw, groups, mean]) => {
            let attrs = ConvAttrs {
                stride: vec![sh, sw],
                pad_begin: vec![ph, pw],
                pad_end: vec![ph, pw],
                dilation: vec![dh, dw],
                groups,
            };
            Some(Op::BinaryConv(BinaryConv {
                attrs,
                kernel: [kh, kw],
                mean: mean != 0,
                shift: false,
                scale: false,
                bias: false,
                residual: false,
                slope: false,
                after: false,
            }))
        }
        ("adder_conv", &[sh, sw, ph, pw, dh, dw]) => Some(Op::AdderConv(AdderConv::new(ConvAttrs {
            stride: vec![sh, sw],
            pad_begin: vec![ph, pw],
            pad_end: vec![ph, pw],
            dilation: vec![dh, dw],
            groups: 1,
        }))),
        _ => None,
    }
}
