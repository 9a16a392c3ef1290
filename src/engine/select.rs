//! Which engine works on this machine.

use std::fmt;
use std::str::FromStr;

/// The ways to do the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EngineKind {
    /// x86-64 with AVX-512, VAES and VPCLMULQDQ: four blocks an instruction.
    Avx512,
    /// A library's AES-GCM, one frame after the other, on any machine.
    Portable,
}

impl EngineKind {
    /// All of them, the fastest first.
    pub const ALL: [Self; 2] = [Self::Avx512, Self::Portable];

    /// The name in configuration and status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Portable => "portable",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no engine has.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the engines are avx512 and portable")]
pub struct UnknownEngine;

impl FromStr for EngineKind {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(UnknownEngine)
    }
}

/// An engine that works on this machine: the proof that its instructions are there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Engine(EngineKind);

impl Engine {
    /// The fastest that there is.
    #[must_use]
    pub fn best() -> Self {
        let found = EngineKind::ALL.into_iter().find_map(Self::of);
        found.unwrap_or(Self(EngineKind::Portable))
    }

    /// The one of this kind; `None` where this machine cannot run it.
    #[must_use]
    pub fn of(kind: EngineKind) -> Option<Self> {
        is_there(kind).then_some(Self(kind))
    }

    /// The kind.
    #[must_use]
    pub const fn kind(self) -> EngineKind {
        self.0
    }
}

/// Asks the CPU and the system, which has to keep the registers; the answer is remembered by `std`.
#[cfg(target_arch = "x86_64")]
fn is_there(kind: EngineKind) -> bool {
    macro_rules! all {
        ($($feature:tt)*) => { true $(&& is_x86_feature_detected!($feature))* };
    }
    match kind {
        EngineKind::Avx512 => all!(
            "aes" "pclmulqdq" "ssse3" "sse4.1" "avx" "avx2" "bmi1" "bmi2" "vaes" "vpclmulqdq"
            "avx512f" "avx512bw" "avx512dq" "avx512vl"
        ),
        EngineKind::Portable => true,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn is_there(kind: EngineKind) -> bool {
    kind == EngineKind::Portable
}
