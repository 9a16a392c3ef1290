//! Interfaces that come, go and change.

use std::time::Duration;

use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::link::LinkMessage;

use crate::config::Config;
use crate::netns::eventually;
use crate::rig::{CABLE, Pair, Router, SECURE};
use crate::traffic::Traffic;

const SUITE: &str = "gcm-aes-128";

fn change(router: &Router, link: LinkMessage) {
    router.namespace.change(link);
}

#[test]
fn an_interface_that_is_missing_is_waited_for() {
    let (mut a, mut b) = (Router::new(), Router::new());
    a.start(&Config::new(SUITE));
    b.start(&Config::new(SUITE));
    let words = a.wait_for_reason("E009");
    assert!(words.contains(CABLE), "{words}");
    assert_eq!(a.port()["state"], "down");
    // Said once, however long it takes.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(a.log().matches("there is no interface").count(), 1, "{}", a.log());

    a.namespace.cable(CABLE, &b.namespace, CABLE);
    Pair { a, b }.wait_until_secured();
}

#[test]
fn an_interface_that_is_made_anew_is_secured_anew_under_another_sci() {
    let pair = Pair::secured(&Config::new(SUITE));
    let before = pair.a.port()["mka"]["sci"].clone();
    pair.a.namespace.delete(CABLE);
    pair.a.wait_for_reason("E009");
    eventually("the secure interface goes too", || !pair.a.namespace.has(SECURE));

    pair.a.namespace.cable(CABLE, &pair.b.namespace, CABLE);
    pair.wait_until_secured();
    assert_ne!(pair.a.port()["mka"]["sci"], before);
    Traffic::new(&pair).flows();
}

#[test]
fn an_interface_that_was_renamed_is_waited_for_under_its_name() {
    let pair = Pair::secured(&Config::new(SUITE));
    let namespace = &pair.a.namespace;
    let rename = |from: &str, to: &str| {
        // Not every kernel lets an interface be renamed that is up.
        namespace.down(from);
        let link = LinkUnspec::new_with_index(namespace.index(from)).name(to.to_owned()).build();
        change(&pair.a, link);
        namespace.up(to);
    };
    rename(CABLE, "elsewhere");
    pair.a.wait_for_reason("E009");
    eventually("the secure interface goes too", || !namespace.has(SECURE));
    rename("elsewhere", CABLE);
    pair.wait_until_secured();
}

#[test]
fn another_mac_address_is_another_sci() {
    let pair = Pair::secured(&Config::new(SUITE));
    let address = vec![0x02, 0, 0, 0, 0, 0x42];
    change(&pair.a, LinkUnspec::new_with_name(CABLE).address(address).build());
    pair.a.wait_until("the new SCI", |port| port["mka"]["sci"] == "02:00:00:00:00:42/0001");
    pair.a.wait_until_secured();
    pair.b.wait_until("the new peer", |port| {
        port["state"] == "secured" && port["peers"][0]["sci"] == "02:00:00:00:00:42/0001"
    });
    Traffic::new(&pair).flows();
}

#[test]
fn a_secure_interface_that_was_deleted_is_made_again() {
    let pair = Pair::secured(&Config::new(SUITE));
    pair.a.namespace.delete(SECURE);
    eventually("the secure interface is back", || pair.a.namespace.has(SECURE));
    pair.a.wait_until("a new port", |port| port["mka"]["mn"].as_u64().unwrap_or_default() > 0);
    pair.wait_until_secured();
    Traffic::new(&pair).flows();
}

#[test]
fn a_name_that_is_taken_is_said_and_waited_for() {
    let mut pair = Pair::new();
    let namespace = &pair.a.namespace;
    namespace.cable(SECURE, namespace, "other");
    pair.a.start(&Config::new(SUITE));
    pair.b.start(&Config::new(SUITE));
    let words = pair.a.wait_for_reason("E311");
    assert!(words.contains(SECURE) && words.contains("exists already"), "{words}");
    assert_eq!(pair.a.port()["state"], "failed");
    pair.a.namespace.delete(SECURE);
    pair.wait_until_secured();
}

#[test]
fn the_mtu_of_the_secure_interface_follows_the_parent() {
    let pair = Pair::secured(&Config::new(SUITE));
    assert_eq!(pair.a.namespace.mtu(SECURE), 1500 - 32);
    pair.a.namespace.set_mtu(CABLE, 1400);
    eventually("the MTU follows", || pair.a.namespace.mtu(SECURE) == 1400 - 32);
    assert_eq!(pair.a.port()["state"], "secured");
}
