//! Ports of the network: a number and the protocol it belongs to, written `7000/tcp`.

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A port of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Its number.
    pub number: NonZero<u16>,
    /// Its protocol.
    pub protocol: Protocol,
}

/// A protocol that has ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Transmission Control Protocol.
    Tcp,
    /// User Datagram Protocol.
    Udp,
}

impl Protocol {
    /// Its word in recipes, in `/etc/services` and in nftables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Why text is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no port: write it as `7000/tcp` or `5353/udp`", .0.escape_debug())]
pub struct InvalidPort(String);

impl FromStr for Port {
    type Err = InvalidPort;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPort(text.to_owned());
        let (number, protocol) = text.split_once('/').ok_or_else(invalid)?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(invalid()),
        };
        // `+7000` and `07000` are numbers to Rust; here a port has one spelling.
        let plain = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
        let number = plain.then(|| number.parse().ok()).flatten().ok_or_else(invalid)?;
        Ok(Self { number, protocol })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol.name())
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_reads_as_it_is_written() {
        for text in ["7000/tcp", "1/udp", "65535/tcp"] {
            assert_eq!(text.parse::<Port>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in
            ["", "7000", "/tcp", "0/tcp", "65536/tcp", "+7/tcp", "07/tcp", "7/sctp", "7/TCP", " 7/tcp"]
        {
            assert_eq!(text.parse::<Port>(), Err(InvalidPort(text.to_owned())), "{text}");
        }
    }
}
