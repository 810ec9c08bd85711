//! `{{ name }}` and `{{ name | default('text') }}` in a pipeline file, filled in before the YAML is parsed.
//!
//! In: the file's text and the values given on the command line. Out: the text with the values, and the way back from a
//! position in it to the position in the file. The comments at the top stay as they are. A later line that begins with `#` may be
//! part of a text, so values are filled in there, too; what else stands in braces there is left alone.

use super::node::Place;
use super::suggest::did_you_mean;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thalweg_core::error::{Error, Result};

/// A text with its values filled in.
#[derive(Debug)]
pub struct Filled {
    /// The YAML to parse.
    pub text: String,
    edits: Vec<Edit>,
}

/// One replacement; columns count characters from 1.
#[derive(Debug)]
struct Edit {
    line: usize,
    /// Where the value begins in the filled text.
    column: usize,
    /// Length of the value.
    value: usize,
    /// Length of what it replaced.
    placeholder: usize,
}

impl Filled {
    /// The position in the file of a position in the filled text: inside a value, where its placeholder begins.
    pub fn original(&self, line: usize, column: usize) -> usize {
        let mut shift = 0isize;
        for edit in self.edits.iter().filter(|e| e.line == line && e.column <= column) {
            if column < edit.column + edit.value {
                return edit.column.saturating_add_signed(shift);
            }
            shift += edit.placeholder as isize - edit.value as isize;
        }
        column.saturating_add_signed(shift)
    }
}

/// Fills in the values.
///
/// # Errors
/// `YAML_TEMPLATE` for what is not one of the two forms or a name without value; `YAML_UNUSED_VALUE` for a value whose name
/// the file does not have.
pub fn fill(file: &Arc<str>, source: &str, values: &BTreeMap<String, String>) -> Result<Filled> {
    let mut filled = Filled { text: String::with_capacity(source.len()), edits: Vec::new() };
    let mut names = BTreeSet::new();
    let mut top = true;
    for (i, line) in source.split_inclusive('\n').enumerate() {
        let comment = line.trim_start().starts_with('#');
        top &= comment || line.trim().is_empty();
        if top {
            filled.text.push_str(line);
            continue;
        }
        fill_line(&mut Line { file, number: i + 1, comment, values, names: &mut names }, line, &mut filled)?;
    }
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    match values.keys().find(|name| !names.contains(*name)) {
        None => Ok(filled),
        Some(name) => Err(Error::user("YAML_UNUSED_VALUE", format!("{file} has no `{{{{ {name} }}}}`")).help(
            if known.is_empty() { "the file has no names to set".to_owned() } else { did_you_mean(name, &known) },
        )),
    }
}

struct Line<'a> {
    file: &'a Arc<str>,
    number: usize,
    /// Whether it looks like one: then what cannot be filled in is no mistake.
    comment: bool,
    values: &'a BTreeMap<String, String>,
    names: &'a mut BTreeSet<String>,
}

impl Line<'_> {
    fn error(&self, column: usize, message: String, help: String) -> Error {
        let place = Place { file: Arc::clone(self.file), line: self.number, column, path: String::new() };
        place.error("YAML_TEMPLATE", message).help(help)
    }
}

fn fill_line(line: &mut Line<'_>, text: &str, filled: &mut Filled) -> Result<()> {
    let forms = || "write `{{ name }}` or `{{ name | default('text') }}`".to_owned();
    let mut rest = text;
    let mut written = 0; // characters of this line so far, in the filled text
    let mut read = 0; // and in the file
    loop {
        let next = ["{{", "{%", "{#"].iter().filter_map(|open| rest.find(open)).min();
        let Some(at) = next else {
            filled.text.push_str(rest);
            return Ok(());
        };
        let (before, after) = rest.split_at(at);
        filled.text.push_str(before);
        let before = before.chars().count();
        written += before;
        read += before;
        let found = match after.strip_prefix("{{").and_then(|a| a.split_once("}}")) {
            Some((inside, behind)) => value(line, read + 1, inside)?.map(|value| (value, inside, behind)),
            None if line.comment => None,
            None => {
                let what = if after.starts_with("{{") {
                    "`{{` without `}}` on the same line"
                } else {
                    "Jinja statements are not read"
                };
                return Err(line.error(read + 1, what.to_owned(), forms()));
            }
        };
        let Some((value, inside, behind)) = found else {
            let (open, behind) = after.split_at(2); // of one of the three
            filled.text.push_str(open);
            written += 2;
            read += 2;
            rest = behind;
            continue;
        };
        let placeholder = inside.chars().count() + 4;
        let length = value.chars().count();
        filled.edits.push(Edit { line: line.number, column: written + 1, value: length, placeholder });
        filled.text.push_str(&value);
        written += length;
        read += placeholder;
        rest = behind;
    }
}

/// The value of what stands between the braces; `None` for what is left as it is.
fn value(line: &mut Line<'_>, column: usize, inside: &str) -> Result<Option<String>> {
    let (name, filter) = match inside.split_once('|') {
        Some((name, filter)) => (name.trim(), Some(filter.trim())),
        None => (inside.trim(), None),
    };
    let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.is_empty();
    let default = filter.map(|f| default(f).ok_or(f)).transpose();
    let default = match (plain, default) {
        (true, Ok(default)) => default,
        _ if line.comment => return Ok(None),
        _ => {
            let help =
                "only `{{ name }}` and `{{ name | default('text') }}` are read; put the value there, or use --set";
            return Err(line.error(column, format!("`{{{{{inside}}}}}` is not read"), help.to_owned()));
        }
    };
    line.names.insert(name.to_owned());
    let Some(value) = line.values.get(name).cloned().or(default) else {
        if line.comment {
            return Ok(None);
        }
        let help = format!("give it one with `--set {name}=VALUE`");
        return Err(line.error(column, format!("`{name}` has no value"), help));
    };
    if value.contains(['\n', '\r']) {
        let help = "give values of one line".to_owned();
        return Err(line.error(column, format!("the value of `{name}` has a line break"), help));
    }
    Ok(Some(value))
}

/// The text of `default('text')`.
fn default(filter: &str) -> Option<String> {
    let inside = filter.strip_prefix("default")?.trim().strip_prefix('(')?.strip_suffix(')')?.trim();
    let quote = inside.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let text = inside.strip_prefix(quote)?.strip_suffix(quote)?;
    (!text.contains(quote)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, values: &[(&str, &str)]) -> Result<Filled> {
        let values = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        fill(&Arc::from("p.yaml"), text, &values)
    }

    #[test]
    fn values_and_defaults_are_filled_in() -> Result<()> {
        let text = "# {{ not this }}\na: \"{{ x | default('y z') }}/b\"\nc: {{x2}}\n";
        assert_eq!(filled(text, &[("x2", "7")])?.text, "# {{ not this }}\na: \"y z/b\"\nc: 7\n");
        Ok(())
    }

    #[test]
    fn lines_of_a_text_that_look_like_comments_are_filled_in() -> Result<()> {
        let text = "\n# {{ x }} {{ z\n\na: |\n  # {{ x }}, {{ y }}, {{ y | default('d') }}, {{ x | upper }} {% {#\n  {{ x }}\n";
        let expected = "\n# {{ x }} {{ z\n\na: |\n  # 7, {{ y }}, d, {{ x | upper }} {% {#\n  7\n";
        assert_eq!(filled(text, &[("x", "7")])?.text, expected);
        Ok(())
    }

    #[test]
    fn positions_lead_back_to_the_file() -> Result<()> {
        let filled = filled("é: {{ a }}, {{ b }}x\n", &[("a", "123456789012"), ("b", "")])?;
        assert_eq!(filled.text, "é: 123456789012, x\n");
        assert_eq!(filled.original(1, 1), 1);
        assert_eq!(filled.original(1, 9), 4, "inside a value: where the placeholder begins");
        assert_eq!(filled.original(1, 18), 20, "behind both");
        Ok(())
    }

    #[test]
    fn what_is_not_read_says_so() {
        let message = |text: &str, values: &[(&str, &str)]| match filled(text, values) {
            Ok(_) => String::new(),
            Err(e) => format!("{e}; {}", e.help),
        };
        assert_eq!(
            message("a: {{ x }}", &[]),
            "YAML_TEMPLATE: p.yaml:1:4: `x` has no value; give it one with `--set x=VALUE`"
        );
        assert!(message("a: {{ x | upper }}", &[("x", "")]).contains("`{{ x | upper }}` is not read"));
        assert!(message("ab: {% if x %}", &[]).starts_with("YAML_TEMPLATE: p.yaml:1:5: Jinja statements"));
        assert!(message("a: {{ x", &[]).contains("without `}}`"));
        assert_eq!(
            message("a: {{ input | default('') }}", &[("inptu", "x")]),
            "YAML_UNUSED_VALUE: p.yaml has no `{{ inptu }}`; did you mean `input`?"
        );
    }
}
