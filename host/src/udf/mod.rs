//! The workshop of user functions: what stands behind `thalweg udf` and `thalweg doctor`.
//!
//! In: folders with functions in one of the [`Language`]s. Out: new folders, components, runs over a file of elements, and
//! reports of what a component has and needs. A language is one module that says how its projects look, which tools it needs, and
//! how they make a component; everything else is the same for all. It knows nothing of command lines and of how text is shown.

mod built;
mod doctor;
mod elements;
mod embedded;
mod go;
mod javascript;
mod language;
mod new;
mod python;
mod report;
mod rust;
mod script;
mod tool;
mod trial;

pub use built::{Built, build, componentize_file, open};
pub use doctor::{Checked, check};
pub use language::{Language, Project};
pub use new::new;
pub use report::report;
pub use tool::{Found, Tool};
pub use trial::{Trial, TrialRow, Tried, run};
