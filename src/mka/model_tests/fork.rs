//! What a model needs of a KaY beyond driving it: a second one that goes its own way from here, and
//! a name for how it stands.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Write};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::crypto::{Entropy, NoEntropy};
use crate::mka::memory::Remembered;
use crate::mka::participant::Participant;
use crate::mka::{Evidence, Kay};

/// Numbers that look random, other ones in each life of each station.
#[derive(Clone, Debug)]
pub(super) struct Draws {
    seed: u64,
    drawn: Arc<AtomicU64>,
}

impl Draws {
    pub(super) fn new(station: usize, life: u32) -> Self {
        let seed = u64::try_from(station).unwrap() << 32 | u64::from(life);
        Self { seed, drawn: Arc::default() }
    }

    pub(super) fn drawn(&self) -> u64 {
        self.drawn.load(Ordering::Relaxed)
    }

    /// The same numbers from here on, drawn by somebody else.
    pub(super) fn fork(&self) -> Self {
        Self { seed: self.seed, drawn: Arc::new(AtomicU64::new(self.drawn())) }
    }
}

impl Entropy for Draws {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoEntropy> {
        for octet in out {
            let at = self.drawn.fetch_add(1, Ordering::Relaxed);
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(self.seed);
            hasher.write_u64(at);
            *octet = hasher.finish().to_le_bytes()[0];
        }
        Ok(())
    }
}

/// Another KaY that stands as this one does. Keys are not copied but derived anew, as the types of
/// the keys demand.
///
/// Neither this nor [`digest`] builds while a field of [`Kay`] or of what it holds keys in is not
/// named here.
pub(super) fn fork(kay: &Kay, entropy: Draws) -> Kay {
    assert!(kay.outputs.is_empty(), "a KaY is forked between two inputs");
    Kay {
        policy: kay.policy.clone(),
        entropy: Box::new(entropy),
        participants: kay.participants.iter().map(fork_participant).collect(),
        principal: kay.principal,
        carrier: kay.carrier,
        carrier_since: kay.carrier_since,
        carrier_lost: kay.carrier_lost,
        cp: kay.cp.clone(),
        server: kay.server,
        decided: kay.decided,
        saks: kay.saks.clone(),
        distribution: kay.distribution.clone(),
        last_fresh: kay.last_fresh,
        rekey_wanted: kay.rekey_wanted,
        lost_sak: kay.lost_sak,
        keyless_since: kay.keyless_since,
        retry_at: kay.retry_at,
        replaced: kay.replaced,
        held: kay.held,
        outlived: kay.outlived,
        handed_over: kay.handed_over,
        suspension: kay.suspension,
        own_request: kay.own_request,
        mute_since: kay.mute_since,
        commands: kay.commands.clone(),
        open: kay.open,
        rollover: kay.rollover.clone(),
        progress: kay.progress.clone(),
        outputs: VecDeque::new(),
        now: kay.now,
        state: kay.state,
        rekeys: kay.rekeys,
        sent: kay.sent,
        accepted: kay.accepted,
        discards: kay.discards.clone(),
        evidence: kay.evidence.clone(),
        remembered: Remembered::default(),
    }
}

fn fork_participant(of: &Participant) -> Participant {
    Participant {
        key: Arc::clone(&of.key),
        ick: of.key.cak.ick(&of.key.ckn),
        kek: of.key.cak.kek(&of.key.ckn),
        seal: of.key.cak.seal(&of.key.ckn),
        token: of.token,
        actor: of.actor.clone(),
        peers: of.peers.clone(),
        pace: of.pace.clone(),
        elected: of.elected,
        alone_since: of.alone_since,
        keys_since: of.keys_since,
        last_kn: of.last_kn,
        trial: of.trial,
        answered: of.answered,
        spoken: of.spoken,
        speakers: of.speakers.clone(),
        life: of.life,
    }
}

/// A name for how a KaY stands: two of one name behave alike. Everything is in it that anything it
/// does can depend on; what is bound to `_` does not change while a model runs, or is only counted
/// and shown. The parts show all of themselves, by a derived `Debug`, but for keys, which the names
/// of keys stand for.
pub(super) fn digest(kay: &Kay) -> u64 {
    let Kay {
        policy: _,
        // By how much was drawn, which the caller adds.
        entropy: _,
        participants,
        principal,
        carrier,
        carrier_since: _,
        carrier_lost,
        cp,
        server,
        decided,
        saks,
        distribution,
        last_fresh,
        rekey_wanted,
        lost_sak,
        keyless_since,
        retry_at,
        replaced,
        held,
        outlived,
        handed_over,
        suspension,
        own_request,
        mute_since,
        commands,
        open,
        // There is one key, and nothing to choose.
        rollover: _,
        progress,
        outputs,
        now,
        state: (state, _),
        rekeys: _,
        sent: _,
        accepted: _,
        discards: _,
        evidence,
        // No KaY of a model keeps a record.
        remembered: _,
    } = kay;
    digest_of(&(
        (participants, principal, carrier, carrier_lost, cp, server, decided, saks),
        (distribution, last_fresh, rekey_wanted, lost_sak, keyless_since, retry_at, replaced),
        (held, outlived, handed_over, suspension, own_request, mute_since),
        (commands, open, progress, outputs, now, state),
        digest_of_evidence(evidence),
    ))
}

/// Of what was seen, some decides what is done: whether a server's offer is refused, for one.
fn digest_of_evidence(evidence: &Evidence) -> u64 {
    let Evidence {
        mkpdu: _,
        unknown_ckn: _,
        bad_icv: _,
        own_address: _,
        suite_refused,
        offset_refused,
        unwrap_failed,
        plain_text_refused,
        refused_by_secy: _,
        sak_lost,
        no_entropy: _,
    } = evidence;
    digest_of(&(suite_refused, offset_refused, unwrap_failed, plain_text_refused, sak_lost))
}

/// A name for anything that shows all of itself.
pub(super) fn digest_of(of: &impl Debug) -> u64 {
    struct Digest(DefaultHasher);
    impl Write for Digest {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut digest = Digest(DefaultHasher::new());
    write!(digest, "{of:?}").unwrap();
    digest.0.finish()
}
