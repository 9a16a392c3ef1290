//! A network namespace, and what can be done in it.

use std::fs::File;
use std::future::Future;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::{panic, thread};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::{Handle, LinkUnspec, LinkVeth};

/// A network namespace with the loopback up and IPv6 off. It goes with the last socket, thread and
/// process in it.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses: it takes root, also that of a user namespace.
    pub fn new() -> Result<Self> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace")?;
            File::open("/proc/thread-self/ns/net").context("opening the new network namespace")
        });
        let namespace = Self(made.join().map_err(|_| anyhow!("making a network namespace"))??);
        for which in ["all", "default"] {
            namespace.set(&format!("net/ipv6/conf/{which}/disable_ipv6"), "1")?;
        }
        namespace.up("lo")?;
        Ok(namespace)
    }

    /// Runs `work` in a thread inside; a panic goes on in the caller. The sockets that it opens and
    /// the processes that it starts stay inside.
    ///
    /// # Errors
    ///
    /// Those of `work`.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let inside = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).context("entering a network namespace")?;
            work()
        };
        let result = thread::scope(|scope| scope.spawn(inside).join());
        result.unwrap_or_else(|reason| panic::resume_unwind(reason))
    }

    /// Sets a kernel parameter, where the kernel has it.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses the value.
    pub fn set(&self, parameter: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{parameter}");
        self.run(|| {
            if std::fs::exists(&path)? {
                std::fs::write(&path, value).with_context(|| format!("writing {path}"))?;
            }
            Ok(())
        })
    }

    /// Lays a cable to another namespace, or to this one. Both ends are down.
    ///
    /// # Errors
    ///
    /// Where there is an interface of that name already.
    pub fn cable(&self, name: &str, other: &Self, other_name: &str) -> Result<()> {
        const FAR_END: &str = "far-end";
        self.netlink(|handle| async move {
            handle.link().add(LinkVeth::new(name, FAR_END).build()).execute().await
        })
        .context("laying a veth cable")?;
        let far_end = LinkUnspec::new_with_index(self.index(FAR_END)?);
        self.change(far_end.name(other_name.to_owned()).setns_by_fd(other.0.as_raw_fd()).build())
    }

    /// Gives an interface a MAC address.
    ///
    /// # Errors
    ///
    /// As for [`Namespace::change`].
    pub fn set_address(&self, name: &str, address: [u8; 6]) -> Result<()> {
        self.change(LinkUnspec::new_with_name(name).address(address.to_vec()).build())
    }

    /// Brings an interface up.
    ///
    /// # Errors
    ///
    /// As for [`Namespace::change`].
    pub fn up(&self, name: &str) -> Result<()> {
        self.change(LinkUnspec::new_with_name(name).up().build())
    }

    /// Gives an interface an address in a /24.
    ///
    /// # Errors
    ///
    /// Where there is no such interface, or it has the address already.
    pub fn set_ip(&self, name: &str, address: Ipv4Addr) -> Result<()> {
        let index = self.index(name)?;
        self.netlink(|handle| async move {
            handle.address().add(index, address.into(), 24).execute().await
        })
        .with_context(|| format!("giving {name} the address {address}"))
    }

    /// The index of an interface.
    ///
    /// # Errors
    ///
    /// Where there is none of that name.
    pub fn index(&self, name: &str) -> Result<u32> {
        self.run(|| Ok(nix::net::if_::if_nametoindex(name)?))
            .with_context(|| format!("finding the interface {name}"))
    }

    /// Changes an interface.
    ///
    /// # Errors
    ///
    /// Where there is no such interface, or it cannot be so.
    pub fn change(&self, link: LinkMessage) -> Result<()> {
        self.netlink(|handle| async move { handle.link().set(link).execute().await })
            .context("changing an interface")
    }

    /// Runs `work` inside, with a connection to the kernel.
    ///
    /// # Errors
    ///
    /// Those of `work`.
    pub fn netlink<T: Send, F>(&self, work: impl FnOnce(Handle) -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T, rtnetlink::Error>>,
    {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
            runtime.block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection()?;
                tokio::spawn(connection);
                Ok(work(handle).await?)
            })
        })
    }
}
