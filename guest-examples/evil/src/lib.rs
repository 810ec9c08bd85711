//! Hostile guests, one attack per file. Each is one function of this component; the host has to end each with a typed error
//! inside its deadline, and be none the worse for it.

mod endless_loop;
pub mod handmade;
mod huge_output;
mod memory_growth;
mod poison;
mod trap;

thalweg_udf::export!(
    "endless_loop" => endless_loop::EndlessLoop,
    "huge_output" => huge_output::HugeOutput,
    "memory_growth" => memory_growth::MemoryGrowth,
    "poison" => poison::Poison,
    "trap" => trap::Trap,
);
