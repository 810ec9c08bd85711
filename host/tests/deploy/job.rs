//! A job that runs as long as a test wants: elements come through a channel, and what comes out can be waited for.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs};
use thalweg::compose::{Composer, Connectors, Deployments, Settings};
use thalweg::native::Registry;
use thalweg::pipeline::{Element, PipelineBuilder, Windows, urn};
use thalweg::runtime::{self, RunningJob, SourceSpec};
use thalweg_beam::translate::{Translation, translate};
use thalweg_core::batch::{Batch, BatchBuilder};
use thalweg_core::engine::Outcome;
use thalweg_core::error::Result as CoreResult;
use thalweg_core::id::{Epoch, SplitId};
use thalweg_core::port::sink::{Prepared, Sink};
use thalweg_core::port::source::{Read, Source};
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;

const SOURCE: &str = "thalweg:source:test_channel:v1";
const SINK: &str = "thalweg:sink:test_keep:v1";
/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Key, count and version of what came out.
pub type Outputs = Vec<(String, usize, String)>;

/// The component of `guest-examples/versions`.
pub fn component() -> Result<Vec<u8>> {
    static BUILT: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    BUILT.get_or_init(|| build().map_err(|e| format!("{e:#}"))).clone().map_err(anyhow::Error::msg)
}

fn build() -> Result<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = root.join("target/guests");
    let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root.join("guest-examples"))
        .args(["build", "--release", "--locked", "--quiet", "-p", "versions"])
        .args(["--target", "wasm32-unknown-unknown", "--target-dir"])
        .arg(&target)
        .status();
    ensure!(built.is_ok_and(|status| status.success()), "cargo could not build guest-examples");
    let module = fs::read(target.join("wasm32-unknown-unknown/release/versions.wasm"))?;
    Ok(thalweg_wasm::componentize(&module)?)
}

/// The pipeline around a function of a component.
pub fn pipeline(component: &Path, function: &str) -> Result<Translation> {
    let mut build = PipelineBuilder::new();
    let texts = Element::kv(Element::String, Element::String);
    let input = build.collection("Feed.out", texts, Windows::Global, false);
    build.transform("Feed", SOURCE, Vec::new(), &[], &[("out", &input)]);
    let output = build.collection("Count.counts", Element::String, Windows::Global, false);
    let call = serde_json::json!({ "component": component.display().to_string(), "function": function });
    build.native("Count", urn::WASM, &call, &[("in", &input)], &[("counts", &output)]);
    build.transform("Keep", SINK, Vec::new(), &[("in", &output)], &[]);
    Ok(translate(build.finish())?)
}

/// Keys, one element each, in the order of the channel.
struct Feed(Receiver<Vec<String>>);

impl Source for Feed {
    fn open(&mut self, _: SplitId, _: Option<&[u8]>) -> CoreResult<()> {
        Ok(())
    }

    fn poll(&mut self, _: SplitId, _: usize) -> CoreResult<Option<Read>> {
        let (keys, finished) = match self.0.try_recv() {
            Ok(keys) => (keys, false),
            Err(TryRecvError::Empty) => return Ok(None),
            Err(TryRecvError::Disconnected) => (Vec::new(), true),
        };
        let mut batch = BatchBuilder::new();
        for key in keys {
            batch.push(key.as_bytes(), b"", EventTime(0), &[Window::Global]);
        }
        let watermark = if finished { EventTime::MAX } else { EventTime(0) };
        Ok(Some(Read { batch: batch.finish(), position: Bytes::from_static(b"p"), watermark, finished }))
    }
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

impl Sink for Kept {
    fn prepare(&mut self, _: Epoch, batches: &[Batch]) -> CoreResult<Prepared> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for batch in batches {
            kept.extend(batch.rows().iter().map(|row| String::from_utf8_lossy(batch.value(row)).into_owned()));
        }
        Ok(Prepared::default())
    }
}

/// A job that counts per key.
pub struct Job {
    feed: Sender<Vec<String>>,
    kept: Kept,
    running: RunningJob,
    pub deployments: Deployments,
    /// The component's file.
    _dir: tempfile::TempDir,
}

impl Job {
    /// Starts it with a version.
    pub fn start(function: &str, shards: u16, state_dir: Option<&Path>) -> Result<Self> {
        let state_dir = state_dir.map(Path::to_path_buf);
        Self::run(function, Settings { shards, epoch_ms: 20, state_dir, ..Settings::default() }, None)
    }

    /// The same, run as a test wants it; a bundle may be tried so often, or as usual.
    pub fn run(function: &str, settings: Settings, attempts: Option<u32>) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let component = dir.path().join("versions.wasm");
        fs::write(&component, self::component()?)?;
        let (feed, fed) = bounded(100);
        let kept = Kept::default();
        let mut connectors = Connectors::default();
        connectors.register_source(SOURCE, move |_| {
            let fed = fed.clone();
            let open = Arc::new(move || Ok(Box::new(Feed(fed.clone())) as Box<dyn Source>));
            Ok(SourceSpec::new(vec![SplitId(0)], open))
        });
        let keeps = kept.clone();
        connectors.register_sink(SINK, move |_| Ok(Box::new(keeps.clone())));
        let composer = Composer::new(settings, Registry::standard())?.with_connectors(connectors);
        let composed = composer.compose(&mut pipeline(&component, function)?, "counts")?;
        let deployments = composed.deployments.clone();
        let mut job = composer.job("counts", composed);
        job.config.attempts_max = attempts.unwrap_or(job.config.attempts_max);
        let running = runtime::start(job)?;
        Ok(Self { feed, kept, running, deployments, _dir: dir })
    }

    /// Gives it an element per key, as one read.
    pub fn feed<'a>(&self, keys: impl IntoIterator<Item = &'a str>) {
        self.feed.send(keys.into_iter().map(str::to_owned).collect()).unwrap_or_default();
    }

    fn kept(&self) -> Vec<String> {
        self.kept.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for so many outputs and takes them.
    pub fn texts(&self, count: usize) -> Result<Vec<String>> {
        let until = Instant::now() + PATIENCE;
        while self.kept().len() < count {
            ensure!(Instant::now() < until, "{:?} is all that came, not {count} outputs", self.kept());
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(std::mem::take(&mut *self.kept.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// As [`Job::texts`], read.
    pub fn next(&self, count: usize) -> Result<Outputs> {
        self.texts(count)?.iter().map(|text| read(text)).collect()
    }

    /// Waits for outputs, and that they are these, in any order.
    pub fn gives<const N: usize>(&self, wanted: [&str; N]) -> Result<()> {
        let mut found = self.texts(N)?;
        found.sort();
        ensure!(found == wanted, "it gave {found:?}, not {wanted:?}");
        Ok(())
    }

    /// Waits until all outputs so far are these, in any order; takes none.
    pub fn is_at(&self, wanted: &Outputs) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.kept().len() < wanted.len() {
            ensure!(Instant::now() < until, "{:?} is all that came, not {wanted:?}", self.kept());
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut found = self.kept().iter().map(|text| read(text)).collect::<Result<Outputs>>()?;
        let mut wanted = wanted.clone();
        found.sort();
        wanted.sort();
        ensure!(found == wanted, "it gave {found:?}, not {wanted:?}");
        Ok(())
    }

    /// Lets the job come to its end.
    pub fn end(self) -> Result<()> {
        let Self { feed, running, .. } = self;
        drop(feed);
        let outcome = running.join().outcome;
        ensure!(outcome == Outcome::Done, "{outcome:?}");
        Ok(())
    }

    /// Stops it where it is; what is committed stays.
    pub fn stop(self) -> Result<()> {
        self.running.control().cancel();
        let outcome = self.running.join().outcome;
        ensure!(outcome == Outcome::Cancelled, "{outcome:?}");
        Ok(())
    }
}

/// `KEY COUNT VERSION`.
fn read(text: &str) -> Result<(String, usize, String)> {
    let mut words = text.split(' ');
    let mut word = || words.next().with_context(|| format!("{text:?} lacks a word"));
    Ok((word()?.to_owned(), word()?.parse()?, word()?.to_owned()))
}
