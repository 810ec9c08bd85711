//! `thalweg udf test`: a folder's own tests, or a function over a file of elements.

use super::exit::{Failed, print};
use super::table::table;
use super::udf::{make, read};
use super::udf_args::TestArgs;
use crate::pipeline::Windows;
use crate::udf::{self, Project, Trial, Tried};
use crate::yaml::duration_millis;
use serde_json::Value;
use std::path::Path;
use std::process::ExitCode;
use thalweg_core::error::{Error, Result};

/// Runs the tests.
pub fn test(args: &TestArgs) -> Result<ExitCode, Failed> {
    let Some(elements) = &args.elements else { return own_tests(&args.dir) };
    let (windows, lines) = (windows(args.windows.as_deref())?, read(elements)?);
    let expected = args.expect.as_deref().map(expected).transpose()?;
    let component = match &args.component {
        Some(file) => file.clone(),
        None => make(&args.dir, None)?.path,
    };
    let function = args.function.as_deref();
    let sides = args.sides.iter().map(|(name, file)| Ok((name.clone(), read(file)?)));
    let sides = sides.collect::<Result<Vec<_>>>()?;
    let trial = Trial {
        component: &component,
        function,
        config: args.config.clone(),
        windows,
        lines: &lines,
        sides,
        tables: args.tables.clone().unwrap_or_default(),
        grant: args.grant.clone().unwrap_or_default(),
        compiler: super::compiler(),
    };
    let tried = udf::run(&trial)?;
    match expected {
        None => shown(&tried),
        Some(expected) => compared(&tried, expected),
    }
    .map_err(Failed::from)
}

/// The tests of a folder, in their own language. Their exit code is ours: 0 and 1.
fn own_tests(dir: &Path) -> Result<ExitCode, Failed> {
    let mut command = Project::at(dir)?.tests()?;
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|e| {
        Error::user("UDF_BUILD", format!("cannot run {program} in {}: {e}", dir.display()))
            .help("`thalweg doctor` says how to install what is missing")
    })?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Rows on standard output; stacks and metrics, which are no rows, on standard error. Failed rows are a failure.
fn shown(tried: &Tried) -> Result<ExitCode> {
    let mut text = String::new();
    for row in &tried.rows {
        text.push_str(&format!("{}\n", row.json));
    }
    print(&text)?;
    tried.rows.iter().filter(|row| row.failed).for_each(explain);
    let metrics: Vec<Vec<String>> = tried.metrics.iter().map(|(n, v)| vec![n.clone(), v.clone()]).collect();
    eprint!("{}", table(&metrics, &[]));
    Ok(if tried.rows.iter().any(|row| row.failed) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A failed row with the guest's stack.
fn explain(row: &udf::TrialRow) {
    let words = |name: &str| row.json.get(name).map(ToString::to_string).unwrap_or_default();
    eprintln!("failed: {}: {}", words("failed"), words("message"));
    row.stack.lines().for_each(|line| eprintln!("    {line}"));
}

/// Lines that are there and should not be, and the other way round.
fn compared(tried: &Tried, mut missing: Vec<Value>) -> Result<ExitCode> {
    let mut beyond = Vec::new();
    for row in &tried.rows {
        match missing.iter().position(|wanted| *wanted == row.json) {
            Some(i) => drop(missing.remove(i)),
            None => beyond.push(row),
        }
    }
    if missing.is_empty() && beyond.is_empty() {
        print(&format!("ok: {} rows as expected\n", tried.rows.len()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    missing.iter().for_each(|row| text.push_str(&format!("- {row}\n")));
    beyond.iter().for_each(|row| text.push_str(&format!("+ {}\n", row.json)));
    print(&text)?;
    beyond.iter().filter(|row| row.failed).for_each(|row| explain(row));
    eprintln!("not as expected: {} rows are missing (-), {} should not be there (+)", missing.len(), beyond.len());
    Ok(ExitCode::FAILURE)
}

fn expected(path: &Path) -> Result<Vec<Value>> {
    let text = read(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let values = lines.map(|(i, line)| {
        serde_json::from_str(line).map_err(|e| {
            Error::user("UDF_TEST", format!("line {} of {} is no JSON: {e}", i + 1, path.display()))
                .help("let the file hold what `thalweg udf test` prints")
        })
    });
    values.collect()
}

/// `fixed:60s`, `sliding:60s:30s`, `sessions:10m`.
fn windows(text: Option<&str>) -> Result<Windows> {
    let Some(text) = text else { return Ok(Windows::Global) };
    let mut parts = text.split(':');
    let kind = parts.next().unwrap_or_default();
    let sizes: Option<Vec<i64>> = parts.map(|part| duration_millis(part).filter(|ms| *ms > 0)).collect();
    match (kind, sizes.as_deref()) {
        ("global", Some([])) => Ok(Windows::Global),
        ("fixed", Some([size])) => Ok(Windows::Fixed { size: *size, offset: 0 }),
        ("sliding", Some([size, period])) => Ok(Windows::Sliding { size: *size, period: *period, offset: 0 }),
        ("sessions", Some([gap])) => Ok(Windows::Sessions { gap: *gap }),
        _ => Err(Error::user("UDF_TEST", format!("{text:?} are no windows"))
            .help("write fixed:60s, sliding:60s:30s, sessions:10m or global")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read() {
        assert_eq!(windows(None).ok(), Some(Windows::Global));
        assert_eq!(windows(Some("fixed:1m")).ok(), Some(Windows::Fixed { size: 60_000, offset: 0 }));
        assert_eq!(windows(Some("sessions:500ms")).ok(), Some(Windows::Sessions { gap: 500 }));
        for bad in ["fixed", "fixed:0s", "fixed:1s:2s", "hopping:1s", "sliding:1s"] {
            assert_eq!(windows(Some(bad)).err().map(|e| e.code), Some("UDF_TEST"), "{bad}");
        }
    }
}
