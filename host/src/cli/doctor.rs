//! `thalweg doctor`: which tools are there, and the line that installs each of the others.

use super::exit::{Failed, print};
use super::table::table;
use super::udf_args::DoctorArgs;
use crate::udf::{Checked, Found, Language, check};
use std::process::ExitCode;

/// Looks. The exit code is 1 if a language that was asked for lacks something; if none was named, if no language is whole.
pub fn doctor(args: &DoctorArgs) -> Result<ExitCode, Failed> {
    let asked = args.languages.iter().map(|name| Language::parse(name)).collect::<Result<Vec<_>, _>>()?;
    let languages = if asked.is_empty() { Language::ALL.to_vec() } else { asked.clone() };
    let checked = check(&languages);
    let whole = |language: &Language| checked.iter().filter(|c| c.language == *language).all(Checked::is_good);
    let rows: Vec<Vec<String>> = checked.iter().map(row).collect();
    let mut text = table(&rows, &[]);
    let mut wanting = checked.iter().filter(|c| !c.is_good()).peekable();
    if wanting.peek().is_some() {
        text.push_str("install what is missing\n");
        let mut lines: Vec<String> = wanting.map(|c| format!("  {}\n", c.tool.install)).collect();
        lines.dedup();
        lines.iter().for_each(|line| text.push_str(line));
    }
    print(&text)?;
    let good = if asked.is_empty() { languages.iter().any(whole) } else { asked.iter().all(whole) };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(checked: &Checked) -> Vec<String> {
    let (major, minor) = checked.tool.oldest;
    let found = match &checked.found {
        Found::Version(version) if version.is_empty() => "ok".to_owned(),
        Found::Version(version) => format!("ok {version}"),
        Found::Old(version) => format!("too old: {version}, needs {major}.{minor}"),
        Found::Missing => "MISSING".to_owned(),
    };
    vec![checked.language.name().to_owned(), checked.tool.name.to_owned(), found, checked.tool.purpose.to_owned()]
}
