//! A queue between shards and a stream that may not be open yet.
//!
//! In: instructions and feeds, pushed without blocking. Out: a stream, once. Closing it ends the stream, which is how a
//! harness is told to stop.

use super::lock;
use std::sync::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Instructions and feeds that may wait for the connection. More wait in tasks of their own, as many as there are bundles
/// in flight, which credits bound.
const QUEUE: usize = 256;

/// Both ends of a queue whose receiving one is taken by the stream when it opens. Without a sender the stream ends.
pub(super) struct Queue<T> {
    sender: Mutex<Option<mpsc::Sender<T>>>,
    receiver: Mutex<Option<mpsc::Receiver<T>>>,
}

impl<T: Send + 'static> Queue<T> {
    /// An open queue.
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        Self { sender: Mutex::new(Some(sender)), receiver: Mutex::new(Some(receiver)) }
    }

    /// Queues without blocking; a full queue is waited for in a task.
    pub fn push(&self, runtime: &Handle, item: T) {
        let Some(sender) = lock(&self.sender).clone() else { return };
        if let Err(mpsc::error::TrySendError::Full(item)) = sender.try_send(item) {
            runtime.spawn(async move { sender.send(item).await });
        }
    }

    /// Its stream.
    ///
    /// # Errors
    /// A status for the second stream of a kind.
    pub fn open(&self, what: &str) -> Result<ReceiverStream<T>, Status> {
        let taken = lock(&self.receiver).take();
        taken.map(ReceiverStream::new).ok_or_else(|| Status::already_exists(format!("a second {what} stream")))
    }

    /// Ends the stream behind what is queued.
    pub fn close(&self) {
        lock(&self.sender).take();
    }
}
