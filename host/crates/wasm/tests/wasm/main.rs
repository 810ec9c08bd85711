//! The host against real components: the repository's guests, hand-made hostile ones, files that are no components, the
//! cache.

mod cache;
mod closing;
mod components;
mod conformance;
mod evil;
mod examples;
mod fuzz;
mod go;
mod golden;
mod guests;
mod handmade;
mod hostile;
mod interpreters;
mod json;
mod kinds;
mod lines;
mod pages;
mod poison;
mod splits;
mod stage;
mod support;
mod waiting;
mod walks;
mod wasi;
mod world;
