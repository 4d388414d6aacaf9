//! A policy refuses what it is about and nothing else, and says what is excepted.

use std::path::Path;

use goni_model::policy::Component;

use super::*;
use crate::bill::sample;
use crate::host::files;
use crate::host::project::ProjectFiles;
use crate::project;

/// The project of the virtual machine with a policy, its lock, and a small bill.
fn case(policy: LicencePolicy) -> (Project, Lock, Bill) {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/qemu-x86_64.toml");
    let mut project = project::load(&ProjectFiles, &recipe).unwrap();
    project.recipe.licences = policy;
    let text = files::read_text(&recipe.with_extension("lock"), 1 << 20).unwrap();
    let mut lock: Lock = text.parse().unwrap();
    lock.request.packages = vec!["vendor-tool (>= 1)".to_owned(), "firmware-x".to_owned()];
    (project, lock, sample::bill())
}

/// What a policy finds: package and fault, those excepted with the reason behind.
fn found(policy: LicencePolicy) -> Vec<String> {
    let (project, lock, bill) = case(policy);
    let told = |breaches: Vec<Breach>| {
        let line = |breach: Breach| {
            let excepted = breach.excepted.map(|why| format!(" [{why}]")).unwrap_or_default();
            format!("{}: {}; {}{excepted}", breach.package, breach.what.join(", "), breach.brought_by)
        };
        breaches.into_iter().map(line).collect()
    };
    match judge(&project, &lock, &bill) {
        Ok(excepted) => told(excepted),
        Err(PolicyError::Breached { breaches }) => told(breaches),
    }
}

fn deny(patterns: &[&str]) -> LicencePolicy {
    LicencePolicy {
        deny: patterns.iter().map(|it| it.parse().unwrap()).collect(),
        ..LicencePolicy::default()
    }
}

#[test]
fn nothing_said_is_nothing_refused() {
    assert_eq!(found(LicencePolicy::default()), Vec::<String>::new());
    assert_eq!(found(deny(&["MIT", "GPL-3.0-or-later", "LicenseRef-Other-*"])), Vec::<String>::new());
}

#[test]
fn a_denied_licence_is_named_with_its_file_and_what_brought_it() {
    let gcc = "libstdc++6: licence `GPL-3+ with GCC-Runtime exception` (GPL-3.0-or-later WITH GCC-exception-3.1) \
               of `/usr/share/doc/libstdc++6/copyright`, denied by `policy.licences.deny[GPL-3*]`; \
               brought by `debian.local`: `vendor-tool` needs `libstdc++6`";
    assert_eq!(found(deny(&["GPL-3*"])), [gcc]);
    for pattern in ["Vendor", "LicenseRef-Vendor", "LicenseRef-Vendor-12345678", "LicenseRef-*"] {
        let expected = format!(
            "vendor-tool: licence `Vendor` of `/usr/share/doc/vendor-tool/copyright`, denied by \
             `policy.licences.deny[{pattern}]`; brought by `debian.local`: `vendor-tool`"
        );
        assert_eq!(found(deny(&[pattern])), [expected]);
    }
}

#[test]
fn components_that_are_not_listed_are_refused() {
    let allowed = |components: &[Component]| LicencePolicy {
        allow_components: Some(components.iter().copied().collect()),
        ..LicencePolicy::default()
    };
    let all_but = |component: Component| -> Vec<String> {
        let rest: Vec<Component> = Component::ALL.into_iter().filter(|it| *it != component).collect();
        found(allowed(&rest)).iter().map(|line| line.split(';').next().unwrap().to_owned()).collect()
    };
    let key = "`policy.licences.allow-components[main]`";
    assert_eq!(
        all_but(Component::Vendor),
        [format!("vendor-tool: component `vendor`, which {key} does not list")]
    );
    assert_eq!(all_but(Component::Local), [format!("loose: component `local`, which {key} does not list")]);
    assert_eq!(
        all_but(Component::NonFreeFirmware),
        [format!("firmware-x: component `non-free-firmware`, which {key} does not list")]
    );
    // The module was built from a package of main, and no other of its build counts.
    let without_main: Vec<String> = found(allowed(&[Component::Vendor]));
    assert!(without_main.iter().any(|it| it.starts_with("foo-dkms: component `main`")), "{without_main:#?}");
    assert!(!without_main.iter().any(|it| it.starts_with("gcc-14:")), "{without_main:#?}");
}

#[test]
fn what_is_not_declared_is_refused_where_the_recipe_says_so() {
    let policy = LicencePolicy { deny_undeclared: true, ..LicencePolicy::default() };
    let names: Vec<String> =
        found(policy).iter().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["firmware-x", "loose"]);
}

#[test]
fn what_is_excepted_is_told_with_its_reason() {
    let mut policy = deny(&["Vendor"]);
    policy.except.insert("vendor-tool".parse().unwrap(), "we have a contract".to_owned());
    let found = found(policy.clone());
    assert!(matches!(&found[..], [line] if line.ends_with("[we have a contract]")), "{found:?}");
    let (project, lock, mut bill) = case(policy);
    bill.except(&judge(&project, &lock, &bill).unwrap());
    let excepted: Vec<&str> = bill.packages.iter().filter_map(|it| it.excepted.as_deref()).collect();
    assert!(matches!(excepted[..], [one] if one.ends_with(": we have a contract")), "{excepted:?}");
}

#[test]
fn the_way_out_names_the_package() {
    let (project, lock, bill) = case(deny(&["Vendor"]));
    let error = judge(&project, &lock, &bill).unwrap_err();
    assert_eq!(error.class().exit_code(), 7);
    let hint = error.hint().unwrap();
    assert!(hint.contains("[policy.licences.except] vendor-tool"), "{hint}");
    let text = error.to_string();
    assert!(text.contains("does not allow\npackage `vendor-tool` 2~b+c: licence `Vendor`"), "{text}");
}

/// Keeps what it is warned of.
#[derive(Debug, Default)]
struct Heard(std::sync::Mutex<Vec<String>>);

impl Progress for Heard {
    fn begin(&self, _: &'static str, _: Option<u64>, _: crate::progress::Unit) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn end(&self, _: &'static str, _: &str) {}
    fn warn(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

#[test]
fn builds_say_what_nobody_can_know_and_what_is_missing() {
    let heard = |policy: LicencePolicy| {
        let (project, lock, bill) = case(policy);
        let heard = Heard::default();
        confess(&project, &bill, &judge(&project, &lock, &bill).unwrap(), &heard);
        heard.0.into_inner().unwrap()
    };
    let absent = "no copyright file, which most licences want to go along: loose";
    assert_eq!(heard(LicencePolicy::default()), [absent]);
    let mut policy = deny(&["MIT"]);
    policy.except.insert("vendor-tool".parse().unwrap(), "why not".to_owned());
    let needless = "package `vendor-tool` is excepted by `policy.licences.except`, and need not be";
    let unknown = "`policy.licences.deny` says nothing of packages whose copyright files declare no licence by name: \
                   firmware-x, loose";
    assert_eq!(heard(policy), [needless, absent, unknown]);
}
