//! Network namespaces for tests: those of the lab, where whatever fails fails the test.
//!
//! Nothing here falls back or skips. A machine without namespaces, veth or the tap fails the test
//! and says what is missing. Whoever includes this file has `cli::lab` beside it.

#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::wildcard_enum_match_arm)]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use super::lab;

/// A network namespace of its own, with the loopback up and IPv6 off. It goes when the last of
/// this value, its sockets and its threads has gone.
pub struct Namespace(lab::Namespace);

impl Namespace {
    /// Makes one.
    pub fn new() -> Self {
        Self(
            lab::Namespace::new().expect(
                "this test makes network namespaces: run it as root, or under `unshare -Ur`",
            ),
        )
    }

    /// Runs `work` in a thread inside the namespace. Sockets and taps it opens stay inside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.0.run(|| Ok(work())).unwrap()
    }

    /// Lays a cable to an interface of another namespace, or of this one. Both ends carry frames
    /// when this returns, which is a while after they are up.
    pub fn cable(&self, name: &str, other: &Self, other_name: &str) {
        self.0.cable(name, &other.0, other_name).unwrap();
        self.up(name);
        other.up(other_name);
        eventually("both ends of the cable carry frames", || {
            self.is_running(name) && other.is_running(other_name)
        });
    }

    /// Brings an interface up.
    pub fn up(&self, name: &str) {
        self.0.up(name).unwrap();
    }

    /// Changes an interface.
    pub fn change(&self, link: LinkMessage) {
        self.0.change(link).expect("changing an interface");
    }

    /// Makes an interface.
    pub fn add(&self, link: LinkMessage) {
        self.0
            .netlink(|handle| async move { handle.link().add(link).execute().await })
            .expect("making an interface");
    }

    /// Takes an interface down.
    pub fn down(&self, name: &str) {
        self.0.change(LinkUnspec::new_with_name(name).down().build()).unwrap();
    }

    /// Sets the MTU of an interface.
    pub fn set_mtu(&self, name: &str, mtu: u32) {
        self.0.change(LinkUnspec::new_with_name(name).mtu(mtu).build()).unwrap();
    }

    /// Gives an interface a MAC address.
    pub fn set_address(&self, name: &str, address: [u8; 6]) {
        self.0.set_address(name, address).unwrap();
    }

    /// Deletes an interface, and the other end of its cable with it.
    pub fn delete(&self, name: &str) {
        let index = self.index(name);
        self.0.netlink(|handle| async move { handle.link().del(index).execute().await }).unwrap();
    }

    /// Gives an interface an address in a /24.
    pub fn set_ip(&self, name: &str, address: Ipv4Addr) {
        self.0.set_ip(name, address).unwrap();
    }

    /// Gives an interface an IPv6 address in a /64, to be used at once.
    pub fn set_ipv6(&self, name: &str, address: Ipv6Addr) {
        for (parameter, value) in [("accept_dad", "0"), ("disable_ipv6", "0")] {
            self.0.set(&format!("net/ipv6/conf/{name}/{parameter}"), value).unwrap();
        }
        let index = self.index(name);
        let add = self.0.netlink(|handle| async move {
            handle.address().add(index, address.into(), 64).execute().await
        });
        add.expect("the kernel has IPv6");
    }

    /// The index of an interface.
    pub fn index(&self, name: &str) -> u32 {
        self.0.index(name).unwrap()
    }

    /// The MTU of an interface.
    pub fn mtu(&self, name: &str) -> u32 {
        let attributes = self.link(name).attributes.into_iter();
        let mut mtu = attributes.filter_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(mtu),
            _ => None,
        });
        mtu.next().expect("every interface has an MTU")
    }

    /// Tells whether an interface is up, has a carrier, and is served by the kernel.
    pub fn is_running(&self, name: &str) -> bool {
        let flags = self.link(name).header.flags;
        flags.contains(LinkFlags::LowerUp | LinkFlags::Running)
    }

    /// Tells whether there is an interface of that name.
    pub fn has(&self, name: &str) -> bool {
        self.0.index(name).is_ok()
    }

    /// What the kernel says of an interface.
    pub fn link(&self, name: &str) -> LinkMessage {
        let link = self.0.netlink(|handle| async move {
            handle.link().get().match_name(name.to_owned()).execute().try_next().await
        });
        link.unwrap().expect("the kernel answers with the interface")
    }
}

/// Waits until `condition` holds; a machine under load may take its time.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
