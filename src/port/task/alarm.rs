//! An alarm clock on the time that the driver lives by.

use std::{io, time::Duration};

use nix::{
    errno::Errno,
    sys::{
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
};

use crate::sys::{Readiness, boottime};
use crate::time::Time;

/// Reads the clock of the port: it runs on while the machine is suspended, and never steps.
pub(super) fn now() -> Time {
    Time::ZERO.after(boottime())
}

/// Rings at a moment of [`now`]. The runtime's own timers stand still during suspension and count
/// in milliseconds; a hello must not be late for either reason.
pub(super) struct Alarm {
    timer: TimerFd,
    readiness: Readiness,
    at: Option<Time>,
}

impl Alarm {
    /// Makes an alarm that is off.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
        Ok(Self { readiness: Readiness::of(&timer)?, timer, at: None })
    }

    /// Sets the alarm, or turns it off. A moment that has passed rings at once.
    pub(super) fn set(&mut self, at: Option<Time>) -> io::Result<()> {
        if at == self.at {
            return Ok(());
        }
        match at {
            Some(at) => {
                // Zero would turn it off.
                let moment = Duration::from_nanos(at.as_nanos().max(1));
                let once = Expiration::OneShot(TimeSpec::from_duration(moment));
                self.timer.set(once, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
            None => self.timer.unset()?,
        }
        self.at = at;
        Ok(())
    }

    /// Waits until it rings. It is off afterwards. Dropping this future loses nothing.
    pub(super) async fn rings(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.readiness.readable().await?;
            match self.timer.wait() {
                Ok(()) => {
                    self.at = None;
                    return Ok(());
                }
                // It was set anew after it had rung.
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(3600);

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test);
    }

    #[test]
    fn an_alarm_rings_once_and_not_before_its_time() {
        run(async {
            let mut alarm = Alarm::new().unwrap();
            let at = now().after(SOON);
            alarm.set(Some(at)).unwrap();
            alarm.rings().await.unwrap();
            assert!(now() >= at);
            assert!(timeout(SOON, alarm.rings()).await.is_err());
        });
    }

    #[test]
    fn a_moment_that_has_passed_rings_at_once() {
        run(async {
            let mut alarm = Alarm::new().unwrap();
            alarm.set(Some(Time::ZERO)).unwrap();
            timeout(LATE, alarm.rings()).await.unwrap().unwrap();
        });
    }

    #[test]
    fn an_alarm_that_was_put_off_after_it_rang_does_not_ring() {
        run(async {
            let mut alarm = Alarm::new().unwrap();
            alarm.set(Some(now())).unwrap();
            tokio::time::sleep(SOON).await;
            alarm.set(Some(now().after(LATE))).unwrap();
            assert!(timeout(SOON, alarm.rings()).await.is_err());
            alarm.set(None).unwrap();
            assert!(timeout(SOON, alarm.rings()).await.is_err());
        });
    }
}
