//! The way back to a shard: a bounded channel of events that the tasks of the server fill and the shard's thread drains.
//!
//! In: events from any task, which waits while the shard is behind (that is the back-pressure on the worker: its
//! stream is not read meanwhile). Out: the same events, without blocking, and one wake-up per silence.

use super::config::FnApiConfig;
use super::held::Holding;
use super::lock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use thalweg_core::error::Error;
use thalweg_core::port::worker::Event;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Called from any thread when a worker has events for its shard; must be cheap and must not block (it unparks a thread).
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Unit of the byte budget: a semaphore counts in `u32`, so bytes are counted by the KiB.
const PERMIT_BYTES: usize = 1024;

/// An event on its way, with the share of the byte budget it gives back when it is taken.
pub(super) struct Delivery {
    event: Event,
    _share: Option<OwnedSemaphorePermit>,
}

/// What happened to the harness since the shard last looked.
#[derive(Default)]
pub(super) struct News {
    /// It came up.
    pub up: bool,
    /// It went away.
    pub lost: Option<Error>,
    /// It will not come (back).
    pub failed: Option<Error>,
}

/// The sending half, shared by all bundles of a shard.
pub(super) struct Link {
    events: mpsc::Sender<Delivery>,
    budget: Arc<Semaphore>,
    budget_max: u32,
    /// Whether the shard has been woken and has not looked since.
    rung: AtomicBool,
    waker: Waker,
    news: Mutex<News>,
    has_news: AtomicBool,
    /// What the shard's bundles hold before they are over.
    held: Arc<Holding>,
}

/// The receiving half, on the shard's thread.
pub(super) struct Inbox {
    link: Arc<Link>,
    events: mpsc::Receiver<Delivery>,
}

/// Makes both halves: as many events and bytes of outputs wait between them as the limits allow.
pub(super) fn link(config: &FnApiConfig, waker: Waker) -> (Arc<Link>, Inbox) {
    let (sender, events) = mpsc::channel(config.events_max.max(1));
    let budget_max = u32::try_from(config.event_bytes_max / PERMIT_BYTES).unwrap_or(u32::MAX).clamp(1, 1 << 28);
    let link = Arc::new(Link {
        events: sender,
        budget: Arc::new(Semaphore::new(budget_max as usize)),
        budget_max,
        rung: AtomicBool::new(false),
        waker,
        news: Mutex::default(),
        has_news: AtomicBool::new(false),
        held: Holding::new(config.state_bytes_max),
    });
    (Arc::clone(&link), Inbox { link, events })
}

impl Link {
    /// Hands an event over, waiting while the shard is behind. A shard that is gone takes nothing and delays nobody.
    pub async fn send(&self, event: Event) {
        let share = match &event {
            Event::Output { batch, .. } => self.reserve(batch.arena().len()).await,
            _ => None,
        };
        if self.events.send(Delivery { event, _share: share }).await.is_ok() {
            self.ring();
        }
    }

    /// Takes a share of the byte budget; an event larger than all of it waits until nothing else is on the way.
    async fn reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes / PERMIT_BYTES + 1).unwrap_or(u32::MAX).min(self.budget_max);
        Arc::clone(&self.budget).acquire_many_owned(permits).await.ok()
    }

    /// Tells the shard something about the harness itself.
    pub fn tell(&self, change: impl FnOnce(&mut News)) {
        change(&mut lock(&self.news));
        self.has_news.store(true, Ordering::Release);
        self.ring();
    }

    /// What the shard's bundles hold before they are over.
    pub fn held(&self) -> &Arc<Holding> {
        &self.held
    }

    /// Whether the shard's worker has been dropped.
    pub fn is_closed(&self) -> bool {
        self.events.is_closed()
    }

    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            (self.waker)();
        }
    }
}

impl Inbox {
    /// The sending half.
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Begins a look: whatever is sent from here on wakes the shard again.
    pub fn begin(&self) {
        self.link.rung.store(false, Ordering::Release);
    }

    /// The next event, if there is one.
    pub fn next(&mut self) -> Option<Event> {
        self.events.try_recv().ok().map(|delivery| delivery.event)
    }

    /// What happened to the harness since the last call.
    pub fn news(&self) -> Option<News> {
        self.link.has_news.swap(false, Ordering::AcqRel).then(|| std::mem::take(&mut *lock(&self.link.news)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use thalweg_core::batch::BatchBuilder;
    use thalweg_core::id::BundleId;
    use thalweg_core::time::EventTime;
    use thalweg_core::window::Window;

    fn output(bytes: usize) -> Event {
        let mut builder = BatchBuilder::new();
        builder.push(b"", &vec![0; bytes], EventTime(0), &[Window::Global]);
        Event::Output { bundle: BundleId(1), output: 0, batch: builder.finish() }
    }

    #[tokio::test]
    async fn a_full_budget_stops_the_sender_until_the_shard_has_looked() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&wakes);
        let waker: Waker = Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let (link, mut inbox) =
            link(&FnApiConfig { events_max: 8, event_bytes_max: 4096, ..FnApiConfig::default() }, waker);
        link.send(output(3000)).await;
        let second = tokio::spawn({
            let link = Arc::clone(&link);
            async move { link.send(output(100_000)).await }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        inbox.begin();
        assert!(inbox.next().is_some());
        second.await.expect("sent");
        assert!(inbox.next().is_some());
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
    }
}
