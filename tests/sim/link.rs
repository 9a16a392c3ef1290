//! The Ethernet segment: what becomes of a frame on its way from one member to another.

use std::time::Duration;

use crate::rng::Rng;

/// How bad one direction between two members is. Chances are per mille.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Noise {
    pub(crate) loss: u16,
    pub(crate) duplication: u16,
    /// The chance that a frame is held back so long that later ones pass it.
    pub(crate) reordering: u16,
    pub(crate) flip: u16,
    /// Up to so much later, each frame its own.
    pub(crate) jitter: Duration,
}

/// The longest that a frame is held back. Less than an MKA Life Time, so that what was recorded an
/// MKA Life Time ago can be called a replay.
pub(crate) const HELD_BACK_MAX: Duration = Duration::from_secs(3);

/// How a frame arrives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Arrival {
    pub(crate) after: Duration,
    pub(crate) flipped: bool,
}

/// What was done to frames so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct LinkFaults {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) flipped: u64,
}

impl LinkFaults {
    pub(crate) fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.flipped += other.flipped;
    }
}

/// All directions between the members of a segment.
#[derive(Debug)]
pub(crate) struct Link {
    members: usize,
    ways: Vec<Way>,
    pub(crate) faults: LinkFaults,
}

#[derive(Clone, Copy, Debug, Default)]
struct Way {
    /// What light, wire and switch take.
    transit: Duration,
    noise: Noise,
    cut: bool,
}

impl Link {
    /// A segment without faults, its directions of slightly different lengths.
    pub(crate) fn new(members: usize, rng: &mut Rng) -> Self {
        let way = |_| Way {
            transit: rng.span(Duration::from_micros(20), Duration::from_micros(500)),
            ..Way::default()
        };
        let ways = (0..members * members).map(way).collect();
        Self { members, ways, faults: LinkFaults::default() }
    }

    fn way(&mut self, from: usize, to: usize) -> &mut Way {
        &mut self.ways[from * self.members + to]
    }

    /// Makes one direction noisy.
    pub(crate) fn set_noise(&mut self, from: usize, to: usize, noise: Noise) {
        self.way(from, to).noise = noise;
    }

    /// Makes every direction noisy.
    pub(crate) fn set_noise_everywhere(&mut self, noise: Noise) {
        self.ways.iter_mut().for_each(|way| way.noise = noise);
    }

    /// Cuts one direction, or joins it again.
    pub(crate) fn cut(&mut self, from: usize, to: usize, cut: bool) {
        self.way(from, to).cut = cut;
    }

    /// Ends all faults.
    pub(crate) fn heal(&mut self) {
        for way in &mut self.ways {
            (way.noise, way.cut) = (Noise::default(), false);
        }
    }

    /// Says how often and when a frame arrives.
    pub(crate) fn carry(&mut self, rng: &mut Rng, from: usize, to: usize) -> [Option<Arrival>; 2] {
        let Way { transit, noise, cut } = *self.way(from, to);
        if cut {
            return [None, None];
        }
        if noise == Noise::default() {
            return [Some(Arrival { after: transit, flipped: false }), None];
        }
        if rng.chance(noise.loss) {
            self.faults.lost += 1;
            return [None, None];
        }
        let first = self.delayed(rng, transit, &noise);
        if !rng.chance(noise.duplication) {
            return [Some(first), None];
        }
        self.faults.duplicated += 1;
        [Some(first), Some(self.delayed(rng, transit, &noise))]
    }

    fn delayed(&mut self, rng: &mut Rng, transit: Duration, noise: &Noise) -> Arrival {
        let mut after = transit + rng.span(Duration::ZERO, noise.jitter);
        if rng.chance(noise.reordering) {
            self.faults.reordered += 1;
            after += rng.span(Duration::from_millis(1), HELD_BACK_MAX);
        }
        let flipped = rng.chance(noise.flip);
        self.faults.flipped += u64::from(flipped);
        Arrival { after, flipped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(link: &mut Link, from: usize, to: usize) -> usize {
        let mut rng = Rng::new(3);
        (0..1000).map(|_| link.carry(&mut rng, from, to).iter().flatten().count()).sum()
    }

    #[test]
    fn a_link_without_faults_carries_every_frame_once_and_in_order() {
        let mut link = Link::new(2, &mut Rng::new(1));
        let mut rng = Rng::new(2);
        let first = link.carry(&mut rng, 0, 1);
        assert!((0..100).all(|_| link.carry(&mut rng, 0, 1) == first));
        assert_eq!(link.faults, LinkFaults::default());
    }

    #[test]
    fn a_cut_is_one_way_and_heals() {
        let mut link = Link::new(2, &mut Rng::new(1));
        link.cut(0, 1, true);
        assert_eq!((arrivals(&mut link, 0, 1), arrivals(&mut link, 1, 0)), (0, 1000));
        link.heal();
        assert_eq!(arrivals(&mut link, 0, 1), 1000);
    }

    #[test]
    fn noise_does_what_it_says_and_is_counted() {
        let mut link = Link::new(2, &mut Rng::new(1));
        link.set_noise(0, 1, Noise { loss: 300, duplication: 200, flip: 100, ..Noise::default() });
        let arrived = arrivals(&mut link, 0, 1);
        let LinkFaults { lost, duplicated, reordered, flipped } = link.faults;
        assert!((250..350).contains(&lost), "{lost} lost");
        assert!((100..180).contains(&duplicated), "{duplicated} duplicated");
        assert_eq!(arrived as u64, 1000 - lost + duplicated);
        assert!((50..120).contains(&flipped), "{flipped} flipped");
        assert_eq!((reordered, arrivals(&mut link, 1, 0)), (0, 1000));
    }
}
