//! The program run as a person runs it: good input, bad input, interruption, resuming.

mod bad_input;
mod binary;
mod common;
mod compress;
mod dynamic;
mod engine;
mod export;
mod hub;
mod models;
mod pose;
mod train;
mod use_model;
mod video;
