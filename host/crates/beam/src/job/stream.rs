//! Streams of a job's states and messages: the history first, then whatever follows, to the job's end.

use super::history::{Event, What};
use super::record::JobRecord;
use super::runner::Importance;
use prost_types::Timestamp;
use std::sync::Arc;
use thalweg_proto::job::job_messages_response::Response as MessageOrState;
use thalweg_proto::job::{JobMessage, JobMessagesResponse, JobStateEvent};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Events read ahead of the network, per stream. A slow client only delays itself: the history is its buffer.
const EVENTS_AHEAD: usize = 16;

/// Told when the server stops, so that open streams end.
#[derive(Clone, Debug)]
pub(super) struct Closing(pub(super) watch::Receiver<bool>);

impl Closing {
    /// Waits until the server stops.
    pub(super) async fn closed(&mut self) {
        if self.0.wait_for(|closing| *closing).await.is_err() {
            std::future::pending::<()>().await; // nobody is left who could stop it
        }
    }
}

/// What a stream makes of an event and of the number of events dropped before it.
type Show<T> = fn(Event, u64) -> Vec<T>;

/// What a stream of events of type `T` answers with.
pub(super) type Events<T> = ReceiverStream<Result<T, Status>>;

/// The states of a job, oldest first, until it ends.
pub(super) fn states(record: Arc<JobRecord>, closing: Closing) -> Events<JobStateEvent> {
    follow(record, closing, |event, _| match event.what {
        What::State(state) => vec![JobStateEvent { state: state.to_wire().into(), timestamp: Some(event.time) }],
        What::Message { .. } => Vec::new(),
    })
}

/// The messages and states of a job, oldest first, until it ends. A gap in the history is mentioned.
pub(super) fn messages(record: Arc<JobRecord>, closing: Closing) -> Events<JobMessagesResponse> {
    follow(record, closing, |event, dropped| {
        let mut responses = Vec::with_capacity(2);
        if dropped > 0 {
            let text = format!("{dropped} messages before this one were dropped");
            responses.push(message(event.number.saturating_sub(1), &event.time, Importance::Warning, text));
        }
        responses.push(match event.what {
            What::State(state) => {
                let state = JobStateEvent { state: state.to_wire().into(), timestamp: Some(event.time) };
                JobMessagesResponse { response: Some(MessageOrState::StateResponse(state)) }
            }
            What::Message { importance, text } => message(event.number, &event.time, importance, text),
        });
        responses
    })
}

fn message(number: u64, time: &Timestamp, importance: Importance, message_text: String) -> JobMessagesResponse {
    let message = JobMessage {
        message_id: number.to_string(),
        time: time.to_string(),
        importance: importance.to_wire().into(),
        message_text,
    };
    JobMessagesResponse { response: Some(MessageOrState::MessageResponse(message)) }
}

/// Shows a client every event, from the first to the job's end.
fn follow<T: Send + 'static>(record: Arc<JobRecord>, mut closing: Closing, show: Show<T>) -> Events<T> {
    let (sender, stream) = mpsc::channel(EVENTS_AHEAD);
    tokio::spawn(async move {
        tokio::select! {
            () = closing.closed() => {
                let _ = sender.try_send(Err(Status::unavailable("the server is shutting down")));
            }
            () = sender.closed() => {}
            () = send_all(&record, &sender, show) => {}
        }
    });
    ReceiverStream::new(stream)
}

async fn send_all<T>(record: &JobRecord, sender: &mpsc::Sender<Result<T, Status>>, show: Show<T>) {
    let mut grown = record.watch();
    let mut next = 0;
    loop {
        while let Some(event) = record.event(next) {
            let dropped = event.number - next;
            next = event.number + 1;
            let last = matches!(event.what, What::State(state) if state.is_terminal());
            for response in show(event, dropped) {
                if sender.send(Ok(response)).await.is_err() {
                    return;
                }
            }
            if last {
                return;
            }
        }
        if grown.changed().await.is_err() {
            return;
        }
    }
}
