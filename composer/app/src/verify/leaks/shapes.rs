//! What secrets look like: one table of fixed beginnings and what must follow them.
//!
//! A line is here only if its beginning and length leave little to chance; a false alarm would teach people to
//! look away. Sources: the issuers' own documentation of the form of their tokens; RFC 7468 for PEM, RFC 7519
//! for JWT, RFC 7292 for PKCS#12; wg(8); the age format, section “Native recipient types”.

use memchr::memmem::Finder;

/// What kind of thing is found, by the check that tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::verify) enum Kind {
    /// A private key.
    Key,
    /// What opens an account.
    Token,
    /// Where the image was built.
    BuilderPath,
}

/// The most bytes that any shape needs to be known.
pub(super) const LONGEST: usize = 4096;

/// Bytes that a part of a secret may have.
#[derive(Clone, Copy)]
enum Class {
    Digits,
    /// A to Z and 2 to 7.
    Base32,
    /// Letters and digits.
    Letters,
    /// Letters, digits, `-` and `_`.
    Url,
    /// Letters, digits, `+` and `/`.
    Base64,
}

impl Class {
    const fn has(self, byte: u8) -> bool {
        match self {
            Self::Digits => byte.is_ascii_digit(),
            Self::Base32 => byte.is_ascii_uppercase() || matches!(byte, b'2'..=b'7'),
            Self::Letters => byte.is_ascii_alphanumeric(),
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'),
        }
    }

    /// How many bytes at the beginning of a text are of the class.
    fn run(self, text: &[u8]) -> usize {
        text.iter().take_while(|byte| self.has(**byte)).count()
    }
}

/// What follows a beginning.
#[derive(Clone, Copy)]
enum Rest {
    /// Nothing: it says enough.
    Nothing,
    /// These bytes, on the same line.
    OnLine(&'static [u8]),
    /// From so many to so many bytes of a class, and then none of it.
    Run(Class, usize, usize),
    /// The same with digits and capitals and small letters among them: no word or identifier.
    Mixed(Class, usize, usize),
    /// White space and `=`, then a key of 32 bytes in Base64.
    WireGuard,
    /// The rest of a header, and two more parts, with dots between.
    Jwt,
    /// A name, a colon and a password, up to `@`.
    Password,
}

/// A secret by its look.
struct Shape {
    kind: Kind,
    name: &'static str,
    start: &'static [u8],
    rest: Rest,
}

const fn shape(kind: Kind, name: &'static str, start: &'static [u8], rest: Rest) -> Shape {
    Shape { kind, name, start, rest }
}

use Class::{Base32, Digits, Letters, Url};
use Kind::{Key, Token};
use Rest::{Jwt, Mixed, Nothing, OnLine, Password, Run, WireGuard};

/// Every look.
#[rustfmt::skip]
const SHAPES: &[Shape] = &[
    shape(Key, "a private key", b"-----BEGIN ", OnLine(b"PRIVATE KEY")),
    shape(Key, "a private key", b"PuTTY-User-Key-File-", OnLine(b":")),
    shape(Key, "a private key", b"AGE-SECRET-KEY-1", Nothing),
    shape(Key, "a private key", b"untrusted comment: minisign encrypted secret key", Nothing),
    shape(Key, "a private key", b"openssh-key-v1\0", Nothing),
    shape(Key, "a private key of WireGuard", b"PrivateKey", WireGuard),
    shape(Key, "a shared key of WireGuard", b"PresharedKey", WireGuard),
    shape(Token, "an access key of AWS", b"AKIA", Run(Base32, 16, 16)),
    shape(Token, "an access key of AWS", b"ASIA", Run(Base32, 16, 16)),
    shape(Token, "a token of GitHub", b"ghp_", Run(Letters, 36, 255)),
    shape(Token, "a token of GitHub", b"gho_", Run(Letters, 36, 255)),
    shape(Token, "a token of GitHub", b"ghu_", Run(Letters, 36, 255)),
    shape(Token, "a token of GitHub", b"ghs_", Run(Letters, 36, 255)),
    shape(Token, "a token of GitHub", b"ghr_", Run(Letters, 36, 255)),
    shape(Token, "a token of GitHub", b"github_pat_", Run(Url, 60, 255)),
    shape(Token, "a token of GitLab", b"glpat-", Mixed(Url, 20, 255)),
    shape(Token, "a token of GitLab", b"gldt-", Mixed(Url, 20, 255)),
    shape(Token, "a token of GitLab", b"glrt-", Mixed(Url, 20, 255)),
    shape(Token, "a token of Slack", b"xoxb-", Run(Url, 24, 255)),
    shape(Token, "a token of Slack", b"xoxp-", Run(Url, 24, 255)),
    shape(Token, "a token of Slack", b"xoxa-", Run(Url, 24, 255)),
    shape(Token, "a token of Slack", b"xapp-", Run(Url, 40, 255)),
    shape(Token, "a webhook of Slack", b"hooks.slack.com/services/T", Run(Letters, 8, 16)),
    shape(Token, "a key of Google", b"AIza", Mixed(Url, 35, 35)),
    shape(Token, "a secret of Google", b"GOCSPX-", Mixed(Url, 28, 28)),
    shape(Token, "a token of npm", b"npm_", Mixed(Letters, 36, 36)),
    shape(Token, "a token of PyPI", b"pypi-AgEIcHlwaS5vcmc", Run(Url, 50, 4000)),
    shape(Token, "a token of Hugging Face", b"hf_", Mixed(Letters, 34, 37)),
    shape(Token, "a token of Docker", b"dckr_pat_", Run(Url, 27, 40)),
    shape(Token, "a key of Stripe", b"sk_live_", Run(Letters, 24, 255)),
    shape(Token, "a key of Stripe", b"rk_live_", Run(Letters, 24, 255)),
    shape(Token, "a key of OpenAI", b"sk-proj-", Mixed(Url, 40, 255)),
    shape(Token, "a key of OpenAI", b"sk-svcacct-", Mixed(Url, 40, 255)),
    shape(Token, "a key of Anthropic", b"sk-ant-", Mixed(Url, 40, 255)),
    shape(Token, "a key of NVIDIA", b"nvapi-", Mixed(Url, 40, 255)),
    shape(Token, "a number of a bot of Telegram", b"bot_token=", Run(Digits, 8, 12)),
    shape(Token, "a JSON web token", b"eyJ", Jwt),
    shape(Token, "an address with a password", b"://", Password),
];

/// What files of keys begin with.
const MAGICS: [(&[u8], &str); 2] =
    [(b"\xfe\xed\xfe\xed\0\0\0", "a key store of Java"), (b"\xce\xce\xce\xce\0\0\0", "a key store of Java")];

/// What the first bytes of a file say.
pub(super) fn by_magic(head: &[u8]) -> Option<(Kind, &'static str)> {
    let java = MAGICS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| *name);
    // A sequence with a length of two bytes, then version 3: RFC 7292, “PFX PDU Syntax”.
    let pfx = head.starts_with(b"\x30\x82") && head.get(4..8) == Some(b"\x02\x01\x03\x30");
    java.or_else(|| pfx.then_some("a PKCS#12 container")).map(|name| (Kind::Key, name))
}

impl Shape {
    /// Whether what stands at this place of a text is one.
    fn fits(&self, text: &[u8], at: usize) -> bool {
        let rest = &text[at + self.start.len()..];
        // A word of which the beginning is only the end is another word.
        let begins =
            at.checked_sub(1).and_then(|before| text.get(before)).is_none_or(|before| !Letters.has(*before));
        match self.rest {
            Nothing => true,
            OnLine(end) => {
                let line = &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len()).min(LONGEST / 2)];
                end.is_empty() || memchr::memmem::find(line, end).is_some()
            }
            Run(class, least, most) => begins && (least..=most).contains(&class.run(rest)),
            Mixed(class, least, most) => {
                let run = class.run(rest);
                let part = &rest[..run];
                begins
                    && (least..=most).contains(&run)
                    && part.iter().any(u8::is_ascii_uppercase)
                    && part.iter().any(u8::is_ascii_lowercase)
                    && (self.start == b"hf_" || part.iter().any(u8::is_ascii_digit))
            }
            WireGuard => {
                let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'=')).count();
                let key = &rest[spaces..];
                spaces > 0 && Class::Base64.run(key) == 43 && key.get(43) == Some(&b'=')
            }
            Jwt => {
                let mut parts = rest;
                begins
                    && [(10, b"eyJ".as_slice()), (10, b"")].iter().all(|(least, start)| {
                        let run = Url.run(parts);
                        let next = parts.get(run + 1..).unwrap_or_default();
                        let dot = run >= *least && parts.get(run) == Some(&b'.') && next.starts_with(start);
                        parts = next;
                        dot
                    })
                    && Url.run(parts) >= 10
            }
            Password => {
                let part = |text: &[u8]| {
                    text.iter()
                        .take_while(|byte| Url.has(**byte) || matches!(byte, b'.' | b'%' | b'~' | b'+'))
                        .count()
                };
                let name = part(rest);
                let behind = rest.get(name + 1..).unwrap_or_default();
                let word = part(behind);
                let password = behind.get(..word).unwrap_or_default();
                name > 0
                    && rest.get(name) == Some(&b':')
                    && word >= 6
                    && behind.get(word) == Some(&b'@')
                    && !EXAMPLES.iter().any(|example| password.eq_ignore_ascii_case(example))
            }
        }
    }
}

/// Passwords that are none.
const EXAMPLES: [&[u8]; 4] = [b"password", b"passwd", b"secret", b"example"];

/// All looks, ready to be looked for, and the paths of a builder.
pub(super) struct Shapes {
    shapes: Vec<(&'static Shape, Finder<'static>)>,
    paths: Vec<Finder<'static>>,
}

impl Shapes {
    /// The shapes, and these paths, which are whole names.
    pub(super) fn new<'p>(paths: impl Iterator<Item = &'p str>) -> Self {
        let shapes = SHAPES.iter().map(|shape| (shape, Finder::new(shape.start))).collect();
        let paths = paths.map(|path| Finder::new(path.as_bytes()).into_owned()).collect();
        Self { shapes, paths }
    }

    /// Adds what is found in a text.
    pub(super) fn find(&self, text: &[u8], found: &mut Vec<(Kind, &'static str)>) {
        for (shape, finder) in &self.shapes {
            let known = (shape.kind, shape.name);
            if !found.contains(&known) && finder.find_iter(text).any(|at| shape.fits(text, at)) {
                found.push(known);
            }
        }
        let name = (Kind::BuilderPath, "a path of the builder");
        let whole = |finder: &Finder<'_>, at: usize| {
            let after = text.get(at + finder.needle().len());
            after.is_none_or(|byte| !Url.has(*byte) && *byte != b'.')
        };
        if !found.contains(&name)
            && self.paths.iter().any(|finder| finder.find_iter(text).any(|at| whole(finder, at)))
        {
            found.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &[u8]) -> Vec<&'static str> {
        let mut found = Vec::new();
        Shapes::new(["/home/somebody/goni"].into_iter()).find(text, &mut found);
        found.into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn secrets_are_known_by_their_look() {
        for (text, expected) in [
            ("x\n-----BEGIN PRIVATE KEY-----\nMC4", Some("a private key")),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", Some("a private key")),
            ("-----BEGIN PGP PRIVATE KEY BLOCK-----", Some("a private key")),
            ("-----BEGIN EC PARAMETERS-----\n-----BEGIN EC PRIVATE KEY-----", Some("a private key")),
            ("PuTTY-User-Key-File-3: ssh-ed25519", Some("a private key")),
            ("AGE-SECRET-KEY-1QQ", Some("a private key")),
            ("PrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=", Some("a private key of WireGuard")),
            ("cd=/home/somebody/goni/out", Some("a path of the builder")),
            ("https://me:hunter22@h/x", Some("an address with a password")),
            ("-----BEGIN PUBLIC KEY-----", None),
            ("-----BEGIN CERTIFICATE-----\nnot a PRIVATE KEY", None),
            ("a PRIVATE KEY", None),
            ("PrivateKey = none", None),
            ("PrivateKey=/etc/wireguard/key", None),
            ("/home/somebody/goni-other", None),
            ("AKIAIOSFODNN7", None),
            ("XAKIAIOSFODNN7ABCDEFG", None),
            ("ghp_short", None),
            ("npm_config_cache_directory_of_the_user_at_home", None),
            ("https://user:password@example.org", None),
            ("https://host:8080/@x", None),
            ("eyJhbGciOiJIUzI1NiJ9.short", None),
        ] {
            assert_eq!(found(text.as_bytes()), expected.into_iter().collect::<Vec<_>>(), "{text}");
        }
    }

    #[test]
    fn containers_are_known_by_their_first_bytes() {
        assert!(by_magic(b"\x30\x82\x09\x01\x02\x01\x03\x30\x82").is_some());
        assert!(by_magic(b"\xfe\xed\xfe\xed\0\0\0\x02").is_some());
        // A certificate, in the same encoding.
        assert!(by_magic(b"\x30\x82\x03\x05\x30\x82\x01\xed").is_none());
    }
}
