//! The command line from outside: exact messages, exit codes, and that nothing is written.
#![expect(clippy::disallowed_methods, reason = "these tests start the program and read its goldens")]
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use goni_compose::host::project::ProjectFiles;
use goni_compose::project;

/// The program, in a folder, without the caller's terminal settings.
fn goni_compose(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_goni-compose"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .output()
        .unwrap()
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Every path below a folder.
fn paths(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

/// A project with one board and one overlay.
fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let bad = here().join("tests/bad/recipe");
    for path in ["firmware/board/target.toml", "overlays/base/overlay.toml"] {
        fs::create_dir_all(folder.path().join(path).parent().unwrap()).unwrap();
        fs::copy(bad.join(path), folder.path().join(path)).unwrap();
    }
    fs::create_dir(folder.path().join("recipes")).unwrap();
    folder
}

const GOOD: &str = "schema = 1\nname = \"test\"\nversion = \"1\"\ntarget = \"board\"\n";

#[test]
fn every_bad_recipe_is_refused_with_its_exact_message() {
    let folder = here().join("tests/bad/recipe");
    let before = paths(&folder);
    let mut checked = 0;
    for recipe in before.iter().filter(|path| path.parent() == Some(&*folder)) {
        if recipe.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = recipe.file_name().unwrap().to_str().unwrap();
        let output = goni_compose(&folder, &["check", name]);
        let expected = fs::read_to_string(recipe.with_extension("stderr")).unwrap();
        assert_eq!(text(&output.stderr), expected, "{name}");
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert_eq!(text(&output.stdout), "", "{name}");
        checked += 1;
    }
    assert!(checked > 50, "{checked}");
    assert_eq!(paths(&folder), before);
}

#[test]
fn a_good_recipe_is_said_to_be_good() {
    let project = project();
    fs::write(project.path().join("recipes/test.toml"), GOOD).unwrap();
    let output = goni_compose(project.path(), &["check", "recipes/test.toml"]);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(text(&output.stdout), "test 1 for board (amd64): good\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_byte_order_mark_and_crlf_are_accepted() {
    let project = project();
    let recipe = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
    fs::write(project.path().join("recipes/test.toml"), recipe).unwrap();
    let output = goni_compose(project.path(), &["check", "recipes/test.toml"]);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn every_value_names_the_file_line_and_column_it_comes_from() {
    let project = project();
    let base = "schema = 1\n[debian]\npackages = [\"nano\", \"vim\"]\n[swap]\nsize = \"1GiB\"\n";
    let over = "extends = \"base.toml\"\n[debian]\npackages = [\"...\", \"curl\"]\n[swap]\nsize = \"none\"\n";
    fs::write(project.path().join("recipes/base.toml"), base).unwrap();
    fs::write(project.path().join("recipes/test.toml"), format!("{GOOD}{over}")).unwrap();
    let output = goni_compose(project.path(), &["check", "--origins", "recipes/test.toml"]);
    assert_eq!(text(&output.stderr), "");
    let shown: Vec<Vec<&str>> = text(&output.stdout)
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|s| !s.is_empty()).collect())
        .collect();
    for line in [
        ["debian.packages[nano] = \"nano\"", "# recipes/base.toml:3:13"],
        ["debian.packages[curl] = \"curl\"", "# recipes/test.toml:7:20"],
        ["swap.size = \"none\"", "# recipes/test.toml:9:8"],
        ["root.filesystem = \"erofs\"", "# default"],
        ["root.verity = true", "# default"],
    ] {
        assert!(shown.iter().any(|found| *found == line), "{line:?} in {shown:#?}");
    }
}

#[test]
fn huge_and_deep_recipes_are_refused_at_once() {
    let project = project();
    let recipe = project.path().join("recipes/test.toml");
    fs::write(&recipe, "#".repeat(10 << 20)).unwrap();
    let output = goni_compose(project.path(), &["check", "recipes/test.toml"]);
    assert_eq!(
        text(&output.stderr),
        "error: checking `recipes/test.toml`\ncaused by: reading `recipes/test.toml`\n\
         caused by: more than 1048576 bytes, which no file of a project has\n"
    );
    assert_eq!(output.status.code(), Some(2));
    fs::write(&recipe, format!("{GOOD}x = {}{}\n", "[".repeat(10_000), "]".repeat(10_000))).unwrap();
    let output = goni_compose(project.path(), &["check", "recipes/test.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("error: cannot recurse further"), "{}", text(&output.stderr));
}

#[test]
fn a_pipe_or_a_folder_is_no_recipe() {
    let project = project();
    nix::unistd::mkfifo(&project.path().join("recipes/pipe.toml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in ["recipes/pipe.toml", "recipes"] {
        let output = goni_compose(project.path(), &["check", path]);
        assert_eq!(
            text(&output.stderr),
            format!("error: checking `{path}`\ncaused by: reading `{path}`\ncaused by: not a regular file\n")
        );
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn a_missing_recipe_names_its_nearest_neighbour() {
    let project = project();
    fs::write(project.path().join("recipes/test.toml"), GOOD).unwrap();
    let output = goni_compose(project.path(), &["check", "recipes/tset.toml"]);
    assert_eq!(
        text(&output.stderr),
        "error: checking `recipes/tset.toml`\ncaused by: reading recipe `recipes/tset.toml`\n\
         caused by: No such file or directory (os error 2)\nhint: did you mean `recipes/test.toml`?\n"
    );
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_link_that_leads_out_of_the_project_is_refused() {
    let project = project();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("base.toml"), "schema = 1\n").unwrap();
    symlink(outside.path(), project.path().join("recipes/link")).unwrap();
    fs::write(project.path().join("recipes/test.toml"), format!("{GOOD}extends = \"link/base.toml\"\n"))
        .unwrap();
    let output = goni_compose(project.path(), &["check", "recipes/test.toml"]);
    assert!(
        text(&output.stderr).starts_with("error: `link/base.toml` leads out of the project\n"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn usage_that_is_wrong_exits_with_2_and_help_with_0() {
    for arguments in [&["chekc"][..], &[], &["check"], &["build", "x.toml", "--payload", "x"]] {
        let output = goni_compose(&here(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&output.stdout), "");
    }
    let output = goni_compose(&here(), &["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("Usage: goni-compose"));
}

#[test]
fn a_closed_pipe_is_nobodys_fault() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_goni-compose"))
        .arg("schema")
        .env_clear()
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(text(&status.stderr), "");
    assert_eq!(status.status.code(), Some(0));
}

#[test]
fn schemas_are_deterministic_and_name_every_table() {
    for (kind, key) in [
        ("recipe", "swap"),
        ("target", "qemu"),
        ("overlay", "mask"),
        ("rules", "rule"),
        ("gpu", "packages"),
        ("check", "mutation"),
        ("scenario", "boot"),
        ("machine", "iommu-device"),
    ] {
        let first = goni_compose(&here(), &["schema", kind]).stdout;
        assert_eq!(first, goni_compose(&here(), &["schema", kind]).stdout);
        let schema: serde_json::Value = serde_json::from_slice(&first).unwrap();
        assert!(schema["properties"][key]["description"].is_string(), "{kind}");
        assert_eq!(schema["additionalProperties"], false);
        assert!(!text(&first).contains("null"), "{kind}");
    }
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let output = goni_compose(&here(), &["completions", shell]);
        assert!(text(&output.stdout).contains("toolbox"), "{shell}");
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn every_recipe_and_target_of_the_project_is_well_formed() {
    let shelf = project::shelf(&ProjectFiles, &here()).unwrap();
    assert!(shelf.recipes.len() > 3 && shelf.targets.len() > 3, "{shelf:?}");
    for recipe in &shelf.recipes {
        let loaded = project::load(&ProjectFiles, recipe).unwrap();
        assert!(shelf.targets.contains(loaded.recipe.target.as_str()));
    }
    for name in &shelf.targets {
        project::target(&ProjectFiles, &shelf, &name.parse().unwrap()).unwrap();
    }
}

#[test]
fn a_new_target_is_like_another_and_never_in_the_place_of_one() {
    let project = project();
    let path = project.path().join("firmware/desk/target.toml");
    let output = goni_compose(project.path(), &["target", "new", "desk", "--from", "board"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let written = fs::read_to_string(&path).unwrap();
    assert!(written.contains("\nextends = \"board\"\n"), "{written}");
    // It can be used as it is.
    let recipe = GOOD.replace("\"board\"", "\"desk\"");
    fs::write(project.path().join("recipes/test.toml"), recipe).unwrap();
    let output = goni_compose(project.path(), &["check", "recipes/test.toml"]);
    assert_eq!(text(&output.stdout), "test 1 for desk (amd64): good\n");

    fs::write(&path, written.replace("extends", "# mine\nextends")).unwrap();
    let before = paths(project.path());
    for (name, from, said) in [
        ("desk", "board", "there is a target `desk` already"),
        ("tower", "bord", "there is no target `bord` in `firmware/`"),
        ("../tower", "board", "is not a name"),
    ] {
        let output = goni_compose(project.path(), &["target", "new", name, "--from", from]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
    assert_eq!(paths(project.path()), before);
    assert!(fs::read_to_string(&path).unwrap().contains("# mine"));
    let elsewhere = tempfile::tempdir().unwrap();
    let output = goni_compose(elsewhere.path(), &["target", "new", "desk", "--from", "board"]);
    assert!(text(&output.stderr).contains("no project around"), "{}", text(&output.stderr));
}

#[test]
fn a_target_is_checked_without_a_recipe() {
    let project = project();
    let output = goni_compose(project.path(), &["target", "check", "board"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.starts_with("board (amd64): a board for tests\nremark: no [[expect]]"), "{said}");
    assert!(said.ends_with("shows how its image fits the board\n"), "{said}");
}

#[test]
fn digests_are_signed_and_the_key_shows_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let secret = pair.sk.to_box(None).unwrap().into_string();
    let public = pair.pk.to_box().unwrap().into_string();
    fs::create_dir(folder.path().join("out")).unwrap();
    let sums = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae  a.raw\n";
    fs::write(folder.path().join("out/SHA256SUMS"), sums).unwrap();
    fs::write(folder.path().join("key"), &secret).unwrap();
    fs::write(folder.path().join("out/a.raw"), "fooo").unwrap();
    let sign = || goni_compose(folder.path(), &["sign", "--key", "key"]);
    let refused = sign();
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("`a.raw` is "), "{}", text(&refused.stderr));
    fs::write(folder.path().join("out/a.raw"), "foo").unwrap();
    let output = sign();
    assert_eq!(text(&output.stdout), "out/SHA256SUMS.minisig  signs 1 files\n");
    let signature = fs::read_to_string(folder.path().join("out/SHA256SUMS.minisig")).unwrap();
    let decoded = minisign_verify::Signature::decode(&signature).unwrap();
    let key = minisign_verify::PublicKey::decode(&public).unwrap();
    key.verify(sums.as_bytes(), &decoded, false).unwrap();
    let line = secret.lines().nth(1).unwrap();
    assert!(![text(&output.stderr), text(&output.stdout), &signature].iter().any(|it| it.contains(line)));
    let found = paths(&folder.path().join("out"));
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn a_machine_is_drafted_from_its_sys_and_proc() {
    let machine = tempfile::tempdir().unwrap();
    let root = machine.path();
    let write = |path: &str, content: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    let link = |path: &str, to: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(root.join(to), path).unwrap();
    };
    let disk = "sys/devices/pci0000:00/0000:01:00.0";
    let port = "sys/devices/pci0000:00/0000:00:1c.0";
    write(&format!("{disk}/modalias"), "pci:v0000144Dd0000A808sv0000144Dsd0000A801bc01sc08i02\n");
    write(&format!("{disk}/nvme/nvme0/nvme0n1/nvme0n1p2/dev"), "259:2\n");
    write(&format!("{port}/modalias"), "pci:v00008086d0000A33Csv00000000sd00000000bc06sc04i00\n");
    write("sys/devices/virtual/block/dm-0/dev", "254:0\n");
    link("sys/devices/virtual/block/dm-0/slaves/nvme0n1p2", &format!("{disk}/nvme/nvme0/nvme0n1/nvme0n1p2"));
    link("sys/dev/block/254:0", "sys/devices/virtual/block/dm-0");
    for (device, driver) in [(disk, "nvme"), (port, "pcieport")] {
        fs::create_dir_all(root.join("sys/module").join(driver)).unwrap();
        link(&format!("sys/bus/pci/drivers/{driver}/module"), &format!("sys/module/{driver}"));
        link(&format!("{device}/driver"), &format!("sys/bus/pci/drivers/{driver}"));
        link(&format!("sys/bus/pci/devices/{}", device.rsplit('/').next().unwrap()), device);
    }
    write("sys/devices/platform/npu/modalias", "of:NnpuT(null)Cacme,npuCacme,any\n");
    write("sys/devices/platform/npu/of_node/compatible", "acme,npu\0acme,any\0");
    link("sys/bus/platform/devices/npu", "sys/devices/platform/npu");
    write("sys/class/tty/console/active", "ttyS1 tty0\n");
    write("sys/class/dmi/id/sys_vendor", "Acme\n");
    write("sys/class/dmi/id/product_name", "Desk \"2\"\n");
    write("proc/self/mountinfo", "22 1 254:0 / / ro,relatime - ext4 /dev/dm-0 ro\n");
    write("proc/modules", "nvme 61440 3 - Live 0x0\n");

    let output = goni_compose(root, &["target", "probe", "--root", root.to_str().unwrap()]);
    assert_eq!(text(&output.stderr), "");
    let draft = text(&output.stdout);
    for said in [
        "summary = \"Acme Desk 2\"",
        "console = \"ttyS1,115200\"",
        "name = \"nvme\"\nmodalias = [\n    \"pci:v0000144Dd0000A808sv0000144Dsd0000A801bc01sc08i02\",\n]\nroot = true",
        "# The root was reached through: nvme.",
        "#   acme,npu",
    ] {
        assert!(draft.contains(said), "{said} in\n{draft}");
    }
    assert!(!draft.contains("pcieport"), "{draft}");
    // A draft is a target.
    let project = project();
    fs::create_dir_all(project.path().join("firmware/drafted")).unwrap();
    let draft = draft.replace("generic-x86_64", "board").replace("generic-aarch64", "board");
    fs::write(project.path().join("firmware/drafted/target.toml"), draft).unwrap();
    let output = goni_compose(project.path(), &["target", "check", "drafted"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    let output = goni_compose(root, &["target", "probe", "--root", "nowhere"]);
    assert_eq!(output.status.code(), Some(6));
}
