//! Self-contained HTML pages.
//!
//! A page is one file: styles and pictures are inside it, there is no JavaScript, and its content security
//! policy keeps a browser from fetching anything. It follows the reader's choice of light or dark, fits a
//! phone and prints. The markup is also well-formed XML.

mod gallery;
mod page;
mod style;
mod table;

pub use gallery::{Card, Picture};
pub use page::Page;
