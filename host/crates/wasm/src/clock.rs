//! The clocks that limits are measured with, and entropy, read through the system calls' own wrappers. They reach a guest only
//! if it was granted them: a guest's clock is the processing time of its bundle.

use rustix::time::{ClockId, Timespec, clock_gettime};

fn nanoseconds(time: Timespec) -> u64 {
    (time.tv_sec.cast_unsigned()).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec.cast_unsigned())
}

/// CPU time of the calling thread in nanoseconds.
pub fn thread_cpu() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// A clock that never goes back, in nanoseconds from some fixed moment.
pub fn monotonic() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// The time of day in nanoseconds since the Unix epoch.
pub fn wall() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime))
}

/// Fills bytes with entropy of the system.
pub fn entropy(bytes: &mut [u8]) -> std::io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let got = rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty())?;
        rest = rest.get_mut(got..).unwrap_or_default();
    }
    Ok(())
}
