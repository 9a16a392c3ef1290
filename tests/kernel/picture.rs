//! What a kernel shows, in lines of text that can be compared: with names for indices, and without
//! what depends on the machine.

use std::fmt::Write as _;

use crate::fake_kernel::attributes::{Attributes, elements};
use crate::fake_kernel::numbers::{link, rxsc, secy, top};
use crate::fake_kernel::request::Client;

/// IFF_UP, IFF_RUNNING, IFF_LOWER_UP and IFF_DORMANT.
const FLAGS: u32 = 0x3_0041;

/// What a kernel says of the interfaces of these names.
pub(crate) fn picture(client: &mut Client, names: &[&str]) -> String {
    let mut text = String::new();
    let associations = client.associations().unwrap();
    let indices: Vec<_> = names.iter().map(|name| client.index(name).unwrap_or(0)).collect();
    for (name, index) in names.iter().zip(&indices) {
        if *index == 0 {
            continue;
        }
        writeln!(text, "{name}").unwrap();
        let body = client.link(*index).unwrap();
        interface(&mut text, &body, &indices, names);
        if let Some(attributes) = associations.get(index) {
            associations_of(&mut text, attributes);
        }
    }
    text
}

fn interface(text: &mut String, body: &[u8], indices: &[u32], names: &[&str]) {
    let flags = u32::from_ne_bytes(body[8..12].try_into().unwrap()) & FLAGS;
    writeln!(text, "  flags {flags:#x}").unwrap();
    let attributes = Attributes::parse(&body[16..]);
    for (what, kind) in [
        ("address", libc::IFLA_ADDRESS),
        ("mtu", libc::IFLA_MTU),
        ("operstate", libc::IFLA_OPERSTATE),
        ("linkmode", libc::IFLA_LINKMODE),
    ] {
        writeln!(text, "  {what} {:02x?}", attributes.octets(kind).unwrap()).unwrap();
    }
    let info = attributes.nest(libc::IFLA_LINKINFO).unwrap_or_default();
    if info.text(1).as_deref() != Some("macsec") {
        return;
    }
    let below = attributes.u32(libc::IFLA_LINK).unwrap().unwrap();
    let below = indices.iter().position(|index| *index == below);
    writeln!(text, "  on {:?}", below.map(|at| names[at])).unwrap();
    let mut data: Vec<_> = elements(info.octets(2).unwrap()).collect();
    data.retain(|(kind, _)| *kind != link::PAD);
    data.sort();
    writeln!(text, "  data {data:02x?}").unwrap();
}

fn associations_of(text: &mut String, attributes: &[u8]) {
    for (kind, octets) in elements(attributes) {
        match kind {
            top::IFINDEX => {}
            top::SECY => flat(text, "  secy", octets, &[secy::PAD]),
            top::OFFLOAD => flat(text, "  offload", octets, &[]),
            top::TXSA_LIST => {
                for (number, octets) in elements(octets) {
                    association(text, &format!("  tx {number}"), octets);
                }
            }
            top::RXSC_LIST => {
                for (number, octets) in elements(octets) {
                    channel(text, number, octets);
                }
            }
            top::TXSC_STATS => packets(text, octets),
            top::SECY_STATS => {}
            _ => writeln!(text, "  {kind}: {octets:02x?}").unwrap(),
        }
    }
}

/// Attributes without a nest, in order of their numbers.
fn flat(text: &mut String, what: &str, octets: &[u8], without: &[u16]) {
    let mut all: Vec<_> = elements(octets).filter(|(kind, _)| !without.contains(kind)).collect();
    all.sort();
    writeln!(text, "{what} {all:02x?}").unwrap();
}

/// How many frames went out; of how many octets the model does not know.
fn packets(text: &mut String, octets: &[u8]) {
    let counters = Attributes::parse(octets);
    let count = |kind| counters.u64(kind).unwrap().unwrap();
    writeln!(text, "  sent {} {}", count(1), count(2)).unwrap();
}

fn association(text: &mut String, what: &str, octets: &[u8]) {
    flat(text, what, octets, &[]);
}

fn channel(text: &mut String, number: u16, octets: &[u8]) {
    let what = format!("  rx {number}");
    flat(text, &what, octets, &[rxsc::STATS, rxsc::SA_LIST, rxsc::PAD]);
    let list = Attributes::parse(octets).octets(rxsc::SA_LIST).unwrap_or_default();
    for (number, octets) in elements(list) {
        association(text, &format!("{what} {number}"), octets);
    }
}
