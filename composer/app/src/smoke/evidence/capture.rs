//! What a guest sent on a network that it was alone in: only what it takes to be on a network at all.
//!
//! Allowed are ARP, asking for an address (DHCP, DHCPv6), and what IPv6 does among neighbours: neighbour
//! discovery, multicast membership. Everything else is named: protocol, destination, port, and the names
//! that were asked for. A guest that sent nothing proves nothing; that is a failure, too.

mod dns;
mod frame;
mod pcap;

use std::collections::BTreeMap;
use std::io::Read;

use goni_model::report::Outcome;

use frame::Sent;
use pcap::Pcap;
pub use pcap::PcapError;

/// More different things than this are counted, not told.
const MOST_TOLD: usize = 8;
/// More different things than this are not told apart.
const MOST_KINDS: usize = 1000;

/// Judges a capture.
///
/// # Errors
/// It is no capture of Ethernet frames, or cut.
pub fn judge(capture: impl Read) -> Result<Outcome, PcapError> {
    let mut capture = Pcap::open(capture)?;
    let mut asked = false;
    let mut other: BTreeMap<String, u64> = BTreeMap::new();
    let mut more = 0_u64;
    while let Some(frame) = capture.next()? {
        match frame::sent(frame) {
            Sent::ByTheNetwork => {}
            Sent::Allowed { asks_for_an_address } => asked |= asks_for_an_address,
            Sent::Other(what) if other.len() < MOST_KINDS || other.contains_key(&what) => {
                *other.entry(what).or_default() += 1;
            }
            Sent::Other(_) => more += 1,
        }
    }
    if !other.is_empty() {
        return Ok(Outcome::Failed {
            expected: "nothing but ARP, DHCP, neighbour discovery and multicast membership".into(),
            observed: told(&other, more),
        });
    }
    Ok(if asked {
        Outcome::Passed
    } else {
        let expected = "a guest that asks for an address".into();
        Outcome::Failed { expected, observed: "no DHCP request in the capture".into() }
    })
}

fn told(other: &BTreeMap<String, u64>, more: u64) -> String {
    let mut words: Vec<String> = other
        .iter()
        .take(MOST_TOLD)
        .map(|(what, count)| if *count == 1 { what.clone() } else { format!("{what} ({count} times)") })
        .collect();
    let rest = other.values().skip(MOST_TOLD).sum::<u64>() + more;
    if rest > 0 {
        words.push(format!("{rest} other frames"));
    }
    words.join("; ")
}

#[cfg(test)]
mod tests;
