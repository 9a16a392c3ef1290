//! The clock that protocol timers run on.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Reads the time since the machine started, suspension included. It is never set back.
///
/// # Panics
///
/// Never: every Linux that the daemon runs on has the clock.
#[must_use]
pub fn boottime() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_has_started_and_does_not_go_back() {
        let first = boottime();
        assert!(first > Duration::ZERO);
        assert!(boottime() >= first);
    }
}
