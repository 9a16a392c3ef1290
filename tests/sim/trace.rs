//! What has happened, kept so that it can be told when something goes wrong.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::rc::Rc;

use macsecd::ident::{KeyId, MemberId};
use macsecd::secy::SecyCommand;
use macsecd::time::Time;
use macsecd::wire::{DistributedSak, Eapol, Mkpdu, RawMkpdu, SakUseKey, SakUseSet};

/// An MKPDU as it was sent.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) octets: Vec<u8>,
    pub(crate) from: usize,
    pub(crate) sent: Time,
}

impl Record {
    /// The Actor's Member Identifier in the Basic Parameter Set.
    pub(crate) fn mi(&self) -> MemberId {
        MemberId::from_octets(self.octets[30..42].try_into().unwrap())
    }

    /// The Actor's Message Number.
    pub(crate) fn mn(&self) -> u32 {
        u32::from_be_bytes(self.octets[42..46].try_into().unwrap())
    }

    /// The CKN: what the body length leaves behind the 28 octets in front of it.
    pub(crate) fn ckn(&self) -> &[u8] {
        let body = usize::from(self.octets[20] & 0xf) << 8 | usize::from(self.octets[21]);
        &self.octets[50..22 + body]
    }
}

/// One thing that happened.
#[derive(Debug)]
pub(crate) enum Note {
    Sent(Rc<Record>),
    Heard { to: usize, how: &'static str, record: Rc<Record> },
    Lost { to: usize, record: Rc<Record> },
    Command { station: usize, what: String },
    Answer { station: usize, what: String },
    Event(String),
}

/// The last notes.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    notes: VecDeque<(Time, Note)>,
    aloud: bool,
    silent: bool,
}

/// How many notes a report shows.
const KEPT: usize = 40;

impl Trace {
    /// Starts an empty trace, which is told as it grows where `SIM_TRACE` is set.
    pub(crate) fn new() -> Self {
        let aloud = std::env::var_os("SIM_TRACE").is_some();
        Self { notes: VecDeque::new(), aloud, silent: false }
    }

    /// Takes no notes, as one in a great many sessions that are well need not.
    pub(crate) fn be_silent(&mut self) {
        self.silent = !self.aloud;
    }

    pub(crate) fn note(&mut self, now: Time, note: impl FnOnce() -> Note) {
        if self.silent {
            return;
        }
        let note = note();
        if self.aloud {
            println!("{now} {note}");
        }
        if self.notes.len() >= KEPT {
            self.notes.pop_front();
        }
        self.notes.push_back((now, note));
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.notes.iter().try_for_each(|(at, note)| writeln!(f, "  {at} {note}"))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(record) => write!(f, "{} sends {}", record.from, told(record)),
            Self::Heard { to, how, record } => {
                let (from, mi, mn) = (record.from, short(record.mi()), record.mn());
                write!(f, "{to} {how} {mi}:{mn} of {from}")
            }
            Self::Lost { to, record } => {
                let (from, mi, mn) = (record.from, short(record.mi()), record.mn());
                write!(f, "{to} misses {mi}:{mn} of {from}")
            }
            Self::Command { station, what } => write!(f, "{station} commands {what}"),
            Self::Answer { station, what } => write!(f, "{station} is answered {what}"),
            Self::Event(what) => f.write_str(what),
        }
    }
}

/// Enough of an MI to tell members apart.
pub(crate) fn short(mi: MemberId) -> String {
    let [a, b, ..] = mi.octets();
    format!("{a:02x}{b:02x}")
}

/// A key identifier in as few characters.
pub(crate) fn short_ki(ki: KeyId) -> String {
    format!("{}/{}", short(ki.server), ki.number.0)
}

/// What an MKPDU says.
fn told(record: &Record) -> String {
    let Ok(mkpdu) = decode(&record.octets) else { return "nonsense".to_owned() };
    let basic = &mkpdu.basic;
    let mut out = format!("{}:{} ckn {}", short(basic.mi), basic.mn.0, basic.ckn);
    if basic.key_server {
        out.push_str(" server");
    }
    let live = mkpdu.live_peers.iter().flat_map(|list| &list.peers);
    for (list, peers) in [
        ("live", live.collect::<Vec<_>>()),
        ("potential", mkpdu.potential_peers.iter().flatten().collect()),
    ] {
        if !peers.is_empty() {
            let _ = write!(out, " {list}");
            peers.iter().for_each(|peer| {
                let _ = write!(out, " {}:{}", short(peer.mi), peer.mn.0);
            });
        }
    }
    if let Some(SakUseSet::Keys(keys)) = &mkpdu.sak_use {
        let of = |name: &str, key: &Option<SakUseKey>| {
            key.as_ref().map_or(String::new(), |key| {
                let (tx, rx) = (if key.tx { "t" } else { "" }, if key.rx { "r" } else { "" });
                format!(" {name} {} an{} {tx}{rx}", short_ki(key.ki), key.an.value())
            })
        };
        out.push_str(&of("latest", &keys.latest));
        out.push_str(&of("old", &keys.old));
    }
    if let Some(DistributedSak::Key { an, kn, .. }) = &mkpdu.distributed_sak {
        let _ = write!(out, " distributes {} an{}", kn.0, an.value());
    }
    out
}

fn decode(octets: &[u8]) -> Result<Mkpdu, String> {
    let eapol = Eapol::decode(octets).map_err(|error| error.to_string())?;
    let raw = RawMkpdu::decode(&eapol).map_err(|error| error.to_string())?;
    raw.parse().map_err(|error| error.to_string())
}

/// What a command is about.
pub(crate) fn describe(command: &SecyCommand) -> String {
    match command {
        SecyCommand::Configure(settings) => format!("Configure protect={}", settings.protect),
        SecyCommand::SetControlledPort(open) => format!("SetControlledPort {open}"),
        SecyCommand::InstallSak(install) => {
            let from: Vec<_> = install.receive.iter().map(|of| of.sci.to_string()).collect();
            let (ki, an) = (short_ki(install.key.ki), install.an.value());
            format!("InstallSak {ki} an{an} {:?} from {}", install.ssci, from.join(" "))
        }
        SecyCommand::AddReceiver { ki, member } => {
            format!("AddReceiver {} from {} {:?}", short_ki(*ki), member.sci, member.ssci)
        }
        SecyCommand::RemoveReceiver(sci) => format!("RemoveReceiver {sci}"),
        SecyCommand::EnableTx(ki) => format!("EnableTx {}", short_ki(*ki)),
        SecyCommand::RemoveSak(ki) => format!("RemoveSak {}", short_ki(*ki)),
        SecyCommand::RaiseLowestPn { ki, sci, lowest_pn } => {
            format!("RaiseLowestPn {} of {sci} to {}", short_ki(*ki), lowest_pn.0)
        }
    }
}
