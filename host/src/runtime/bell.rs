//! How a shard's thread is woken: a bell that everybody rings who has put something where the thread looks.
//!
//! In: rings from any thread. Out: an end of the thread's sleep. What was put where is not known here. A blocking receive of
//! a channel would spin before it sleeps, which costs a busy machine more than the wake-up it may save.

use crossbeam_channel::{SendError, Sender, TrySendError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

/// The bell of one thread. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Bell(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// It has been rung since the thread began to look.
    rung: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Bell {
    /// From now on it wakes the calling thread, and no other.
    pub fn wakes_me(&self) {
        let _ = self.0.thread.set(std::thread::current());
    }

    /// Ends the sleep of its thread, or prevents the next one.
    pub fn ring(&self) {
        if !self.0.rung.swap(true, Ordering::SeqCst)
            && let Some(thread) = self.0.thread.get()
        {
            thread.unpark();
        }
    }

    /// The thread begins to look: what is put somewhere from here on rings anew.
    pub fn look(&self) {
        self.0.rung.store(false, Ordering::SeqCst);
    }

    /// Sleeps until it is rung, unless it has been since [`look`](Self::look); at most so long.
    pub fn wait(&self, most: Duration) {
        if !self.0.rung.load(Ordering::SeqCst) {
            std::thread::park_timeout(most);
        }
    }
}

/// The sending half of a bounded channel whose receiver sleeps by a bell.
pub(super) struct Line<T> {
    pub sender: Sender<T>,
    pub bell: Bell,
}

impl<T> Clone for Line<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), bell: self.bell.clone() }
    }
}

impl<T> Line<T> {
    /// Sends, waiting for room.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.sender.send(message).inspect(|()| self.bell.ring())
    }

    /// Sends if there is room.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.sender.try_send(message).inspect(|()| self.bell.ring())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn no_message_is_slept_over() {
        let (sender, inbox) = bounded(4);
        let line = Line { sender, bell: Bell::default() };
        let bell = line.bell.clone();
        let reader = std::thread::spawn(move || {
            bell.wakes_me();
            let mut next = 0;
            while next < 10_000_u32 {
                bell.look();
                let mut any = false;
                while let Ok(message) = inbox.try_recv() {
                    assert_eq!(message, next);
                    (next, any) = (next + 1, true);
                }
                if !any {
                    bell.wait(LONG);
                }
            }
        });
        let began = Instant::now();
        (0..10_000).for_each(|n| line.send(n).expect("read"));
        reader.join().expect("all are read");
        assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    }

    #[test]
    fn a_ring_before_the_sleep_prevents_it() {
        let bell = Bell::default();
        bell.wakes_me();
        bell.look();
        bell.ring();
        let began = Instant::now();
        bell.wait(LONG);
        assert!(began.elapsed() < LONG);
    }
}
