use super::*;
use crate::document::fault::Faults;

const DRIVER: &str = "summary = \"a driver\"\narch = [\"amd64\"]\ncomponents = [\"non-free-firmware\"]\nis = [\"amdgpu\"]\n\
    firmware.packages = [\"firmware-amd-graphics\"]\nmemory = { ttm = [\"pages_limit={pages}\"] }\n\
    kernel = { modules = { deny = [\"radeon\"] }, dkms = [\"own-dkms\"] }\n\
    compute.vulkan = { packages = [\"mesa-vulkan-drivers\"], files = [\"usr/share/vulkan/icd.d/radeon_icd*.json\"] }\n\
    compute.rocm = { packages = [\"rocm\"] }\n";

const TARGET: &str = "summary = \"a board\"\narch = \"amd64\"\nkernel = { package = \"linux-image-amd64\" }\n\
    gpu.drivers = [\"amdgpu\", \"none\"]\n";

fn driver(text: &str) -> Result<Driver, String> {
    let mut sources = Sources::new();
    let (file, _) = sources.add("amdgpu.toml", text.as_bytes());
    check_driver(&sources, file, "amdgpu".parse().unwrap())
        .map_err(|faults| Faults::new(sources, faults).to_string())
}

fn target(text: &str) -> Target {
    let mut sources = Sources::new();
    let (file, _) = sources.add("target.toml", text.as_bytes());
    crate::target::check(&sources, &[file], "board".parse().unwrap()).unwrap()
}

fn recipe(gpu: &str) -> Recipe {
    let text = format!(
        "schema = 1\nname = \"a\"\nversion = \"1\"\ntarget = \"board\"\n\
         debian.components = [\"main\", \"non-free-firmware\"]\n{gpu}\n"
    );
    let mut sources = Sources::new();
    let (file, _) = sources.add("recipe.toml", text.as_bytes());
    let known = recipe::Known {
        targets: ["board".to_owned()].into(),
        drivers: ["amdgpu".to_owned(), "nvidia-open".to_owned()].into(),
        ..recipe::Known::default()
    };
    recipe::check(&sources, &[file], &known).unwrap().0
}

fn merged(gpu: &str) -> Result<Target, Objection> {
    let (mut target, recipe) = (target(TARGET), recipe(gpu));
    let chosen = chosen(&target, &recipe.gpu)?;
    if chosen.is_some() {
        driver(DRIVER).unwrap().merge(&mut target, &recipe)?;
    }
    Ok(target)
}

#[test]
fn a_driver_brings_what_it_needs_below_what_the_target_says() {
    let target = merged("gpu.memory = \"112GiB\"").unwrap();
    assert_eq!(target.packages[0].as_str(), "mesa-vulkan-drivers");
    assert_eq!(target.firmware[0].as_str(), "firmware-amd-graphics");
    assert_eq!(target.modules.deny[0].as_str(), "radeon");
    assert_eq!(target.modules.options[&"ttm".parse().unwrap()][0].as_str(), "pages_limit=29360128");
    assert_eq!(target.extra_modules.dkms[0].as_str(), "own-dkms");
    let driven = target.gpu.unwrap();
    assert_eq!((driven.driver.as_str(), driven.modules[0].as_str()), ("amdgpu", "amdgpu"));
    assert_eq!(driven.files, ["usr/share/vulkan/icd.d/radeon_icd*.json"]);
    let target = merged("gpu.compute = [\"rocm\"]").unwrap();
    assert_eq!(target.packages[0].as_str(), "rocm");
    assert_eq!(merged("gpu.driver = \"none\"").unwrap().gpu, None);
}

#[test]
fn what_a_driver_or_a_target_cannot_do_is_refused() {
    for (gpu, message, hint) in [
        (
            "gpu.driver = \"nvidia-open\"",
            "target `board` cannot have the graphics driver `nvidia-open`",
            "its `gpu.drivers` lists amdgpu, none",
        ),
        (
            "gpu.compute = [\"cuda\"]",
            "the graphics driver `amdgpu` has no `cuda`",
            "`gpu.compute` may list rocm, vulkan",
        ),
        (
            "gpu.driver = \"none\"\ngpu.memory = \"1GiB\"",
            "`gpu.memory` says nothing where there is no `gpu.driver`",
            "name a driver, or leave it out",
        ),
    ] {
        let objection = merged(gpu).unwrap_err();
        assert_eq!((objection.message.as_str(), objection.hint.as_str()), (message, hint));
    }
    let (mut board, mut recipe) = (target(TARGET), recipe(""));
    recipe.debian.components.pop();
    let objection = driver(DRIVER).unwrap().merge(&mut board, &recipe).unwrap_err();
    assert_eq!(
        objection.message,
        "the graphics driver `amdgpu` needs component `non-free-firmware` of Debian"
    );
    assert_eq!(objection.hint, "write components = [\"main\", \"non-free-firmware\"] to `[debian]`");
}

#[test]
fn what_a_drivers_file_may_not_say() {
    for (text, message) in [
        (DRIVER.replace("{pages}", "7"), "`pages_limit=7` says nothing of how much"),
        (DRIVER.replace("summary", "sumary"), "unknown key `sumary`"),
        (DRIVER.replace("\"amd64\"", "\"amd46\""), "`amd46`"),
    ] {
        let error = driver(&text).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}
