//! Savepoints of a job in a cluster: what begins with one counts on exactly, in another cluster with other partitions and in one process.

use acceptance::broker::Broker;
use acceptance::child::{Ended, Run, Signal};
use acceptance::cluster::{Counting, Member, members};
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SETTLED_WITHIN: Duration = Duration::from_secs(120);
const PIPELINE: &str = "tests/programs/savepoint.yaml";

/// Submits the pipeline with timers.
fn submit(job: &Counting<'_>, to: &Member, beside: &[&str]) -> Result<Ended> {
    submit_file(job, to, PIPELINE, beside)
}

fn submit_file(job: &Counting<'_>, to: &Member, file: &str, beside: &[&str]) -> Result<Ended> {
    let args = job.submission(file, beside)?;
    Run::thalweg()?.arg("job").args(&args).arg("--server").arg(to.endpoint()).limit(300).end()
}

fn id(submitted: Ended) -> Result<String> {
    ensure!(submitted.code == Some(0), "{submitted}");
    Ok(submitted.out.trim().to_owned())
}

/// Makes a savepoint; it is given records all the while.
fn save(job: &mut Counting<'_>, from: &Member, id: &str, to: &Path) -> Result<Ended> {
    let command = Run::thalweg()?.args(["job", "savepoint", id, "--to"]).arg(to).arg("--server").arg(from.endpoint());
    let mut saving = command.limit(200).start()?;
    let begun = Instant::now();
    while saving.runs()? {
        job.give(100)?;
    }
    println!("a savepoint took {:?}", begun.elapsed());
    saving.wait()
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path")
}

/// Checks the counts of minutes that a job has told which began with a savepoint: those that were told before are not told again.
fn told(job: &Counting<'_>, part: &str, least: usize) -> Result<()> {
    let found = job.minutes(part)?;
    for (minute, n) in &found {
        ensure!(
            job.wanted().get(minute) == Some(n),
            "{part}: {minute:?} counts {n}, wanted {:?}",
            job.wanted().get(minute)
        );
    }
    ensure!(found.len() >= least, "{part}: {} counts of minutes, {least} were given later", found.len());
    Ok(())
}

#[test]
fn what_begins_with_a_savepoint_of_a_cluster_counts_on_exactly_wherever_it_runs() -> Result<()> {
    let broker = Broker::own()?;
    let up = members(&broker, "torture", &["one", "two"])?;
    let mut job = Counting::new(&broker, "saved", 40)?;
    let first = id(submit(&job, &up[0], &[])?)?;
    job.give(2500)?;
    job.settle(SETTLED_WITHIN).context("at first")?;
    job.give(1000)?; // under way
    let saved = watchdog::folder("saved")?.join("savepoint");
    let made = save(&mut job, &up[1], &first, &saved)?;
    ensure!(made.code == Some(0), "{made}\n{}", up[1].log());
    up[1].log().lines().filter(|line| line.contains("a savepoint is made")).for_each(|line| println!("{line}"));
    let before = job.wanted().len();
    job.give(1500)?;
    let least = job.wanted().len() - before; // counts that began after the savepoint
    job.settle(SETTLED_WITHIN).context("after the savepoint")?;
    ensure!(up[0].job(&["list"])?.contains("RUNNING"), "{}", up[0].log());
    let manifest: Value = serde_json::from_slice(&fs::read(saved.join("SAVEPOINT.json"))?)?;
    ensure!(manifest["job"] == "saved" && manifest["partitions"] == 4 && manifest["format"] == 1, "{manifest}");

    let other = members(&broker, "other", &["three", "four"])?;
    let begin = |name: &str, partitions: &str| -> Result<(Counting<'_>, String)> {
        let fork = job.fork(name)?;
        let options = ["--from-savepoint", text(&saved)?, "--option", partitions];
        let id = id(submit(&fork, &other[0], &options)?)?;
        Ok((fork, id))
    };
    let forks = [begin("two", "partitions=2")?, begin("six", "partitions=6")?];
    for (fork, id) in &forks {
        fork.settle(SETTLED_WITHIN).with_context(|| format!("{id}\n{}", other[0].log()))?;
    }
    let alone = job.fork("alone")?;
    let dir = watchdog::folder("alone")?.join("state");
    let mut args = alone.submission(PIPELINE, &[])?;
    args.drain(..1); // `submit`
    args.retain(|arg| arg != "--name" && arg != "alone");
    let run = || -> Result<Run> {
        let run = Run::thalweg()?.arg("run").args(&args).args(["--epoch-ms", "50", "--shards", "3", "--state-dir"]);
        Ok(run.arg(&dir))
    };
    let mut running = run()?.arg("--from-savepoint").arg(&saved).limit(300).start()?;
    running.until("all that was given", |_| Ok(alone.settle(Duration::from_secs(1)).is_ok()))?;
    running.signal(Signal::Terminate)?;
    running.wait()?;
    let again = run()?.arg("--from-savepoint").arg(&saved).end()?;
    ensure!(again.code == Some(3) && again.err.contains("SAVEPOINT_STATE_THERE"), "{again}");
    for (fork, id) in &forks {
        other[1].job(&["drain", id])?;
        ensure!(other[0].job(&["wait", id])? == "DRAINED", "{}", other[0].log());
        told(fork, "minutes", least)?;
        told(fork, "timers", least)?;
    }
    // and from one process back to a cluster
    let saved = watchdog::folder("back")?.join("savepoint");
    Run::thalweg()?.arg("savepoint").arg("--state-dir").arg(&dir).arg("--to").arg(&saved).ok()?;
    job.give(500)?;
    let back = job.fork("back")?;
    id(submit(&back, &other[1], &["--from-savepoint", text(&saved)?, "--option", "partitions=3"])?)?;
    back.settle(SETTLED_WITHIN).context("back in a cluster")?;
    job.settle(SETTLED_WITHIN).context("at last")?;
    up[0].job(&["drain", &first])?;
    ensure!(up[1].job(&["wait", &first])? == "DRAINED", "{}", up[1].log());
    job.check_minutes()?;
    ensure!(&job.minutes("timers")? == job.wanted(), "the timers of the first job");
    Ok(())
}

#[test]
fn a_job_that_is_stopped_with_its_savepoint_goes_on_as_if_it_had_not_been() -> Result<()> {
    let broker = Broker::own()?;
    let up = members(&broker, "torture", &["one", "two"])?;
    let mut job = Counting::new(&broker, "stopped", 20)?;
    let first = id(submit(&job, &up[0], &[])?)?;
    job.give(1500)?;
    job.settle(SETTLED_WITHIN).context("at first")?;
    job.give(1000)?; // under way
    let saved = watchdog::folder("saved")?.join("savepoint");
    let said = up[1].job(&["savepoint", &first, "--to", text(&saved)?, "--stop"])?;
    ensure!(said.ends_with("CANCELLED"), "{said}");
    job.give(1000)?;
    // the same topics: what both have told together is told once
    let second = id(submit(&job, &up[0], &["--from-savepoint", text(&saved)?, "--option", "partitions=6"])?)?;
    job.settle(SETTLED_WITHIN).with_context(|| format!("on six partitions\n{}", up[0].log()))?;
    up[0].job(&["drain", &second])?;
    ensure!(up[1].job(&["wait", &second])? == "DRAINED", "{}", up[1].log());
    job.check_minutes()?;
    ensure!(&job.minutes("timers")? == job.wanted(), "the timers");
    Ok(())
}

#[test]
fn a_process_that_dies_while_it_makes_a_savepoint_leaves_none_and_the_job_goes_on() -> Result<()> {
    let broker = Broker::own()?;
    let mut up = [Member::new(&broker, "one", &[])?.dying_at("savepoint_held:1"), Member::new(&broker, "two", &[])?];
    up.iter_mut().try_for_each(Member::start)?;
    let mut job = Counting::new(&broker, "died", 20)?;
    let first = id(submit(&job, &up[1], &[])?)?;
    job.give(1000)?;
    job.settle(SETTLED_WITHIN).context("at first")?;
    let saved = watchdog::folder("saved")?.join("savepoint");
    let made = save(&mut job, &up[0], &first, &saved)?;
    ensure!(made.code != Some(0), "{made}");
    up[0].died()?;
    let refused = submit(&job.fork("died-too")?, &up[1], &["--from-savepoint", text(&saved)?])?;
    ensure!(refused.code == Some(3) && refused.err.contains("SAVEPOINT_INCOMPLETE"), "{refused}");
    job.give(500)?;
    job.settle(SETTLED_WITHIN).context("without the one that held it")?;
    up[0].start()?;
    let begun = Instant::now();
    while !up[0].job(&["list"])?.contains(&first) {
        ensure!(begun.elapsed() < SETTLED_WITHIN, "it does not hear of the job\n{}", up[0].log());
        sleep(Duration::from_millis(100));
    }
    let again = watchdog::folder("again")?.join("savepoint");
    let made = save(&mut job, &up[0], &first, &again)?;
    ensure!(made.code == Some(0), "{made}\n{}", up[0].log());
    Ok(())
}

#[test]
fn a_restore_that_was_cut_off_is_made_again_and_what_it_made_is_its_pipelines_alone() -> Result<()> {
    let broker = Broker::own()?;
    let up = members(&broker, "torture", &["one"])?;
    let mut job = Counting::new(&broker, "cut", 20)?;
    let first = id(submit(&job, &up[0], &[])?)?;
    job.give(800)?;
    job.settle(SETTLED_WITHIN).context("at first")?;
    let saved = watchdog::folder("saved")?.join("savepoint");
    up[0].job(&["savepoint", &first, "--to", text(&saved)?])?;
    let mut fork = job.fork("cut-fork")?;
    let state = ["--option", "state_name=begun", "--option", "partitions=3"];
    let with = [&["--from-savepoint", text(&saved)?][..], &state[..]].concat();
    let mut other = Member::new(&broker, "two", &[])?.of("other");
    // before all was written, and before anybody was told of the job
    for point in ["restore_begun:1", "restore_seeded:1"] {
        other = other.dying_at(point);
        other.start()?;
        let begun = submit(&fork, &other, &with)?;
        ensure!(begun.code != Some(0), "{point}: {begun}");
        other.died()?;
    }
    other.start()?;
    let copies = other.copies("begun");
    let beside = copies.parent().context("a directory")?;
    ensure!(fs::read_dir(beside)?.flatten().all(|e| !e.file_name().to_string_lossy().starts_with('.')), "copies stay");
    let there = submit(&fork, &other, &with)?;
    ensure!(there.code != Some(0) || other.failure(there.out.trim())?.contains("SAVEPOINT_STATE_THERE"), "{there}");
    let strange = watchdog::folder("strange")?.join("savepoint.yaml");
    let pipeline = fs::read_to_string(place::file(PIPELINE))?;
    fs::write(&strange, pipeline.replace("name: Ledger", "name: Other").replace("input: Ledger", "input: Other"))?;
    let strange = id(submit_file(&fork, &other, text(&strange)?, &state)?)?;
    let why = other.failure(&strange)?;
    ensure!(why.contains("STATE_OTHER_JOB"), "{why}");
    id(submit(&fork, &other, &state)?)?;
    fork.give(400)?;
    fork.settle(SETTLED_WITHIN).with_context(|| other.log())
}

/// A savepoint like that one, with something done to it.
fn spoilt(saved: &Path, name: &str, change: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let to = watchdog::folder("spoilt")?.join(name);
    for folder in ["", "db"] {
        fs::create_dir_all(to.join(folder))?;
        for entry in fs::read_dir(saved.join(folder))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), to.join(folder).join(entry.file_name()))?;
            }
        }
    }
    change(&to)?;
    Ok(to)
}

#[test]
fn what_is_no_savepoint_or_does_not_fit_is_refused_by_name() -> Result<()> {
    let broker = Broker::own()?;
    let up = members(&broker, "torture", &["one"])?;
    let mut job = Counting::new(&broker, "refused", 20)?;
    let first = id(submit(&job, &up[0], &[])?)?;
    job.give(500)?;
    job.settle(SETTLED_WITHIN)?;
    let saved = watchdog::folder("saved")?.join("savepoint");
    up[0].job(&["savepoint", &first, "--to", text(&saved)?])?;
    let twice = save(&mut job, &up[0], &first, &saved)?;
    ensure!(twice.code != Some(0) && twice.err.contains("STATE_NOT_OURS"), "{twice}");
    let unknown = save(&mut job, &up[0], "nobody", &saved.with_file_name("another"))?;
    ensure!(unknown.code != Some(0) && unknown.err.contains("nobody"), "{unknown}");
    ensure!(!saved.with_file_name("another").exists(), "there is something of a savepoint that was refused");

    let manifest = |dir: &Path| dir.join("SAVEPOINT.json");
    let half = spoilt(&saved, "half", |dir| Ok(fs::remove_file(manifest(dir))?))?;
    let short = spoilt(&saved, "short", |dir| {
        let log = fs::read_dir(dir.join("db"))?.flatten().find(|e| e.file_name().to_string_lossy().ends_with(".log"));
        Ok(fs::remove_file(log.context("a log")?.path())?)
    })?;
    let newer = spoilt(&saved, "newer", |dir| {
        let text = fs::read_to_string(manifest(dir))?;
        Ok(fs::write(manifest(dir), text.replace("\"format\": 1", "\"format\": 2"))?)
    })?;
    let nowhere = saved.with_file_name("nowhere");
    let changed = watchdog::folder("changed")?.join("savepoint.yaml");
    let pipeline = fs::read_to_string(place::file(PIPELINE))?;
    fs::write(&changed, pipeline.replace("size: 60s", "size: 30s"))?;
    let changed = text(&changed)?;
    let fork = job.fork("refused-too")?;
    for (from, file, code) in [
        (&nowhere, PIPELINE, "SAVEPOINT_UNKNOWN"),
        (&half, PIPELINE, "SAVEPOINT_INCOMPLETE"),
        (&short, PIPELINE, "SAVEPOINT_INCOMPLETE"),
        (&newer, PIPELINE, "SAVEPOINT_VERSION"),
        (&saved, changed, "UPDATE_INCOMPATIBLE"),
    ] {
        let submitted = submit_file(&fork, &up[0], file, &["--from-savepoint", text(from)?])?;
        ensure!(submitted.code == Some(3) && submitted.err.contains(code), "{code}: {submitted}");
        let dir = watchdog::folder("state")?.join("new");
        let mut args = fork.submission(file, &[])?;
        args.drain(..1);
        args.retain(|arg| arg != "--name" && arg != "refused-too");
        let run = Run::thalweg()?.arg("run").args(&args).arg("--state-dir").arg(&dir).arg("--from-savepoint").arg(from);
        let ended = run.end()?;
        ensure!(ended.code == Some(3) && ended.err.contains(&format!("error[{code}]")), "{code}: {ended}");
        ensure!(!dir.exists(), "{code}: there is a state directory");
    }
    ensure!(up[0].job(&["list"])?.lines().count() == 1, "a refused job has left something");
    Ok(())
}
