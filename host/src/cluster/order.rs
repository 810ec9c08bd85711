//! What processes tell each other of jobs: orders and results, as bytes.
//!
//! Orders are protobuf messages of our own (the pipeline is one already); results are JSON, for people who look at the topic.

use prost::Message as _;
use serde::{Deserialize, Serialize};
use thalweg_core::error::{Domain, Error};
use thalweg_proto::pipeline::Pipeline;

/// An order.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Order {
    /// Which job.
    #[prost(string, tag = "1")]
    pub job: String,
    /// What is to be done.
    #[prost(oneof = "What", tags = "2, 3, 4, 5, 6, 7, 8, 9")]
    pub what: Option<What>,
}

/// What is to be done with a job.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum What {
    /// It runs from now on.
    #[prost(message, boxed, tag = "2")]
    Run(Box<Run>),
    /// It stops; what is committed stays.
    #[prost(message, tag = "3")]
    Cancel(Nothing),
    /// Its sources end.
    #[prost(message, tag = "4")]
    Drain(Nothing),
    /// Its sources are not read.
    #[prost(message, tag = "5")]
    Pause(Nothing),
    /// They are again.
    #[prost(message, tag = "6")]
    Resume(Nothing),
    /// Its sources are not read for a while: somebody makes a savepoint.
    #[prost(message, tag = "7")]
    Hold(Until),
    /// Whose the splits of its sources are, of a job whose order does not say it. The first word holds.
    #[prost(message, tag = "8")]
    Deal(Dealings),
    /// An artifact is deleted, unless it was ordered before that another job uses it. It is of no job.
    #[prost(message, tag = "9")]
    Unused(Unused),
}

/// An artifact that no job uses.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Unused {
    /// Under what it stands.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The jobs that used it, all of which are over.
    #[prost(string, repeated, tag = "2")]
    pub jobs: Vec<String>,
}

/// Whose the splits of a job's sources are.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Dealings {
    /// By source.
    #[prost(message, repeated, tag = "1")]
    pub sources: Vec<SourceDealing>,
}

/// Whose the splits of a source are.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SourceDealing {
    /// Under which name its positions are stored.
    #[prost(fixed64, tag = "1")]
    pub source: u64,
    /// The splits that there were when it was settled.
    #[prost(uint32, repeated, tag = "2")]
    pub splits: Vec<u32>,
    /// The partition of the job that each of them belongs to.
    #[prost(uint32, repeated, tag = "3")]
    pub owners: Vec<u32>,
    /// Those of them that came into being after the job had begun whose state this one goes on with.
    #[prost(uint32, repeated, tag = "4")]
    pub later: Vec<u32>,
}

/// How long something holds, unless another word comes first: of who dies none does.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Until {
    /// Milliseconds since 1970 UTC, by the clock of who gives the order.
    #[prost(int64, tag = "1")]
    pub ms: i64,
}

/// No more than the word.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Nothing {}

/// A job.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Run {
    /// Its name, for people.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What its topics are called after: a job that names its state goes on where one of this name was.
    #[prost(string, tag = "2")]
    pub state: String,
    /// Its partitions.
    #[prost(uint32, tag = "3")]
    pub partitions: u32,
    /// Its options.
    #[prost(message, optional, tag = "4")]
    pub options: Option<prost_types::Struct>,
    /// What it does, with everything its workers need.
    #[prost(message, optional, tag = "5")]
    pub pipeline: Option<Pipeline>,
    /// How often the pipeline of this state was updated.
    #[prost(uint64, tag = "6")]
    pub revision: u64,
    /// The job whose place it takes.
    #[prost(string, tag = "7")]
    pub replaces: String,
    /// The components that its pipeline names by path, as they were when it was submitted.
    #[prost(message, repeated, tag = "8")]
    pub components: Vec<Carried>,
    /// The versions that were deployed since it was submitted; the last one of a transform counts.
    #[prost(message, repeated, tag = "9")]
    pub deployed: Vec<Version>,
    /// Whose the splits of its sources are; a job that goes on with a state of which that is not known finds out when it starts.
    #[prost(message, optional, tag = "10")]
    pub dealt: Option<Dealings>,
    /// The job that had the state last as who gives the order knows it, empty if none had: the order holds if no other came between. Earlier versions do not say it.
    #[prost(string, optional, tag = "11")]
    pub after: Option<String>,
    /// Who gives the order knows it by this when it is read.
    #[prost(fixed64, tag = "12")]
    pub ticket: u64,
}

/// A version of a function.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Version {
    /// The transform whose function it is.
    #[prost(string, tag = "1")]
    pub transform: String,
    /// The component; no file is called by its path.
    #[prost(message, optional, tag = "2")]
    pub component: Option<Carried>,
    /// The function.
    #[prost(string, tag = "3")]
    pub function: String,
    /// JSON text that it is opened with; empty for nothing.
    #[prost(string, tag = "4")]
    pub config: String,
}

/// A component that goes with a job.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Carried {
    /// Its path in the pipeline.
    #[prost(string, tag = "1")]
    pub path: String,
    /// `sha256:` and its digest.
    #[prost(string, tag = "2")]
    pub digest: String,
    /// Where it stands among the cluster's artifacts.
    #[prost(int64, tag = "3")]
    pub at: i64,
    /// Under what it stands there; empty for its digest, as earlier versions had it.
    #[prost(string, tag = "4")]
    pub key: String,
}

impl Run {
    /// The components that go with it: those of its pipeline, then those that were deployed.
    pub fn carried(&self) -> impl Iterator<Item = &Carried> {
        self.components.iter().chain(self.deployed.iter().filter_map(|version| version.component.as_ref()))
    }
}

impl Order {
    /// As bytes.
    pub fn encoded(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Reads an order; `None` for one of a later version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes).ok().filter(|order| order.what.is_some())
    }
}

/// How a partition ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "UPPERCASE")]
pub enum Ended {
    /// All its input is processed and committed.
    Done,
    /// The same after a drain.
    Drained,
    /// It cannot go on, and with it the job.
    Failed(Failure),
}

/// An error as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    code: String,
    message: String,
    #[serde(default)]
    help: String,
    #[serde(default)]
    transform: String,
    #[serde(default)]
    trace: String,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code.to_owned(),
            message: error.message.clone(),
            help: error.help.clone(),
            transform: error.transform.clone(),
            trace: error.trace.clone(),
        }
    }
}

impl Failure {
    /// The error as the job's own. Its code is another process's word, so it stands in the message.
    pub fn error(&self) -> Error {
        let mut error = Error::user("CLUSTER_JOB_FAILED", format!("{}: {}", self.code, self.message));
        error.domain = Domain::External;
        error.help(self.help.clone()).in_transform(&self.transform).trace(self.trace.clone())
    }
}

/// The key under which a process says where others reach it; it is none of a result.
pub fn door_key(process: &str) -> String {
    format!("{process}/door")
}

/// The process of such a key.
pub fn read_door_key(key: &str) -> Option<&str> {
    key.strip_suffix("/door")
}

/// The key of a partition's result.
pub fn result_key(job: &str, partition: u16) -> String {
    format!("{job}/{partition}")
}

/// Job and partition of such a key.
pub fn read_result_key(key: &str) -> Option<(&str, u16)> {
    let (job, partition) = key.rsplit_once('/')?;
    Some((job, partition.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_results_are_read_back() -> Result<(), serde_json::Error> {
        let source = SourceDealing { source: 5, splits: vec![0, 1 << 16], owners: vec![0, 1], later: vec![1 << 16] };
        let dealt = Some(Dealings { sources: vec![source] });
        let pipeline = Some(Pipeline::default());
        let run = Run { name: "n".to_owned(), partitions: 4, pipeline, dealt, ..Run::default() };
        let order = Order { job: "j-1".to_owned(), what: Some(What::Run(Box::new(run))) };
        assert_eq!(Order::read(&order.encoded()), Some(order));
        assert_eq!(Order::read(b"\x0a\x01j"), None, "an order of a later version says nothing that is known");
        let failed = Ended::Failed(Failure::from(&Error::user("X_Y", "why").help("do")));
        let text = serde_json::to_string(&failed)?;
        assert!(text.starts_with(r#"{"state":"FAILED","code":"X_Y","message":"why","help":"do""#), "{text}");
        assert_eq!(serde_json::from_str::<Ended>(&text)?, failed);
        assert_eq!(serde_json::from_str::<Ended>(r#"{"state":"DONE"}"#)?, Ended::Done);
        assert_eq!(read_result_key(&result_key("a/b-1", 7)), Some(("a/b-1", 7)));
        assert_eq!((read_result_key(&door_key("1")), read_door_key(&door_key("1"))), (None, Some("1")));
        assert_eq!(read_door_key(&result_key("door", 7)), None);
        Ok(())
    }
}
