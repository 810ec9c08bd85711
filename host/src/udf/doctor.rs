//! Whether what the languages need is installed.

use super::language::Language;
use super::tool::{Found, Tool};

/// A tool that was looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Whose tool it is.
    pub language: Language,
    /// The tool.
    pub tool: Tool,
    /// What was found.
    pub found: Found,
}

impl Checked {
    /// Whether the language can be built as far as this tool goes.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self.found, Found::Version(_))
    }
}

/// Looks for the tools of some languages.
#[must_use]
pub fn check(languages: &[Language]) -> Vec<Checked> {
    let tools = languages.iter().flat_map(|language| language.tools().into_iter().map(|tool| (*language, tool)));
    tools.map(|(language, tool)| Checked { language, found: tool.find(), tool }).collect()
}
