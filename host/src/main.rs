//! The `thalweg` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    thalweg::cli::main()
}
