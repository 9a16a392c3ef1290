//! How the control side hands the threads a new table, and knows that they use it.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::table::Table;
use crate::sys::{SysError, Wakeup};

/// How long a thread may take to finish its batch and look at a new table. It takes microseconds,
/// and some ten milliseconds where the parent interface is congested.
const PATIENCE: Duration = Duration::from_secs(1);

/// The control side's end.
#[derive(Debug)]
pub(super) struct Publisher {
    shared: Arc<Shared>,
    readers: Vec<Arc<Side>>,
}

/// One thread's end.
#[derive(Debug)]
pub(super) struct Reader {
    shared: Arc<Shared>,
    side: Arc<Side>,
    generation: u64,
    table: Arc<Table>,
}

#[derive(Debug)]
struct Shared {
    /// Counts the tables published. Looked at once a batch; changed with `table` locked.
    generation: AtomicU64,
    table: Mutex<Arc<Table>>,
    stop: AtomicBool,
}

/// What the control side and one thread have between them.
#[derive(Debug)]
struct Side {
    wakeup: Wakeup,
    progress: Mutex<Progress>,
    moved: Condvar,
}

#[derive(Clone, Copy, Debug)]
enum Progress {
    /// The thread works by the table of this generation, and holds no older one.
    Uses(u64),
    /// The thread has ended.
    Ended,
}

/// A thread does not work by the new table.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum NotUsed {
    /// It will, once it comes round to it.
    #[error("a thread of the data plane did not answer within a second")]
    Late,
    /// It is gone.
    #[error("a thread of the data plane has died")]
    Dead,
}

/// Why a wait is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Woken {
    /// The thread is to end.
    Stop,
    /// There may be frames.
    Frames,
    /// The time is up, or there is a new table.
    Look,
}

impl Publisher {
    pub(super) fn new(table: Table) -> Self {
        let shared = Shared {
            generation: AtomicU64::new(0),
            table: Mutex::new(Arc::new(table)),
            stop: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), readers: Vec::new() }
    }

    /// Makes the end of one more thread.
    pub(super) fn reader(&mut self) -> Result<Reader, SysError> {
        let (generation, table) = self.shared.current();
        let side = Arc::new(Side {
            wakeup: Wakeup::new()?,
            progress: Mutex::new(Progress::Uses(generation)),
            moved: Condvar::new(),
        });
        self.readers.push(Arc::clone(&side));
        Ok(Reader { shared: Arc::clone(&self.shared), side, generation, table })
    }

    /// Publishes a table, and returns when every thread works by it and has let go of the one
    /// before.
    ///
    /// # Errors
    ///
    /// [`NotUsed`] where one does not; the table is published all the same.
    pub(super) fn publish(&self, table: Table) -> Result<(), NotUsed> {
        let generation = self.shared.replace(table);
        let deadline = Instant::now() + PATIENCE;
        for side in &self.readers {
            side.wakeup.notify();
        }
        self.readers.iter().try_for_each(|side| side.wait_for(generation, deadline))
    }

    /// Tells whether every thread is still there.
    pub(super) fn all_alive(&self) -> bool {
        self.readers.iter().all(|side| matches!(*lock(&side.progress), Progress::Uses(_)))
    }

    /// Tells the threads to end.
    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        for side in &self.readers {
            side.wakeup.notify();
        }
    }
}

impl Shared {
    fn current(&self) -> (u64, Arc<Table>) {
        let table = lock(&self.table);
        (self.generation.load(Ordering::Acquire), Arc::clone(&table))
    }

    fn replace(&self, table: Table) -> u64 {
        let mut current = lock(&self.table);
        *current = Arc::new(table);
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }
}

impl Side {
    fn set(&self, progress: Progress) {
        *lock(&self.progress) = progress;
        self.moved.notify_all();
    }

    fn wait_for(&self, generation: u64, deadline: Instant) -> Result<(), NotUsed> {
        let mut progress = lock(&self.progress);
        loop {
            match *progress {
                Progress::Uses(used) if used >= generation => return Ok(()),
                Progress::Ended => return Err(NotUsed::Dead),
                Progress::Uses(_) => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NotUsed::Late);
            }
            let waited = self.moved.wait_timeout(progress, left);
            progress = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Reader {
    /// The newest table. To be asked for after the frames of a batch have been taken up, so that
    /// none is judged by a table older than itself, and not again before they have gone on their
    /// way: the control side takes the question to mean that the last table is done with.
    pub(super) fn table(&mut self) -> &Table {
        if self.shared.generation.load(Ordering::Acquire) != self.generation {
            // Assigning lets go of the old table before anybody is told.
            (self.generation, self.table) = self.shared.current();
            self.side.set(Progress::Uses(self.generation));
        }
        &self.table
    }

    /// Waits until one of `sources` has frames, `time` is up, or the control side wants something;
    /// and sees to that.
    pub(super) fn wait(
        &mut self,
        sources: [Option<BorrowedFd<'_>>; 2],
        time: Option<Duration>,
    ) -> Woken {
        let time = time.map_or(PollTimeout::NONE, |time| {
            PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
        });
        // A source that is not there is one that is never ready.
        let [first, second] = sources.map(|source| match source {
            Some(source) => PollFd::new(source, PollFlags::POLLIN),
            None => PollFd::new(self.side.wakeup.as_fd(), PollFlags::empty()),
        });
        let mut fds = [PollFd::new(self.side.wakeup.as_fd(), PollFlags::POLLIN), first, second];
        let _ = poll(&mut fds, time);
        let [_, first, second] = fds;
        // An error counts: reading will tell which.
        let frames = first.any() != Some(false) || second.any() != Some(false);
        // It may have been raised since; then the next wait ends at once.
        let raised = self.side.wakeup.take();
        if self.shared.stop.load(Ordering::Acquire) {
            return Woken::Stop;
        }
        if raised {
            self.table();
        }
        if frames { Woken::Frames } else { Woken::Look }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.side.set(Progress::Ended);
    }
}

/// A thread that died with a lock held left whole values behind: they are only ever replaced.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::secy::{SecySettings, Validate};

    fn table(parent_mtu: u32) -> Table {
        let settings = SecySettings {
            protect: true,
            validate: Validate::Strict,
            replay_protect: true,
            replay_window: 0,
            include_sci: true,
        };
        Table::closed(settings, parent_mtu)
    }

    #[test]
    fn publishing_ends_when_a_waiting_reader_has_the_table_and_let_go_of_the_old_one() {
        let mut publisher = Publisher::new(table(1));
        let mut reader = publisher.reader().unwrap();
        let old = Arc::downgrade(&reader.table);
        let thread = thread::spawn(move || {
            while reader.wait([None, None], None) != Woken::Stop {}
            reader.table().parent_mtu
        });
        publisher.publish(table(2)).unwrap();
        assert!(old.upgrade().is_none());
        publisher.publish(table(3)).unwrap();
        publisher.stop();
        assert_eq!(thread.join().unwrap(), 3);
    }

    #[test]
    fn a_reader_that_is_busy_takes_the_newest_table_with_its_next_batch() {
        let mut publisher = Publisher::new(table(1));
        let mut reader = publisher.reader().unwrap();
        publisher.shared.replace(table(2));
        publisher.shared.replace(table(3));
        assert_eq!(reader.table().parent_mtu, 3);
    }

    #[test]
    fn a_reader_that_died_is_noticed_and_not_waited_for() {
        let mut publisher = Publisher::new(table(1));
        let reader = publisher.reader().unwrap();
        assert!(publisher.all_alive());
        drop(reader);
        assert_eq!(publisher.publish(table(2)), Err(NotUsed::Dead));
        assert!(!publisher.all_alive());
    }

    #[test]
    fn a_reader_that_does_not_come_round_is_reported_late() {
        let mut publisher = Publisher::new(table(1));
        let mut reader = publisher.reader().unwrap();
        assert_eq!(publisher.publish(table(2)), Err(NotUsed::Late));
        // It finds the table all the same.
        assert_eq!(reader.wait([None, None], None), Woken::Look);
        assert_eq!(reader.table.parent_mtu, 2);
    }

    #[test]
    fn a_wait_ends_for_either_source_and_at_its_time() {
        let mut publisher = Publisher::new(table(1));
        let mut reader = publisher.reader().unwrap();
        let (first, second) = (Wakeup::new().unwrap(), Wakeup::new().unwrap());
        let moment = Some(Duration::from_millis(1));
        let mut wait = || reader.wait([Some(first.as_fd()), Some(second.as_fd())], moment);
        assert_eq!(wait(), Woken::Look);
        second.notify();
        assert_eq!(wait(), Woken::Frames);
        assert!(second.take());
        first.notify();
        assert_eq!(wait(), Woken::Frames);
        publisher.stop();
        assert_eq!(wait(), Woken::Stop);
    }
}
