//! What can go wrong between a request and its answer, and when it does.

use std::collections::BTreeMap;

/// What befalls one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The kernel refuses with this number.
    Refused(i32),
    /// The socket does not take the request, with this number.
    NotSent(i32),
    /// It never reaches the kernel, and nothing is said.
    Lost,
    /// It is carried out, and the answer never comes.
    AnswerLost,
    /// It is carried out; the answer is lost, and the socket says so (ENOBUFS).
    AnswerDropped,
    /// A signal interrupts the wait for the answer (EINTR).
    Interrupted,
    /// It is carried out; the answer comes after the wait is over, before that to the next request.
    AnswerLate,
    /// The answer to the request before comes once more, in front of this one's.
    AnswerAgain,
    /// An interface comes while a dump is put together.
    TornByArrival,
    /// The interface of this index goes while a dump is put together.
    TornByLeave(u32),
    /// A piece of a dump is lost, and the socket says so (ENOBUFS).
    PieceDropped,
}

/// Which request is to meet with which fault, counted over both sockets from 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    once: BTreeMap<u64, Fault>,
    /// From a request on, for all.
    always: Option<(u64, Fault)>,
}

impl Script {
    pub(crate) fn at(&mut self, request: u64, fault: Fault) {
        self.once.insert(request, fault);
    }

    pub(crate) fn from(&mut self, request: u64, fault: Fault) {
        self.always = Some((request, fault));
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn take(&mut self, request: u64) -> Option<Fault> {
        let always = self.always.filter(|(from, _)| *from <= request).map(|(_, fault)| fault);
        self.once.remove(&request).or(always)
    }

    /// Whether nothing more is to come.
    pub(crate) fn is_over(&self) -> bool {
        self.once.is_empty() && self.always.is_none()
    }
}
