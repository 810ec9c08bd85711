//! The house rules as tests: what style and architecture ask of every file, checked against the files as they are.
//!
//! A rule is a function from the sources to its findings; here each one is run over the tree. A finding that must be is
//! named with its reason in `tests/tidy-exceptions.txt`, and an exception that nothing needs any more fails the test: the
//! list only shrinks. Every message says what to do. The rules' own tests show, on sources made up for it, that each
//! one can fail.

mod codes;
mod imports;
mod layout;
mod lexer;
mod purity;
mod rooms;
mod source;
mod words;

use source::{Exceptions, Finding, Tree};

/// All names of rules, as used in the list of exceptions.
const RULES: [&str; 15] = [
    "header",
    "file-length",
    "function-length",
    "module-name",
    "crate-imports",
    "room-imports",
    "core-purity",
    "ignored-test",
    "unfinished",
    "bare-allow",
    "macro",
    "unbounded",
    "machine-path",
    "error-page",
    "error-page-form",
];

/// Fails with the findings of a rule that have no exception, and with the exceptions that have no finding.
fn check(rule: &str, findings: Vec<Finding>) {
    let problems = Exceptions::read().problems(rule, &findings);
    assert!(problems.is_empty(), "the rule `{rule}` is broken:\n{}\n", problems.join("\n"));
}

fn tree() -> Tree {
    Tree::read()
}

#[test]
fn every_rust_file_opens_by_saying_what_it_is() {
    check("header", layout::headers(&tree().rust));
}

#[test]
fn no_file_is_too_long() {
    let tree = tree();
    layout::long_ones(&tree.rust).iter().for_each(|line| println!("{line}"));
    check("file-length", layout::file_lengths(&tree.rust));
}

#[test]
fn no_function_is_too_long() {
    check("function-length", layout::function_lengths(&tree().rust));
}

#[test]
fn modules_are_named_for_what_they_hold() {
    check("module-name", layout::module_names(&tree().rust));
}

#[test]
fn crates_import_only_what_the_table_allows() {
    check("crate-imports", imports::crates(&tree().manifests));
}

#[test]
fn rooms_of_the_core_import_only_what_comes_after_them() {
    check("room-imports", rooms::rooms(&tree().rust));
}

#[test]
fn the_core_knows_no_clock_thread_file_or_protocol() {
    check("core-purity", purity::purity(&tree().rust));
}

#[test]
fn no_test_is_ignored() {
    check("ignored-test", words::ignored_tests(&tree().rust));
}

#[test]
fn nothing_is_left_unfinished() {
    check("unfinished", words::unfinished(&tree().rust));
}

#[test]
fn lints_are_never_silenced_without_a_reason() {
    check("bare-allow", words::bare_allows(&tree().rust));
}

#[test]
fn there_are_no_macros_outside_tests() {
    check("macro", words::macros(&tree().rust));
}

#[test]
fn every_channel_has_a_bound() {
    check("unbounded", words::unbounded(&tree().rust));
}

#[test]
fn no_file_names_a_place_of_somebodys_machine() {
    check("machine-path", words::machine_paths(&tree().texts));
}

#[test]
fn every_error_code_has_a_page_and_every_page_a_code() {
    let tree = tree();
    check("error-page", codes::pages(&tree.rust, &tree.error_pages));
}

#[test]
fn every_error_page_says_whose_fault_it_is_and_what_to_do() {
    check("error-page-form", codes::forms(&tree().error_pages));
}

#[test]
fn exceptions_name_a_rule_and_a_reason() {
    let faults = Exceptions::read().faults(&RULES);
    assert!(faults.is_empty(), "tests/tidy-exceptions.txt:\n{}", faults.join("\n"));
}
