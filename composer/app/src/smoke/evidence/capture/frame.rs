//! One frame: who sent it, and whether that is what every machine on a network sends.
//!
//! Sources: RFC 791 (IPv4), RFC 8200 (IPv6), RFC 768 (UDP), RFC 9293 (TCP), RFC 4861 (neighbour
//! discovery), RFC 2710 and 3810 (MLD), RFC 2131 and 8415 (DHCP).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::dns;

/// What a frame is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// Not by the guest.
    ByTheNetwork,
    /// By the guest, and every machine does.
    Allowed {
        /// Whether it asks for an address.
        asks_for_an_address: bool,
    },
    /// By the guest, in these words.
    Other(String),
}

const ALLOWED: Sent = Sent::Allowed { asks_for_an_address: false };

/// How the addresses of QEMU's user network begin; an IP address in hexadecimal follows. The guest's
/// begin with 52:54. Source: libslirp, `special_ethaddr` and `in6_compute_ethaddr`.
const NETWORK: [[u8; 2]; 2] = [[0x52, 0x55], [0x52, 0x56]];

/// `EtherType`s. Source: IANA, IEEE 802 Numbers.
mod ether {
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const ARP: u16 = 0x0806;
    pub(super) const IPV6: u16 = 0x86dd;
}

/// Protocol numbers. Source: IANA, Protocol Numbers.
mod protocol {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ICMP: u8 = 1;
    pub(super) const IGMP: u8 = 2;
    pub(super) const TCP: u8 = 6;
    pub(super) const UDP: u8 = 17;
    pub(super) const ICMPV6: u8 = 58;
}

/// Says what a frame is.
pub(super) fn sent(frame: &[u8]) -> Sent {
    let mut reader = Reader(frame);
    let header = (reader.take::<6>(), reader.take::<6>(), reader.word());
    let (_, Some([first, second, ..]), Some(kind)) = header else {
        return Sent::Other("a frame that is cut".into());
    };
    if NETWORK.contains(&[*first, *second]) {
        return Sent::ByTheNetwork;
    }
    let said = match kind {
        ether::ARP => Some(ALLOWED),
        ether::IPV4 => ipv4(reader),
        ether::IPV6 => ipv6(reader),
        _ => Some(Sent::Other(format!("EtherType {kind:#06x}"))),
    };
    said.unwrap_or_else(|| Sent::Other("a packet that is cut".into()))
}

/// `None`: it is cut.
fn ipv4(mut packet: Reader<'_>) -> Option<Sent> {
    let header = packet.take::<20>()?;
    let options = usize::from(header[0] & 0x0f).checked_sub(5)? * 4;
    packet.skip(options)?;
    let to = Ipv4Addr::from(*header.last_chunk::<4>()?);
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    if fragment > 0 {
        return Some(Sent::Other(format!("a fragment of IPv4 to {to}")));
    }
    Some(match header[9] {
        protocol::IGMP => ALLOWED,
        protocol::ICMP => Sent::Other(format!("ICMP to {to}")),
        number => transport(number, &to.to_string(), packet, (68, 67))?,
    })
}

fn ipv6(mut packet: Reader<'_>) -> Option<Sent> {
    let header = packet.take::<40>()?;
    let to = Ipv6Addr::from(*header.last_chunk::<16>()?);
    let mut next = header[6];
    // Membership reports carry a router alert in such a header.
    if next == protocol::HOP_BY_HOP {
        let [following, length] = *packet.take::<2>()?;
        packet.skip(6 + 8 * usize::from(length))?;
        next = following;
    }
    if next == protocol::ICMPV6 {
        let [kind] = *packet.take::<1>()?;
        // Listener query, report, done; router and neighbour solicitation and advertisement; listener
        // report of version 2.
        return Some(match kind {
            130..=136 | 143 => ALLOWED,
            _ => Sent::Other(format!("ICMPv6 of type {kind} to {to}")),
        });
    }
    transport(next, &format!("[{to}]"), packet, (546, 547))
}

/// `(from, to)` are the ports of those that ask for an address.
fn transport(number: u8, to: &str, mut packet: Reader<'_>, dhcp: (u16, u16)) -> Option<Sent> {
    let name = match number {
        protocol::UDP => "UDP",
        protocol::TCP => "TCP",
        _ => return Some(Sent::Other(format!("protocol {number} to {to}"))),
    };
    let (from, port) = (packet.word()?, packet.word()?);
    if number == protocol::UDP {
        packet.skip(4)?;
        if (from, port) == dhcp {
            return Some(Sent::Allowed { asks_for_an_address: true });
        }
        if dns::PORTS.contains(&port) {
            let names = dns::questions(packet.0);
            let asked = if names.is_empty() { "no name".into() } else { names.join(", ") };
            return Some(Sent::Other(format!("DNS to {to}:{port} for {asked}")));
        }
    }
    Some(Sent::Other(format!("{name} to {to}:{port}")))
}

/// What is left of a frame.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    fn word(&mut self) -> Option<u16> {
        self.take().map(|word| u16::from_be_bytes(*word))
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }
}
