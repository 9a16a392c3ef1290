//! Secure associations: a prepared key, the one that transmits with it, and those that receive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::crypto::{GcmKey, nonce, xpn_nonce};
use crate::engine::Engine;
use crate::ident::{AssociationNumber, ConfidentialityOffset, KeyId, PacketNumber, Sci, Ssci};
use crate::secy::{ReplayWindow, RxMember, SecyError, SecyKey, TxProgress};

/// An SAK made ready for frames. Made once for each SAK and shared by all its associations.
#[derive(Debug)]
pub struct PreparedKey {
    key: Arc<SecyKey>,
    gcm: GcmKey,
    /// Whether its one transmit SA was made. A second would repeat the first's packet numbers.
    transmits: AtomicBool,
}

impl PreparedKey {
    /// Expands a key, for the fastest engine of this machine.
    ///
    /// # Errors
    ///
    /// [`SecyError::Invalid`] where the parts of the key contradict each other.
    pub fn new(key: Arc<SecyKey>) -> Result<Arc<Self>, SecyError> {
        Self::for_engine(Engine::best(), key)
    }

    /// Expands a key, for one engine.
    ///
    /// # Errors
    ///
    /// [`SecyError::Invalid`] where the parts of the key contradict each other.
    pub fn for_engine(engine: Engine, key: Arc<SecyKey>) -> Result<Arc<Self>, SecyError> {
        key.check()?;
        let gcm = GcmKey::for_engine(engine, &key.sak);
        Ok(Arc::new(Self { key, gcm, transmits: AtomicBool::new(false) }))
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &Arc<SecyKey> {
        &self.key
    }

    /// The cipher under this key.
    #[must_use]
    pub const fn gcm(&self) -> &GcmKey {
        &self.gcm
    }

    fn nonces(&self, sci: Sci, ssci: Option<Ssci>) -> Result<Nonces, SecyError> {
        let base = match (&self.key.salt, ssci) {
            (None, None) => nonce(sci, PacketNumber(0)),
            (Some(salt), Some(ssci)) => xpn_nonce(ssci, PacketNumber(0), salt),
            (None, Some(_)) => return Err(SecyError::Invalid("an SSCI, but no XPN suite")),
            (Some(_), None) => return Err(SecyError::Invalid("an XPN suite needs an SSCI")),
        };
        let [a, b, c, d, pn @ ..] = base;
        Ok(Nonces { front: [a, b, c, d], back: u64::from_be_bytes(pn) })
    }
}

impl SecyKey {
    /// Finds out whether the parts of the key fit each other.
    ///
    /// # Errors
    ///
    /// [`SecyError::Invalid`] with the contradiction.
    pub fn check(&self) -> Result<(), SecyError> {
        if self.sak.expose().len() != self.suite.sak_len() {
            return Err(SecyError::Invalid("the SAK does not have the suite's length"));
        }
        if self.salt.is_some() != self.suite.is_xpn() {
            return Err(SecyError::Invalid("a salt is for XPN suites, and needed there"));
        }
        if self.suite.is_xpn() && self.offset.octets() != 0 {
            return Err(SecyError::Invalid("an XPN suite has no confidentiality offset"));
        }
        Ok(())
    }

    /// The last packet number that may be sent with this key.
    #[must_use]
    pub const fn last_pn(&self) -> PacketNumber {
        if self.suite.is_xpn() { PacketNumber(u64::MAX) } else { PacketNumber::LAST_32 }
    }
}

/// The nonces of one association, all but the packet number mixed in already.
///
/// This serves both kinds of suite: a 32-bit packet number leaves the SCI in front of it alone.
#[derive(Clone, Copy, Debug)]
struct Nonces {
    front: [u8; 4],
    back: u64,
}

impl Nonces {
    const fn at(&self, pn: PacketNumber) -> [u8; 12] {
        let [a, b, c, d] = self.front;
        let [e, f, g, h, i, j, k, l] = (self.back ^ pn.0).to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

/// The transmit SA of a key, and the counter that makes each of its nonces unique.
///
/// Shared by reference or `Arc`, never copied. Packet numbers are spent before they are used, in
/// runs, from 1 up to the last; nothing sets the counter or takes a number back.
#[derive(Debug)]
pub struct TxSa {
    key: Arc<PreparedKey>,
    an: AssociationNumber,
    sci: Sci,
    nonces: Nonces,
    /// The last number spent.
    spent: AtomicU64,
}

impl TxSa {
    /// Makes the one transmit SA of a key.
    ///
    /// # Errors
    ///
    /// [`SecyError::KeyUsedBefore`] where it was made before, [`SecyError::Invalid`] where `ssci`
    /// does not suit the suite.
    pub fn new(
        key: &Arc<PreparedKey>,
        an: AssociationNumber,
        own: Sci,
        ssci: Option<Ssci>,
    ) -> Result<Self, SecyError> {
        let nonces = key.nonces(own, ssci)?;
        if key.transmits.swap(true, Relaxed) {
            return Err(SecyError::KeyUsedBefore(key.key.ki));
        }
        Ok(Self { key: Arc::clone(key), an, sci: own, nonces, spent: AtomicU64::new(0) })
    }

    /// Spends the next `count` packet numbers, or as many as are left.
    ///
    /// `None` where none is left (802.1AE-2018 10.5.2) or none was asked for. A number that is
    /// then not used is lost, which is harmless.
    #[must_use]
    pub fn reserve(&self, count: u64) -> Option<PnRun<'_>> {
        let last = self.key.key.last_pn().0;
        let take = |spent: u64| count.min(last - spent);
        let before = self
            .spent
            .fetch_update(Relaxed, Relaxed, |spent| (take(spent) > 0).then(|| spent + take(spent)))
            .ok()?;
        Some(PnRun { sa: self, spent: before, last: before + take(before) })
    }

    /// Tells how far the counter has come.
    #[must_use]
    pub fn progress(&self) -> TxProgress {
        let next_pn = PacketNumber(self.spent.load(Relaxed).saturating_add(1));
        TxProgress { ki: self.key.key.ki, next_pn }
    }

    /// Tells whether every packet number is spent.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.spent.load(Relaxed) >= self.key.key.last_pn().0
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &Arc<PreparedKey> {
        &self.key
    }

    /// The association number.
    #[must_use]
    pub const fn an(&self) -> AssociationNumber {
        self.an
    }

    /// The channel: our own SCI.
    #[must_use]
    pub const fn sci(&self) -> Sci {
        self.sci
    }

    /// Whether and from where on frames are encrypted.
    #[must_use]
    pub fn offset(&self) -> ConfidentialityOffset {
        self.key.key.offset
    }
}

/// Packet numbers spent in one go, to be used one by one in order.
#[derive(Debug)]
#[must_use]
pub struct PnRun<'sa> {
    sa: &'sa TxSa,
    spent: u64,
    last: u64,
}

impl<'sa> PnRun<'sa> {
    /// The SA that spent them.
    #[must_use]
    pub const fn sa(&self) -> &'sa TxSa {
        self.sa
    }
}

impl<'sa> Iterator for PnRun<'sa> {
    type Item = TxPn<'sa>;

    fn next(&mut self) -> Option<TxPn<'sa>> {
        if self.spent == self.last {
            return None;
        }
        self.spent += 1;
        Some(TxPn { sa: self.sa, pn: PacketNumber(self.spent) })
    }
}

/// One packet number of one transmit SA, good for one frame.
///
/// It cannot be copied and knows its SA, so that neither a second frame nor another key can have it.
#[derive(Debug)]
#[must_use]
pub struct TxPn<'sa> {
    sa: &'sa TxSa,
    pn: PacketNumber,
}

impl<'sa> TxPn<'sa> {
    /// The number.
    #[must_use]
    pub const fn value(&self) -> PacketNumber {
        self.pn
    }

    /// The SA that spent it.
    #[must_use]
    pub const fn sa(&self) -> &'sa TxSa {
        self.sa
    }

    /// Uses it up.
    pub(super) const fn into_nonce(self) -> [u8; 12] {
        self.sa.nonces.at(self.pn)
    }
}

/// A receive SA. Shared: its replay state can be raised and read while frames are validated.
#[derive(Debug)]
pub struct RxSa {
    key: Arc<PreparedKey>,
    an: AssociationNumber,
    sci: Sci,
    ssci: Option<Ssci>,
    nonces: Nonces,
    replay: ReplayWindow,
}

impl RxSa {
    /// Makes the receive SA of a key for one member.
    ///
    /// # Errors
    ///
    /// [`SecyError::Invalid`] where the member's SSCI does not suit the suite.
    pub fn new(
        key: &Arc<PreparedKey>,
        an: AssociationNumber,
        member: RxMember,
    ) -> Result<Self, SecyError> {
        let RxMember { sci, ssci, lowest_pn } = member;
        let nonces = key.nonces(sci, ssci)?;
        let replay = ReplayWindow::new(lowest_pn);
        Ok(Self { key: Arc::clone(key), an, sci, ssci, nonces, replay })
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &Arc<PreparedKey> {
        &self.key
    }

    /// The key's name.
    #[must_use]
    pub fn ki(&self) -> KeyId {
        self.key.key.ki
    }

    /// The association number.
    #[must_use]
    pub const fn an(&self) -> AssociationNumber {
        self.an
    }

    /// The channel: the member's SCI.
    #[must_use]
    pub const fn sci(&self) -> Sci {
        self.sci
    }

    /// The member's SSCI; `None` where the suite is not XPN.
    #[must_use]
    pub const fn ssci(&self) -> Option<Ssci> {
        self.ssci
    }

    /// The replay state.
    #[must_use]
    pub const fn replay(&self) -> &ReplayWindow {
        &self.replay
    }

    /// Tells whether packet numbers have 64 bits.
    #[must_use]
    pub fn is_xpn(&self) -> bool {
        self.key.key.suite.is_xpn()
    }

    /// The number of a frame whose tag says `low`.
    #[must_use]
    pub fn full_pn(&self, low: u32) -> PacketNumber {
        if self.is_xpn() { self.replay.recover(low) } else { PacketNumber(u64::from(low)) }
    }

    pub(super) const fn nonce(&self, pn: PacketNumber) -> [u8; 12] {
        self.nonces.at(pn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use zeroize::Zeroizing;

    use crate::crypto::{Sak, Salt};
    use crate::ident::CipherSuite;
    use crate::secy::fixture::{OWN, PEER, an, default_key, key, ki, member, tx_sa};

    const XPN: CipherSuite = CipherSuite::GcmAesXpn128;

    fn xpn_sa() -> TxSa {
        TxSa::new(&key(XPN, ConfidentialityOffset::Offset0), an(0), OWN, Some(Ssci(1))).unwrap()
    }

    fn numbers(run: PnRun<'_>) -> Vec<u64> {
        run.map(|pn| pn.value().0).collect()
    }

    #[test]
    fn packet_numbers_start_at_1_and_are_spent_in_runs() {
        let sa = tx_sa(&default_key());
        assert_eq!(sa.progress(), TxProgress { ki: ki(1), next_pn: PacketNumber(1) });
        assert_eq!(numbers(sa.reserve(3).unwrap()), [1, 2, 3]);
        assert_eq!(sa.progress().next_pn, PacketNumber(4));
        drop(sa.reserve(2));
        assert_eq!(numbers(sa.reserve(1).unwrap()), [6], "a run that was dropped is lost");
        assert!(sa.reserve(0).is_none());
    }

    #[test]
    fn a_32_bit_sa_stops_after_its_last_number() {
        let sa = tx_sa(&default_key());
        drop(sa.reserve(0xffff_fffd));
        assert!(!sa.is_exhausted());
        let rest = numbers(sa.reserve(32).unwrap());
        assert_eq!(rest, [0xffff_fffe, 0xffff_ffff]);
        assert!(sa.is_exhausted());
        assert!(sa.reserve(1).is_none());
        assert!(sa.reserve(u64::MAX).is_none());
        assert_eq!(sa.progress().next_pn, PacketNumber(0x1_0000_0000));
    }

    #[test]
    fn an_xpn_sa_passes_two_to_the_32_and_stops_after_its_last_number() {
        let sa = xpn_sa();
        drop(sa.reserve(0xffff_fffe));
        assert_eq!(numbers(sa.reserve(3).unwrap()), [0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001]);
        drop(sa.reserve(u64::MAX - 0x1_0000_0002));
        assert_eq!(numbers(sa.reserve(u64::MAX).unwrap()), [u64::MAX]);
        assert!(sa.is_exhausted());
        assert!(sa.reserve(1).is_none());
        assert_eq!(sa.progress().next_pn, PacketNumber(u64::MAX));
    }

    #[test]
    fn threads_never_get_the_same_number() {
        let sa = xpn_sa();
        let seen = Mutex::new(BTreeSet::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mine: Vec<u64> =
                        (0..500).flat_map(|_| numbers(sa.reserve(7).unwrap())).collect();
                    let mut seen = seen.lock().unwrap();
                    assert!(mine.into_iter().all(|pn| seen.insert(pn)));
                });
            }
        });
        assert_eq!(seen.lock().unwrap().last(), Some(&(4 * 500 * 7)));
    }

    #[test]
    fn a_key_has_one_transmit_sa_ever() {
        let key = default_key();
        let first = TxSa::new(&key, an(0), OWN, None);
        assert!(first.is_ok());
        drop(first);
        let second = TxSa::new(&key, an(0), OWN, None);
        assert_eq!(second.unwrap_err(), SecyError::KeyUsedBefore(ki(1)));
    }

    #[test]
    fn an_ssci_is_for_xpn_suites_and_needed_there() {
        let invalid =
            |result: Result<RxSa, SecyError>| matches!(result, Err(SecyError::Invalid(_)));
        assert!(invalid(RxSa::new(&default_key(), an(0), member(PEER, Some(2)))));
        let xpn = key(XPN, ConfidentialityOffset::Offset0);
        assert!(invalid(RxSa::new(&xpn, an(0), member(PEER, None))));
        // A refusal does not use up the key.
        assert!(TxSa::new(&xpn, an(0), OWN, None).is_err());
        assert!(TxSa::new(&xpn, an(0), OWN, Some(Ssci(1))).is_ok());
    }

    #[test]
    fn a_receive_sa_shows_the_ssci_of_its_member() {
        let xpn = key(XPN, ConfidentialityOffset::Offset0);
        let sa = RxSa::new(&xpn, an(0), member(PEER, Some(2))).unwrap();
        assert_eq!((sa.sci(), sa.ssci()), (PEER, Some(Ssci(2))));
        let sa = RxSa::new(&default_key(), an(0), member(PEER, None)).unwrap();
        assert_eq!(sa.ssci(), None);
    }

    #[test]
    fn a_key_whose_parts_contradict_each_other_is_refused() {
        use ConfidentialityOffset::{Offset0, Offset30};
        let refused = |suite, offset, len: usize, salted: bool| {
            let sak = Sak::new(Zeroizing::new(vec![1; len])).unwrap();
            let salt = salted.then(|| Salt::new(ki(1)));
            let key = SecyKey { ki: ki(1), suite, offset, sak, salt };
            matches!(PreparedKey::new(Arc::new(key)), Err(SecyError::Invalid(_)))
        };
        assert!(refused(CipherSuite::GcmAes128, Offset0, 32, false));
        assert!(refused(CipherSuite::GcmAes256, Offset0, 16, false));
        assert!(refused(CipherSuite::GcmAes128, Offset0, 16, true));
        assert!(refused(XPN, Offset0, 16, false));
        assert!(refused(XPN, Offset30, 16, true));
        assert!(!refused(CipherSuite::GcmAes256, Offset30, 32, false));
        assert!(!refused(XPN, Offset0, 16, true));
    }

    #[test]
    fn nothing_of_a_key_is_printed() {
        let sa = tx_sa(&default_key());
        let printed = format!("{sa:?}");
        assert!(printed.contains("Sak(..)") && printed.contains("GcmKey(..)"), "{printed}");
        assert!(!printed.contains("90, 90"), "{printed}");
    }
}
