//! Packages made in memory, right or wrong on purpose.

/// Appends an ar member; an odd one is padded.
pub(crate) fn ar_member(archive: &mut Vec<u8>, name: &str, content: &[u8]) {
    let size = content.len();
    archive.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100_644).bytes());
    archive.extend(content);
    if !size.is_multiple_of(2) {
        archive.push(b'\n');
    }
}

/// An ar archive of these members.
pub(crate) fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, content) in members {
        ar_member(&mut archive, name, content);
    }
    archive
}

/// A tar archive in the making.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    /// Appends a member; `patch` may spoil the header before its checksum is computed.
    pub(crate) fn raw(
        mut self,
        flag: u8,
        name: &[u8],
        target: &[u8],
        mode: u32,
        content: &[u8],
        patch: impl FnOnce(&mut [u8; 512]),
    ) -> Self {
        let mut header = [0; 512];
        header[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        header[157..157 + target.len().min(100)].copy_from_slice(&target[..target.len().min(100)]);
        header[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
        header[108..124].copy_from_slice(b"0000000\x000000000\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000001750\0");
        header[156] = flag;
        header[257..265].copy_from_slice(b"ustar  \0");
        patch(&mut header);
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(header);
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.raw(b'5', name.as_bytes(), b"", 0o755, b"", |_| {})
    }

    pub(crate) fn file(self, name: &str, mode: u32, content: &[u8]) -> Self {
        self.raw(b'0', name.as_bytes(), b"", mode, content, |_| {})
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.raw(b'2', name.as_bytes(), target.as_bytes(), 0o777, b"", |_| {})
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.raw(b'1', name.as_bytes(), target.as_bytes(), 0o644, b"", |_| {})
    }

    /// The archive with its end marker.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

/// The control archive of a package `name` 1.0 for all architectures, with more fields and files.
pub(crate) fn control(name: &str, fields: &str, files: &[(&str, u32, &str)]) -> Vec<u8> {
    let text = format!("Package: {name}\nVersion: 1.0\nArchitecture: all\n{fields}");
    let tar = Tar::default().directory("./").file("./control", 0o644, text.as_bytes());
    let add = |tar: Tar, (name, mode, text): &(&str, u32, &str)| {
        tar.file(&format!("./{name}"), *mode, text.as_bytes())
    };
    files.iter().fold(tar, add).end()
}

/// A whole package, uncompressed.
pub(crate) fn deb(control: &[u8], data: &[u8]) -> Vec<u8> {
    ar(&[("debian-binary", b"2.0\n"), ("control.tar", control), ("data.tar", data)])
}
