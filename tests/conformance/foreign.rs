//! A MACsec interface that no daemon of ours has made: set up by hand, as with `ip macsec`, and so
//! at any packet number.

use macsecd::crypto::Salt;
use macsecd::sys::PacketSocket;

use crate::fake_kernel::numbers::{command, link};
use crate::fake_kernel::request::SaRequest;
use crate::frame::Key;
use crate::machine;
use crate::netns::Namespace;
use crate::plane::PARENT;
use crate::secy::Station;

/// What it is called.
const FOREIGN: &str = "foreign0";

/// Makes it on the parent interface of a namespace, to send as this station with this key from this
/// packet number on, and opens a socket on it.
pub(crate) fn sender(namespace: &Namespace, of: Station, key: &Key, pn: u64) -> PacketSocket {
    let mut client = machine::client(namespace);
    let suite = u64::from_be_bytes(key.suite.id());
    let index = client
        .create(namespace.index(PARENT), FOREIGN, |data| {
            data.put(link::SCI, &of.sci.octets());
            data.u64(link::CIPHER_SUITE, suite, None);
            data.u8(link::ENCRYPT, 1).u8(link::ENCODING_SA, key.an().value());
        })
        .unwrap();
    let secy_key = key.secy_key();
    let xpn = key.suite.is_xpn();
    let low = u32::try_from(pn & 0xffff_ffff).unwrap();
    let sa = SaRequest {
        an: Some(key.an().value()),
        active: Some(1),
        pn: Some(if xpn { pn.to_ne_bytes().to_vec() } else { low.to_ne_bytes().to_vec() }),
        key: Some(secy_key.sak.expose().to_vec()),
        key_id: Some(key.ki().octets().to_vec()),
        ssci: xpn.then_some(of.ssci.0),
        salt: xpn.then(|| Salt::new(key.ki()).octets().to_vec()),
    };
    client.tx(command::ADD_TXSA, index, &sa).unwrap();
    client.set_link(index, Some(true), |_| {}).unwrap();
    namespace.run(|| PacketSocket::sender(index).unwrap())
}
