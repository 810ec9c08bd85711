//! The simulation over many seeds. `THALWEG_SIM_SEED=n` replays one, `THALWEG_SIM_SEEDS=n` says how many (2,000).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use thalweg_core::testing::{Simulation, Tally};

#[expect(clippy::disallowed_methods, reason = "a test may be told its seeds; the engine may not")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|v| v.parse().ok())
}

fn run(seed: u64) -> Option<Tally> {
    let ran = catch_unwind(AssertUnwindSafe(|| Simulation::new(seed).and_then(Simulation::run)));
    match ran {
        Ok(Ok(tally)) => return Some(tally),
        Ok(Err(error)) => eprintln!("{error}"),
        Err(_) => {}
    }
    eprintln!("seed {seed} failed; again with THALWEG_SIM_SEED={seed}");
    None
}

#[test]
#[expect(clippy::disallowed_methods, reason = "seeds are independent of each other; the engine has no threads")]
fn whatever_happens_the_output_is_the_oracles() {
    if let Some(seed) = number("THALWEG_SIM_SEED") {
        let tally = run(seed);
        println!("{tally:?}");
        assert!(tally.is_some());
        return;
    }
    let seeds = number("THALWEG_SIM_SEEDS").unwrap_or(2000);
    let next = AtomicU64::new(1);
    let found = Mutex::new((Tally::default(), Vec::new()));
    let enough = |failed: &[u64]| failed.len() >= 20;
    let add = |sum: &mut Tally, t: &Tally| {
        sum.steps += t.steps;
        sum.failures += t.failures;
        sum.losses += t.losses;
        sum.crashes += t.crashes;
        sum.splits += t.splits;
        sum.bundles += t.bundles;
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds || enough(&found.lock().expect("no thread panicked").1) {
                        return;
                    }
                    let tally = run(seed);
                    let (sum, failed) = &mut *found.lock().expect("no thread panicked");
                    match tally {
                        Some(tally) => add(sum, &tally),
                        None => failed.push(seed),
                    }
                }
            });
        }
    });
    let (sum, failed) = found.into_inner().expect("no thread panicked");
    println!("{seeds} seeds: {sum:?}");
    assert!(failed.is_empty(), "seeds {failed:?} failed");
}

#[test]
fn the_same_seed_gives_the_same_effects() {
    let mut traces = std::collections::BTreeSet::new();
    for seed in 1000..1020 {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first, second, "seed {seed}");
        traces.extend(first.map(|t| t.trace));
    }
    assert!(traces.len() > 15, "other seeds give other effects");
}
