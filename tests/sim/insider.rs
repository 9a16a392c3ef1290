//! A member that lies. It holds the CAK, so every MKPDU of it is authentic, whoever it says it is.
//!
//! It can keep the others from agreeing. It cannot make an honest one use a nonce twice, install a
//! key twice or pass frames in clear: those oracles stay on.

use std::rc::Rc;

use macsecd::crypto::Sak;
use macsecd::ident::{
    AssociationNumber, ConfidentialityOffset, KeyId, KeyNumber, KeyServerPriority, MacAddress,
    MemberId, MessageNumber, Sci,
};
use macsecd::port::PortInput;
use macsecd::wire::{
    DistributedSak, Eapol, LivePeerList, Mkpdu, PeerEntry, RawMkpdu, SakUseKey, SakUseSet,
};
use zeroize::Zeroizing;

use crate::oracles::Violation;
use crate::trace::Record;
use crate::world::World;

/// What somebody says.
pub(crate) fn read(octets: &[u8]) -> Mkpdu {
    RawMkpdu::decode(&Eapol::decode(octets).unwrap()).unwrap().parse().unwrap()
}

impl World {
    /// Tells a station lies, in the name of another or of nobody.
    pub(crate) fn lie(&mut self, to: usize, count: usize) -> Result<(), Violation> {
        for _ in 0..count {
            if !self.members[to].is_up() || self.records.is_empty() {
                return Ok(());
            }
            let recent = self.records.len().min(30);
            let index = self.records.len() - 1 - self.rng.below(recent);
            let record = Rc::clone(&self.records[index]);
            let mut mkpdu = read(&record.octets);
            if record.from == to {
                self.pretend_to_be_another(&mut mkpdu);
            }
            for _ in 0..self.rng.pick(&[1, 1, 2, 3]) {
                self.twist(to, &mut mkpdu);
            }
            self.say_to(to, &mkpdu)?;
        }
        Ok(())
    }

    /// Has a station hear of many members who are not there.
    pub(crate) fn flood(&mut self, to: usize, count: usize) -> Result<(), Violation> {
        for _ in 0..count {
            let Some(record) = self.records.last().map(Rc::clone) else { return Ok(()) };
            if !self.members[to].is_up() {
                return Ok(());
            }
            let mut mkpdu = read(&record.octets);
            self.pretend_to_be_another(&mut mkpdu);
            (mkpdu.live_peers, mkpdu.potential_peers) = (None, None);
            (mkpdu.sak_use, mkpdu.distributed_sak) = (None, None);
            self.say_to(to, &mkpdu)?;
        }
        Ok(())
    }

    fn say_to(&mut self, to: usize, mkpdu: &Mkpdu) -> Result<(), Violation> {
        let key = self.keys.iter().find(|key| key.ckn == mkpdu.basic.ckn).unwrap();
        let Ok(mut octets) = mkpdu.encode(MacAddress::PAE_GROUP, mkpdu.basic.sci.address()) else {
            return Ok(());
        };
        let icv = key.cak.ick(&key.ckn).icv(&octets);
        octets.extend_from_slice(&icv);
        self.tally.lies += 1;
        self.oracles.is_lied_to = true;
        let record = Rc::new(Record { octets, from: to, sent: self.now });
        self.heard(to, "hears a lie", &record);
        // What it knows of the message numbers of others is nothing to go by any more.
        self.members[to].heard.clear();
        self.input(to, PortInput::Frame(&record.octets))
    }

    fn octets<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.rng.below(256) as u8)
    }

    fn pretend_to_be_another(&mut self, mkpdu: &mut Mkpdu) {
        let address =
            MacAddress([2, 0, 0, 1, self.rng.below(256) as u8, self.rng.below(256) as u8]);
        mkpdu.basic.sci = Sci::new(address, 1);
        mkpdu.basic.mi = MemberId::from_octets(self.octets());
        mkpdu.basic.mn = MessageNumber(1 + self.rng.below(100) as u32);
        // An SAK that was used already, under another name, is not told from a new one: whoever
        // could do this has the SAK.
        mkpdu.distributed_sak = None;
    }

    /// The MI of a station, and a message number that it has said not long ago.
    fn mention(&mut self, of: usize) -> Option<PeerEntry> {
        let mut records = self.records.iter().rev();
        let record = records.find(|record| record.from == of)?;
        Some(PeerEntry { mi: record.mi(), mn: MessageNumber(record.mn()) })
    }

    fn twist(&mut self, to: usize, mkpdu: &mut Mkpdu) {
        let later = self.rng.pick(&[1, 1, 2, 100, u32::MAX]);
        mkpdu.basic.mn = MessageNumber(mkpdu.basic.mn.0.saturating_add(later));
        match self.rng.below(9) {
            0 => self.twist_lists(to, mkpdu),
            1 => {
                mkpdu.live_peers = None;
                mkpdu.potential_peers = None;
            }
            2 | 3 => self.twist_uses(mkpdu),
            4 => {
                mkpdu.basic.key_server_priority = KeyServerPriority(self.rng.pick(&[0, 1, 255]));
                mkpdu.basic.key_server = self.rng.chance(500);
            }
            5 => mkpdu.sak_use = None,
            6 => {
                self.list(to, mkpdu);
                mkpdu.distributed_sak = Some(DistributedSak::PlainText);
            }
            _ => self.distribute(to, mkpdu),
        }
    }

    fn list(&mut self, to: usize, mkpdu: &mut Mkpdu) {
        let Some(entry) = self.mention(to) else { return };
        let list = LivePeerList { key_server_ssci: 0, peers: Vec::new() };
        let list = mkpdu.live_peers.get_or_insert(list);
        if list.peers.iter().all(|of| of.mi != entry.mi) {
            // An SAK whose SSCIs were given without this station is not told from a new one either.
            mkpdu.distributed_sak = None;
        }
        list.peers.retain(|of| of.mi != entry.mi);
        list.peers.push(entry);
    }

    fn twist_lists(&mut self, to: usize, mkpdu: &mut Mkpdu) {
        self.list(to, mkpdu);
        let more = self.rng.pick(&[0, 1, 40]);
        let shift = self.rng.pick(&[0, 0, 1, 1000]);
        let strangers: Vec<_> = (0..more)
            .map(|_| PeerEntry { mi: MemberId::from_octets(self.octets()), mn: MessageNumber(1) })
            .collect();
        let ssci = self.rng.below(4) as u8;
        if let Some(list) = &mut mkpdu.live_peers {
            list.peers.iter_mut().for_each(|of| of.mn.0 = of.mn.0.saturating_add(shift));
            list.peers.extend(strangers);
            list.key_server_ssci = ssci;
            self.rng.shuffle(&mut list.peers);
        }
    }

    fn twist_uses(&mut self, mkpdu: &mut Mkpdu) {
        let Some(SakUseSet::Keys(uses)) = &mut mkpdu.sak_use else { return };
        let rng = &mut self.rng;
        let mut twist = |key: &mut SakUseKey| match rng.below(5) {
            0 => key.tx = !key.tx,
            1 => key.rx = !key.rx,
            2 => key.llpn = rng.pick(&[1, 0xc000_0000, u32::MAX]),
            3 => key.an = AssociationNumber::from_low_bits(rng.below(4) as u8),
            _ => key.ki.number = KeyNumber(key.ki.number.0.saturating_add(1)),
        };
        uses.latest.iter_mut().for_each(&mut twist);
        uses.old.iter_mut().for_each(&mut twist);
        if rng.chance(300) {
            std::mem::swap(&mut uses.latest, &mut uses.old);
        }
        uses.delay_protect = rng.chance(500);
        if let Some(xpn) = &mut mkpdu.xpn {
            xpn.latest_lpn_high = rng.pick(&[0, 1, u32::MAX]);
            xpn.suspension_time = rng.pick(&[0, 0, 5, 255]);
        }
    }

    /// Hands out an SAK: another one under a number that was used, or that is to come.
    fn distribute(&mut self, to: usize, mkpdu: &mut Mkpdu) {
        self.list(to, mkpdu);
        let Some(key) = self.keys.iter().find(|key| key.ckn == mkpdu.basic.ckn) else { return };
        let kek = key.cak.kek(&key.ckn);
        let suites = &self.members[to].policy.cipher_suites;
        let suite = suites[self.rng.below(suites.len())];
        let octets: Vec<u8> = (0..suite.sak_len()).map(|_| self.rng.below(256) as u8).collect();
        let sak = Sak::new(Zeroizing::new(octets)).unwrap();
        let server = mkpdu.basic.mi;
        let known = self.oracles.keys.highest_of(server).map_or(0, |number| number.0);
        let shift = self.rng.pick(&[0, 0, 1, 1, 2, 1_000_000]);
        let kn = KeyNumber(known.saturating_add(shift));
        mkpdu.basic.key_server = true;
        self.oracles.keys.forge(KeyId { server, number: kn });
        mkpdu.distributed_sak = Some(DistributedSak::Key {
            an: AssociationNumber::from_low_bits(self.rng.below(4) as u8),
            offset: ConfidentialityOffset::Offset0,
            kn,
            suite: Ok(suite),
            wrapped: kek.wrap(&sak).into_octets(),
        });
    }
}
