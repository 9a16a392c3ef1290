//! Batches of frames: every engine of this machine does with them what the library does.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a fuzz target a failed assumption is a finding"
)]

use std::sync::LazyLock;

use macsecd::engine::{Engine, EngineKind, Job, Key, TAG_LEN};

/// A key of each length for each engine, the library's last.
static KEYS: LazyLock<Vec<[Key; 2]>> = LazyLock::new(|| {
    let engines = EngineKind::ALL.into_iter().filter_map(Engine::of);
    let keys = engines.map(|engine| [16, 32].map(|len| Key::new(engine, &[9; 32][..len]).unwrap()));
    keys.collect()
});

#[derive(Clone)]
struct Frame {
    nonce: [u8; 12],
    aad: Vec<u8>,
    payload_and_tag: Vec<u8>,
}

/// Takes `data` as the shapes of up to 64 frames, seals, opens and alters them.
///
/// # Panics
///
/// Where engines differ, or where a tag that is wrong is taken for right.
pub fn engine(data: &[u8]) {
    let [which, alter, shapes @ ..] = data else { return };
    let frames = shapes.chunks_exact(4).take(64).map(|shape| {
        let [aad, low, high, octet] = [shape[0], shape[1], shape[2], shape[3]];
        let payload = usize::from(u16::from_le_bytes([low, high])) % 10_000;
        // Short ones are what is done side by side.
        let payload = if octet & 1 == 0 { payload % 128 } else { payload };
        let aad = if octet & 2 == 0 { 28 } else { usize::from(aad) };
        let mut payload_and_tag = vec![octet; payload];
        payload_and_tag.extend([0; TAG_LEN]);
        Frame { nonce: [octet; 12], aad: vec![low; aad], payload_and_tag }
    });
    let frames: Vec<Frame> = frames.collect();
    let which = usize::from(which & 1);
    let results: Vec<_> = KEYS.iter().map(|keys| run(&keys[which], &frames, *alter)).collect();
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "engines differ");
}

/// What was sealed, which were right after some were altered, and what was opened.
fn run(key: &Key, frames: &[Frame], alter: u8) -> (Vec<Vec<u8>>, u64, Vec<Vec<u8>>) {
    let mut frames = frames.to_vec();
    key.seal(&mut jobs(&mut frames));
    let sealed = frames.iter().map(|frame| frame.payload_and_tag.clone()).collect();
    let mut wrong = 0;
    for (n, frame) in (0_u32..).zip(&mut frames) {
        if alter.rotate_left(n % 8) & 3 == 3 {
            let at = usize::from(alter) * 31 % frame.payload_and_tag.len();
            frame.payload_and_tag[at] ^= 1 << (n % 8);
            wrong |= 1 << n;
        }
    }
    let right = key.open(&mut jobs(&mut frames));
    assert_eq!(right & wrong, 0, "a frame that nobody sealed is right");
    let payload =
        |frame: &Frame| frame.payload_and_tag[..frame.payload_and_tag.len() - TAG_LEN].to_vec();
    let opened = frames.iter().map(payload).collect();
    (sealed, right, opened)
}

fn jobs(frames: &mut [Frame]) -> Vec<Job<'_>> {
    let jobs = frames.iter_mut();
    jobs.map(|frame| Job::new(frame.nonce, &frame.aad, &mut frame.payload_and_tag)).collect()
}
