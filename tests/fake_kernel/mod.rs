//! A model of the Linux kernel's MACsec as netlink shows it, octet by octet: the driver's rules with
//! their error numbers, the slice of rtnetlink around them, and all that can befall a request.
//!
//! It sees every packet number that a key is used with, and panics where a nonce would repeat. With
//! [`FakeKernel::guard`] it holds whoever asks over its sockets to the rules of a good daemon, too.

#![allow(dead_code, reason = "shared by tests that each use a part")]
#![allow(clippy::expect_used, clippy::panic, reason = "only tests are run here")]
#![allow(clippy::wildcard_enum_match_arm, reason = "of the faults each place knows a few")]

pub(crate) mod attributes;
mod dump;
pub(crate) mod faults;
pub(crate) mod generic;
pub(crate) mod numbers;
mod oracle;
mod others;
pub(crate) mod request;
mod route;
mod socket;
pub(crate) mod state;

use std::sync::{Arc, Mutex};

use macsecd::dataplane::kernel::Netlink;

pub(crate) use faults::Fault;
pub(crate) use socket::{Asked, Protocol};
#[allow(unused_imports, reason = "shared by tests that each use a part")]
pub(crate) use state::{Link, Quirks, Sa, Secy, State};

use socket::{Kernel, Socket};

/// A kernel. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeKernel(Arc<Mutex<Kernel>>);

impl FakeKernel {
    /// One without any interface.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A socket for interfaces.
    pub(crate) fn route(&self) -> Box<dyn Netlink> {
        Box::new(Socket::new(&self.0, Protocol::Route))
    }

    /// A socket for associations.
    pub(crate) fn generic(&self) -> Box<dyn Netlink> {
        Box::new(Socket::new(&self.0, Protocol::Generic))
    }

    /// From now on, whatever asks over a socket panics where it installs a key twice to transmit or
    /// other than at number 1, sets a number to transmit, lowers one to receive, or sends again
    /// with what had come to an end.
    pub(crate) fn guard(&self) {
        self.with(|state| state.oracle.strict = true);
    }

    /// Chooses in what this kernel differs from others.
    pub(crate) fn quirks(&self, change: impl FnOnce(&mut Quirks)) {
        self.with(|state| change(&mut state.quirks));
    }

    /// Has a request meet a fault: the first from now on, or the one so many after it.
    pub(crate) fn fault(&self, after: u64, fault: Fault) {
        let mut kernel = socket::lock(&self.0);
        let next = u64::try_from(kernel.log.len()).expect("requests are few");
        kernel.script.at(next + after, fault);
    }

    /// Has every request from now on meet a fault.
    pub(crate) fn fault_always(&self, fault: Fault) {
        let mut kernel = socket::lock(&self.0);
        let next = u64::try_from(kernel.log.len()).expect("requests are few");
        kernel.script.from(next, fault);
    }

    /// Has no request meet a fault from now on.
    pub(crate) fn heal(&self) {
        socket::lock(&self.0).script.clear();
    }

    /// Whether all faults have happened.
    pub(crate) fn is_healed(&self) -> bool {
        socket::lock(&self.0).script.is_over()
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        socket::lock(&self.0).log.clone()
    }

    /// The interface of that name as it is.
    pub(crate) fn link(&self, name: &str) -> Option<Link> {
        self.with(|state| state.named(name).cloned())
    }

    /// The SecY of that name as it is.
    pub(crate) fn secy(&self, name: &str) -> Option<Secy> {
        self.link(name)?.secy().cloned()
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut kernel = socket::lock(&self.0);
        kernel.state.settle();
        work(&mut kernel.state)
    }
}
