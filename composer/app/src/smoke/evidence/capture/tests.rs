//! Captures of hand-made frames, and one of a real machine.

use super::*;

const GUEST: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const ROUTER: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];

fn frame(from: [u8; 6], kind: u16, packet: &[u8]) -> Vec<u8> {
    [&[0xff; 6][..], &from, &kind.to_be_bytes(), packet].concat()
}

fn ipv4(protocol: u8, to: [u8; 4], content: &[u8]) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 2, 15];
    header.extend(to);
    frame(GUEST, 0x0800, &[&header, content].concat())
}

fn ipv6(next: u8, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 0, next, 255];
    header.extend([0; 16]);
    header.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16]);
    frame(GUEST, 0x86dd, &[&header, content].concat())
}

fn udp(from: u16, to: u16, content: &[u8]) -> Vec<u8> {
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0; 4], content].concat()
}

fn dhcp() -> Vec<u8> {
    ipv4(17, [255; 4], &udp(68, 67, &[1]))
}

fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0];
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
        bytes.extend([&[0; 8][..], &length, &length, frame].concat());
    }
    bytes
}

fn observed(frames: &[Vec<u8>]) -> String {
    match judge(&capture(frames)[..]).unwrap() {
        Outcome::Failed { observed, .. } => observed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_guest_that_only_arrives_passes() {
    let frames = [
        dhcp(),
        frame(GUEST, 0x0806, &[0; 28]),
        ipv4(2, [224, 0, 0, 22], &[0; 8]),
        ipv6(0, &[58, 0, 5, 2, 0, 0, 1, 0, 143, 0]),
        ipv6(58, &[133, 0]),
        ipv6(17, &udp(546, 547, &[1])),
        frame(ROUTER, 0x0800, &[0; 3]),
    ];
    assert_eq!(judge(&capture(&frames)[..]).unwrap(), Outcome::Passed);
}

#[test]
fn a_guest_that_sent_nothing_proves_nothing() {
    assert_eq!(observed(&[]), "no DHCP request in the capture");
    assert_eq!(observed(&[frame(ROUTER, 0x0806, &[0; 28])]), "no DHCP request in the capture");
}

#[test]
fn everything_else_is_named() {
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04pool\x03ntp\x03org\0\0\x01\0\x01";
    for (frame, words) in [
        (ipv4(17, [10, 0, 2, 3], &udp(40000, 53, question)), "DNS to 10.0.2.3:53 for pool.ntp.org"),
        (ipv4(17, [10, 0, 2, 3], &udp(40000, 53, &question[..20])), "DNS to 10.0.2.3:53 for no name"),
        (ipv4(17, [224, 0, 0, 251], &udp(5353, 5353, question)), "DNS to 224.0.0.251:5353 for pool.ntp.org"),
        (ipv4(17, [1, 2, 3, 4], &udp(40000, 123, &[])), "UDP to 1.2.3.4:123"),
        (ipv4(6, [1, 2, 3, 4], &[0x9c, 0x40, 1, 187]), "TCP to 1.2.3.4:443"),
        (ipv6(6, &[0x9c, 0x40, 1, 187]), "TCP to [ff02::16]:443"),
        (ipv4(1, [10, 0, 2, 2], &[8, 0]), "ICMP to 10.0.2.2"),
        (ipv6(58, &[128, 0]), "ICMPv6 of type 128 to ff02::16"),
        (ipv4(47, [1, 2, 3, 4], &[]), "protocol 47 to 1.2.3.4"),
        (frame(GUEST, 0x88cc, &[]), "EtherType 0x88cc"),
        (ipv4(6, [1, 2, 3, 4], &[0]), "a packet that is cut"),
        (vec![0; 10], "a frame that is cut"),
    ] {
        assert_eq!(observed(&[dhcp(), frame]), words);
    }
}

#[test]
fn many_things_are_counted() {
    let syn = |host| ipv4(6, [1, 2, 3, host], &[0x9c, 0x40, 1, 187]);
    let frames: Vec<Vec<u8>> = (10..20).chain([10, 10]).map(syn).collect();
    let words = observed(&frames);
    assert!(words.starts_with("TCP to 1.2.3.10:443 (3 times); TCP to 1.2.3.11:443; "), "{words}");
    assert!(words.ends_with("TCP to 1.2.3.17:443; 2 other frames"), "{words}");
}

#[test]
fn what_is_no_whole_capture_is_an_error() {
    let good = capture(&[dhcp()]);
    let cut = judge(&good[..good.len() - 1]).unwrap_err();
    assert_eq!(cut.to_string(), format!("reading the capture at byte {}", good.len() - 1));
    let other = judge(&[&b"\x0a\x0d\x0d\x0a"[..], &[0; 20]].concat()[..]).unwrap_err();
    assert_eq!(other.to_string(), "the capture has magic_number 0xa0d0d0a, not 0xa1b2c3d4");
    let mut long = good;
    long[24 + 8..24 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let long = judge(&long[..]).unwrap_err();
    assert_eq!(long.to_string(), "the capture has a frame of 4294967295 bytes at byte 24");
}
