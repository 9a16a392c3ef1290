//! A MACsec daemon for Linux edge routers: MKA (IEEE 802.1X-2020) from a CAK and CKN to
//! protected frames (IEEE 802.1AE-2018).

pub mod crypto;
pub mod diagnose;
pub mod ident;
pub mod keyring;
pub mod mka;
pub mod secy;
pub mod time;
pub mod wire;
