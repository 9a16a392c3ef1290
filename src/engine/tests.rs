//! Every engine of this machine against two libraries. `ENGINE_FRAMES` sets how many random frames.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm};

use super::{BATCH_MAX, Engine, EngineKind, Job, Key, KeyLengthError, TAG_LEN};

const KEY: [u8; 32] = *b"thirty-two octets of an AES key.";
/// What MACsec has in front of an encrypted payload, with and without SCI.
const AADS: [usize; 2] = [28, 20];

/// The engines that are not the library itself.
fn engines() -> Vec<Engine> {
    let own = EngineKind::ALL.into_iter().filter(|kind| *kind != EngineKind::Portable);
    own.filter_map(Engine::of).collect()
}

fn key(engine: Engine, octets: usize) -> Key {
    Key::new(engine, &KEY[..octets]).unwrap()
}

fn library(octets: usize) -> Key {
    key(Engine::of(EngineKind::Portable).unwrap(), octets)
}

/// Numbers that are the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn octets(&mut self, len: usize) -> Vec<u8> {
        (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(len).collect()
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Frame {
    nonce: [u8; 12],
    aad: Vec<u8>,
    payload_and_tag: Vec<u8>,
}

impl Frame {
    fn random(random: &mut Random, aad: usize, payload: usize) -> Self {
        Self {
            nonce: random.octets(12).try_into().unwrap(),
            aad: random.octets(aad),
            payload_and_tag: random.octets(payload + TAG_LEN),
        }
    }

    fn payload(&self) -> &[u8] {
        &self.payload_and_tag[..self.payload_and_tag.len() - TAG_LEN]
    }
}

fn jobs(frames: &mut [Frame]) -> Vec<Job<'_>> {
    let jobs = frames.iter_mut();
    jobs.map(|frame| Job::new(frame.nonce, &frame.aad, &mut frame.payload_and_tag)).collect()
}

fn sealed(key: &Key, frames: &[Frame]) -> Vec<Frame> {
    let mut sealed = frames.to_vec();
    key.seal(&mut jobs(&mut sealed));
    sealed
}

/// Seals and opens frames with an engine, in one batch, and compares with the library.
fn agree(ours: &Key, library: &Key, frames: &[Frame]) {
    let (mut by_us, by_library) = (sealed(ours, frames), sealed(library, frames));
    for (n, (us, it)) in by_us.iter().zip(&by_library).enumerate() {
        let (aad, payload) = (us.aad.len(), us.payload().len());
        assert!(us == it, "sealed otherwise: frame {n}, aad {aad}, payload {payload}");
    }
    let all = u64::MAX >> (BATCH_MAX - frames.len());
    let right = ours.open(&mut jobs(&mut by_us));
    assert_eq!(right, all, "{:?}", frames.iter().map(|f| f.payload().len()).collect::<Vec<_>>());
    for (us, plain) in by_us.iter().zip(frames) {
        assert!(us.payload() == plain.payload(), "opened otherwise: {}", plain.payload().len());
    }
}

/// Test case 16 of the GCM specification, and 4 with the key's first half.
#[test]
fn the_gcm_specifications_cases_come_out() {
    let hex = |text: &str| hex::decode(text).unwrap();
    let key = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    let plain = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
    let cases = [
        (16, "42831ec2217774244b7221b784d0d49c", "5bc94fbc3221a5db94fae95ae7121a47"),
        (32, "522dc1f099567d07f47f37a32a84427d", "76fc6ece0f4e1768cddf8853bb2d551b"),
    ];
    for engine in EngineKind::ALL.into_iter().filter_map(Engine::of) {
        for (octets, first_block, tag) in cases {
            let mut data = [plain.clone(), vec![0; TAG_LEN]].concat();
            let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
            let nonce = hex("cafebabefacedbaddecaf888").try_into().unwrap();
            let key = Key::new(engine, &key[..octets]).unwrap();
            key.seal(&mut [Job::new(nonce, &aad, &mut data)]);
            assert_eq!(data[..16], hex(first_block), "{}", engine.kind());
            assert_eq!(data[plain.len()..], hex(tag), "{}", engine.kind());
        }
    }
}

#[test]
fn every_length_of_a_payload_is_sealed_as_by_the_library() {
    let mut random = Random(1);
    for engine in engines() {
        for octets in [16, 32] {
            let (ours, library) = (key(engine, octets), library(octets));
            for payload in 0..=9300 {
                let frame = Frame::random(&mut random, AADS[payload % 2], payload);
                agree(&ours, &library, &[frame]);
            }
        }
    }
}

#[test]
fn another_library_agrees_as_well() {
    let mut random = Random(2);
    let (short, long) =
        (Aes128Gcm::new_from_slice(&KEY[..16]).unwrap(), Aes256Gcm::new_from_slice(&KEY).unwrap());
    for engine in engines() {
        for payload in (0..600).chain([1502, 4096, 9002, 12_000]) {
            let frame = Frame::random(&mut random, AADS[payload % 2], payload);
            let (nonce, aad) = (frame.nonce.into(), frame.aad.as_slice());
            let mut expected = [frame.payload().to_vec(), frame.payload().to_vec()];
            short.encrypt_in_place(&nonce, aad, &mut expected[0]).unwrap();
            long.encrypt_in_place(&nonce, aad, &mut expected[1]).unwrap();
            for (octets, expected) in [16, 32].into_iter().zip(expected) {
                let [ours] = &sealed(&key(engine, octets), std::slice::from_ref(&frame))[..] else {
                    panic!()
                };
                assert!(ours.payload_and_tag == expected, "{payload}");
            }
        }
    }
}

#[test]
fn every_length_of_additional_data_is_authenticated() {
    let mut random = Random(3);
    let payloads = [0, 1, 15, 16, 47, 48, 49, 63, 64, 65, 112, 113, 240, 255, 256, 257, 1502];
    for engine in engines() {
        let (ours, library) = (key(engine, 32), library(32));
        for aad in (0..=100).chain([127, 128, 129, 1514, 9300, 10_208, 10_240, 10_241, 20_000]) {
            for payload in payloads {
                let four = vec![Frame::random(&mut random, aad, payload); 4];
                agree(&ours, &library, &four[..1]);
                agree(&ours, &library, &four);
            }
        }
    }
}

/// Frames longer than there are powers of H.
#[test]
fn frames_longer_than_any_of_ethernet_come_out() {
    let mut random = Random(4);
    for engine in engines() {
        let (ours, library) = (key(engine, 32), library(32));
        for blocks in (600..680).chain([1280, 4095, 4096]) {
            for payload in [16 * blocks - 1, 16 * blocks, 16 * blocks + 1] {
                agree(&ours, &library, &[Frame::random(&mut random, 28, payload)]);
                agree(&ours, &library, &[Frame::random(&mut random, 300, payload)]);
            }
        }
    }
}

#[test]
fn at_every_alignment_no_octet_beside_the_frame_is_touched() {
    let mut random = Random(5);
    for engine in engines() {
        let (ours, library) = (key(engine, 32), library(32));
        for at in 0..64 {
            for payload in [0, 1, 30, 48, 49, 64, 100, 112, 200, 300, 1000] {
                let frame = Frame::random(&mut random, 28, payload);
                let [expected] = &sealed(&library, std::slice::from_ref(&frame))[..] else {
                    panic!()
                };
                // Four of them are done in lock-step.
                let len = frame.payload_and_tag.len();
                let mut places = vec![vec![0xa5; at + len + 64]; 4];
                for place in &mut places {
                    place[at..at + len].copy_from_slice(&frame.payload_and_tag);
                }
                for count in [1, 4] {
                    let mut some = places[..count].to_vec();
                    let of_all = some
                        .iter_mut()
                        .map(|place| Job::new(frame.nonce, &frame.aad, &mut place[at..at + len]));
                    ours.seal(&mut of_all.collect::<Vec<_>>());
                    for place in some {
                        assert!(place[at..at + len] == expected.payload_and_tag, "{at} {payload}");
                        let beside = place[..at].iter().chain(&place[at + len..]);
                        assert!(beside.copied().all(|octet| octet == 0xa5), "{at} {payload}");
                    }
                }
            }
        }
    }
}

#[test]
fn batches_of_every_size_and_mix_are_done_frame_by_frame() {
    let frames: usize = std::env::var("ENGINE_FRAMES").map_or(20_000, |n| n.parse().unwrap());
    let (mut random, mut done) = (Random(6), 0);
    for engine in engines() {
        let keys = [16, 32].map(|octets| (key(engine, octets), library(octets)));
        let mut size = 1;
        while done < frames {
            let batch: Vec<Frame> = (0..size).map(|_| any_frame(&mut random)).collect();
            let (ours, library) = &keys[random.below(2)];
            agree(ours, library, &batch);
            wrong_ones_are_found(&mut random, ours, &batch);
            (done, size) = (done + size, size % BATCH_MAX + 1);
        }
    }
    println!("engine: ok frames={done}");
}

fn any_frame(random: &mut Random) -> Frame {
    let aad = match random.below(8) {
        0 => random.below(100),
        1 => 58,
        _ => AADS[random.below(2)],
    };
    let payload = match random.below(8) {
        0..4 => random.below(130),
        4..7 => random.below(1600),
        _ => random.below(9300),
    };
    Frame::random(random, aad, payload)
}

/// Turns a bit of some frames of a batch: those, and no others, are refused and wiped.
fn wrong_ones_are_found(random: &mut Random, key: &Key, plain: &[Frame]) {
    let mut frames = sealed(key, plain);
    let wrong = random.next();
    for frame in frames.iter_mut().enumerate().filter(|(n, _)| wrong >> n & 1 == 1).map(|(_, f)| f)
    {
        let bit = 1 << random.below(8);
        match random.below(4) {
            0 => frame.nonce[random.below(12)] ^= bit,
            1 if !frame.aad.is_empty() => {
                let at = random.below(frame.aad.len());
                frame.aad[at] ^= bit;
            }
            _ => {
                let at = random.below(frame.payload_and_tag.len());
                frame.payload_and_tag[at] ^= bit;
            }
        }
    }
    let all = u64::MAX >> (BATCH_MAX - frames.len());
    assert_eq!(key.open(&mut jobs(&mut frames)), !wrong & all);
    for (n, (frame, plain)) in frames.iter().zip(plain).enumerate() {
        if wrong >> n & 1 == 1 {
            assert!(frame.payload().iter().all(|octet| *octet == 0), "plaintext without a tag");
        } else {
            assert!(frame.payload() == plain.payload());
        }
    }
}

#[test]
fn a_job_without_room_for_a_tag_is_left_alone_and_not_right() {
    for engine in EngineKind::ALL.into_iter().filter_map(Engine::of) {
        let key = key(engine, 16);
        let mut short = [7; TAG_LEN - 1];
        key.seal(&mut [Job::new([0; 12], b"aad", &mut short), Job::default()]);
        assert_eq!(short, [7; TAG_LEN - 1]);
        let mut good = [0; TAG_LEN];
        key.seal(&mut [Job::new([1; 12], b"aad", &mut good)]);
        let mut all = [
            Job::default(),
            Job::new([1; 12], b"aad", &mut good),
            Job::new([0; 12], b"aad", &mut short),
        ];
        assert_eq!(key.open(&mut all), 0b010, "{}", engine.kind());
    }
}

#[test]
fn more_jobs_than_there_are_answers_are_sealed_and_not_opened() {
    for engine in EngineKind::ALL.into_iter().filter_map(Engine::of) {
        let (ours, library) = (key(engine, 32), library(32));
        let frames = vec![Frame::random(&mut Random(7), 28, 48); BATCH_MAX + 6];
        let mut by_us = sealed(&ours, &frames);
        assert_eq!(by_us, sealed(&library, &frames));
        let last = by_us[BATCH_MAX].clone();
        assert_eq!(ours.open(&mut jobs(&mut by_us)), u64::MAX);
        assert_eq!(by_us[BATCH_MAX], last);
    }
}

#[test]
fn a_key_has_16_or_32_octets_and_does_not_show_itself() {
    for engine in EngineKind::ALL.into_iter().filter_map(Engine::of) {
        assert_eq!(Key::new(engine, &[0; 24]).unwrap_err(), KeyLengthError(24));
        let key = key(engine, 16);
        assert_eq!((format!("{key:?}"), key.kind()), ("Key(..)".to_owned(), engine.kind()));
    }
}

#[test]
fn engines_go_by_their_names() {
    for kind in EngineKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert!("fast".parse::<EngineKind>().is_err());
    assert!(Engine::of(EngineKind::Portable).is_some());
}
