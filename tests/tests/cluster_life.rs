//! The life of a job in several processes: handed over, paused, updated, and processes restarted one after the other, under load.

use acceptance::broker::Broker;
use acceptance::child::Run;
use acceptance::cluster::{Counting, Member};
use acceptance::watchdog;
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SETTLED_WITHIN: Duration = Duration::from_secs(120);
/// A session that is far longer than a hand-over takes.
const SESSION_SECONDS: u64 = 60;
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(20);

fn members(broker: &Broker, names: &[&str]) -> Result<Vec<Member>> {
    let member = |name: &&str| Member::new(broker, name, &["--grace-seconds=20"]).map(|m| m.session(SESSION_SECONDS));
    names.iter().map(member).collect()
}

/// Partitions that a process has gained since its start, each time that it says so.
fn gains(member: &Member) -> usize {
    member.log().matches("gained").count()
}

#[test]
fn processes_that_are_restarted_one_after_the_other_hand_over_at_once_and_lose_nothing() -> Result<()> {
    let broker = Broker::own()?;
    let mut up = members(&broker, &["one", "two", "three"])?;
    up.iter_mut().try_for_each(Member::start)?;
    let mut job = Counting::new(&broker, "rolling", 40)?;
    let id = job.submit(&up[0])?;
    job.give(2000)?;
    job.settle(SETTLED_WITHIN).context("at first")?;
    for i in 0..3 {
        job.give(2000)?; // it is under way while the process stops
        let others: Vec<usize> = (0..3).filter(|other| *other != i).collect();
        let before: usize = others.iter().map(|other| gains(&up[*other])).sum();
        let begun = Instant::now();
        up[i].stop()?;
        let stopped = begun.elapsed();
        ensure!(stopped < Duration::from_secs(20), "{i} took {stopped:?} to stop");
        while others.iter().map(|other| gains(&up[*other])).sum::<usize>() == before {
            ensure!(begun.elapsed() < HANDED_OVER_WITHIN, "nobody took over from {i}\n{}", up[others[0]].log());
            sleep(Duration::from_millis(20));
        }
        println!("{i} stopped in {stopped:?}, others went on after {:?}", begun.elapsed());
        job.settle(SETTLED_WITHIN).with_context(|| format!("without {i}"))?;
        job.give(1000)?;
        up[i].start()?;
    }
    job.settle(SETTLED_WITHIN).context("after all restarts")?;
    up[0].job(&["drain", &id])?;
    ensure!(up[1].job(&["wait", &id])? == "DRAINED", "{}", up[1].log());
    job.check_minutes()
}

#[test]
fn a_job_that_is_paused_stays_so_whatever_process_has_it_and_goes_on_when_it_is_told() -> Result<()> {
    let broker = Broker::own()?;
    let mut up = members(&broker, &["one", "two", "three"])?;
    up[0].start()?;
    up[1].start()?;
    let mut job = Counting::new(&broker, "paused", 20)?;
    let id = job.submit(&up[0])?;
    job.give(1000)?;
    job.settle(SETTLED_WITHIN).context("at first")?;
    ensure!(up[1].job(&["pause", &id])? == "STOPPED");
    let begun = Instant::now();
    while !up[0].job(&["list"])?.contains("STOPPED") {
        ensure!(begun.elapsed() < SETTLED_WITHIN, "it has not heard of the pause\n{}", up[0].log());
    }
    sleep(Duration::from_secs(2)); // what was read when it was told
    job.give(1000)?;
    let stands = |when: &str| -> Result<()> {
        sleep(Duration::from_secs(2));
        let there = job.check()?;
        ensure!(there == 1000, "{there} records {when}");
        Ok(())
    };
    stands("while it was paused")?;
    up[0].stop()?;
    up[0].start()?; // it reads of the pause when it reads of the job
    up[2].start()?;
    sleep(Duration::from_secs(4));
    stands("after a restart, and with another process")?;
    for member in &up {
        ensure!(member.job(&["list"])?.contains("STOPPED"), "{}", member.log());
    }
    up[1].kill()?;
    ensure!(up[2].job(&["resume", &id])? == "RUNNING");
    up[1].start()?;
    job.settle(SETTLED_WITHIN).context("resumed")?;
    up[0].job(&["drain", &id])?;
    ensure!(up[2].job(&["wait", &id])? == "DRAINED", "{}", up[2].log());
    job.check_minutes()
}

/// The pipeline with something in it replaced, or something behind it.
fn variant(name: &str, change: impl Fn(&str) -> String) -> Result<PathBuf> {
    let file = watchdog::folder("variants")?.join(format!("{name}.yaml"));
    fs::write(
        &file,
        change(
            &fs::read_to_string("programs/cluster.yaml")
                .or_else(|_| fs::read_to_string("tests/programs/cluster.yaml"))?,
        ),
    )?;
    Ok(file)
}

/// A function without state, and a sink behind it.
const MORE: &str = r#"
    - type: ExtractWindowingInfo
      name: AlsoWhen
      input: Ledger
      config: {fields: [window_start]}

    - type: WriteToKafka
      name: WriteAlso
      input: AlsoWhen
      config: {bootstrap_servers: "{{ bootstrap }}", topic: "updated-also", format: JSON}
"#;

#[test]
fn a_job_that_is_updated_and_updated_back_counts_on_and_what_cannot_be_is_refused_by_name() -> Result<()> {
    let broker = Broker::own()?;
    broker.create(&["updated-also:1"])?;
    let mut up = members(&broker, &["one", "two"])?;
    up.iter_mut().try_for_each(Member::start)?;
    let mut job = Counting::new(&broker, "updated", 20)?;
    let first = job.submit(&up[0])?;
    job.give(1000)?;
    job.settle(SETTLED_WITHIN).context("at first")?;
    let submit = |job: &Counting<'_>, to: &Member, file: &PathBuf| -> Result<acceptance::child::Ended> {
        let args = job.submission(file.to_str().context("a path")?, &["--update"])?;
        Run::thalweg()?.arg("job").args(&args).arg("--server").arg(to.endpoint()).limit(300).end()
    };
    let refused = [
        ("windows", variant("windows", |text| text.replace("size: 60s", "size: 30s"))?, "Count"),
        (
            "gone",
            variant("gone", |text| {
                text.replace("name: Ledger\n", "name: Book\n").replace("input: Ledger", "input: Book")
            })?,
            "Ledger",
        ),
    ];
    for (what, file, name) in &refused {
        let ended = submit(&job, &up[1], file)?;
        ensure!(
            ended.code != Some(0) && ended.err.contains("UPDATE_INCOMPATIBLE") && ended.err.contains(name),
            "{what}: {ended}"
        );
    }
    let same = variant("same", str::to_owned)?;
    job.give(500)?; // under way
    let more = submit(&job, &up[1], &variant("more", |text| format!("{text}{MORE}"))?)?;
    ensure!(more.code == Some(0), "{more}");
    job.give(1000)?;
    job.settle(SETTLED_WITHIN).context("updated")?;
    let also = broker.dump("updated-also")?.len();
    ensure!(also >= 1000, "{also} records of the new sink");
    up[0].kill()?;
    up[0].start()?;
    job.give(500)?;
    let back = submit(&job, &up[1], &same)?;
    ensure!(back.code == Some(0), "{back}");
    job.give(500)?;
    job.settle(SETTLED_WITHIN).context("updated back")?;
    let list = up[1].job(&["list"])?;
    ensure!(list.matches("UPDATED").count() == 2 && list.contains(&first), "{list}");
    let last = back.out.trim().to_owned();
    up[0].job(&["drain", &last])?;
    ensure!(up[1].job(&["wait", &last])? == "DRAINED", "{}", up[1].log());
    job.check_minutes()
}
