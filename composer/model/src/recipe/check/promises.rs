//! What a recipe says of the network, the service and hardening.

use crate::document::checker::Checker;
use crate::recipe::doc::{HardeningDoc, NetworkDoc, ServiceDoc};
use crate::recipe::{Hardening, LockMemory, Lockdown, Network, Service};

pub(super) fn network(doc: Option<&NetworkDoc>, checker: &mut Checker) -> Network {
    Network { open: checker.set(doc.and_then(|doc| doc.open.as_ref())) }
}

pub(super) fn service(doc: Option<&ServiceDoc>, checker: &mut Checker) -> Service {
    let lock_memory = match doc.and_then(|doc| doc.lock_memory.as_ref()) {
        None => {
            checker.default_text("service.lock-memory", "unlimited");
            LockMemory::Unlimited
        }
        Some(text) if text.get_ref() == "unlimited" => LockMemory::Unlimited,
        Some(text) => checker.parse(text).map_or(LockMemory::Unlimited, LockMemory::Most),
    };
    Service { lock_memory }
}

pub(super) fn hardening(doc: Option<&HardeningDoc>, checker: &mut Checker) -> Hardening {
    let none = HardeningDoc::default();
    let doc = doc.unwrap_or(&none);
    let mut switch = |typed: Option<bool>, key: &str| {
        typed.unwrap_or_else(|| checker.default(&format!("hardening.{key}"), false))
    };
    Hardening {
        init_on_free: switch(doc.init_on_free, "init-on-free"),
        no_smt: switch(doc.no_smt, "no-smt"),
        signed_modules: switch(doc.signed_modules, "signed-modules"),
        no_user_namespaces: switch(doc.no_user_namespaces, "no-user-namespaces"),
        lockdown: checker.choose(
            doc.lockdown.as_ref(),
            "hardening.lockdown",
            [Lockdown::None, Lockdown::Integrity, Lockdown::Confidentiality].map(|it| (it.name(), it)),
        ),
    }
}
