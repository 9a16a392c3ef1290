//! Whatever happens in the kernel that the daemon has not asked for: traffic, cables, and other
//! people.

use super::FakeKernel;
use super::numbers::oper;
use super::state::{Kind, Link, Parent, Secy, State};

/// The last packet number of a suite without XPN.
const LAST_32: u64 = u32::MAX as u64;

/// Interfaces, and whoever else is root.
impl FakeKernel {
    /// Adds an Ethernet interface, up and with a carrier.
    pub(crate) fn add_parent(&self, index: u32, name: &str, mac: [u8; 6]) {
        let kind = Kind::Parent(Parent::default());
        self.with(|state| state.add(Some(index), plain(name, mac, kind)));
    }

    /// Adds an interface that is neither Ethernet nor MACsec.
    pub(crate) fn add_other(&self, name: &str) -> u32 {
        self.with(|state| state.add(None, plain(name, [2, 0, 0, 0, 0, 0xee], Kind::Other)))
    }

    /// Adds a MACsec interface on a parent, as somebody else's.
    pub(crate) fn add_macsec(&self, parent: u32, name: &str, sci: [u8; 8]) -> u32 {
        let kind = Kind::Macsec(Box::new(Secy::new(parent, sci)));
        self.with(|state| state.add(None, plain(name, [2, 0, 0, 0, 0, 0xef], kind)))
    }

    /// Deletes an interface, and what is on it.
    pub(crate) fn delete(&self, name: &str) {
        self.with(|state| {
            let index = index_of(state, name);
            state.remove(index);
        });
    }

    pub(crate) fn rename(&self, name: &str, to: &str) {
        self.change(name, |link| to.clone_into(&mut link.name));
    }

    /// Moves an interface to another network namespace. What is on it goes, and it comes down.
    pub(crate) fn move_away(&self, name: &str) {
        self.with(|state| {
            let index = index_of(state, name);
            state.links.retain(|_, link| link.secy().is_none_or(|secy| secy.parent != index));
            state.set_up(index, false);
            state.generation += 1;
            if let Some(link) = state.links.get_mut(&index) {
                link.elsewhere = true;
            }
        });
    }

    pub(crate) fn set_mtu(&self, name: &str, mtu: u32) {
        self.change(name, |link| link.mtu = mtu);
        self.with(|state| state.follow(index_of(state, name)));
    }

    pub(crate) fn set_carrier(&self, name: &str, carrier: bool) {
        self.change(name, |link| link.set_carrier(carrier));
        self.with(|state| state.follow(index_of(state, name)));
    }

    pub(crate) fn set_up(&self, name: &str, up: bool) {
        self.with(|state| state.set_up(index_of(state, name), up));
    }

    /// Changes whatever an interface has.
    pub(crate) fn change(&self, name: &str, work: impl FnOnce(&mut Link)) {
        self.with(|state| work(state.named_mut(name).expect("the test names an interface")));
    }

    /// Changes a SecY, as somebody else who may.
    pub(crate) fn edit(&self, name: &str, work: impl FnOnce(&mut Secy)) {
        self.with(|state| {
            let secy = state.named_mut(name).and_then(Link::secy_mut);
            let secy = secy.expect("the test names a MACsec interface");
            let before = secy.clone();
            work(secy);
            let after = secy.clone();
            for (old, new) in before.tx.iter().zip(&after.tx) {
                if let Some(old) = old.as_ref().filter(|old| old.active)
                    && new.as_ref().is_none_or(|new| !new.active)
                {
                    state.oracle.switched_off(old);
                }
            }
        });
    }
}

/// Traffic.
impl FakeKernel {
    /// Has frames go out through a MACsec interface, and tells how many did, protected.
    pub(crate) fn transmit(&self, name: &str, frames: u64) -> u64 {
        self.with(|state| {
            let link = state.named_mut(name).expect("the test names an interface");
            let up = link.up && link.carrier;
            let secy = link.secy_mut().expect("the test names a MACsec interface");
            if !up {
                return 0;
            }
            if !secy.protect {
                secy.untagged += frames;
                return 0;
            }
            let sent = if secy.operational { protect(secy, frames) } else { None };
            let Some((secy, sa, first, last)) = sent else {
                link.tx_dropped += frames;
                return 0;
            };
            state.oracle.spend(&secy, &sa, first, last);
            if last == last_pn(&secy) {
                state.oracle.switched_off(&sa);
            }
            last - first + 1
        })
    }

    /// Has frames go out until the packet numbers have run out.
    pub(crate) fn exhaust(&self, name: &str) {
        self.transmit(name, u64::MAX);
    }

    /// Has a frame with this number come in, which is good.
    pub(crate) fn receive(&self, name: &str, sci: [u8; 8], an: u8, pn: u64) {
        self.change(name, |link| {
            let channel = link.secy_mut().and_then(|secy| secy.channel_mut(sci));
            let channel = channel.expect("the test names a receive channel");
            channel.received += 1;
            let sa = channel.sas.get_mut(usize::from(an)).and_then(Option::as_mut);
            let sa = sa.expect("the test names a receive association");
            sa.next_pn = sa.next_pn.max(pn + 1);
            sa.received += 1;
        });
    }
}

fn last_pn(secy: &Secy) -> u64 {
    if secy.is_xpn() { u64::MAX } else { LAST_32 }
}

/// Spends numbers of the association in use. An association whose numbers had run out and that was
/// switched on again starts over at 1, as the kernel's does.
fn protect(secy: &mut Secy, frames: u64) -> Option<(Secy, super::state::Sa, u64, u64)> {
    let (an, last_pn, encrypt) = (secy.encoding_sa, last_pn(secy), usize::from(secy.encrypt));
    secy.operational = secy.tx_sa(an).is_some_and(|sa| sa.active);
    let sa = secy.tx_sa_mut(an).filter(|sa| sa.active)?;
    let first = sa.next_pn.max(1);
    let last = first.saturating_add(frames - 1).min(last_pn);
    sa.next_pn = if last == last_pn { 0 } else { last + 1 };
    let number = last - first + 1;
    let count = sa.sent.get_mut(encrypt)?;
    *count = count.wrapping_add(u32::try_from(number & LAST_32).unwrap_or_default());
    let sa = sa.clone();
    let before = secy.clone();
    if sa.next_pn == 0 {
        secy.activate(an, false);
    }
    let count = secy.sent.get_mut(encrypt)?;
    *count = count.saturating_add(number);
    Some((before, sa, first, last))
}

fn plain(name: &str, mac: [u8; 6], kind: Kind) -> Link {
    Link {
        index: 0,
        name: name.to_owned(),
        mac,
        mtu: 1500,
        up: !matches!(kind, Kind::Macsec(_)),
        carrier: true,
        link_mode: 0,
        operstate: oper::UP,
        elsewhere: false,
        tx_dropped: 0,
        kind,
        stirred: false,
    }
}

fn index_of(state: &State, name: &str) -> u32 {
    state.named(name).expect("the test names an interface").index
}

/// An interface of somebody else's comes, with a MACsec interface on it.
pub(super) fn stranger(state: &mut State) {
    let number = state.generation;
    let mac = [2, 0, 0, 0, 0xff, 0xff];
    let parent = plain(&format!("other{number}"), mac, Kind::Parent(Parent::default()));
    let parent = state.add(None, parent);
    let secy = Secy::new(parent, [2, 0, 0, 0, 0xff, 0xff, 0, 1]);
    let secy = Kind::Macsec(Box::new(secy));
    state.add(None, plain(&format!("secret{number}"), mac, secy));
}
