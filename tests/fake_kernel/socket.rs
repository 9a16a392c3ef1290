//! The two sockets: requests in, answers out, and what can befall both.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use macsecd::dataplane::kernel::Netlink;

use super::attributes::{Header, acknowledgement};
use super::dump::{Dump, Subject, link_message};
use super::faults::{Fault, Script};
use super::generic::{self, FAMILY};
use super::numbers::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, command, control};
use super::others;
use super::route;
use super::state::{Refusal, State};

/// What the sockets share.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) state: State,
    pub(crate) script: Script,
    pub(crate) log: Vec<Asked>,
}

/// A request that was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Asked {
    pub(crate) protocol: Protocol,
    /// The message type, or of a generic request its command.
    pub(crate) what: u16,
    pub(crate) dump: bool,
    /// What befell it.
    pub(crate) fault: Option<Fault>,
    /// With what it was refused, 0 if it was carried out.
    pub(crate) errno: i32,
}

/// Which of the two a socket speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    Route,
    Generic,
}

/// What a socket has to give.
#[derive(Clone, Debug)]
enum Delivery {
    Datagram(Vec<u8>),
    Error(i32),
}

/// One socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) kernel: Arc<Mutex<Kernel>>,
    pub(super) protocol: Protocol,
    queue: VecDeque<Delivery>,
    /// Answers that come only when the next request is there.
    late: Vec<Delivery>,
    /// The answer to the request before.
    last: Vec<Delivery>,
    dump: Option<(Dump, Option<Fault>)>,
}

pub(super) fn lock(kernel: &Mutex<Kernel>) -> MutexGuard<'_, Kernel> {
    // A rule that was broken has panicked; whoever cleans up then must not fail again.
    kernel.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Socket {
    pub(super) fn new(kernel: &Arc<Mutex<Kernel>>, protocol: Protocol) -> Self {
        let kernel = Arc::clone(kernel);
        let (queue, late, last) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { kernel, protocol, queue, late, last, dump: None }
    }

    /// Carries a request out and returns the answers to it.
    fn answer(&mut self, kernel: &mut Kernel, request: &[u8], fault: Option<Fault>) -> Answers {
        let Some((header, body, _)) = Header::read(request) else { return Answers::default() };
        if header.flags & NLM_F_REQUEST == 0 {
            return Answers::default();
        }
        kernel.state.settle();
        let done = match fault {
            Some(Fault::Refused(errno)) => Err(errno.into()),
            _ => self.execute(kernel, header, body, fault),
        };
        let errno = done.as_ref().err().map_or(0, |refusal| refusal.errno);
        let (mut datagrams, acknowledge, result) = match done {
            Ok(Done::Acknowledged) => (Vec::new(), header.flags & NLM_F_ACK != 0, Ok(())),
            Ok(Done::Reply(reply)) => (vec![reply], header.flags & NLM_F_ACK != 0, Ok(())),
            // A dump is not acknowledged: its end says as much.
            Ok(Done::Dump) => (Vec::new(), false, Ok(())),
            Err(refusal) => (Vec::new(), true, Err(refusal)),
        };
        if acknowledge {
            datagrams.extend(acknowledgement(request, result));
        }
        Answers { datagrams: datagrams.into_iter().map(Delivery::Datagram).collect(), errno }
    }

    fn execute(
        &mut self,
        kernel: &mut Kernel,
        header: Header,
        body: &[u8],
        fault: Option<Fault>,
    ) -> Result<Done, Refusal> {
        let state = &mut kernel.state;
        let dumps = header.flags & NLM_F_DUMP == NLM_F_DUMP;
        let reply = |kind, body: &[u8]| {
            let message = Header { kind, flags: 0, ..header }.write(body);
            Ok(Done::Reply(message))
        };
        match (self.protocol, header.kind) {
            (Protocol::Route, libc::RTM_GETLINK) if dumps => {
                self.start_dump(kernel, Subject::Links, header, fault)
            }
            (Protocol::Route, libc::RTM_GETLINK) => {
                let index = route::get_link(state, body)?;
                let link = state.links.get(&index).ok_or(libc::ENODEV)?;
                reply(libc::RTM_NEWLINK, &link_message(link, state.quirks))
            }
            (Protocol::Route, libc::RTM_NEWLINK) => {
                route::new_link(state, header.flags, body).map(|()| Done::Acknowledged)
            }
            (Protocol::Route, libc::RTM_DELLINK) => {
                route::delete_link(state, body).map(|()| Done::Acknowledged)
            }
            (Protocol::Route, _) => Err(libc::EOPNOTSUPP.into()),
            (Protocol::Generic, control::ID) => {
                let family = generic::family(state, body)?;
                reply(control::ID, &family)
            }
            (Protocol::Generic, FAMILY) if state.quirks.has_macsec => {
                if dumps && generic::split(body)?.0 == command::GET_TXSC {
                    return self.start_dump(kernel, Subject::Associations, header, fault);
                }
                generic::execute(state, body).map(|()| Done::Acknowledged)
            }
            (Protocol::Generic, _) => Err(libc::ENOENT.into()),
        }
    }

    /// One dump at a time: whoever gives up one half way has it still running.
    fn start_dump(
        &mut self,
        kernel: &mut Kernel,
        subject: Subject,
        header: Header,
        fault: Option<Fault>,
    ) -> Result<Done, Refusal> {
        if self.dump.is_some() {
            return Err(libc::EBUSY.into());
        }
        self.dump = Some((Dump::new(subject, header.sequence, header.port), fault));
        self.continue_dump(kernel);
        Ok(Done::Dump)
    }

    /// Puts the next piece of a dump into the queue, as the kernel does whenever one was fetched.
    fn continue_dump(&mut self, kernel: &mut Kernel) {
        let Some((dump, fault)) = &mut self.dump else { return };
        if dump.pieces == 1 {
            match fault {
                Some(Fault::TornByArrival) => others::stranger(&mut kernel.state),
                Some(Fault::TornByLeave(index)) => kernel.state.remove(*index),
                _ => {}
            }
        }
        let (datagram, last) = dump.next(&kernel.state);
        let drops =
            matches!((&fault, dump.pieces), (Some(Fault::PieceDropped | Fault::AnswerDropped), 1));
        let silent = matches!(fault, Some(Fault::AnswerLost));
        if drops {
            self.queue.push_back(Delivery::Error(libc::ENOBUFS));
        } else if !silent {
            self.queue.push_back(Delivery::Datagram(datagram));
        }
        if last {
            self.dump = None;
        } else if drops || silent {
            self.continue_dump(kernel);
        }
    }
}

/// What becomes of a request that is not refused.
enum Done {
    Acknowledged,
    Reply(Vec<u8>),
    Dump,
}

/// What comes back, and the number of a refusal.
#[derive(Default)]
struct Answers {
    datagrams: Vec<Delivery>,
    errno: i32,
}

impl Netlink for Socket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let shared = Arc::clone(&self.kernel);
        let mut kernel = lock(&shared);
        let number = u64::try_from(kernel.log.len()).expect("requests are few");
        let fault = kernel.script.take(number);
        self.queue.extend(std::mem::take(&mut self.late));
        let mut asked = Asked::of(self.protocol, datagram, fault);
        match fault {
            Some(Fault::NotSent(errno)) => {
                kernel.log.push(asked);
                return Err(io::Error::from_raw_os_error(errno));
            }
            Some(Fault::Lost) => {
                kernel.log.push(asked);
                return Ok(());
            }
            _ => {}
        }
        match fault {
            Some(Fault::AnswerAgain) => self.queue.extend(self.last.clone()),
            Some(Fault::Interrupted) => self.queue.push_back(Delivery::Error(libc::EINTR)),
            // The pieces of a dump are there, but not yet.
            Some(Fault::AnswerLate) if asked.dump => {
                self.queue.push_back(Delivery::Error(libc::EAGAIN));
            }
            _ => {}
        }
        let Answers { datagrams, errno } = self.answer(&mut kernel, datagram, fault);
        asked.errno = errno;
        kernel.log.push(asked);
        self.last.clone_from(&datagrams);
        match fault {
            Some(Fault::AnswerLost) => {}
            Some(Fault::AnswerDropped) if datagrams.is_empty() => {}
            Some(Fault::AnswerDropped) => self.queue.push_back(Delivery::Error(libc::ENOBUFS)),
            Some(Fault::AnswerLate) => self.late = datagrams,
            _ => self.queue.extend(datagrams),
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let delivery = self.queue.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let shared = Arc::clone(&self.kernel);
        let datagram = match delivery {
            Delivery::Error(errno) => return Err(io::Error::from_raw_os_error(errno)),
            Delivery::Datagram(datagram) => datagram,
        };
        self.continue_dump(&mut lock(&shared));
        // What does not fit is cut off, without a word.
        let length = datagram.len().min(buffer.len());
        for (place, octet) in buffer.iter_mut().zip(&datagram) {
            *place = *octet;
        }
        Ok(length)
    }
}

impl Asked {
    fn of(protocol: Protocol, request: &[u8], fault: Option<Fault>) -> Self {
        let read = Header::read(request);
        let (kind, flags) = read.map_or((0, 0), |(header, ..)| (header.kind, header.flags));
        let command = read.and_then(|(_, body, _)| body.first().copied());
        let what = match protocol {
            Protocol::Generic if kind == FAMILY => command.map_or(0, u16::from),
            Protocol::Route | Protocol::Generic => kind,
        };
        let dump = flags & NLM_F_DUMP == NLM_F_DUMP;
        Self { protocol, what, dump, fault, errno: 0 }
    }
}
