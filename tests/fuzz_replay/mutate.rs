//! Makes bad inputs out of good ones, the same on every run.

/// A source of mutants. Its name is its seed.
pub(crate) struct Mutator(u64);

/// Octets that sit on an edge of some field.
const EDGES: [u8; 8] = [0x00, 0x01, 0x03, 0x0f, 0x7f, 0x80, 0xfe, 0xff];

/// How long a mutant may grow: past any frame and any sensible file of a few ports.
const LENGTH_MAX: usize = 16 * 1024;

impl Mutator {
    pub(crate) fn new(name: &str) -> Self {
        // FNV-1a.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(hash)
    }

    /// Makes a mutant of one of the seeds.
    pub(crate) fn mutant(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        if self.below(16) == 0 {
            let length = self.below(256);
            return self.noise(length);
        }
        let mut data = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            self.mutate(&mut data, seeds);
        }
        data.truncate(LENGTH_MAX);
        data
    }

    /// Makes octets at random.
    pub(crate) fn noise(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.octet()).collect()
    }

    fn mutate(&mut self, data: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(data.len() + 1);
        let end = at + self.below(data.len() - at + 1).min(32);
        match self.below(8) {
            0 => data.truncate(at),
            1 => drop(data.drain(at..end)),
            2 => {
                let again = data[at..end].to_vec();
                drop(data.splice(at..at, again));
            }
            3 => {
                let length = self.below(8);
                let noise = self.noise(length);
                drop(data.splice(at..at, noise));
            }
            // The head of one seed and the tail of another.
            4 => {
                let other = &seeds[self.below(seeds.len())];
                data.truncate(at);
                data.extend_from_slice(&other[at.min(other.len())..]);
            }
            5 => data[at..end].fill(EDGES[usize::from(self.octet() % 8)]),
            _ => {
                for _ in 0..=self.below(8) {
                    let at = self.below(data.len().max(1));
                    let (bit, edge) = (1 << self.below(8), EDGES[self.below(EDGES.len())]);
                    let flip = self.below(2) == 0;
                    if let Some(octet) = data.get_mut(at) {
                        *octet = if flip { *octet ^ bit } else { edge };
                    }
                }
            }
        }
    }

    fn octet(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % limit
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The mutants of a seed are many, mostly new, and the same on every run.
#[test]
fn mutants_differ_from_their_seed_and_repeat() {
    let seeds = [vec![7; 64], vec![9; 80]];
    let make = || {
        let mut mutator = Mutator::new("mutants");
        (0..500).map(|_| mutator.mutant(&seeds)).collect::<Vec<_>>()
    };
    let mutants = make();
    assert_eq!(mutants, make());
    let mut distinct: Vec<_> = mutants.iter().filter(|mutant| !seeds.contains(mutant)).collect();
    distinct.sort();
    distinct.dedup();
    assert!(distinct.len() > 400, "{}", distinct.len());
}
