//! The import table inside the core: a room imports the ground floor and the rooms after it, so that imports and data
//! point the same way.

use crate::source::{Finding, Source};

const CORE: &str = "host/crates/core/src/";

/// What every room may import.
const GROUND: [&str; 12] =
    ["id", "error", "time", "window", "element", "coder", "short", "batch", "stored", "metric", "graph", "port"];
/// The rooms, in the order data walks them.
const ROOMS: [&str; 7] = ["source", "stage", "shuffle", "trigger", "timer", "state", "sink"];
/// Beside the rooms: any room may ask it, it asks none.
const BESIDE: [&str; 1] = ["progress"];
/// Above the rooms: imports everything, imported by nobody below.
const ATTIC: [&str; 2] = ["engine", "testing"];
/// Exceptions of the table: the ports speak of state in the state room's types.
const ALSO: [(&str, &str); 1] = [("port", "state")];

/// Every module of the core imports only what the table allows. The subject of an exception is `path->module`.
pub fn rooms(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let Some(inside) = source.path.strip_prefix(CORE) else { continue };
        let from = inside.split(['/', '.']).next().unwrap_or_default();
        if from == "lib" || source.is_test() {
            continue;
        }
        if !is_known(from) {
            let message = format!("{}: give the module `{from}` a place in tests/tests/tidy/rooms.rs", source.path);
            findings.push(Finding::new(&source.path, message));
            continue;
        }
        for (offset, to) in imported(&source.masked.without_tests()) {
            if from != to && is_known(&to) && !may_import(from, &to) {
                let line = source.line(offset);
                let message = format!("{}:{line}: {} may not import `{to}`, {}", source.path, place(from), place(&to));
                findings.push(Finding::new(format!("{}->{to}", source.path), message));
            }
        }
    }
    findings
}

fn is_known(module: &str) -> bool {
    [&GROUND[..], &ROOMS, &BESIDE, &ATTIC].concat().contains(&module)
}

fn may_import(from: &str, to: &str) -> bool {
    let room = |name: &str| ROOMS.iter().position(|room| *room == name);
    if ALSO.contains(&(from, to)) || GROUND.contains(&to) || ATTIC.contains(&from) {
        return true;
    }
    match (room(from), room(to)) {
        (Some(from), Some(to)) => from < to,
        (Some(_), None) => BESIDE.contains(&to),
        _ => false,
    }
}

fn place(module: &str) -> String {
    let floor = match module {
        _ if GROUND.contains(&module) => "the ground floor",
        _ if BESIDE.contains(&module) => "beside the rooms",
        _ if ATTIC.contains(&module) => "the attic",
        _ => return format!("the room `{module}`"),
    };
    format!("`{module}` ({floor})")
}

/// The modules of this crate that code names, with offsets: `crate::a` and the members of `crate::{a, b::c}`.
fn imported(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (offset, path) in code.match_indices("crate::") {
        if code[..offset].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[offset + path.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(members(group).into_iter().map(|name| (offset, name))),
            None => found.push((offset, word(rest))),
        }
    }
    found
}

/// The first words of the members of a group, up to its closing brace.
fn members(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut depth, mut fresh) = (0_usize, true);
    for (i, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                names.push(word(&group[i..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::subjects;

    #[test]
    fn imports_against_the_data_are_found() {
        let source = |path: &str, text: &str| Source::rust(&format!("{CORE}{path}"), text);
        let sources = [
            source("shuffle/mod.rs", "use crate::{batch::Batch, state::{Cell, Key}, source};"),
            source(
                "timer/mod.rs",
                "use crate::progress::MinTimes; // crate::engine\n#[cfg(test)] mod t { use crate::engine::X; }",
            ),
            source("time.rs", "fn f() { crate::state::f() }"),
            source("port/store.rs", "use crate::state::Key; use crate::sink::Sink;"),
            source("progress/mod.rs", "use crate::stage::Stage;"),
            source("engine/mod.rs", "use crate::source::A; use crate::sink::B;"),
            source("novelty.rs", ""),
        ];
        let expected =
            ["shuffle/mod.rs->source", "time.rs->state", "port/store.rs->sink", "progress/mod.rs->stage", "novelty.rs"];
        assert_eq!(subjects(&rooms(&sources)), expected.map(|e| format!("{CORE}{e}")));
    }
}
