//! Every kernel on every instruction set of the machine against its plain twin, on random shapes.

mod adder;
mod binary;
mod convolution;
mod elements;
mod fake_quant;
mod graphs;
mod int8;
mod maps;
mod product;
mod training;
mod transformer;
mod util;
mod versatile;
