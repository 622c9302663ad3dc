//! The engine on graphs made by hand: against the plain interpreter, from files, with files that are not what they say.

mod adder;
mod allocation;
mod binary;
mod codes;
mod files;
mod graphs;
mod running;
