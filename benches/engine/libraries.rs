//! The libraries' side: AES-GCM in place, with the additional data that a frame has, and no more.

use std::hint::black_box;

use aws_lc_rs::aead as aws;
use macsecd::ident::CipherSuite;
use ring::aead as ring;

use super::{Contender, Direction};

/// The addresses and a SecTAG with SCI.
const AAD: usize = 28;
const TAG: usize = 16;

/// A library's AEAD, through its quickest interface.
pub(super) trait Aead {
    fn new(key: &[u8]) -> Self;
    /// The tag goes behind the data.
    fn seal(&self, nonce: [u8; 12], aad: &[u8], data_and_tag: &mut [u8]);
    fn open(&self, nonce: [u8; 12], aad: &[u8], data_and_tag: &mut [u8]) -> bool;
}

pub(super) struct AwsLc(aws::LessSafeKey);
pub(super) struct Ring(ring::LessSafeKey);

macro_rules! aead {
    ($name:ident, $library:ident) => {
        impl Aead for $name {
            fn new(key: &[u8]) -> Self {
                let algorithm =
                    if key.len() == 16 { &$library::AES_128_GCM } else { &$library::AES_256_GCM };
                let key = $library::UnboundKey::new(algorithm, key).unwrap();
                Self($library::LessSafeKey::new(key))
            }

            fn seal(&self, nonce: [u8; 12], aad: &[u8], data_and_tag: &mut [u8]) {
                let nonce = $library::Nonce::assume_unique_for_key(nonce);
                let (data, room) = data_and_tag.split_last_chunk_mut::<TAG>().unwrap();
                let aad = $library::Aad::from(aad);
                let tag = self.0.seal_in_place_separate_tag(nonce, aad, data).unwrap();
                room.copy_from_slice(tag.as_ref());
            }

            fn open(&self, nonce: [u8; 12], aad: &[u8], data_and_tag: &mut [u8]) -> bool {
                let nonce = $library::Nonce::assume_unique_for_key(nonce);
                self.0.open_in_place(nonce, $library::Aad::from(aad), data_and_tag).is_ok()
            }
        }
    };
}

aead!(AwsLc, aws);
aead!(Ring, ring);

/// A batch of messages as long as frames.
pub(super) struct Library<A> {
    aead: A,
    messages: Vec<Message>,
    direction: Direction,
}

struct Message {
    nonce: [u8; 12],
    aad: [u8; AAD],
    sealed: Vec<u8>,
    work: Vec<u8>,
}

impl<A: Aead> Library<A> {
    pub(super) fn new(suite: CipherSuite, sizes: &[usize], direction: Direction) -> Self {
        let aead = A::new(&vec![5; suite.sak_len()]);
        let messages = (0_u8..).zip(sizes).map(|(n, size)| {
            let (nonce, aad) = ([n; 12], [3; AAD]);
            let mut sealed = vec![0x45; size - 12 + TAG];
            aead.seal(nonce, &aad, &mut sealed);
            let work = sealed.clone();
            Message { nonce, aad, sealed, work }
        });
        Self { messages: messages.collect(), aead, direction }
    }
}

impl<A: Aead> Contender for Library<A> {
    fn ready(&mut self) {
        for message in &mut self.messages {
            message.work.copy_from_slice(&message.sealed);
        }
    }

    fn work(&mut self) {
        for message in &mut self.messages {
            match self.direction {
                Direction::Protect => {
                    self.aead.seal(message.nonce, &message.aad, &mut message.work);
                }
                Direction::Validate => {
                    let right = self.aead.open(message.nonce, &message.aad, &mut message.work);
                    assert!(black_box(right));
                }
            }
        }
    }
}
