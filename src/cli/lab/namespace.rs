//! A network namespace, and what can be done in it.

use std::fs::File;
use std::future::Future;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::{Handle, LinkUnspec, LinkVeth};

/// A network namespace with IPv6 off. It goes with the last socket and process in it.
#[derive(Debug)]
pub(super) struct Namespace(File);

impl Namespace {
    /// Makes one.
    pub(super) fn new() -> Result<Self> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace")?;
            File::open("/proc/thread-self/ns/net").context("opening the new network namespace")
        });
        let namespace = Self(made.join().map_err(|_| anyhow!("making a network namespace"))??);
        for which in ["all", "default"] {
            namespace.set(&format!("net/ipv6/conf/{which}/disable_ipv6"), "1")?;
        }
        Ok(namespace)
    }

    /// Runs `work` in a thread inside. The sockets that it opens and the processes that it starts
    /// stay inside.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let inside = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).context("entering a network namespace")?;
            work()
        };
        let result = thread::scope(|scope| scope.spawn(inside).join());
        result.map_err(|_| anyhow!("a thread of the lab panicked"))?
    }

    /// Sets a kernel parameter, where the kernel has it.
    pub(super) fn set(&self, parameter: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{parameter}");
        self.run(|| {
            if std::fs::exists(&path)? {
                std::fs::write(&path, value).with_context(|| format!("writing {path}"))?;
            }
            Ok(())
        })
    }

    /// Lays a cable to another namespace. Both ends are down, and have the addresses given.
    pub(super) fn cable(
        &self,
        (name, address): (&str, [u8; 6]),
        other: &Self,
        (other_name, other_address): (&str, [u8; 6]),
    ) -> Result<()> {
        let far = "far";
        self.netlink(|handle| async move {
            handle.link().add(LinkVeth::new(name, far).build()).execute().await?;
            let far = LinkUnspec::new_with_name(far).setns_by_fd(other.0.as_raw_fd()).build();
            handle.link().set(far).execute().await
        })
        .context("laying a veth cable")?;
        let index = other.index(far)?;
        other.change(LinkUnspec::new_with_index(index).name(other_name.to_owned()).build())?;
        self.change(LinkUnspec::new_with_name(name).address(address.to_vec()).build())?;
        other.change(LinkUnspec::new_with_name(other_name).address(other_address.to_vec()).build())
    }

    /// Brings an interface up.
    pub(super) fn up(&self, name: &str) -> Result<()> {
        self.change(LinkUnspec::new_with_name(name).up().build())
    }

    /// Gives an interface an address in a /24.
    pub(super) fn set_ip(&self, name: &str, address: Ipv4Addr) -> Result<()> {
        let index = self.index(name)?;
        self.netlink(|handle| async move {
            handle.address().add(index, address.into(), 24).execute().await
        })
        .with_context(|| format!("giving {name} the address {address}"))
    }

    /// The index of an interface.
    pub(super) fn index(&self, name: &str) -> Result<u32> {
        self.run(|| Ok(nix::net::if_::if_nametoindex(name)?))
            .with_context(|| format!("finding the interface {name}"))
    }

    fn change(&self, link: LinkMessage) -> Result<()> {
        self.netlink(|handle| async move { handle.link().set(link).execute().await })
            .context("changing an interface")
    }

    fn netlink<F>(&self, work: impl FnOnce(Handle) -> F + Send) -> Result<()>
    where
        F: Future<Output = Result<(), rtnetlink::Error>>,
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
