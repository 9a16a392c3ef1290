//! Which packet numbers a receive SA still takes, and what the upper half of one must be.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::ident::PacketNumber;

/// The largest replay window of an XPN suite (802.1AE-2018 10.7.8): a late frame's number can
/// only be recovered while it is less than 2^31 below the newest.
pub const XPN_WINDOW_MAX: u32 = (1 << 30) - 1;

/// The replay state of one receive SA: nextPN and lowestPN of 802.1AE-2018 10.6.
///
/// There is no bitmap: all numbers from the lowest on are taken, one inside the window even
/// twice. Both numbers only ever rise, so threads share this without a lock; of two that commit the
/// same number with a window of 0, exactly one is told that it was first.
///
/// The next number may be 2^64, which no `u64` holds, so each is kept as the number before it.
#[derive(Debug)]
pub struct ReplayWindow {
    /// nextPN - 1: the highest number committed.
    highest: AtomicU64,
    /// lowestPN - 1: the highest number that is too low. Never above `highest`.
    too_low: AtomicU64,
}

/// Where a packet number lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// At the lowest acceptable number or above it.
    InWindow,
    /// Below the lowest acceptable number.
    Late,
}

impl ReplayWindow {
    /// Starts where `lowest` is both the next number and the lowest acceptable one.
    #[must_use]
    pub const fn new(lowest: PacketNumber) -> Self {
        let before = lowest.0.saturating_sub(1);
        Self { highest: AtomicU64::new(before), too_low: AtomicU64::new(before) }
    }

    /// Completes the 32 bits that an XPN frame carries (802.1AE-2018 10.6.2).
    ///
    /// Right as long as the number is less than 2^31 away from the lowest acceptable one.
    #[must_use]
    pub fn recover(&self, low: u32) -> PacketNumber {
        const TOP: u64 = 1 << 31;
        let lowest = self.lowest_pn().0;
        let mut high = lowest >> 32;
        if lowest & TOP != 0 && u64::from(low) & TOP == 0 {
            // At the top nothing follows, and the number can only be an old one.
            high = (high + 1).min(u64::from(u32::MAX));
        }
        PacketNumber(high << 32 | u64::from(low))
    }

    /// Tells whether [`ReplayWindow::recover`] may give something else once this number is committed.
    ///
    /// It does so only where the lowest acceptable number comes into another half of 2^32.
    #[must_use]
    pub fn may_complete_differently(&self, pn: PacketNumber, window: u32) -> bool {
        let lowest = self.lowest_pn().0;
        let then = pn.0.saturating_sub(u64::from(window)).saturating_add(1);
        then > lowest && then >> 31 != lowest >> 31
    }

    /// Tells where a number lies, and changes nothing.
    #[must_use]
    pub fn check(&self, pn: PacketNumber) -> Arrival {
        if pn.0 > self.too_low.load(Relaxed) { Arrival::InWindow } else { Arrival::Late }
    }

    /// Notes the number of a frame whose ICV was good, and tells where it lay.
    ///
    /// Other frames may have been committed since [`ReplayWindow::check`], so this answer counts.
    pub fn commit(&self, pn: PacketNumber, window: u32) -> Arrival {
        let window = u64::from(window);
        let before = self.highest.fetch_max(pn.0, Relaxed);
        if pn.0 > before {
            self.too_low.fetch_max(pn.0.saturating_sub(window), Relaxed);
            return Arrival::InWindow;
        }
        // Whoever committed `before` may not have raised `too_low` yet: reckon with it here.
        let too_low = self.too_low.load(Relaxed).max(before.saturating_sub(window));
        if pn.0 > too_low { Arrival::InWindow } else { Arrival::Late }
    }

    /// Notes the numbers of several frames whose ICVs were good, in one step: `first`, `last`, and any
    /// that came in rising order between them.
    ///
    /// Tells whether that is what committing them one by one would have come to, each of them in the
    /// window. Where it is not, or another thread was faster, nothing has changed.
    #[must_use]
    pub fn commit_rising(&self, first: PacketNumber, last: PacketNumber, window: u32) -> bool {
        let before = self.highest.load(Relaxed);
        if first.0 <= before
            || self.highest.compare_exchange(before, last.0, Relaxed, Relaxed).is_err()
        {
            return false;
        }
        self.too_low.fetch_max(last.0.saturating_sub(u64::from(window)), Relaxed);
        true
    }

    /// Leaves the state as a thread does that is between the two steps of [`ReplayWindow::commit`].
    #[cfg(test)]
    pub(super) fn commit_half(&self, pn: PacketNumber) {
        self.highest.fetch_max(pn.0, Relaxed);
    }

    /// Makes every number below `lowest` too low; one that is lower than it was changes nothing.
    pub fn raise(&self, lowest: PacketNumber) {
        let before = lowest.0.saturating_sub(1);
        // In this order, so that `too_low` is never seen above `highest`.
        self.highest.fetch_max(before, Relaxed);
        self.too_low.fetch_max(before, Relaxed);
    }

    /// The number after the highest committed; after 2^64 - 1 that same number.
    #[must_use]
    pub fn next_pn(&self) -> PacketNumber {
        PacketNumber(self.highest.load(Relaxed).saturating_add(1))
    }

    /// The lowest acceptable number; once nothing is acceptable, 2^64 - 1.
    #[must_use]
    pub fn lowest_pn(&self) -> PacketNumber {
        PacketNumber(self.too_low.load(Relaxed).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::AtomicUsize;

    use proptest::prelude::*;

    const LOW_WRAP: u64 = 1 << 32;

    fn state(window: &ReplayWindow) -> (u64, u64) {
        (window.next_pn().0, window.lowest_pn().0)
    }

    /// A window that has committed everything up to `pn`.
    fn at(pn: u64, window: u32) -> ReplayWindow {
        let replay = ReplayWindow::new(PacketNumber::FIRST);
        assert_eq!(replay.commit(PacketNumber(pn), window), Arrival::InWindow);
        replay
    }

    #[test]
    fn with_a_window_of_0_numbers_only_rise() {
        let replay = at(7, 0);
        assert_eq!(state(&replay), (8, 8));
        for pn in [0, 1, 6, 7] {
            assert_eq!(replay.check(PacketNumber(pn)), Arrival::Late, "{pn}");
            assert_eq!(replay.commit(PacketNumber(pn), 0), Arrival::Late, "{pn}");
        }
        assert_eq!(state(&replay), (8, 8));
        assert_eq!(replay.commit(PacketNumber(8), 0), Arrival::InWindow);
    }

    #[test]
    fn numbers_that_rise_are_committed_in_one_step_or_not_at_all() {
        let replay = at(7, 2);
        assert!(!replay.commit_rising(PacketNumber(7), PacketNumber(9), 2));
        assert_eq!(state(&replay), (8, 6));
        assert!(replay.commit_rising(PacketNumber(8), PacketNumber(20), 2));
        assert_eq!(state(&replay), (21, 19));
        assert!(replay.commit_rising(PacketNumber(21), PacketNumber(21), 100));
        assert_eq!(state(&replay), (22, 19));
    }

    /// 2^31 on, the same low half stands for another number.
    #[test]
    fn a_number_says_whether_the_next_one_could_be_completed_differently() {
        for (before, pn, window, differs) in [
            (5, 6, 0, false),
            (0x7fff_fff0, 0x7fff_fffe, 0, false),
            (0x7fff_fff0, 0x7fff_ffff, 0, true),
            (0x7fff_fff0, 0x8000_0000, 1, true),
            (0x7fff_fff0, 0x8000_0000, 2, false),
            (0xffff_fff0, 0xffff_ffff, 0, true),
            (0x8000_0010, 0x7fff_0000, 0, false),
        ] {
            let replay = at(before, 0);
            let told = replay.may_complete_differently(PacketNumber(pn), window);
            assert_eq!(told, differs, "{before:#x} {pn:#x} {window}");
            for low in [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
                let (then, now) = (at(before, 0), replay.recover(low));
                then.commit(PacketNumber(pn), window);
                assert!(differs || then.recover(low) == now, "{before:#x} {pn:#x} {window}");
            }
        }
    }

    #[test]
    fn a_window_takes_as_many_numbers_again_as_it_is_wide() {
        let replay = at(100, 4);
        assert_eq!(state(&replay), (101, 97));
        assert_eq!(replay.commit(PacketNumber(97), 4), Arrival::InWindow);
        assert_eq!(replay.commit(PacketNumber(97), 4), Arrival::InWindow);
        assert_eq!(replay.commit(PacketNumber(96), 4), Arrival::Late);
        assert_eq!(state(&replay), (101, 97));
    }

    #[test]
    fn the_lowest_number_is_never_lowered() {
        let replay = ReplayWindow::new(PacketNumber::FIRST);
        replay.raise(PacketNumber(50));
        assert_eq!(state(&replay), (50, 50));
        replay.raise(PacketNumber(40));
        assert_eq!(state(&replay), (50, 50));
        // Neither by a window that is wider than what was there before it.
        replay.commit(PacketNumber(60), 1000);
        assert_eq!(state(&replay), (61, 50));
    }

    #[test]
    fn number_0_is_late_from_the_start() {
        for lowest in [0, 1] {
            let replay = ReplayWindow::new(PacketNumber(lowest));
            assert_eq!(replay.check(PacketNumber(0)), Arrival::Late);
            assert_eq!(state(&replay), (1, 1));
        }
    }

    /// The last number of a suite with 32 bits leaves a next number that no frame can carry. A
    /// receiver that keeps 32 bits only would start over, and take everything again.
    #[test]
    fn after_the_last_32_bit_number_nothing_is_taken_again() {
        let replay = at(0xffff_ffff, 0);
        assert_eq!(state(&replay), (LOW_WRAP, LOW_WRAP));
        for pn in [0, 1, 2, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff] {
            assert_eq!(replay.check(PacketNumber(pn)), Arrival::Late, "{pn:#x}");
            assert_eq!(replay.commit(PacketNumber(pn), 0), Arrival::Late, "{pn:#x}");
        }
    }

    /// CVE-2026-63925: a frame whose low half is all ones was taken for ever.
    #[test]
    fn a_low_half_of_all_ones_is_taken_once_in_each_upper_half() {
        for high in [0, 1, 0xfffe] {
            let last = high << 32 | 0xffff_ffff;
            let replay = at(last - 1, 0);
            assert_eq!(replay.recover(0xffff_ffff), PacketNumber(last));
            assert_eq!(replay.commit(PacketNumber(last), 0), Arrival::InWindow);
            assert_eq!(state(&replay), (last + 1, last + 1));
            // From here the same octets mean a number 2^32 further on, under another nonce.
            assert_eq!(replay.recover(0xffff_ffff), PacketNumber(last + LOW_WRAP));
            assert_eq!(replay.commit(PacketNumber(last), 0), Arrival::Late);
            assert_eq!(state(&replay), (last + 1, last + 1));
        }
    }

    #[test]
    fn numbers_around_a_wrap_of_the_low_half_are_told_apart() {
        let replay = at(LOW_WRAP - 3, 2);
        for (low, pn) in [
            (0xffff_fffe, LOW_WRAP - 2),
            (0xffff_ffff, LOW_WRAP - 1),
            (0, LOW_WRAP),
            (1, LOW_WRAP + 1),
            (2, LOW_WRAP + 2),
        ] {
            assert_eq!(replay.recover(low), PacketNumber(pn));
            assert_eq!(replay.commit(PacketNumber(pn), 2), Arrival::InWindow);
            assert_eq!(state(&replay), (pn + 1, pn - 1));
            // One back is in the window, on whichever side of the wrap it lies.
            let back = PacketNumber(pn - 1);
            assert_eq!(replay.recover(low.wrapping_sub(1)), back);
            assert_eq!(replay.commit(back, 2), Arrival::InWindow);
        }
    }

    #[test]
    fn the_last_64_bit_number_is_taken_and_then_nothing() {
        let replay = at(u64::MAX - 1, 0);
        assert_eq!(replay.recover(0xffff_ffff), PacketNumber(u64::MAX));
        assert_eq!(replay.commit(PacketNumber(u64::MAX), 0), Arrival::InWindow);
        for low in [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff] {
            let pn = replay.recover(low);
            assert_eq!(replay.check(pn), Arrival::Late, "{low:#x}");
            assert_eq!(replay.commit(pn, 0), Arrival::Late, "{low:#x}");
        }
    }

    #[test]
    fn a_number_cannot_be_recovered_past_the_last() {
        let replay = at(u64::MAX - 1, 0);
        // With bit 31 clear the upper half would be the next one, and there is none.
        assert_eq!(replay.recover(5), PacketNumber(0xffff_ffff_0000_0005));
    }

    #[test]
    fn a_number_that_another_thread_is_just_committing_counts_already() {
        let replay = ReplayWindow::new(PacketNumber::FIRST);
        replay.commit_half(PacketNumber(10));
        assert_eq!(replay.check(PacketNumber(10)), Arrival::InWindow);
        assert_eq!(replay.commit(PacketNumber(10), 0), Arrival::Late);
        assert_eq!(replay.commit(PacketNumber(7), 4), Arrival::InWindow);
        assert_eq!(replay.commit(PacketNumber(6), 4), Arrival::Late);
    }

    #[test]
    fn of_threads_that_commit_the_same_numbers_one_is_first_with_each() {
        const THREADS: usize = 4;
        const NUMBERS: u64 = 20_000;
        let replay = ReplayWindow::new(PacketNumber::FIRST);
        let taken: Vec<AtomicUsize> = (0..NUMBERS).map(|_| AtomicUsize::new(0)).collect();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for (pn, taken) in (1..).zip(&taken) {
                        if replay.commit(PacketNumber(pn), 0) == Arrival::InWindow {
                            taken.fetch_add(1, Relaxed);
                        }
                    }
                });
            }
        });
        assert!(taken.iter().all(|count| count.load(Relaxed) <= 1));
        assert_eq!(taken.last().unwrap().load(Relaxed), 1);
        assert_eq!(state(&replay), (NUMBERS + 1, NUMBERS + 1));
    }

    /// The rules as the standard has them, in numbers too wide to wrap.
    struct Model {
        next: u128,
        lowest: u128,
    }

    impl Model {
        fn commit(&mut self, pn: u64, window: u32) -> Arrival {
            let pn = u128::from(pn);
            if pn < self.lowest {
                return Arrival::Late;
            }
            if pn >= self.next {
                self.next = pn + 1;
                self.lowest = self.lowest.max(self.next.saturating_sub(u128::from(window)));
            }
            Arrival::InWindow
        }

        fn raise(&mut self, lowest: u64) {
            self.lowest = self.lowest.max(u128::from(lowest));
            self.next = self.next.max(self.lowest);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Commit(i64),
        Raise(i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (-70_i64..70).prop_map(Step::Commit),
            1 => (-200_i64..200).prop_map(Step::Raise),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn a_window_moves_as_the_naive_model_does(
            start in prop_oneof![
                1..300_u64,
                LOW_WRAP - 300..LOW_WRAP + 300,
                (u64::MAX - 300)..=u64::MAX,
                any::<u64>(),
            ],
            window in prop_oneof![Just(0_u32), 1..100_u32, Just(XPN_WINDOW_MAX), any::<u32>()],
            steps in steps(),
        ) {
            let start = start.max(1);
            let replay = ReplayWindow::new(PacketNumber(start));
            let mut model = Model { next: start.into(), lowest: start.into() };
            for step in steps {
                let near = replay.next_pn().0;
                match step {
                    Step::Commit(by) => {
                        let pn = PacketNumber(near.saturating_add_signed(by));
                        let late = u128::from(pn.0) < model.lowest;
                        prop_assert_eq!(replay.check(pn) == Arrival::Late, late);
                        prop_assert_eq!(replay.commit(pn, window), model.commit(pn.0, window));
                    }
                    Step::Raise(by) => {
                        let pn = near.saturating_add_signed(by);
                        replay.raise(PacketNumber(pn));
                        model.raise(pn);
                    }
                }
                let top = u128::from(u64::MAX);
                let expected = (model.next.min(top), model.lowest.min(top));
                let (next, lowest) = state(&replay);
                prop_assert_eq!((u128::from(next), u128::from(lowest)), expected);
            }
        }

        #[test]
        fn a_number_less_than_2_to_the_31_from_the_lowest_is_recovered(
            lowest in 1..u64::MAX - (1 << 31),
            ahead in 0..1_u64 << 31,
        ) {
            let pn = lowest + ahead;
            let low = u32::try_from(pn & 0xffff_ffff).unwrap();
            let replay = ReplayWindow::new(PacketNumber(lowest));
            prop_assert_eq!(replay.recover(low), PacketNumber(pn));
        }
    }
}
