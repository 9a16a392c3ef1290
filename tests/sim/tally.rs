//! What was done to stations.

/// Faults other than those of the link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) restarts: u64,
    pub(crate) flaps: u64,
    pub(crate) partitions: u64,
    pub(crate) refusals: u64,
    pub(crate) delays: u64,
    pub(crate) droughts: u64,
    pub(crate) freezes: u64,
    pub(crate) replays: u64,
    pub(crate) reflections: u64,
    pub(crate) forgeries: u64,
    pub(crate) exhaustions: u64,
    pub(crate) lost_saks: u64,
    /// Daemons that died while their SecY went on, and how the next ones began.
    pub(crate) halts: u64,
    pub(crate) warm_restarts: u64,
    pub(crate) cold_restarts: u64,
    /// Clocks that were set or began to be slow or fast, and machines that were suspended.
    pub(crate) steps: u64,
    pub(crate) suspends: u64,
    /// MKPDUs of a member that lies.
    pub(crate) lies: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.restarts += other.restarts;
        self.flaps += other.flaps;
        self.partitions += other.partitions;
        self.refusals += other.refusals;
        self.delays += other.delays;
        self.droughts += other.droughts;
        self.freezes += other.freezes;
        self.replays += other.replays;
        self.reflections += other.reflections;
        self.forgeries += other.forgeries;
        self.exhaustions += other.exhaustions;
        self.lost_saks += other.lost_saks;
        self.halts += other.halts;
        self.warm_restarts += other.warm_restarts;
        self.cold_restarts += other.cold_restarts;
        self.steps += other.steps;
        self.suspends += other.suspends;
        self.lies += other.lies;
    }
}
