//! Temporary.
use super::*;
use crate::progress::Silent;

#[test]
fn trial() {
    let directory = std::env::var("TRIAL").unwrap();
    let mut packages = Vec::new();
    for entry in std::fs::read_dir(format!("{directory}/apt/cache/archives")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "deb") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().replace("%3a", ":");
        let mut parts = name.split('_');
        let bytes = std::fs::read(&path).unwrap();
        packages.push(DebFile {
            locked: LockedPackage {
                name: parts.next().unwrap().into(),
                version: parts.next().unwrap().into(),
                arch: parts.next().unwrap().into(),
                archive: "debian".into(),
                path: "pool".into(),
                size: bytes.len() as u64,
                sha256: Sha256Digest::of(&bytes),
            },
            path,
        });
    }
    let start = std::time::Instant::now();
    let root = PathBuf::from(format!("{directory}/root"));
    let unpacked = unpack(&packages, &PathBuf::from(format!("{directory}/scratch")), &root, &Silent);
    eprintln!("total {:?}", start.elapsed());
    match unpacked {
        Err(error) => panic!("{:?}", crate::failure::Failure::from(error)),
        Ok(u) => {
            eprintln!(
                "{} packages {} entries {} bytes {} conffiles",
                u.packages.len(),
                u.tree.iter().count(),
                u.bytes,
                u.conffiles.len()
            );
            for s in u.set_id {
                eprintln!("{:o} {} {}", s.mode, s.path, s.owner);
            }
        }
    }
}
