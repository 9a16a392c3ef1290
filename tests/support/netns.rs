//! Network namespaces for tests: each test lays its own cables.
//!
//! Nothing here falls back or skips. A machine without namespaces, veth or the tap fails the test
//! and says what is missing.

#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::wildcard_enum_match_arm)]

use std::fs::File;
use std::future::Future;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::{Handle, LinkUnspec, LinkVeth};

/// A network namespace of its own, with the loopback up and IPv6 off. It goes when the last of
/// this value, its sockets and its threads has gone.
pub struct Namespace(File);

impl Namespace {
    /// Makes one.
    pub fn new() -> Self {
        let file = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect(
                "this test makes network namespaces: run it as root, or under `unshare -Ur`",
            );
            File::open("/proc/thread-self/ns/net").expect("opening the new namespace")
        })
        .join()
        .expect("making a network namespace");
        let namespace = Self(file);
        for which in ["all", "default"] {
            namespace.set(&format!("net/ipv6/conf/{which}/disable_ipv6"), "1");
        }
        namespace.up("lo");
        namespace
    }

    /// Runs `work` in a thread inside the namespace. Sockets and taps it opens stay inside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).expect("entering the namespace");
            work()
        };
        let result = thread::scope(|scope| scope.spawn(inside).join());
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Sets a kernel parameter of the namespace, where the kernel has it.
    pub fn set(&self, parameter: &str, value: &str) {
        let path = format!("/proc/sys/{parameter}");
        self.run(|| {
            if std::fs::exists(&path).unwrap() {
                std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
            }
        });
    }

    /// Lays a cable to an interface of another namespace, or of this one. Both ends carry frames
    /// when this returns, which is a while after they are up.
    pub fn cable(&self, name: &str, other: &Self, other_name: &str) {
        const FAR_END: &str = "far-end";
        self.netlink(|handle| async move {
            let veth = LinkVeth::new(name, FAR_END).build();
            handle.link().add(veth).execute().await.expect("making a veth pair");
        });
        let far_end = LinkUnspec::new_with_index(self.index(FAR_END));
        self.change(far_end.name(other_name).setns_by_fd(other.0.as_raw_fd()).build());
        self.up(name);
        other.up(other_name);
        eventually("both ends of the cable carry frames", || {
            self.is_running(name) && other.is_running(other_name)
        });
    }

    /// Brings an interface up.
    pub fn up(&self, name: &str) {
        self.change(LinkUnspec::new_with_name(name).up().build());
    }

    /// Takes an interface down.
    pub fn down(&self, name: &str) {
        self.change(LinkUnspec::new_with_name(name).down().build());
    }

    /// Sets the MTU of an interface.
    pub fn set_mtu(&self, name: &str, mtu: u32) {
        self.change(LinkUnspec::new_with_name(name).mtu(mtu).build());
    }

    /// Deletes an interface, and the other end of its cable with it.
    pub fn delete(&self, name: &str) {
        let index = self.index(name);
        self.netlink(|handle| async move {
            handle.link().del(index).execute().await.expect("deleting an interface");
        });
    }

    /// Gives an interface an address in a /24.
    pub fn set_ip(&self, name: &str, address: Ipv4Addr) {
        let index = self.index(name);
        self.netlink(|handle| async move {
            let request = handle.address().add(index, address.into(), 24);
            request.execute().await.expect("adding an address");
        });
    }

    /// The index of an interface.
    pub fn index(&self, name: &str) -> u32 {
        self.run(|| nix::net::if_::if_nametoindex(name)).expect("finding an interface")
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
        self.run(|| nix::net::if_::if_nametoindex(name)).is_ok()
    }

    /// What the kernel says of an interface.
    pub fn link(&self, name: &str) -> LinkMessage {
        self.netlink(|handle| async move {
            let mut links = handle.link().get().match_name(name.to_owned()).execute();
            let link = links.try_next().await.expect("asking for an interface");
            link.expect("the kernel answers with the interface")
        })
    }

    fn change(&self, link: LinkMessage) {
        self.netlink(|handle| async move {
            handle.link().set(link).execute().await.expect("changing an interface");
        });
    }

    /// Runs `work` in the namespace with a connection to the kernel.
    pub fn netlink<T: Send, F: Future<Output = T>>(
        &self,
        work: impl FnOnce(Handle) -> F + Send,
    ) -> T {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            runtime.expect("starting a runtime").block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection().expect("opening netlink");
                tokio::spawn(connection);
                work(handle).await
            })
        })
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
