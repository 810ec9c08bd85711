//! Questions about the state of jobs, between a server and those who ask it: in words of the protocol, of [`query`](crate::query), and back.

use super::running::{Cells, JobTable};
use crate::query::{self, Answer, Question};
use thalweg_beam::job::{JobClient, StateQuestion, in_memory, not_running};
use thalweg_core::error::{Error, Result};
use thalweg_proto::life::{GetStateRequest, ScanStateRequest};

/// Asks a server for the state of a job.
///
/// # Errors
/// `JOB_SERVER` when nobody answers there, `QUERY_*` as the server gives them, and `JOB_REFUSED` with what else it says.
pub async fn ask_state(server: &str, job: &str, question: &Question) -> Result<Answer> {
    ask(server, job, wire(question)).await
}

async fn ask(server: &str, job: &str, question: StateQuestion) -> Result<Answer> {
    let mut client = JobClient::connect(server).await?;
    let json = client.state_of(job, question).await.map_err(as_given)?;
    serde_json::from_str(&json).map_err(|e| {
        Error::external("JOB_REFUSED", format!("the answer of the server cannot be read: {e}"))
            .help("ask with the version of Thalweg that the server is of")
    })
}

/// Asks another process of a cluster, which answers of itself alone.
///
/// # Errors
/// As for [`ask_state`].
pub async fn ask_process(endpoint: &str, job: &str, question: &Question) -> Result<Answer> {
    let question = match wire(question) {
        StateQuestion::Get(of) => StateQuestion::Get(GetStateRequest { here: true, ..of }),
        StateQuestion::Scan(of) => StateQuestion::Scan(ScanStateRequest { here: true, ..of }),
        StateQuestion::List => StateQuestion::List,
    };
    ask(endpoint, job, question).await
}

/// An error that is an answer, in the server's words.
fn as_given(error: Error) -> Error {
    let Some((code, rest)) = error.message.split_once(": ") else { return error };
    let (message, help) = rest.split_once("\n  what to do: ").unwrap_or((rest, ""));
    query::answered_error(code, message, help).unwrap_or(error)
}

fn wire(question: &Question) -> StateQuestion {
    match question.clone() {
        Question::List => StateQuestion::List,
        Question::Get { transform, state, key, window } => {
            let window = window.unwrap_or_default();
            StateQuestion::Get(GetStateRequest { transform, state, key, window, ..Default::default() })
        }
        Question::Scan { transform, state, limit, prefix, page } => {
            let (prefix, page) = (prefix.unwrap_or_default(), page.unwrap_or_default());
            StateQuestion::Scan(ScanStateRequest { transform, state, limit, prefix, page, ..Default::default() })
        }
    }
}

/// What a request asks for.
pub fn asked(question: StateQuestion) -> Question {
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    match question {
        StateQuestion::List => Question::List,
        StateQuestion::Get(of) => {
            let GetStateRequest { transform, state, key, window, .. } = of;
            Question::Get { transform, state, key, window: given(window) }
        }
        StateQuestion::Scan(of) => {
            let ScanStateRequest { transform, state, limit, prefix, page, .. } = of;
            let limit = if limit == 0 { query::LIMIT_USUAL } else { limit };
            Question::Scan { transform, state, limit, prefix: given(prefix), page: given(page) }
        }
    }
}

/// Answers about a job of this process.
pub fn answer(table: &JobTable, id: &str, question: StateQuestion) -> Result<String> {
    let running = table.running(id).ok_or_else(|| not_open(id))?;
    // whoever begins where the job was waits for this
    let _place = running.place.upgrade();
    let Cells { database, shares } = running.cells.ok_or_else(in_memory)?;
    let database = database.upgrade().ok_or_else(|| not_open(id))?;
    let question = asked(question);
    let found = database.committed(shares.as_deref(), |cells, epoch| query::answer(cells, epoch, &question));
    json(&found?)
}

/// No process of this server has the state of the job open.
pub fn not_open(id: &str) -> Error {
    not_running(id, "ask the state directory of a job that has ended, by --state-dir DIR")
}

/// The text of an answer.
pub fn json(answer: &Answer) -> Result<String> {
    serde_json::to_string(answer).map_err(|e| {
        Error::internal("QUERY_UNREADABLE", format!("an answer has no form in JSON: {e}"))
            .help("this is a fault of Thalweg")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_come_through_as_they_are() {
        let (transform, state) = ("Count/ParDo".to_owned(), "n".to_owned());
        let get = |window: Option<&str>| Question::Get {
            transform: transform.clone(),
            state: state.clone(),
            key: String::new(),
            window: window.map(str::to_owned),
        };
        let scan = |page: Option<&str>| Question::Scan {
            transform: transform.clone(),
            state: state.clone(),
            limit: 7,
            prefix: Some("a".to_owned()),
            page: page.map(str::to_owned),
        };
        for question in [Question::List, get(None), get(Some("0..5")), scan(None), scan(Some("00"))] {
            assert_eq!(asked(wire(&question)), question);
        }
    }

    #[test]
    fn errors_that_are_answers_keep_their_code_and_others_do_not() {
        let given = |text: &str| as_given(Error::user("JOB_REFUSED", text));
        let unknown = given("QUERY_KEY_UNKNOWN: nothing for: \"k\"\n  what to do: look");
        assert_eq!(
            (unknown.code, unknown.message.as_str(), unknown.help.as_str()),
            ("QUERY_KEY_UNKNOWN", "nothing for: \"k\"", "look")
        );
        assert_eq!(given("STATE_IO: broken").code, "JOB_REFUSED");
    }
}
