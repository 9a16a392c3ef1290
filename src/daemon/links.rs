//! Watches the interfaces of all ports.
//!
//! One netlink socket hears of every change, in the order in which they happen. At the start, and
//! when more has happened than the socket could hold, it also asks for all interfaces; the answer
//! comes between the changes at its place, so that old news never overtakes new.

mod message;

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use tokio::sync::watch;
use tracing::debug;

use self::message::Message;
use crate::port::task::LinkInfo;
use crate::sys::Readiness;

/// Tells ports of their interfaces. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links(Arc<Mutex<Board>>);

/// What is known of interfaces, and who wants to know.
#[derive(Debug, Default)]
struct Board {
    /// By index: a name can change, and pass to another.
    interfaces: BTreeMap<u32, (String, LinkInfo)>,
    /// The answer to a question for all interfaces, as far as it has come.
    dump: Option<BTreeMap<u32, (String, LinkInfo)>>,
    /// That answer is of no use: interfaces changed meanwhile, or parts of it were lost.
    spoilt: bool,
    watched: BTreeMap<String, watch::Sender<Option<LinkInfo>>>,
}

/// Hears of changes.
#[derive(Debug)]
pub(crate) struct Monitor {
    links: Links,
    socket: OwnedFd,
    readiness: Readiness,
    buffer: Vec<u8>,
}

/// The room for what one call receives. The kernel makes its answers to fit 32 KiB.
const BUFFER: usize = 64 * 1024;
/// What the socket may hold: about a thousand messages.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Calls before everybody else gets their turn.
const BATCH: usize = 32;

impl Links {
    /// Learns which interfaces there are in the network namespace of this thread.
    pub(crate) async fn open() -> io::Result<(Self, Monitor)> {
        let socket = subscribe()?;
        let (links, buffer) = (Self::default(), vec![0; BUFFER]);
        let readiness = Readiness::of(&socket)?;
        let mut monitor = Monitor { links: links.clone(), socket, readiness, buffer };
        monitor.ask()?;
        while links.board().dump.is_some() {
            monitor.hear().await?;
        }
        Ok((links, monitor))
    }

    /// Watches an interface, which need not be there.
    pub(crate) fn watch(&self, interface: &str) -> watch::Receiver<Option<LinkInfo>> {
        let mut board = self.board();
        let now = board.look(interface);
        let watched = board.watched.entry(interface.to_owned());
        watched.or_insert_with(|| watch::channel(now).0).subscribe()
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    fn look(&self, interface: &str) -> Option<LinkInfo> {
        let mut found = self.interfaces.values().filter(|(name, _)| name == interface);
        found.next().map(|(_, info)| *info)
    }

    /// Takes in a message, and tells whether all interfaces must be asked for again.
    fn note(&mut self, message: Message) -> io::Result<bool> {
        match message {
            Message::Link { name, info, dumped } => {
                if let Some(dump) = &mut self.dump {
                    dump.insert(info.index, (name.clone(), info));
                }
                if !dumped {
                    self.interfaces.insert(info.index, (name, info));
                }
                Ok(false)
            }
            Message::Gone(index) => {
                if let Some(dump) = &mut self.dump {
                    dump.remove(&index);
                }
                self.interfaces.remove(&index);
                Ok(false)
            }
            Message::Torn => {
                self.spoilt = self.dump.is_some();
                Ok(false)
            }
            Message::Done => {
                let dump = self.dump.take();
                if mem::take(&mut self.spoilt) {
                    return Ok(true);
                }
                if let Some(dump) = dump {
                    self.interfaces = dump;
                }
                Ok(false)
            }
            Message::Refused => Err(io::Error::other("the kernel does not name its interfaces")),
        }
    }

    /// Tells everybody, and forgets those that nobody watches any more.
    fn publish(&mut self) {
        let mut watched = mem::take(&mut self.watched);
        watched.retain(|interface, sender| {
            let now = self.look(interface);
            sender.send_if_modified(|known| mem::replace(known, now) != now);
            !sender.is_closed()
        });
        self.watched = watched;
    }
}

impl Monitor {
    /// Hears of changes for ever.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        loop {
            self.hear().await?;
            // One who changes interfaces without a pause must not have the daemon for himself.
            tokio::task::yield_now().await;
        }
    }

    /// Asks for all interfaces.
    fn ask(&self) -> io::Result<()> {
        let mut board = self.links.board();
        board.dump = Some(BTreeMap::new());
        board.spoilt = false;
        send(self.socket.as_raw_fd(), &message::dump(), MsgFlags::empty())?;
        Ok(())
    }

    /// Waits for news, takes in a batch and passes it on.
    async fn hear(&mut self) -> io::Result<()> {
        let mut ready = self.readiness.readable().await?;
        let mut ask = false;
        for _ in 0..BATCH {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(length) => {
                    let octets = self.buffer.get(..length).unwrap_or_default();
                    let mut board = self.links.board();
                    for message in message::messages(octets) {
                        ask |= board.note(message)?;
                    }
                }
                Err(Errno::EAGAIN) => {
                    ready.clear_ready();
                    break;
                }
                Err(Errno::ENOBUFS) => {
                    debug!("interfaces change faster than can be followed");
                    let mut board = self.links.board();
                    // An answer that is on its way is too old; the next question waits for its end.
                    board.spoilt = board.dump.is_some();
                    ask |= board.dump.is_none();
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        drop(ready);
        if ask {
            self.ask()?;
        }
        self.links.board().publish();
        Ok(())
    }
}

/// Opens a socket that hears of every change of an interface.
fn subscribe() -> nix::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    // The usual size holds some hundred messages. A smaller one costs questions, and nothing else.
    if let Err(errno) = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER) {
        debug!(%errno, "the buffer for news of interfaces has the usual size");
    }
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, libc::RTMGRP_LINK.cast_unsigned()))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use crate::ident::MacAddress;

    use super::*;

    fn info(index: u32, carrier: bool) -> LinkInfo {
        LinkInfo { index, address: MacAddress([2; 6]), mtu: 1500, carrier }
    }

    fn link(name: &str, info: LinkInfo, dumped: bool) -> Message {
        Message::Link { name: name.to_owned(), info, dumped }
    }

    #[test]
    fn an_interface_that_was_renamed_is_found_under_its_new_name_only() {
        let mut board = Board::default();
        board.note(link("eth1", info(7, true), false)).unwrap();
        board.note(link("wan", info(7, true), false)).unwrap();
        assert_eq!((board.look("eth1"), board.look("wan")), (None, Some(info(7, true))));
    }

    #[test]
    fn an_answer_replaces_what_was_known_and_keeps_what_came_meanwhile() {
        let mut board = Board::default();
        board.note(link("gone", info(3, true), false)).unwrap();
        board.dump = Some(BTreeMap::new());
        board.note(link("eth1", info(7, false), true)).unwrap();
        board.note(link("eth2", info(8, true), true)).unwrap();
        board.note(link("eth1", info(7, true), false)).unwrap();
        board.note(Message::Gone(8)).unwrap();
        assert_eq!(board.look("gone"), Some(info(3, true)));

        assert!(!board.note(Message::Done).unwrap());
        assert_eq!(board.look("eth1"), Some(info(7, true)));
        assert_eq!((board.look("gone"), board.look("eth2")), (None, None));
    }

    #[test]
    fn a_torn_or_spoilt_answer_is_asked_for_again_and_changes_nothing() {
        for torn in [true, false] {
            let mut board = Board::default();
            board.note(link("eth1", info(7, true), false)).unwrap();
            (board.dump, board.spoilt) = (Some(BTreeMap::new()), !torn);
            if torn {
                // In the midst of it: what follows does not say so again.
                assert!(!board.note(Message::Torn).unwrap());
                board.note(link("eth2", info(8, true), true)).unwrap();
            }
            assert!(board.note(Message::Done).unwrap());
            assert_eq!(board.look("eth1"), Some(info(7, true)));
            assert!(board.dump.is_none() && !board.spoilt);
        }
    }

    #[test]
    fn a_watcher_is_woken_by_its_own_interface_alone() {
        let links = Links::default();
        let mut watcher = links.watch("eth1");
        let publish = |message| {
            let mut board = links.board();
            board.note(message).unwrap();
            board.publish();
        };
        publish(link("eth2", info(8, true), false));
        assert!(!watcher.has_changed().unwrap());
        publish(link("eth1", info(7, false), false));
        assert!(watcher.has_changed().unwrap());
        assert_eq!(*watcher.borrow_and_update(), Some(info(7, false)));
        publish(link("eth1", info(7, false), false));
        assert!(!watcher.has_changed().unwrap());

        drop(watcher);
        publish(Message::Gone(7));
        assert!(links.board().watched.is_empty());
    }

    #[test]
    fn the_loopback_interface_is_among_those_that_the_kernel_names() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (links, _monitor) = Links::open().await.unwrap();
            let info = links.watch("lo").borrow().unwrap();
            assert_eq!((info.index, info.address), (1, MacAddress([0; 6])));
            assert_eq!(*links.watch("none-such").borrow(), None);
        });
    }
}
