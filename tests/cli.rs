//! The command line from outside: exact messages, exit codes, and that nothing is written.
#![expect(clippy::disallowed_methods, reason = "these tests start the program and read its goldens")]
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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
    for (kind, key) in [("recipe", "swap"), ("target", "qemu"), ("overlay", "mask")] {
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

/// The names of the graphics drivers.
fn drivers() -> std::collections::BTreeSet<String> {
    let files = paths(&here().join("firmware/_gpu"));
    files.iter().filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
}

#[test]
fn every_recipe_and_target_of_the_project_is_well_formed() {
    let known = goni_model::recipe::Known {
        targets: names_of(&here().join("firmware")),
        overlays: names_of(&here().join("overlays")),
        drivers: drivers(),
    };
    let mut recipes = 0;
    for path in paths(&here().join("recipes")) {
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let mut sources = goni_model::document::source::Sources::new();
        let mut chain = Vec::new();
        let mut next = Some(path.clone());
        while let Some(path) = next {
            let (file, good) = sources.add(path.display().to_string(), &fs::read(&path).unwrap());
            assert!(good);
            chain.push(file);
            let extends = goni_model::recipe::inspect(&sources, file).unwrap();
            next = extends.map(|text| path.with_file_name(text.get_ref()));
        }
        // What others extend need not be whole by itself.
        if path.parent().unwrap().ends_with("recipes") {
            let (recipe, _) = goni_model::recipe::check(&sources, &chain, &known).unwrap();
            assert!(known.targets.contains(recipe.target.as_str()));
            recipes += 1;
        }
    }
    assert!(recipes > 0);
    for name in &known.targets {
        let mut sources = goni_model::document::source::Sources::new();
        let (mut chain, mut next) = (Vec::new(), Some(name.clone()));
        while let Some(name) = next {
            let path = here().join("firmware").join(&name).join("target.toml");
            let (file, _) = sources.add(name, &fs::read(path).unwrap());
            chain.push(file);
            let extends = goni_model::target::inspect(&sources, file).unwrap();
            next = extends.map(|text| text.into_inner());
        }
        goni_model::target::check(&sources, &chain, name.parse().unwrap()).unwrap();
    }
    assert!(known.targets.contains("qemu-x86_64"));
}

/// The folders of a folder.
fn names_of(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let folders = entries.filter(|entry| entry.path().is_dir());
    // What begins so is shared by several.
    let names = folders.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('_')).collect()
}
