//! The adapter of WASI preview1 that a module is linked with, and the worlds of both. In: what the module imports. Out: the adapter's text, and
//! the packages that name the rest of what the component then imports.
//!
//! A component asks the machine for nothing that its module does not name: the SDK's function for a capability has an import of its own, and
//! only a module that reaches it has that.

use std::collections::BTreeSet;

/// What modules call the interface of WASI preview1.
pub const PREVIEW1: &str = "wasi_snapshot_preview1";
/// What a module imports that reads variables of the environment.
pub const ENVIRONMENT: &str = "wasi:cli/environment@0.2.0";
/// By these imports a module says that its clock and its random numbers are to be those that the host grants.
const CLOCK: &str = "thalweg_clock";
const RANDOM: &str = "thalweg_random";

/// The adapter in text form; parts of it depend on what the module asks for.
const TEXT: &str = include_str!("preview1.wat");

/// A part of the adapter: the line it stands at, its text without a grant, and with one.
struct Part {
    place: &'static str,
    told: &'static str,
    granted: &'static str,
}

const CLOCK_PARTS: [Part; 2] = [
    Part {
        place: ";; @clock imports",
        told: "",
        granted: r#"(import "wasi:clocks/wall-clock@0.2.0" "now" (func $wall_clock (param i32)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $monotonic_clock (result i64)))"#,
    },
    Part {
        place: ";; @clock",
        told: r"(func $wall (result i64) (i64.mul (global.get $now) (i64.const 1000000)))
  (func $passed (result i64) (global.get $monotonic))",
        // where the host may not be asked, it is as late as it was
        granted: r#"(global $live (mut i32) (i32.const 0))
  (global $seen (mut i64) (i64.const 0))
  (global $steady (mut i64) (i64.const 0))
  (func (export "thalweg_clock") (global.set $live (i32.const 1)))
  (func $wall (result i64)
    (if (i32.eqz (global.get $live)) (then (return (i64.mul (global.get $now) (i64.const 1000000)))))
    (if (global.get $area) (then
      (call $wall_clock (global.get $area))
      (global.set $seen (i64.add
        (i64.mul (i64.load (global.get $area)) (i64.const 1000000000))
        (i64.extend_i32_u (i32.load offset=8 (global.get $area)))))))
    (global.get $seen))
  (func $passed (result i64)
    (if (i32.and (global.get $live) (i32.ne (global.get $area) (i32.const 0))) (then
      (global.set $steady (call $monotonic_clock))))
    (i64.add (global.get $steady) (global.get $monotonic)))"#,
    },
];

const RANDOM_PARTS: [Part; 2] = [
    Part {
        place: ";; @random imports",
        told: "",
        granted: r#"(import "wasi:random/random@0.2.0" "get-random-u64" (func $entropy (result i64)))"#,
    },
    Part {
        place: ";; @random",
        told: "(func $random (result i64) (call $seeded))",
        granted: r#"(global $entropic (mut i32) (i32.const 0))
  (func (export "thalweg_random") (global.set $entropic (i32.const 1)))
  (func $random (result i64)
    (if (i32.and (global.get $entropic) (i32.ne (global.get $area) (i32.const 0))) (then (return (call $entropy))))
    (call $seeded))"#,
    },
];

/// The interfaces as far as the adapter and modules call them.
const CLOCKS_WIT: &str = "package wasi:clocks@0.2.0;
    interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }
    interface monotonic-clock { type instant = u64; now: func() -> instant; }";
const RANDOM_WIT: &str = "package wasi:random@0.2.0; interface random { get-random-u64: func() -> u64; }";
const CLI_WIT: &str =
    "package wasi:cli@0.2.0; interface environment { get-environment: func() -> list<tuple<string, string>>; }";

/// The world of a module that reads variables of the environment: packages, of which the last one has it.
pub const WITH_ENVIRONMENT: [&str; 2] = [
    CLI_WIT,
    "package thalweg:machine; world full { include thalweg:udf/full@1.0.0; import wasi:cli/environment@0.2.0; }",
];

/// The adapter for a module with these imports of preview1: its text, and packages, of which the last one has its world.
pub fn adapter(imports: &BTreeSet<String>) -> (String, Vec<String>) {
    let (mut text, mut packages) = (TEXT.to_owned(), Vec::new());
    let mut world = String::from("package thalweg:adapter; world preview1 { import thalweg:udf/log@1.0.0;");
    let clocks = " import wasi:clocks/wall-clock@0.2.0; import wasi:clocks/monotonic-clock@0.2.0;";
    let random = " import wasi:random/random@0.2.0;";
    let kinds = [(CLOCK, CLOCK_PARTS, CLOCKS_WIT, clocks), (RANDOM, RANDOM_PARTS, RANDOM_WIT, random)];
    for (import, parts, package, line) in kinds {
        let granted = imports.contains(import);
        for Part { place, told, granted: with } in parts {
            // a place is a line of its own, so that one name may begin another
            text = text.replace(&format!("{place}\n"), &format!("{}\n", if granted { with } else { told }));
        }
        if granted {
            packages.push(package.to_owned());
            world.push_str(line);
        }
    }
    packages.push(world + " }");
    (text, packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_adapter_asks_the_machine_for_what_its_module_names_and_for_nothing_else() {
        let of = |names: &[&str]| adapter(&names.iter().map(|name| (*name).to_owned()).collect());
        for names in [&[][..], &[CLOCK], &[RANDOM], &[CLOCK, RANDOM]] {
            let (text, packages) = of(names);
            assert!(wat::parse_str(&text).is_ok(), "{names:?}");
            assert_eq!(text.contains("wasi:clocks/"), names.contains(&CLOCK));
            assert_eq!(text.contains("wasi:random/"), names.contains(&RANDOM));
            assert_eq!(packages.len(), names.len() + 1);
        }
    }
}
