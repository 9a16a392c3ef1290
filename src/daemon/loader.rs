//! Reads the configuration again aside: a file system may hang, and the daemon must not.

use std::time::Duration;

use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// Reads one thing at a time, each with a limit.
#[derive(Debug)]
pub(crate) struct Loader<T> {
    /// What has been begun and not waited for to its end.
    reading: Option<JoinHandle<T>>,
}

/// Why there is nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// It takes too long. Once it has ended, what it has read is of no use any more.
    #[error("reading it takes more than {} s", .0.as_secs())]
    Late(Duration),
    /// An earlier one still has not ended.
    #[error("reading it for an earlier reload has still not ended")]
    Stuck,
    /// It has broken.
    #[error(transparent)]
    Broken(#[from] JoinError),
}

impl<T> Default for Loader<T> {
    fn default() -> Self {
        Self { reading: None }
    }
}

impl<T: Send + 'static> Loader<T> {
    /// Reads in a thread of its own. Dropping this future loses nothing but the result.
    pub(crate) async fn load(
        &mut self,
        limit: Duration,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LoadError> {
        // Each that hangs holds a thread: of those there must not be more with every try.
        if self.reading.as_ref().is_some_and(|reading| !reading.is_finished()) {
            return Err(LoadError::Stuck);
        }
        let reading = self.reading.insert(spawn_blocking(read));
        let read = timeout(limit, reading).await.map_err(|_| LoadError::Late(limit))?;
        self.reading = None;
        Ok(read?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_hangs_is_given_up_and_nothing_more_is_begun_until_it_has_ended() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut loader = Loader::default();
            let (release, released) = mpsc::channel::<()>();
            let late = loader.load(SOON, move || released.recv().map_or(1, |()| 2)).await;
            assert!(matches!(late, Err(LoadError::Late(SOON))), "{late:?}");
            let stuck = loader.load(LONG, || 3).await;
            assert!(matches!(stuck, Err(LoadError::Stuck)), "{stuck:?}");

            drop(release);
            while loader.reading.as_ref().is_some_and(|reading| !reading.is_finished()) {
                tokio::time::sleep(SOON).await;
            }
            assert_eq!(loader.load(LONG, || 4).await.unwrap(), 4);
            assert_eq!(loader.load(LONG, || 5).await.unwrap(), 5);
        });
    }
}
