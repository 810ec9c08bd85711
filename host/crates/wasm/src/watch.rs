//! The end of a call while the host works for it: nobody interrupts the host, so it looks itself. In: how much it has done. Out: whether it goes on.

use crate::error::Error;
use crate::store::{Deadline, GuestStore, KEPT_BYTES};

/// Looks at the clock now and then while the host answers a long list.
pub struct Watch {
    deadline: Deadline,
    late: Error,
    done: usize,
}

/// What an answer costs: the question, and going over all that the call has written.
pub fn cost(subkey: &[u8], changes: &[Vec<u8>]) -> usize {
    // a question of the store takes as long as going over about a kilobyte
    changes.iter().fold(1024 + subkey.len(), |sum, frame| sum + frame.len() + KEPT_BYTES)
}

impl Watch {
    /// Bytes of work between two looks: a fraction of a millisecond.
    const EVERY: usize = 64 << 10;

    /// Counts work that goes over so many bytes.
    ///
    /// # Errors
    /// [`Error::CpuLimit`] if the call should have ended.
    pub fn look(&mut self, bytes: usize) -> Result<(), Error> {
        self.done = self.done.saturating_add(bytes);
        if self.done < Self::EVERY {
            return Ok(());
        }
        self.done = 0;
        if self.deadline.passed().is_some() { Err(self.late.clone()) } else { Ok(()) }
    }
}

impl GuestStore {
    /// A watch over the running call.
    pub fn watch(&self) -> Watch {
        let limit_ms = u64::try_from(self.limits.cpu_soft.as_millis()).unwrap_or(u64::MAX);
        let late = Error::CpuLimit { function: self.function.to_string(), limit_ms, trace: String::new() };
        Watch { deadline: self.call.deadline, late, done: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::describe::SlotKind;
    use crate::error::Result;
    use crate::frame::Moment;
    use crate::limits::Limits;
    use crate::side::Table;
    use crate::state::{Slot, StateAccess};
    use crate::store::Loan;
    use bytes::Bytes;
    use std::sync::Arc;
    use std::time::Duration;
    use thalweg_core::id::{BundleId, StateId};
    use thalweg_core::port::store::NullStore;
    use thalweg_core::port::worker::Group;
    use thalweg_core::state::{CellValue, StateView};
    use thalweg_core::window::Window;

    #[derive(Debug)]
    struct Nothing {
        waits: bool,
    }

    impl Table for Nothing {
        fn get(&self, _key: &[u8]) -> Option<Bytes> {
            None
        }
        fn waits(&self) -> bool {
            self.waits
        }
    }

    fn access(entries: u32) -> Result<StateAccess> {
        let groups = Arc::from([Group::new(b"a", Window::Global)]);
        let mut view = StateView::new(BundleId(7), groups, Vec::new(), Arc::new(NullStore::default()));
        for i in 0..entries {
            view.put(0, StateId(1), &i.to_be_bytes(), Some(CellValue::copy(b"x"))).map_err(Error::State)?;
        }
        let slots = [Slot { id: StateId(1), kind: SlotKind::Map, eager: false, coder: None }].into();
        Ok(StateAccess { view, slots, timers: 0, groups: vec![0] })
    }

    /// A store whose call has so much CPU time, with a map, a table in memory and one that waits.
    fn store(time: Duration) -> Result<GuestStore> {
        let mut store = GuestStore::new("f".into(), "T".into(), Arc::new(Limits::default().cpu_soft(time)), 0);
        let tables: [Arc<dyn Table>; 2] = [Arc::new(Nothing { waits: false }), Arc::new(Nothing { waits: true })];
        let loan = Loan { state: Some(access(10)?), tables: tables.into(), ..Loan::default() };
        store.begin(Moment::default(), loan);
        Ok(store)
    }

    /// A section of entries, each of these numbers, that point into no bytes.
    fn section(id: u32, head: [u32; 2], entries: usize, entry: &[u32]) -> Vec<u8> {
        let words = [&[id, (8 + entries * entry.len() * 4) as u32][..], &head, &entry.repeat(entries)].concat();
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// SUBKEYS with so many questions of the first group.
    fn questions(count: usize) -> Vec<u8> {
        section(22, [count as u32, 0], count, &[0; 4])
    }

    fn code<T>(result: Result<T>) -> &'static str {
        result.map_or_else(|error| error.code(), |_| "")
    }

    #[test]
    fn who_asks_much_is_late_even_if_it_has_written_nothing() -> Result<()> {
        let mut late = store(Duration::ZERO)?;
        assert_eq!(code(late.look_up(0, &questions(10))), "", "the clock is not looked at for little");
        assert_eq!(code(late.look_up(0, &questions(1000))), "WASM_CPU_LIMIT");
        assert_eq!(code(store(Duration::from_secs(60))?.look_up(0, &questions(1000))), "");
        Ok(())
    }

    #[test]
    fn the_time_of_tables_in_memory_is_the_guests() -> Result<()> {
        assert_eq!(code(store(Duration::ZERO)?.look_up_table(0, &questions(10_000))), "WASM_CPU_LIMIT");
        assert_eq!(code(store(Duration::ZERO)?.look_up_table(1, &questions(10_000))), "");
        assert_eq!(code(store(Duration::from_secs(60))?.look_up_table(0, &questions(10_000))), "");
        Ok(())
    }

    #[test]
    fn removing_ranges_costs_what_is_in_them() -> Result<()> {
        let mut access = access(20_000)?;
        // ranges of the first slot that hold nothing, one after the other
        let ops = section(26, [0, 3000], 3000, &[0, 4, 0, 0, 0, 0]);
        let before = clock::thread_cpu();
        access.apply(&ops, |_, _| {})?;
        let took = Duration::from_nanos(clock::thread_cpu() - before);
        assert!(took < Duration::from_secs(1), "{took:?} for 3,000 ranges");
        assert_eq!(access.view.list(0, StateId(1)).map_err(Error::State)?.len(), 20_000);
        Ok(())
    }

    #[test]
    fn writing_costs_what_is_written_in_whatever_order() -> Result<()> {
        let count = 150_000u32;
        let entries = (0..count).flat_map(|i| [[0, 0, 4 * i, 4 * (i + 1)], [0; 4]].concat().into_iter().take(6));
        // keys in an order that goes through all of them with large steps
        let keys = (0..count).flat_map(|i| (i.wrapping_mul(7919) % count).to_be_bytes());
        let words = [26, 8 + count * 28, 0, count].into_iter().chain(entries).flat_map(u32::to_le_bytes);
        let ops: Vec<u8> = words.chain(keys).collect();
        let mut access = access(0)?;
        let before = clock::thread_cpu();
        access.apply(&ops, |_, _| {})?;
        let took = Duration::from_nanos(clock::thread_cpu() - before);
        assert!(took < Duration::from_secs(3), "{took:?} for {count} entries");
        assert_eq!(access.view.list(0, StateId(1)).map_err(Error::State)?.len(), count as usize);
        Ok(())
    }
}
