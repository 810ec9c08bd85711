//! `thalweg udf deploy` into a job of a server: counts go on, what does not fit is refused, what traps is rolled back, and a server that was killed
//! goes on with the version that was deployed. In a cluster, what cannot run is refused before anybody runs it.

use acceptance::broker::Broker;
use acceptance::child::{Ended, Run, Running};
use acceptance::cluster::Member;
use acceptance::python::program;
use acceptance::server::Server;
use acceptance::{diagnosis, place, watchdog};
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A job on a server.
struct Job {
    server: Server,
    client: Running,
    folder: PathBuf,
    id: String,
}

impl Job {
    fn start(folder: &Path) -> Result<Self> {
        let state = folder.join("state");
        let state = state.to_str().context("a path of text")?;
        let server = Server::start(&["serve", "--shards", "2", "--epoch-ms", "100", "--state-dir", state])?;
        let mut client = program("deployed_job.py")?
            .arg(server.endpoint())
            .arg(place::component("versions")?)
            .arg(folder)
            .start()?;
        client.until("the id of the job", |client| Ok(client.output().contains('\n')))?;
        let id = client.output().trim().to_owned();
        Ok(Self { server, client, folder: folder.to_owned(), id })
    }

    /// Count and version of every element so far.
    fn counts(&self) -> Result<Vec<(usize, String)>> {
        let text = fs::read_to_string(self.folder.join("counts")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let read = |line: &str| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?.parse().ok()?, words.next()?.to_owned()))
        };
        let counts = whole.lines().map(|line| read(line).with_context(|| format!("{line:?} is no count")));
        let mut counts = counts.collect::<Result<Vec<_>>>()?;
        counts.sort(); // bundles of the worker that writes them end in any order
        Ok(counts)
    }

    /// Waits until some more elements were counted, the last of them by a version.
    fn counts_by(&mut self, version: &str) -> Result<()> {
        let (path, begun) = (self.folder.join("counts"), self.counts()?.len());
        let counted = self.client.until("more counts", |_| {
            let text = fs::read_to_string(&path).unwrap_or_default();
            Ok(text.lines().count() >= begun + 5 && text.trim_end().ends_with(version))
        });
        counted.with_context(|| format!("no count by {version} after {begun}\n{}", self.server.log()))
    }

    fn deploy(&self, function: &str) -> Result<Ended> {
        let run = Run::thalweg()?.args(["udf", "deploy"]).arg(place::component("versions")?);
        run.args(["--job", &self.id, "--transform", "Count", "--function", function])
            .args(["--server", &self.server.endpoint()])
            .end()
    }

    fn kill(self) -> Result<()> {
        self.server.kill()?;
        self.client.kill().map(drop)
    }
}

#[test]
fn versions_are_deployed_into_a_running_job_and_outlive_its_server() -> Result<()> {
    let folder = watchdog::folder("deployed")?;
    let mut job = Job::start(&folder)?;
    job.counts_by("one")?;
    let ended = job.deploy("two")?;
    ensure!(ended.code == Some(0) && ended.out.contains("from epoch"), "{ended}");
    job.counts_by("two")?;
    let counts = job.counts()?;
    ensure!(counts.iter().map(|(n, _)| *n).eq(1..=counts.len()), "a count is missing or doubled: {counts:?}");
    let switches = counts.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    ensure!(switches == 1, "the versions alternate: {counts:?}");
    let refused = job.deploy("texts")?;
    diagnosis::sole_with(&refused, 3, "DEPLOY_REFUSED", &["DEPLOY_INCOMPATIBLE", "whole numbers", "texts"])?;
    job.counts_by("two")?;
    let before = job.counts()?.len();
    job.kill()?;

    let mut job = Job::start(&folder)?;
    job.counts_by("two")?;
    let counts = job.counts()?;
    // what was not committed when the server was killed is counted again
    ensure!(counts.len() >= before + 5 && counts.last().is_some_and(|(n, _)| *n > before), "it began anew: {counts:?}");
    let late = counts.iter().filter(|(n, _)| *n > before);
    ensure!(
        late.clone().count() > 0 && late.clone().all(|(_, by)| by == "two"),
        "not by the deployed version: {counts:?}"
    );
    let ended = job.deploy("traps")?;
    ensure!(ended.code == Some(0), "{ended}");
    job.counts_by("two")?;
    let status = Run::thalweg()?.args(["udf", "deploy", "--status", "--job", &job.id]);
    let status = status.args(["--server", &job.server.endpoint()]).ok()?;
    ensure!(status.out.contains("WASM_TRAP") || status.out.contains("failed with"), "{status}");
    job.kill()
}

const COUNTED_WITHIN: Duration = Duration::from_secs(60);

/// Gives elements until one was counted by a version.
fn counted_by(version: &str, broker: &Broker, member: &Member) -> Result<()> {
    let by = || -> Result<usize> {
        let rows = broker.dump("versions-out")?;
        Ok(rows.iter().filter(|row| row["value"].as_str().is_some_and(|text| text.contains(version))).count())
    };
    let (begun, before) = (Instant::now(), by()?);
    while by()? == before {
        ensure!(begun.elapsed() < COUNTED_WITHIN, "no count by {version}\n{}", member.log());
        let row = json!({"who": "a", "what": ""}).to_string();
        broker.produce("versions-in", &[json!({"key": "a", "value": row})])?;
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(())
}

#[test]
fn in_a_cluster_what_cannot_run_is_refused_and_the_job_goes_on() -> Result<()> {
    let broker = Broker::own()?;
    broker.create(&["versions-in:1", "versions-out:1"])?;
    let mut member = Member::new(&broker, "one", &[])?;
    member.start()?;
    let path = place::component("versions")?.display().to_string();
    let (component, bootstrap) = (format!("component={path}"), format!("bootstrap={}", broker.bootstrap()));
    let id = member.job(&["submit", "tests/programs/versions.yaml", "--set", &bootstrap, "--set", &component])?;
    counted_by("one", &broker, &member)?;
    let ask = |more: &[&str]| {
        let run = Run::thalweg()?.args(["udf", "deploy", "--job", &id, "--transform", "Count"]);
        run.args(["--server", &member.endpoint()]).args(more).end()
    };

    // a configuration that the function does not take
    let refused = ask(&[&path, "--config", "\"bad\""])?;
    diagnosis::sole_with(&refused, 3, "DEPLOY_REFUSED", &["WASM_REFUSED"])?;
    counted_by("one", &broker, &member)?;

    // a version that keeps more is not gone back from
    let ended = ask(&[&path, "--function", "more"])?;
    ensure!(ended.code == Some(0), "{ended}");
    counted_by("more", &broker, &member)?;
    let refused = ask(&["--roll-back"])?;
    diagnosis::sole_with(&refused, 3, "DEPLOY_REFUSED", &["DEPLOY_INCOMPATIBLE", "the version before", "last"])?;
    counted_by("more", &broker, &member)
}
