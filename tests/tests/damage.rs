//! Damage on the disk: every kind of file of a durable job is flipped, cut, emptied and removed, and the job started again. What it writes is
//! then what an undisturbed run writes, or it ends with an error that has a name: never something else, and never a panic.
//!
//! Which bytes are hit is drawn; the seed is printed, and `THALWEG_DAMAGE_SEED=n` draws the same ones again.

use acceptance::child::{Ended, Run};
use acceptance::lines::Lines;
use acceptance::random::Random;
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rows of January: enough for several commits and tables.
const ROWS: usize = 8000;
/// Topics with results.
const TOPICS: [&str; 4] = ["dead_letters", "sessions", "told", "late"];
const SIGABRT: i32 = 6;
/// Exit codes of an error: the job failed, or somebody has to mend what it was started with.
const FAILED: [i32; 2] = [1, 3];
/// What stands where an error has no help of its own.
const NO_HELP: &str = "help: see docs/errors.md";

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    Flipped,
    FlippedAtTheEnd,
    Cut,
    Grown,
    Emptied,
    Removed,
}

use Damage::{Cut, Emptied, Flipped, FlippedAtTheEnd, Grown, Removed};

const ALL: [Damage; 6] = [Flipped, FlippedAtTheEnd, Cut, Grown, Emptied, Removed];

impl Damage {
    fn of(self, file: &Path, random: &mut Random) -> Result<()> {
        let mut bytes = fs::read(file)?;
        let len = bytes.len() as f64;
        match self {
            Removed => return Ok(fs::remove_file(file)?),
            Emptied => bytes.clear(),
            Grown => bytes.extend_from_slice(&[0x5a; 100]),
            Cut => bytes.truncate(random.between(0.0, len) as usize),
            Flipped | FlippedAtTheEnd => {
                let from = if self == Flipped { 0.0 } else { (len - 100.0).max(0.0) };
                if let Some(byte) = bytes.get_mut(random.between(from, len) as usize) {
                    *byte ^= 1 << random.between(0.0, 8.0) as u8;
                }
            }
        }
        Ok(fs::write(file, bytes)?)
    }
}

/// A job at a place of its own: what it writes knows the path.
struct Job {
    folder: PathBuf,
    cache: Option<PathBuf>,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Same,
    Named(String),
}

impl Job {
    fn state(&self) -> PathBuf {
        self.folder.join("job").join("state")
    }

    fn output(&self) -> PathBuf {
        self.folder.join("job")
    }

    fn run(&self) -> Result<Run> {
        let run = Run::thalweg()?
            .args(["run", "tests/programs/torture.yaml", "--epoch-ms", "5", "--shards", "2"])
            .set("flights", place::component("flights_parse")?)
            .set("journeys", place::component("journeys")?)
            .set("output", self.output())
            .arg("--state-dir")
            .arg(self.state());
        Ok(self.cache.iter().fold(run, |run, cache| run.env("XDG_CACHE_HOME", cache)))
    }

    /// Keeps what is there under a name.
    fn keep(&self, name: &str) -> Result<PathBuf> {
        let kept = self.folder.join(name);
        copy(&self.output(), &kept)?;
        Ok(kept)
    }

    /// Puts back what was kept.
    fn restore(&self, kept: &Path) -> Result<()> {
        fs::remove_dir_all(self.output())?;
        copy(kept, &self.output())
    }

    /// Runs to the end, and compares what is there then.
    fn outcome(&self, wanted: &BTreeMap<String, Lines>) -> Result<Outcome> {
        let ended = self.run()?.end()?;
        if ended.code != Some(0) {
            return named(&ended);
        }
        let (found, trouble) = self.results()?;
        if let Some(trouble) = trouble {
            return named(&trouble);
        }
        for (name, lines) in wanted {
            found.get(name).context("a result is missing")?.same_as(lines, name)?;
        }
        Ok(Outcome::Same)
    }

    /// What it has written, or the command that could not read it.
    fn results(&self) -> Result<(BTreeMap<String, Lines>, Option<Ended>)> {
        let mut found = BTreeMap::new();
        found.insert("hourly".to_owned(), Lines::read(&self.output().join("hourly.jsonl"))?);
        for name in TOPICS {
            let tail = ["log", "tail", name, "--from", "earliest", "--output", "json", "--state-dir"];
            let ended = Run::thalweg()?.args(tail).arg(self.state()).end()?;
            if ended.code != Some(0) {
                return Ok((found, Some(ended)));
            }
            let mut text = String::new();
            for line in ended.out.lines() {
                let record: Value = serde_json::from_str(line)?;
                text.push_str(record["value"].as_str().context("a value")?);
                text.push('\n');
            }
            found.insert(name.to_owned(), Lines::of(&text));
        }
        Ok((found, None))
    }
}

/// The name of the error with which a command ended.
fn named(ended: &Ended) -> Result<Outcome> {
    let code = ended.err.split_once("error[").and_then(|(_, rest)| rest.split_once(']'));
    let (code, _) = code.with_context(|| format!("an end without a named error\n{ended}"))?;
    ensure!(ended.code.is_some_and(|code| FAILED.contains(&code)), "an exit code that says nothing\n{ended}");
    ensure!(ended.err.contains("help: ") && !ended.err.contains(NO_HELP), "an error without help\n{ended}");
    ensure!(!ended.err.contains("panicked"), "a panic\n{ended}");
    ensure!(!code.starts_with("INTERNAL") && code != "STATE_LOCKED", "not an error of damage\n{ended}");
    Ok(Outcome::Named(code.to_owned()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// All files below a folder, as paths from there.
fn files(below: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![below.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                found.push(path.strip_prefix(below)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What kind of file it is: its name without numbers.
fn kind(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kind: String = name.chars().filter(|c| !c.is_ascii_digit()).collect();
    kind.trim_matches(['-', '.']).to_owned()
}

/// A topic with rows of January.
fn input(job: &Job) -> Result<()> {
    let text = fs::read_to_string(place::january())?;
    let rows = text.lines().skip(1).take(ROWS).enumerate();
    let lines: Vec<String> = rows.map(|(i, line)| json!({"line": line, "row": i + 1}).to_string()).collect();
    let file = job.folder.join("lines.jsonl");
    fs::write(&file, lines.join("\n"))?;
    fs::create_dir_all(job.output())?;
    let make = ["log", "create", "flights", "--partitions", "3", "--state-dir"];
    Run::thalweg()?.args(make).arg(job.state()).ok()?;
    let append = format!(
        "{} log append flights --state-dir {} < {}",
        place::binary()?.display(),
        job.state().display(),
        file.display()
    );
    Run::new("sh").arg("-c").arg(append).ok().map(drop)
}

/// What was done to which kind of file, and what became of it, how often.
type Tally = BTreeMap<(String, Damage, Outcome), u32>;

/// Damages each file of what was kept in each way, and runs the job again.
fn hurt(job: &Job, kept: &Path, wanted: &BTreeMap<String, Lines>, random: &mut Random) -> Result<Tally> {
    let mut tally = Tally::new();
    for file in files(kept)? {
        // nobody but its reader can tell what a finished line of a result should say
        let result = file.extension().is_some_and(|ending| ending == "jsonl");
        for damage in ALL.into_iter().filter(|damage| !result || ![Flipped, FlippedAtTheEnd].contains(damage)) {
            job.restore(kept)?;
            damage.of(&job.output().join(&file), random)?;
            let outcome =
                job.outcome(wanted).with_context(|| format!("{} {damage:?} in {}", file.display(), kept.display()))?;
            *tally.entry((kind(&file), damage, outcome)).or_default() += 1;
        }
    }
    for ((kind, damage, outcome), times) in &tally {
        println!("{kind:>12} {damage:?}: {outcome:?} ({times})");
    }
    Ok(tally)
}

#[test]
fn a_damaged_file_of_a_job_is_an_error_with_a_name_or_harmless() -> Result<()> {
    let mut random = Random::from_variable("THALWEG_DAMAGE_SEED")?;
    let job = Job { folder: watchdog::folder("damage")?, cache: None };
    input(&job)?;
    let begun = job.keep("begun")?;
    job.run()?.ok()?;
    // before anybody opens the database again, and its log becomes tables
    let finished = job.keep("finished")?;
    let (wanted, trouble) = job.results()?;
    ensure!(trouble.is_none() && wanted.values().all(|lines| lines.count() > 0), "{trouble:?}");
    // a few commits in, with the rest in the log of the database
    job.restore(&begun)?;
    let ended = job.run()?.env("THALWEG_FAULT", "after_commit:2").end()?;
    ensure!(ended.signal == Some(SIGABRT), "the fault point was not reached\n{ended}");
    let killed = job.keep("killed")?;
    ensure!(job.outcome(&wanted)? == Outcome::Same, "what was kept does not go on");
    job.restore(&killed)?;
    let saved = job.folder.join("saved");
    fs::create_dir_all(&saved)?;
    fs::copy(killed.join("hourly.jsonl"), saved.join("hourly.jsonl"))?;
    let savepoint = Run::thalweg()?.arg("savepoint").arg("--state-dir").arg(job.state());
    savepoint.arg("--to").arg(saved.join("state")).ok()?;
    for (kept, least) in [(&killed, 20), (&finished, 15), (&saved, 15)] {
        println!("{}:", kept.display());
        let tally = hurt(&job, kept, &wanted, &mut random)?;
        let noticed: u32 = tally.iter().filter(|((_, _, outcome), _)| *outcome != Outcome::Same).map(|(_, n)| n).sum();
        ensure!(noticed >= least, "only {noticed} damages of {} were noticed", kept.display());
        // without these nothing can be read, and each has a checksum or is one
        for whole in ["VERSION", "ACKNOWLEDGED", "CURRENT", "MANIFEST"] {
            for ((_, damage, outcome), _) in tally.iter().filter(|((kind, ..), _)| kind == whole) {
                // a crash tears the manifest's end as well: what it said last is in the log of the database
                let harmless = whole == "MANIFEST" && [Grown, Cut].contains(damage);
                ensure!(harmless || *outcome != Outcome::Same, "{whole} {damage:?} was passed over");
            }
        }
    }
    Ok(())
}

#[test]
fn a_damaged_file_of_compiled_code_is_compiled_again() -> Result<()> {
    let mut random = Random::from_variable("THALWEG_DAMAGE_SEED")?;
    let folder = watchdog::folder("damage-cache")?;
    let cache = folder.join("cache");
    let job = Job { folder, cache: Some(cache.clone()) };
    input(&job)?;
    let begun = job.keep("begun")?;
    job.run()?.ok()?;
    let (wanted, _) = job.results()?;
    let kept = job.folder.join("kept-cache");
    copy(&cache, &kept)?;
    let found = files(&kept)?;
    ensure!(!found.is_empty(), "nothing was kept of what was compiled");
    for damage in [Flipped, Cut, Grown, Emptied, Removed] {
        fs::remove_dir_all(&cache)?;
        copy(&kept, &cache)?;
        found.iter().try_for_each(|file| damage.of(&cache.join(file), &mut random))?;
        job.restore(&begun)?;
        let outcome = job.outcome(&wanted).with_context(|| format!("compiled code {damage:?}"))?;
        ensure!(outcome == Outcome::Same, "compiled code {damage:?}: {outcome:?}");
    }
    Ok(())
}
