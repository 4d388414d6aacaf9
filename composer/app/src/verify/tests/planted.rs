//! Everything that must not leak, planted one at a time: exactly the check that is for it turns red.

use std::collections::BTreeMap;
use std::io::Write as _;

use goni_disk::tree::FileTree;
use goni_model::report::Outcome;
use goni_model::size::SectorSize;
use goni_model::target::BootMethod;

use super::{
    BUILDER, Breakage, Evidence, Findings, KEY, Silent, add, build, chmod, edit, failed, inspect, metadata,
    outcome, path, profiles, put, reset, stub,
};
use crate::host::image::Image;
use crate::index::{HandLine, Index, Kind, Line, Place, Tree, What, text_of};
use crate::verify::Meant;

/// A token, put together here so that nobody's search for leaks finds this file.
const fn token(start: &'static str, rest: &'static str) -> (&'static str, &'static str) {
    (start, rest)
}

/// Lays a file with a line of a secret in it.
fn plant(tree: &mut FileTree, place: &str, (start, rest): (&str, &str)) {
    add(tree, place, 0o600, format!("# settings\nvalue = \"{start}{rest}\"\n").as_bytes());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// So many bytes before it: past what is looked at together.
fn far(bytes: &[u8]) -> Vec<u8> {
    [&vec![b'x'; (1 << 20) - 7][..], b"\n", bytes].concat()
}

const DIGITS: &str =
    "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6kM9pR2tV5xY8aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6kM9pR2tV";

/// What is planted, how, the one check that must fail, and what it must have seen.
#[rustfmt::skip]
pub(super) const BREAKAGES: &[(&str, Breakage, &str, &str)] = &[
    ("a PEM key among programs", Breakage::Root(|root| add(root, "usr/lib/x/y.so", 0o644, KEY)), "no-secrets", "a private key in `/usr/lib/x/y.so`"),
    ("a PGP key", Breakage::Root(|root| plant(root, "opt/x/k.asc", token("-----BEGIN PGP PRIVATE ", "KEY BLOCK-----"))), "no-secrets", "a private key in"),
    ("an OpenSSH key without armour", Breakage::Root(|root| add(root, "srv/k", 0o600, b"openssh-key-v1\0\0")), "no-secrets", "`/srv/k`"),
    ("an age key", Breakage::Root(|root| plant(root, "etc/age.txt", token("AGE-SECRET-", "KEY-1QQQ"))), "no-secrets", "/etc/age.txt"),
    ("a WireGuard key", Breakage::Root(|root| add(root, "etc/wg0.conf", 0o600, format!("[Interface]\nPrivateKey = {}=\n", &DIGITS[..43]).as_bytes())), "no-secrets", "WireGuard"),
    ("a PKCS#12 container by its bytes", Breakage::Root(|root| add(root, "etc/ssl/node", 0o600, b"\x30\x82\x09\x01\x02\x01\x03\x30\x82")), "no-secrets", "PKCS#12"),
    ("a PKCS#12 container by its name", Breakage::Root(|root| add(root, "etc/ssl/node.p12", 0o600, b"x")), "no-secrets", "node.p12"),
    ("a Java key store by its bytes", Breakage::Root(|root| add(root, "opt/x/store", 0o600, b"\xfe\xed\xfe\xed\0\0\0\x02")), "no-secrets", "key store"),
    ("a Java key store by its name", Breakage::Root(|root| add(root, "opt/x/store.jks", 0o600, b"x")), "no-secrets", "store.jks"),
    ("a key in a compressed file", Breakage::Root(|root| add(root, "usr/share/x/dump.gz", 0o644, &gzip(KEY))), "no-secrets", "dump.gz"),
    ("a key in a compressed file that is cut short", Breakage::Root(|root| { let packed = gzip(KEY); add(root, "usr/share/x/dump.gz", 0o644, &packed[..packed.len() - 4]); }), "no-secrets", "dump.gz"),
    ("a key in a compressed file with something behind", Breakage::Root(|root| add(root, "usr/share/x/dump.gz", 0o644, &[&gzip(KEY)[..], b"behind"].concat())), "no-secrets", "dump.gz"),
    ("a key at the end of a large file", Breakage::Root(|root| add(root, "opt/x/blob", 0o644, &far(KEY))), "no-secrets", "/opt/x/blob"),
    ("a key on the EFI system partition", Breakage::SystemPartition(|esp| add(esp, "key.txt", 0o644, KEY)), "no-secrets", "key.txt"),
    ("a host key of ssh", Breakage::Root(|root| add(root, "etc/ssh/ssh_host_ed25519_key", 0o600, b"x")), "no-secrets", "ssh_host_ed25519_key"),
    ("a key of the machine's owner", Breakage::Root(|root| add(root, "var/lib/dkms/mok.key", 0o600, b"x")), "no-secrets", "mok.key"),
    ("a history of a shell", Breakage::Root(|root| add(root, "root/.zsh_history", 0o600, b"ls\n")), "no-secrets", ".zsh_history"),
    ("credentials of docker", Breakage::Root(|root| add(root, "root/.docker/config.json", 0o600, b"{}")), "no-secrets", ".docker/config.json"),
    ("credentials of pip", Breakage::Root(|root| add(root, "root/.config/pip/pip.conf", 0o600, b"x")), "no-secrets", "pip.conf"),
    ("credentials of git", Breakage::Root(|root| add(root, "root/.git-credentials", 0o600, b"x")), "no-secrets", ".git-credentials"),
    ("credentials of AWS", Breakage::Root(|root| add(root, "root/.aws/credentials", 0o600, b"x")), "no-secrets", ".aws/credentials"),
    ("an access key of AWS", Breakage::Root(|root| plant(root, "etc/a", token("AKI", "AIOSFODNN7GONIABC"))), "no-tokens", "AWS"),
    ("a token of GitHub", Breakage::Root(|root| plant(root, "etc/a", ("ghp_", &DIGITS[..36]))), "no-tokens", "GitHub"),
    ("a fine-grained token of GitHub", Breakage::Root(|root| plant(root, "etc/a", ("github_pat_", &DIGITS[..82]))), "no-tokens", "GitHub"),
    ("a token of GitLab", Breakage::Root(|root| plant(root, "etc/a", ("glpat-", &DIGITS[..20]))), "no-tokens", "GitLab"),
    ("a token of Slack", Breakage::Root(|root| plant(root, "etc/a", ("xoxb-", "123456789012-aB3dE6gH9jK2mN5p"))), "no-tokens", "Slack"),
    ("a key of Google", Breakage::Root(|root| plant(root, "etc/a", ("AIza", &DIGITS[..35]))), "no-tokens", "Google"),
    ("a token of npm", Breakage::Root(|root| plant(root, "etc/a", ("npm_", &DIGITS[..36]))), "no-tokens", "npm"),
    ("a token of PyPI", Breakage::Root(|root| plant(root, "etc/a", ("pypi-AgEIcHlwaS5vcmc", &DIGITS[..60]))), "no-tokens", "PyPI"),
    ("a token of Hugging Face", Breakage::Root(|root| plant(root, "etc/a", ("hf_", &DIGITS[..34]))), "no-tokens", "Hugging Face"),
    ("a key of OpenAI", Breakage::Root(|root| plant(root, "etc/a", ("sk-proj-", &DIGITS[..60]))), "no-tokens", "OpenAI"),
    ("a key of Anthropic", Breakage::Root(|root| plant(root, "etc/a", ("sk-ant-", &DIGITS[..60]))), "no-tokens", "Anthropic"),
    ("a key of NVIDIA", Breakage::Root(|root| plant(root, "etc/a", ("nvapi-", &DIGITS[..60]))), "no-tokens", "NVIDIA"),
    ("a JSON web token", Breakage::Root(|root| plant(root, "etc/a", ("eyJ", "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dBjftJeZ4CVPmB92K27uhbUJU1p1r_wW1g"))), "no-tokens", "JSON web token"),
    ("an address with a password", Breakage::Root(|root| plant(root, "etc/a", ("https://me:hunter22", "@example.org/"))), "no-tokens", "password"),
    ("a token on the state partition", Breakage::State(|state| plant(state, "data/a", ("glpat-", &DIGITS[..20]))), "no-tokens", "`state:/data/a`"),
    ("a token between two stretches", Breakage::Root(|root| add(root, "opt/x/blob", 0o644, &far(format!("glpat-{}", &DIGITS[..20]).as_bytes()))), "no-tokens", "/opt/x/blob"),
    ("a token in an initial command line", Breakage::CommandLine(|line| format!("{line} x=glpat-{}", &DIGITS[..20])), "no-tokens", "`esp:/EFI/Linux/goni_0.1.0.efi`"),
    ("a token in the loader's settings", Breakage::SystemPartition(|esp| edit(esp, "loader/loader.conf", "editor", &format!("# glpat-{}\neditor", &DIGITS[..20]))), "no-tokens", "`esp:/loader/loader.conf`"),
    ("a key at the end of long settings", Breakage::SystemPartition(|esp| edit(esp, "loader/loader.conf", "editor no\n", &format!("editor no\n{}", String::from_utf8(far(KEY)).unwrap()))), "no-secrets", "`esp:/loader/loader.conf`"),
    ("a key behind the loader", Breakage::SystemPartition(|esp| add(esp, "EFI/BOOT/BOOTX64.EFI", 0o644, &[&stub()[..], KEY].concat())), "no-secrets", "`esp:/EFI/BOOT/BOOTX64.EFI`"),
    ("a token in what one profile says", Breakage::SystemPartition(|esp| profiles(esp, |line| {
        let (name, mut own) = reset(line);
        own[0].1.push_str(&format!("BUG_REPORT_URL=https://me:{}@example.org/\n", &DIGITS[..20]));
        vec![("main", vec![]), (name, own)]
    })), "no-tokens", "`esp:/EFI/Linux/goni_0.1.0.efi`"),
    ("a machine id in the initrd", Breakage::Initrd(|initrd| add(initrd, "etc/machine-id", 0o444, b"0123456789abcdef0123456789abcdef\n")), "identity", "`initrd:/etc/machine-id`"),
    ("a file that all may write", Breakage::Root(|root| { add(root, "opt/x/open", 0o666, b"x"); }), "root-owners-and-modes", "/opt/x/open"),
    ("a directory that all may write", Breakage::Root(|root| { add(root, "opt/x/open/f", 0o644, b"x"); chmod(root, "opt/x/open", 0o777); }), "root-owners-and-modes", "/opt/x/open"),
    ("a program that lends its rights", Breakage::Root(|root| add(root, "opt/x/lent", 0o4755, b"x")), "root-owners-and-modes", "/opt/x/lent"),
    ("a program with capabilities", Breakage::Root(|root| {
        let mut metadata = metadata(0o755, 0, 0);
        metadata.xattrs.insert(b"security.capability".to_vec(), vec![0; 20]);
        put(root, "opt/x/able", metadata, goni_disk::tree::Kind::File(goni_disk::tree::Content::inline(&b"x"[..])));
    }), "root-owners-and-modes", "/opt/x/able"),
    ("a device", Breakage::Root(|root| {
        let device = goni_disk::tree::DeviceNumber { major: 1, minor: 3 };
        put(root, "opt/x/null", metadata(0o600, 0, 0), goni_disk::tree::Kind::CharacterDevice(device));
    }), "root-owners-and-modes", "/opt/x/null"),
    ("a machine id", Breakage::Root(|root| add(root, "etc/machine-id", 0o444, b"0123456789abcdef0123456789abcdef\n")), "identity", "an identifier"),
];

fn verified(breakage: Breakage) -> Findings {
    let scratch = tempfile::tempdir().unwrap();
    let sample = build(scratch.path(), BootMethod::SystemdBoot, SectorSize::B512, breakage);
    inspect(&Image::of(&sample.disk).unwrap(), BUILDER, None, &Silent).unwrap()
}

/// What a second check is about as well: strange files where firmware looks, and keys that sign modules.
const SEEN_TWICE: [(&str, &str); 2] =
    [("a key on the EFI system partition", "esp"), ("a key of the machine's owner", "modules")];

/// A verdict on an image with something planted: which checks failed, and what the one for it saw.
fn seen(breakage: Breakage, check: &str) -> (Vec<String>, String) {
    let findings = verified(breakage);
    let observed = match outcome(&findings, check) {
        Outcome::Failed { observed, .. } => observed.clone(),
        _ => "nothing".to_owned(),
    };
    (failed(&findings).into_iter().map(str::to_owned).collect(), observed)
}

#[test]
fn what_is_planted_is_found_by_exactly_its_check() {
    let (mut table, mut wrong) = (String::new(), Vec::new());
    let mut tell = |what: &str, (red, observed): (Vec<String>, String), meant: &[&str], expected: &str| {
        table.push_str(&format!("| {what} | {} | {observed} |\n", red.join(", ")));
        if red != meant || !observed.contains(expected) {
            wrong
                .push(format!("{what}: {meant:?} should have seen `{expected}`, and {red:?} saw {observed}"));
        }
    };
    for (what, breakage, check, expected) in BREAKAGES {
        let (mut red, observed) = seen(*breakage, check);
        red.retain(|other| !SEEN_TWICE.contains(&(*what, other)));
        let by_content = observed.contains(" in `");
        tell(what, (red, observed), &[check], expected);
        let Breakage::Root(change) = *breakage else { continue };
        if !["no-secrets", "no-tokens"].contains(check) {
            continue;
        }
        // The same, planted elsewhere.
        tell(what, seen(Breakage::Initrd(change), check), &[check], "`initrd:/");
        if by_content {
            // A strange file is the fault of another check besides.
            tell(what, seen(Breakage::SystemPartition(change), check), &["esp", check], "`esp:/");
        }
    }
    println!("| planted | check that failed | what it saw |\n|---|---|---|\n{table}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An index in which one stage owns everything that an unbroken image has.
fn index() -> Index {
    let scratch = tempfile::tempdir().unwrap();
    let sample = build(scratch.path(), BootMethod::SystemdBoot, SectorSize::B512, Breakage::Nothing);
    let image = Image::of(&sample.disk).unwrap();
    let evidence = Evidence::gather(&image, BUILDER).unwrap();
    let line = |path: &[u8]| Line(text_of(path), What::File, 0, None, vec![0], 0);
    let root = evidence.root.found().unwrap().nodes().map(|(path, _)| line(path.as_bytes())).collect();
    let state = evidence.state.found().unwrap().nodes.keys().map(|path| line(path.as_bytes())).collect();
    let esp = evidence.esp.found().unwrap().files.keys().map(|path| line(path.as_bytes())).collect();
    let trees = [(Place::Root, root), (Place::State, state), (Place::Esp, esp)];
    Index {
        name: "sample".to_owned(),
        version: "1".to_owned(),
        arch: "amd64".to_owned(),
        target: "sample".to_owned(),
        composer: String::new(),
        source_date: 0,
        recipe: BTreeMap::new(),
        kept: Vec::new(),
        packages: Vec::new(),
        overlays: Vec::new(),
        payloads: Vec::new(),
        modules: Vec::new(),
        root_used: 0,
        root_budget: None,
        hands: vec![HandLine(Kind::Stage, "unpack".to_owned(), "brought".to_owned(), None)],
        trees: trees.into_iter().map(|(place, lines)| Tree { place, lines }).collect(),
        gone: Vec::new(),
    }
}

#[test]
fn a_path_without_an_owner_and_a_path_of_the_builder_turn_their_checks_red() {
    let index = index();
    let builder = ["/home/somebody/goni".to_owned(), "/usr/lib".to_owned()];
    let verified = |breakage| {
        let scratch = tempfile::tempdir().unwrap();
        let sample = build(scratch.path(), BootMethod::SystemdBoot, SectorSize::B512, breakage);
        inspect(&Image::of(&sample.disk).unwrap(), BUILDER, Some(&Meant::new(&index, &builder)), &Silent)
            .unwrap()
    };
    assert_eq!(failed(&verified(Breakage::Nothing)), [""; 0]);
    for (breakage, check, seen) in [
        (
            Breakage::Root(|root| add(root, "usr/bin/planted", 0o755, b"x")),
            "owned",
            "`/usr/bin/planted` of the root",
        ),
        (
            Breakage::State(|state| add(state, "data/planted", 0o600, b"x")),
            "owned",
            "`/data/planted` of the state",
        ),
        (
            Breakage::SystemPartition(|esp| add(esp, "planted.txt", 0o644, b"x")),
            "owned",
            "`/planted.txt` of the esp",
        ),
        (
            Breakage::Root(|root| {
                root.remove(&path("usr/bin/su")).unwrap();
            }),
            "owned",
            "no `/usr/bin/su`",
        ),
        (
            Breakage::Root(|root| add(root, "etc/hostname", 0o644, b"goni # /home/somebody/goni/out\n")),
            "builder-paths",
            "`/etc/hostname`",
        ),
        (
            Breakage::Initrd(|initrd| add(initrd, "etc/x", 0o644, b"/home/somebody/goni/out\n")),
            "builder-paths",
            "`initrd:/etc/x`",
        ),
        (
            Breakage::SystemPartition(|esp| {
                edit(esp, "loader/loader.conf", "editor", "# /home/somebody/goni\neditor");
            }),
            "builder-paths",
            "`esp:/loader/loader.conf`",
        ),
    ] {
        let findings = verified(breakage);
        let Outcome::Failed { observed, .. } = outcome(&findings, check) else { panic!("{check}: {seen}") };
        assert!(observed.contains(seen), "{observed}");
        assert!(failed(&findings).contains(&check));
    }
}
