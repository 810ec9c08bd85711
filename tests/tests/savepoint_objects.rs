//! Savepoints in object stores: whole or none, whatever happens on the way; and which places a server's clients may name.

use acceptance::broker::Broker;
use acceptance::child::{Ended, Run, Signal};
use acceptance::cluster::{Counting, Member};
use acceptance::flights::{Flights, repeated};
use acceptance::objects::{Front, Store, with};
use acceptance::random::Random;
use acceptance::server::Server;
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PIPELINE: &str = "guest-examples/flights/pipeline.yaml";
/// Lines of a topic beside the job's state, of 128 bytes that cannot be compressed much: some chunks of a copy.
const BULK_LINES: usize = 200_000;
/// How long a user may wait for a store that does not answer: what is tried again is for half a minute.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// How long a job may take to read all that is there.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

type Variables = [(String, String)];

/// The state of a run that was stopped in the middle.
struct Stopped {
    flights: Flights,
    wanted: Flights,
    state: PathBuf,
}

impl Stopped {
    fn new(times: usize) -> Result<Self> {
        let input = repeated(times)?;
        let (flights, wanted) = (Flights::over(&input)?.lasting().with(&["--epoch-ms", "20"]), Flights::over(&input)?);
        wanted.ok()?;
        let mut running = flights.command()?.start()?;
        running.until("some epochs", |_| Ok(flights.epoch() > 5))?;
        running.signal(Signal::Terminate)?;
        let ended = running.wait()?;
        ensure!(ended.code == Some(130) || ended.code == Some(0), "{ended}");
        let state = flights.state.clone().context("a state directory")?;
        Ok(Self { flights, wanted, state })
    }

    /// The same with a file in the state directory that is copied in parts.
    fn with_bulk(times: usize) -> Result<Self> {
        let this = Self::new(times)?;
        let lines = watchdog::folder("bulk")?.join("lines.txt");
        let mut random = Random::new(7);
        let mut line = || (0..8).map(|_| format!("{:016x}", random.between(0.0, 1.0).to_bits())).collect::<String>();
        let text: Vec<String> = (0..BULK_LINES).map(|_| line()).collect();
        fs::write(&lines, text.join("\n"))?;
        let (binary, state) = (place::binary()?.display().to_string(), this.state.display());
        let create = format!("{binary} log create bulk --state-dir {state}");
        let append = format!("{binary} log append bulk --state-dir {state} < {}", lines.display());
        Run::new("sh").arg("-c").arg(format!("{create} && {append}")).ok()?;
        Ok(this)
    }

    /// Whether a state directory has the same topic.
    fn has_bulk(&self, state: &Path) -> Result<()> {
        let what = ["log", "tail", "bulk", "--from", "earliest", "--output", "json", "--state-dir"];
        let tail = |state: &Path| Run::thalweg()?.args(what).arg(state).ok();
        let (wanted, found) = (tail(&self.state)?.out, tail(state)?.out);
        ensure!(wanted.lines().count() == BULK_LINES, "{} lines", wanted.lines().count());
        ensure!(wanted == found, "the topic is another one");
        Ok(())
    }

    fn save(&self, to: &str, variables: &Variables) -> Result<Ended> {
        with(Run::thalweg()?, variables).arg("savepoint").arg("--state-dir").arg(&self.state).args(["--to", to]).end()
    }

    /// Begins with a savepoint, with another number of shards.
    fn begin(&self, from: &str, variables: &Variables, state: &Path) -> Result<Ended> {
        let run = Flights { state: Some(state.to_owned()), ..self.flights.clone() };
        with(run.command()?, variables).args(["--shards", "3", "--from-savepoint", from]).end()
    }
}

fn new_state() -> Result<PathBuf> {
    Ok(watchdog::folder("begun")?.join("state"))
}

fn refused(ended: &Ended, code: &str, words: &[&str]) -> Result<()> {
    ensure!(ended.code.is_some_and(|code| code != 0), "it was not refused\n{ended}");
    for word in words.iter().chain(&[code, "help: "]) {
        ensure!(ended.err.contains(word), "it does not say {word:?}\n{ended}");
    }
    ensure!(!ended.err.contains("secret of tester"), "a secret was told\n{ended}");
    ensure!(ended.took < TOLD_WITHIN, "it took {:?}", ended.took);
    Ok(())
}

/// Sets a variable, or another one instead.
fn set(variables: &Variables, name: &str, value: &str) -> Vec<(String, String)> {
    let rest = variables.iter().filter(|(known, _)| known != name).cloned();
    rest.chain([(name.to_owned(), value.to_owned())]).collect()
}

#[test]
fn what_begins_with_a_savepoint_of_a_store_comes_to_the_same_results() -> Result<()> {
    let (store, stopped) = (Store::start()?, Stopped::with_bulk(12)?);
    for (to, variables) in [
        ("s3://bucket/team/daily", store.s3()),
        ("gs://bucket/team/daily", store.google()),
        ("az://bucket/team/daily", store.azure()),
    ] {
        let made = stopped.save(to, &variables)?;
        ensure!(made.code == Some(0), "{to}: {made}");
        let again = stopped.save(to, &variables)?;
        refused(&again, "STATE_NOT_OURS", &[to]).context("there is one already")?;
        let state = new_state()?;
        let ended = stopped.begin(to, &variables, &state)?;
        ensure!(ended.code == Some(0) && !ended.out.contains("finished already"), "{to}: {ended}");
        stopped.flights.same_as(&stopped.wanted.results()?).with_context(|| to.to_owned())?;
        stopped.has_bulk(&state).with_context(|| to.to_owned())?;
    }
    let parts = store.asked()?.iter().filter(|asked| asked.starts_with("PUT") && asked.contains("partNumber")).count();
    ensure!(parts > 4 && store.open_uploads()? == 0, "{parts} parts, {} uploads are open", store.open_uploads()?);
    let left: Vec<_> = fs::read_dir(&stopped.state)?.flatten().map(|e| e.file_name()).collect();
    ensure!(!left.iter().any(|name| name.to_string_lossy().starts_with("saving-")), "{left:?} in the state directory");
    Ok(())
}

#[test]
fn what_is_cut_off_on_its_way_is_sent_again_or_no_savepoint() -> Result<()> {
    let (store, stopped) = (Store::start()?, Stopped::with_bulk(12)?);
    let to = "s3://bucket/cut";
    store.cut(2, 3)?;
    let made = stopped.save(to, &store.s3())?;
    ensure!(made.code == Some(0), "{made}");
    store.cut(1, 3)?;
    let state = new_state()?;
    let ended = stopped.begin(to, &store.s3(), &state)?;
    ensure!(ended.code == Some(0), "{ended}");
    stopped.flights.same_as(&stopped.wanted.results()?)?;
    stopped.has_bulk(&state)?;
    // and for good
    store.cut(4, 1_000_000)?;
    let broken = "s3://bucket/broken";
    refused(&stopped.save(broken, &store.s3())?, "OBJECT_STORE_UNREACHABLE", &["127.0.0.1"])?;
    store.cut(0, 0)?;
    ensure!(!store.objects()?.contains(&"broken/SAVEPOINT.json".to_owned()), "{:?}", store.objects()?);
    let there = store.objects()?.iter().any(|name| name.starts_with("broken/"));
    ensure!(there, "nothing was sent before it broke");
    refused(&stopped.begin(broken, &store.s3(), &new_state()?)?, "SAVEPOINT_INCOMPLETE", &["SAVEPOINT.json"])?;
    store.cut(4, 1_000_000)?;
    let state = new_state()?;
    refused(&stopped.begin(to, &store.s3(), &state)?, "OBJECT_STORE_UNREACHABLE", &[])?;
    store.cut(0, 0)?;
    ensure!(!state.exists(), "half of a state directory is there");
    let ended = stopped.begin(to, &store.s3(), &state)?;
    ensure!(ended.code == Some(0), "{ended}");
    stopped.flights.same_as(&stopped.wanted.results()?)
}

#[test]
fn who_dies_over_a_savepoint_leaves_none_and_who_dies_over_its_copy_may_begin_again() -> Result<()> {
    let (store, stopped) = (Store::start()?, Stopped::with_bulk(12)?);
    let save = || -> Result<Run> {
        let command = with(Run::thalweg()?, &store.s3()).arg("savepoint").arg("--state-dir").arg(&stopped.state);
        Ok(command.args(["--to", "s3://bucket/died"]))
    };
    let mut saving = save()?.start()?;
    saving.until("some of it is there", |_| Ok(store.objects()?.iter().any(|name| name.starts_with("died/"))))?;
    saving.kill()?;
    ensure!(!store.objects()?.contains(&"died/SAVEPOINT.json".to_owned()), "it was whole before it was killed");
    refused(&stopped.begin("s3://bucket/died", &store.s3(), &new_state()?)?, "SAVEPOINT_INCOMPLETE", &[])?;
    let made = stopped.save("s3://bucket/whole", &store.s3())?;
    ensure!(made.code == Some(0), "{made}");
    let left: Vec<_> = fs::read_dir(&stopped.state)?.flatten().map(|e| e.file_name()).collect();
    ensure!(!left.iter().any(|name| name.to_string_lossy().starts_with("saving-")), "{left:?} in the state directory");
    let state = new_state()?;
    let run = Flights { state: Some(state.clone()), ..stopped.flights.clone() };
    let begin = with(run.command()?, &store.s3()).args(["--from-savepoint", "s3://bucket/whole"]);
    let mut beginning = begin.start()?;
    beginning.until("some of it is there", |_| Ok(state.join("restoring").exists()))?;
    beginning.kill()?;
    ensure!(state.join("restoring").exists(), "it was whole before it was killed");
    let ended = stopped.begin("s3://bucket/whole", &store.s3(), &state)?;
    ensure!(ended.code == Some(0), "{ended}");
    stopped.flights.same_as(&stopped.wanted.results()?)
}

#[test]
fn what_stands_in_the_way_has_a_name() -> Result<()> {
    let (store, stopped) = (Store::start()?, Stopped::new(12)?);
    let s3 = store.s3();
    let whole = "s3://bucket/whole";
    let made = stopped.save(whole, &s3)?;
    ensure!(made.code == Some(0), "{made}");
    let port = acceptance::server::free_port()?;
    let nobody = format!("http://127.0.0.1:{port}");
    for (what, to, variables, code, word) in [
        ("another user", whole, set(&s3, "AWS_ACCESS_KEY_ID", "nobody"), "OBJECT_STORE_DENIED", "InvalidAccessKeyId"),
        (
            "another secret",
            whole,
            set(&s3, "AWS_SECRET_ACCESS_KEY", "x"),
            "OBJECT_STORE_DENIED",
            "SignatureDoesNotMatch",
        ),
        ("no bucket", "s3://none/x", s3.clone(), "OBJECT_STORE_BUCKET", "NoSuchBucket"),
        ("nobody", whole, set(&s3, "AWS_ENDPOINT_URL", &nobody), "OBJECT_STORE_UNREACHABLE", "refused"),
        ("no TLS", whole, set(&s3, "AWS_ALLOW_HTTP", "false"), "OBJECT_STORE_CONFIG", "AWS_ALLOW_HTTP"),
        ("half a login", whole, set(&s3, "AWS_ACCESS_KEY_ID", "")[..1].to_vec(), "OBJECT_STORE_CONFIG", "AWS_"),
        ("a strange place", "s3://bucket/../x", s3.clone(), "OBJECT_STORE_CONFIG", "s3://bucket/../x"),
    ] {
        let saved = stopped.save(to, &variables)?;
        refused(&saved, code, &[word]).with_context(|| format!("{what}, saved"))?;
        let begun = stopped.begin(to, &variables, &new_state()?)?;
        refused(&begun, code, &[word]).with_context(|| format!("{what}, begun"))?;
    }
    refused(&stopped.begin("s3://bucket/nothing", &s3, &new_state()?)?, "SAVEPOINT_UNKNOWN", &["s3://bucket/nothing"])?;
    let table = store.objects()?.into_iter().find(|name| name.starts_with("whole/db/")).context("a file")?;
    store.spoil(&table)?;
    let state = new_state()?;
    refused(&stopped.begin(whole, &s3, &state)?, "SAVEPOINT_INCOMPLETE", &["digest"])?;
    ensure!(!state.exists(), "a state directory of a spoilt savepoint is there");
    // what was sent is taken back
    store.full_after(3)?;
    refused(&stopped.save("s3://bucket/full", &s3)?, "OBJECT_STORE_DENIED", &["QuotaExceeded"])?;
    let left: Vec<_> = store.objects()?.into_iter().filter(|name| name.starts_with("full/")).collect();
    ensure!(left.is_empty() && store.asked()?.iter().any(|asked| asked.contains("/full/")), "{left:?} is left");
    Ok(())
}

#[test]
fn a_store_is_asked_over_tls_if_its_authority_is_known() -> Result<()> {
    let (store, stopped) = (Store::start()?, Stopped::new(12)?);
    let front = Front::start(store.port())?;
    let over_tls = set(&store.s3()[..3], "AWS_ENDPOINT_URL", &front.url());
    // without one of its own those of the system count, which know nothing of it
    for (name, value) in [("AWS_CA_BUNDLE", front.file("other.pem")), ("AWS_CA_BUNDLE", String::new())] {
        let denied = stopped.save("s3://bucket/tls", &set(&over_tls, name, &value))?;
        refused(&denied, "OBJECT_STORE_TLS", &["certificate", "AWS_CA_BUNDLE"])?;
    }
    ensure!(store.asked()?.is_empty(), "it was asked by who did not trust it");
    let known = set(&over_tls, "AWS_CA_BUNDLE", &front.file("ca.pem"));
    let made = stopped.save("s3://bucket/tls", &known)?;
    ensure!(made.code == Some(0), "{made}");
    let of_the_system = set(&set(&over_tls, "AWS_CA_BUNDLE", ""), "SSL_CERT_FILE", &front.file("ca.pem"));
    let ended = stopped.begin("s3://bucket/tls", &of_the_system, &new_state()?)?;
    ensure!(ended.code == Some(0), "{ended}");
    stopped.flights.same_as(&stopped.wanted.results()?)
}

#[test]
fn clients_of_a_server_have_savepoints_where_it_says() -> Result<()> {
    let store = Store::start()?;
    let input = repeated(44)?;
    let (run, straight) = (Flights::over(&input)?, Flights::over(&input)?);
    straight.ok()?;
    let folder = watchdog::folder("server")?;
    let states = folder.join("states").display().to_string();
    let args = ["serve", "--epoch-ms", "20", "--state-dir", &states, "--savepoint-dir", "s3://bucket/team"];
    let server = Server::start_with(&args, &store.s3())?;
    let job =
        |args: &[&str]| Run::thalweg()?.arg("job").args(args).arg("--server").arg(server.endpoint()).dir(&folder).end();
    let submit = |more: &[&str]| -> Result<Ended> {
        let command = Run::thalweg()?.args(["job", "submit", PIPELINE, "--name", "flights"]).args(more);
        let command = command.set("component", place::component("flights_parse")?).set("input", &input);
        command.set("output", &run.output).arg("--server").arg(server.endpoint()).end()
    };
    let submitted = submit(&[])?;
    let id = submitted.out.trim();
    let (dead, begun) = (run.path("dead_letters.jsonl"), Instant::now());
    while fs::metadata(&dead).map(|m| m.len()).unwrap_or_default() == 0 {
        ensure!(begun.elapsed() < TOLD_WITHIN, "it writes nothing\n{submitted}\n{}", server.log());
        sleep(Duration::from_millis(2));
    }
    ensure!(job(&["pause", id])?.code == Some(0), "it was over before it could be paused");
    let elsewhere = folder.join("elsewhere").display().to_string();
    for to in [elsewhere.as_str(), "./elsewhere", "file:///etc/x", "s3://bucket/other", "s3://bucket/team"] {
        let denied = job(&["savepoint", id, "--to", to])?;
        refused(&denied, "SAVEPOINT_REFUSED", &["s3://bucket/team"]).with_context(|| to.to_owned())?;
    }
    ensure!(!folder.join("elsewhere").exists() && store.objects()?.is_empty(), "something was written elsewhere");
    let made = job(&["savepoint", id, "--to", "daily"])?;
    ensure!(made.code == Some(0) && made.out.trim() == "s3://bucket/team/daily", "{made}\n{}", server.log());
    job(&["cancel", id])?;
    let from = submit(&["--from-savepoint", &elsewhere])?;
    refused(&from, "SAVEPOINT_REFUSED", &["s3://bucket/team"])?;
    let again = submit(&["--from-savepoint", "daily", "--wait"])?;
    ensure!(again.code == Some(0) && again.out.trim().ends_with("DONE"), "{again}\n{}", server.log());
    run.same_as(&straight.results()?)
}

#[test]
fn a_cluster_saves_to_a_store_and_another_begins_there_with_other_partitions() -> Result<()> {
    let (broker, store) = (Broker::own()?, Store::start()?);
    let start = |cluster: &str, name: &str| -> Result<Member> {
        let member = Member::new(&broker, name, &["--savepoint-dir", "s3://bucket/cluster"])?;
        let mut member = member.of(cluster).with(&store.s3());
        member.start()?;
        Ok(member)
    };
    let (one, other) = (start("torture", "one")?, start("other", "two")?);
    let mut job = Counting::new(&broker, "stored", 20)?;
    let first = job.submit_with(&one, &[])?;
    job.give(1000)?;
    job.settle(SETTLED_WITHIN).with_context(|| one.log())?;
    job.give(500)?; // under way
    let said = one.job(&["savepoint", &first, "--to", "daily", "--stop"])?;
    ensure!(said.contains("s3://bucket/cluster/daily") && said.ends_with("CANCELLED"), "{said}");
    job.give(500)?;
    let second = job.submit_with(&other, &["--from-savepoint", "daily", "--option", "partitions=6"])?;
    job.settle(SETTLED_WITHIN).with_context(|| other.log())?;
    other.job(&["drain", &second])?;
    ensure!(other.job(&["wait", &second])? == "DRAINED", "{}", other.log());
    job.check_minutes()
}
