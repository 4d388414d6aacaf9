//! A vendor's archive as the tests make it: packages, indexes, a Release file, a signature.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use goni_model::digest::Sha256Digest;
use sequoia_openpgp as openpgp;
use sequoia_openpgp::cert::{Cert, CertBuilder};
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::SerializeInto as _;
use sequoia_openpgp::serialize::stream::{Message, Signer};

use crate::common::Project;

/// A package to be made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) arch: &'static str,
    /// More fields of the control file, a line each.
    pub(crate) fields: String,
    /// Its preinst.
    pub(crate) preinst: Option<&'static str>,
    /// Files that it has besides, by path.
    pub(crate) files: Vec<(String, String)>,
    /// Members of a tar archive that it has besides.
    pub(crate) tree: Vec<u8>,
}

impl Package {
    pub(crate) fn new(name: &'static str, fields: &str) -> Self {
        let fields = fields.to_owned();
        Self { name, version: "39.2.0-1", arch: "amd64", fields, ..Self::default() }
    }

    pub(crate) fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version, self.arch)
    }

    fn control(&self) -> String {
        let Self { name, version, arch, fields, .. } = self;
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: Vendor <v@example.org>\n\
             {fields}Description: stand-in for {name}\n"
        )
    }

    pub(crate) fn deb(&self) -> Vec<u8> {
        let mut control = Vec::new();
        tar(&mut control, "./control", 0o644, self.control().as_bytes());
        if let Some(preinst) = self.preinst {
            tar(&mut control, "./preinst", 0o755, preinst.as_bytes());
        }
        let mut data = Vec::new();
        for folder in ["./", "./usr/", "./usr/share/", "./usr/share/vendor/"] {
            tar(&mut data, folder, 0o755, b"");
        }
        tar(&mut data, &format!("./usr/share/vendor/{}", self.name), 0o644, b"stand-in\n");
        let mut folders = BTreeSet::new();
        for (path, _) in &self.files {
            let ends = path.match_indices('/').map(|(at, _)| path[..=at].to_owned());
            folders.extend(ends.filter(|folder| folder != "usr/"));
        }
        for folder in &folders {
            tar(&mut data, &format!("./{folder}"), 0o755, b"");
        }
        for (path, text) in &self.files {
            tar(&mut data, &format!("./{path}"), 0o644, text.as_bytes());
        }
        data.extend(&self.tree);
        let mut deb = b"!<arch>\n".to_vec();
        for (name, mut content) in
            [("debian-binary", b"2.0\n".to_vec()), ("control.tar", control), ("data.tar", data)]
        {
            if name != "debian-binary" {
                content.resize(content.len() + 1024, 0);
            }
            let size = content.len();
            writeln!(deb, "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`", 0, 0, 0, 100_644).unwrap();
            deb.extend(content);
        }
        deb
    }

    fn stanza(&self) -> String {
        let deb = self.deb();
        let (path, size) = (self.file_name(), deb.len());
        format!(
            "{}Filename: pool/{path}\nSize: {size}\nSHA256: {}\n\n",
            self.control(),
            Sha256Digest::of(&deb)
        )
    }
}

/// Appends a member to a tar archive; all are of an even number of blocks, so ar needs no padding.
fn tar(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
    header[108..124].copy_from_slice(b"0000000\x000000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000001750\0");
    header[156] = if name.ends_with('/') { b'5' } else { b'0' };
    header[257..265].copy_from_slice(b"ustar  \0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend(header);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

/// A key of the vendor's.
pub(crate) struct Key(Cert);

impl Key {
    pub(crate) fn new() -> Self {
        Self(CertBuilder::new().add_userid("vendor").add_signing_subkey().generate().unwrap().0)
    }

    pub(crate) fn fingerprint(&self) -> String {
        self.0.fingerprint().to_hex()
    }

    pub(crate) fn armored(&self) -> Vec<u8> {
        self.0.armored().to_vec().unwrap()
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        let policy = StandardPolicy::new();
        let key = self.0.keys().with_policy(&policy, None).for_signing().secret().next().unwrap();
        let pair: openpgp::crypto::KeyPair = key.key().clone().into_keypair().unwrap();
        let mut out = Vec::new();
        let mut message = Signer::new(Message::new(&mut out), pair).unwrap().cleartext().build().unwrap();
        message.write_all(text.as_bytes()).unwrap();
        message.finalize().unwrap();
        out
    }
}

/// A time as Release files say it, so many days from now.
pub(crate) fn date(days: i32) -> String {
    let when = format!("{days} days");
    let output = Command::new("date")
        .args(["-u", "-d", &when, "+%a, %d %b %Y %H:%M:%S UTC"])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Writes an archive of one suite, `r39.2`, of the first package's architecture, below a folder; `more` are further fields of its Release.
pub(crate) fn write(folder: &Path, packages: &[Package], key: &Key, signed: &str, more: &str) -> PathBuf {
    let suite = folder.join("dists/r39.2");
    let arch = packages.first().map_or("amd64", |package| package.arch);
    let place = format!("main/binary-{arch}/Packages");
    fs::create_dir_all(suite.join(format!("main/binary-{arch}"))).unwrap();
    fs::create_dir_all(folder.join("pool")).unwrap();
    for package in packages {
        fs::write(folder.join("pool").join(package.file_name()), package.deb()).unwrap();
    }
    let index: String = packages.iter().map(Package::stanza).collect();
    fs::write(suite.join(&place), &index).unwrap();
    let release = format!(
        "Origin: NVIDIA\nSuite: r39.2\nCodename: r39.2\nDate: {signed}\n{more}Components: main\n\
         Architectures: {arch}\nSHA256:\n {} {} {place}\n",
        Sha256Digest::of(index.as_bytes()),
        index.len()
    );
    fs::write(suite.join("InRelease"), key.sign(&release)).unwrap();
    folder.to_owned()
}

/// The packages of a Jetson's target, by their names, with the relations that matter.
pub(crate) fn jetson() -> Vec<Package> {
    let stand_in = |name, fields: &str| Package { arch: "arm64", ..Package::new(name, fields) };
    let core = "Depends: nvidia-l4t-core (= 39.2.0-1)\n";
    [
        "nvidia-l4t-init",
        "nvidia-l4t-kernel",
        "nvidia-l4t-kernel-dtbs",
        "nvidia-l4t-kernel-module-configs",
        "nvidia-l4t-kernel-oot-modules",
        "nvidia-l4t-nvml",
        "nvidia-l4t-nvpmodel",
        "nvidia-l4t-nvfancontrol",
        "nvidia-l4t-tools",
        "nvidia-l4t-firmware",
        "nvidia-l4t-xusb-firmware",
        "nvgpu",
        "openrm",
    ]
    .into_iter()
    .map(|name| stand_in(name, core))
    .chain([
        stand_in("nvidia-l4t-core", "Depends: libffi8, libc6 (>= 2.34)\n"),
        stand_in("nvidia-l4t-cuda", "Depends: nvidia-l4t-core (= 39.2.0-1), nvgpu | openrm\n"),
    ])
    .collect()
}

/// Puts an archive of such packages, newly signed, in the place of NVIDIA's for the recipes of Jetson.
pub(crate) fn for_jetson(project: &Project, packages: &[Package]) {
    let key = Key::new();
    write(&project.path().join("vendor"), packages, &key, &date(-1), "");
    fs::create_dir(project.path().join("keys")).unwrap();
    fs::write(project.path().join("keys/nvidia-jetson-ota-public.asc"), key.armored()).unwrap();
    let recipe = project.path().join("recipes/jetson.toml");
    let mut text = fs::read_to_string(&recipe).unwrap();
    for (from, to) in [
        ("https://repo.download.nvidia.com/jetson/common", "file:vendor"),
        ("https://repo.download.nvidia.com/jetson/som", "file:vendor"),
        ("3C6D1FF3100C8C3ABB0869C0E6543461A9996195", key.fingerprint().as_str()),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    fs::write(recipe, text).unwrap();
}
