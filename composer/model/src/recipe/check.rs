//! From a recipe as typed to a recipe as meant: formats, limits, defaults, and words that contradict.

mod archive;
mod persist;
mod promises;
mod words;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use toml::Spanned;

use crate::document::checker::{Checker, Text};
use crate::document::fault::Fault;
use crate::document::source::Span;
use crate::gpu;
use crate::modules;
use crate::modules::extra::{self, ExtraDoc};
use crate::name::{Name, SuiteName};
use crate::policy;
use crate::recipe::doc::{
    DebianDoc, KernelDoc, OutputDoc, PayloadDoc, RecipeDoc, RootDoc, SourceDoc, StateDoc, SwapDoc,
};
use crate::recipe::{
    Compression, Debian, Esp, Hardening, Iommu, Kernel, Known, Output, OutputFormat, Payload, PayloadSource,
    Qcow2Compression, Recipe, Root, RootFilesystem, State, StateEncryption, Suite, Swap, WithoutTpm,
};
use crate::size::{Alignment, ByteCount, SectorSize};

pub(crate) use words::command_line;

/// The least size of the EFI system partition. Source: what Jetson's firmware asks for, and room for
/// two unified kernel images beside a third that is being written.
const ESP_LEAST: ByteCount = ByteCount::from_mib(512);

/// The most any one partition may have when built: images are shipped, and a larger one is a mistake.
const PARTITION_MOST: ByteCount = ByteCount::new(2 << 40);

const ROOT_DEFAULT: ByteCount = ByteCount::from_mib(1024);
const STATE_DEFAULT: ByteCount = ByteCount::from_mib(512);

/// Checks a merged recipe; `None` goes with at least one fault in the checker.
pub(super) fn check(doc: &RecipeDoc, known: &Known, checker: &mut Checker) -> Option<Recipe> {
    let name = checker.parse_required(doc.name.as_ref(), "name", "such as name = \"goni-qemu\"");
    let version = checker.parse_required(doc.version.as_ref(), "version", "such as version = \"0.1.0\"");
    let target_text = checker.require(doc.target.as_ref(), "target", "name a folder below firmware/");
    let target = target_text.and_then(|text| {
        checker.known(text, "target", known.targets.iter().map(String::as_str));
        checker.parse::<Name>(text)
    });
    let overlays = doc.overlays.as_deref().unwrap_or_default();
    for text in overlays {
        checker.known(text, "overlay", known.overlays.iter().map(String::as_str));
    }
    let overlays = checker.list(overlays);
    let debian = debian(doc.debian.as_ref().unwrap_or(&DebianDoc::default()), checker);
    let archives = archive::archives(doc.archive.as_deref().unwrap_or_default(), checker);
    let payloads = payloads(doc.payload.as_ref().unwrap_or(&BTreeMap::new()), known, checker);
    let esp = esp(doc.esp.as_ref().and_then(|esp| esp.size.as_ref()), checker);
    let root = root(doc.root.as_ref().unwrap_or(&RootDoc::default()), checker);
    let swap = swap(doc.swap.as_ref(), checker);
    let state = state(doc.state.as_ref().unwrap_or(&StateDoc::default()), checker);
    let kernel = kernel(doc.kernel.as_ref(), checker);
    let gpu = gpu::check(doc.gpu.as_ref(), &known.drivers, checker);
    let network = promises::network(doc.network.as_ref(), checker);
    let service = promises::service(doc.service.as_ref(), checker);
    let hardening = promises::hardening(doc.hardening.as_ref(), checker);
    let overridden = doc.rules.as_ref().and_then(|rules| rules.overrides.as_ref());
    let overridden_rules = overridden_rules(overridden.unwrap_or(&BTreeMap::new()), known, checker);
    let licences = policy::check(doc.policy.as_ref(), checker);
    contradictions(doc, &debian, &hardening, checker);
    let output = output(doc.output.as_ref().unwrap_or(&OutputDoc::default()), checker);
    Some(Recipe {
        name: name?,
        version: version?,
        target: target?,
        overlays,
        debian,
        archives,
        payloads,
        esp,
        root,
        swap,
        state,
        kernel,
        gpu,
        network,
        service,
        hardening,
        overridden_rules,
        licences,
        output,
    })
}

fn debian(doc: &DebianDoc, checker: &mut Checker) -> Debian {
    let suite = checker.choose(doc.suite.as_ref(), "debian.suite", [("trixie", Suite::Trixie)]);
    let components = match &doc.components {
        Some(list) => components(list, checker),
        None => checker.default("debian.components", Joined(main_component())).0,
    };
    let packages = checker.set(doc.packages.as_ref());
    let exclude = checker.set(doc.exclude.as_ref());
    for text in doc.exclude.iter().flatten() {
        let wanted = doc.packages.iter().flatten().find(|wanted| wanted.get_ref() == text.get_ref());
        if let Some(wanted) = wanted {
            let message = format!("package `{}` is both wanted and excluded", text.get_ref());
            let fault = Fault::new(Span::from(text.span()), message);
            checker.fault(fault.related(Span::from(wanted.span()), "wanted here"));
        }
    }
    let provided = checker.set(doc.provided.as_ref());
    let recommends = doc.recommends.unwrap_or_else(|| checker.default("debian.recommends", false));
    let local = checker.set(doc.local.as_ref());
    Debian { suite, components, packages, exclude, provided, recommends, local }
}

fn main_component() -> Vec<SuiteName> {
    "main".parse().into_iter().collect()
}

fn components(list: &[Text], checker: &mut Checker) -> Vec<SuiteName> {
    checker.list(list)
}

fn payloads(
    docs: &BTreeMap<Text, PayloadDoc>,
    known: &Known,
    checker: &mut Checker,
) -> BTreeMap<Name, Payload> {
    let mut payloads: BTreeMap<Name, Payload> = BTreeMap::new();
    for (text, doc) in docs {
        let name = checker.parse::<Name>(text);
        let key = format!("payload.{}.path", text.get_ref().escape_debug());
        let path = checker.parse_required(doc.path.as_ref(), &key, "say where in the image it goes");
        let source = match &doc.source {
            Some(source) => payload_source(source, checker),
            None => Some(PayloadSource::Open),
        };
        let stand_in = doc.stand_in.as_ref().and_then(|text| {
            checker.known(text, "overlay", known.overlays.iter().map(String::as_str));
            checker.parse(text)
        });
        if let (Some(name), Some(path), Some(source)) = (name, path, source) {
            if let Some((other, _)) = payloads.iter().find(|(_, other)| other.path == path) {
                checker.fault_at(text, format!("payload `{name}` has the path of `{other}`, `{path}`"));
            }
            payloads.insert(name, Payload { path, source, stand_in });
        }
    }
    payloads
}

fn overridden_rules(
    docs: &BTreeMap<Text, Text>,
    known: &Known,
    checker: &mut Checker,
) -> BTreeMap<Name, String> {
    docs.iter()
        .filter_map(|(text, reason)| {
            checker.known(text, "rule", known.rules.iter().map(String::as_str));
            let key = format!("rules.override.{}", text.get_ref().escape_debug());
            Some((checker.parse(text)?, checker.sentence(Some(reason), &key)?))
        })
        .collect()
}

fn payload_source(doc: &Spanned<SourceDoc>, checker: &mut Checker) -> Option<PayloadSource> {
    let SourceDoc { file, url, sha256 } = doc.get_ref();
    match (file, url, sha256) {
        (Some(file), None, None) => checker.parse(file).map(PayloadSource::File),
        (None, Some(url), Some(sha256)) => {
            let (url, sha256) = (checker.parse(url), checker.parse(sha256));
            Some(PayloadSource::Url { url: url?, sha256: sha256? })
        }
        _ => {
            let fault = Fault::new(Span::from(doc.span()), "a payload comes from a file or from an address");
            checker.fault(fault.hint("write { file = … } or { url = …, sha256 = … }"));
            None
        }
    }
}

fn esp(size: Option<&Text>, checker: &mut Checker) -> Esp {
    let bytes = partition_size(size, "esp.size", ESP_LEAST, checker);
    if let Some(text) = size.filter(|_| bytes < ESP_LEAST) {
        checker.fault_at(text, format!("`esp.size` is {bytes}; the least is {ESP_LEAST}"));
    }
    Esp { size: bytes }
}

fn root(doc: &RootDoc, checker: &mut Checker) -> Root {
    let size = partition_size(doc.size.as_ref(), "root.size", ROOT_DEFAULT, checker);
    Root {
        filesystem: checker.choose(
            doc.filesystem.as_ref(),
            "root.filesystem",
            [("erofs", RootFilesystem::Erofs)],
        ),
        compression: checker.choose(
            doc.compression.as_ref(),
            "root.compression",
            [("zstd", Compression::Zstd), ("none", Compression::None)],
        ),
        size,
        budget: budget(doc.budget.as_ref(), size, checker),
        verity: doc.verity.unwrap_or_else(|| checker.default("root.verity", true)),
    }
}

/// How large the root may become: at least something, at most what fits.
fn budget(text: Option<&Text>, size: ByteCount, checker: &mut Checker) -> Option<ByteCount> {
    let Some(text) = text else {
        checker.default_text("root.budget", "none");
        return None;
    };
    if text.get_ref() == "none" {
        return None;
    }
    let budget: ByteCount = checker.parse(text)?;
    if budget == ByteCount::ZERO {
        checker.fault_at(text, "`root.budget` is nothing".to_owned());
    } else if budget > size {
        let message = format!("`root.budget` is {budget}, and only {size} fit into the partition");
        let fault = Fault::new(Span::from(text.span()), message);
        checker.fault(fault.hint("write less than `root.size`, or \"none\""));
    }
    Some(budget)
}

fn swap(doc: Option<&SwapDoc>, checker: &mut Checker) -> Swap {
    let Some(doc) = doc else {
        checker.default_text("swap.size", "none");
        return Swap::None;
    };
    if let Some(text) = doc.encryption.as_ref().filter(|text| text.get_ref() == "none") {
        let fault = Fault::new(Span::from(text.span()), "swap is never plaintext");
        checker.fault(fault.hint("write size = \"none\" for no swap at all"));
    } else {
        checker.choose(doc.encryption.as_ref(), "swap.encryption", [("random-key", ())]);
    }
    let hint = "such as size = \"2GiB\", or size = \"none\" for no swap";
    let Some(text) = checker.require(doc.size.as_ref(), "swap.size", hint) else { return Swap::None };
    if text.get_ref() == "none" {
        return Swap::None;
    }
    Swap::RandomKey { size: partition_size(Some(text), "swap.size", ByteCount::ZERO, checker) }
}

fn state(doc: &StateDoc, checker: &mut Checker) -> State {
    let size = partition_size(doc.size.as_ref(), "state.size", STATE_DEFAULT, checker);
    let choices = [("none", false), ("tpm2", true)];
    let encryption = match checker.choose(doc.encryption.as_ref(), "state.encryption", choices) {
        true => StateEncryption::Tpm2 {
            without_tpm: checker.choose(
                doc.without_tpm.as_ref(),
                "state.without-tpm",
                [("stop", WithoutTpm::Stop), ("plaintext", WithoutTpm::Plaintext)],
            ),
        },
        false => {
            if let Some(text) = &doc.without_tpm {
                let message = "`state.without-tpm` says nothing where the state is not encrypted";
                let fault = Fault::new(Span::from(text.span()), message);
                checker.fault(fault.hint("write encryption = \"tpm2\", or leave it out"));
            }
            StateEncryption::None
        }
    };
    State { size, encryption, persist: persist::persist(doc.persist.as_deref().unwrap_or_default(), checker) }
}

fn kernel(doc: Option<&KernelDoc>, checker: &mut Checker) -> Kernel {
    let words = doc.and_then(|doc| doc.command_line.as_deref()).unwrap_or_default();
    let iommu = checker.choose(
        doc.and_then(|doc| doc.iommu.as_ref()),
        "kernel.iommu",
        [Iommu::Lazy, Iommu::Strict, Iommu::Passthrough].map(|iommu| (iommu.name(), iommu)),
    );
    let modules = modules::check(doc.and_then(|doc| doc.modules.as_ref()), checker);
    let extra_modules = ExtraDoc {
        dkms: doc.and_then(|doc| doc.dkms.as_ref()),
        patches: doc.and_then(|doc| doc.dkms_patches.as_ref()),
        files: doc.and_then(|doc| doc.extra_modules.as_ref()),
        sources: doc.and_then(|doc| doc.module_sources.as_ref()),
    };
    let extra_modules = extra::check(extra_modules, checker);
    let module_key = doc.and_then(|doc| doc.module_key.as_ref()).and_then(|text| checker.parse(text));
    Kernel { command_line: command_line(words, checker), iommu, modules, extra_modules, module_key }
}

/// What two tables say that cannot both be: a package that is in the image and must not be, modules that
/// would never be loaded.
fn contradictions(doc: &RecipeDoc, debian: &Debian, hardening: &Hardening, checker: &mut Checker) {
    let Some(kernel) = &doc.kernel else { return };
    let listed = kernel.dkms.as_deref().unwrap_or_default();
    for text in listed {
        if debian.packages.iter().any(|package| package.as_str() == text.get_ref()) {
            let message =
                format!("package `{}` is both in `debian.packages` and in `kernel.dkms`", text.get_ref());
            let fault = Fault::new(Span::from(text.span()), message);
            checker.fault(fault.hint("the image has the modules; their source and a compiler stay outside"));
        }
    }
    let built = listed.iter().chain(kernel.module_sources.iter().flatten());
    if let Some(text) = built.into_iter().next().filter(|_| hardening.only_signed_modules())
        && kernel.module_key.is_none()
    {
        let message =
            format!("only signed modules are loaded, and nothing signs those of `{}`", text.get_ref());
        let fault = Fault::new(Span::from(text.span()), message);
        checker.fault(
            fault.hint("give `kernel.module-key`, or leave out `hardening.signed-modules` and `lockdown`"),
        );
    }
}

fn output(doc: &OutputDoc, checker: &mut Checker) -> Output {
    let choices = [("raw", OutputFormat::Raw), ("qcow2", OutputFormat::Qcow2)];
    let mut formats = Vec::new();
    match &doc.formats {
        None => {
            checker.default("output.formats", "[\"raw\"]");
            formats.push(OutputFormat::Raw);
        }
        Some(list) => {
            for text in list.get_ref() {
                let format = checker.choice(text, "output.formats", &choices);
                if format.is_some_and(|format| formats.contains(&format)) {
                    checker.fault_at(text, format!("`{}` is listed twice", text.get_ref()));
                }
                formats.extend(format);
            }
            if list.get_ref().is_empty() {
                let fault = Fault::new(Span::from(list.span()), "`output.formats` lists nothing");
                checker.fault(fault.hint("list at least one of `raw` and `qcow2`"));
            }
        }
    }
    formats.sort();
    let qcow2_compression = checker.choose(
        doc.qcow2_compression.as_ref(),
        "output.qcow2-compression",
        [("zstd", Qcow2Compression::Zstd), ("zlib", Qcow2Compression::Zlib)],
    );
    Output { formats, sector_sizes: sector_sizes(doc.sector_size.as_ref(), checker), qcow2_compression }
}

/// Sector sizes, each once, at least one.
fn sector_sizes(list: Option<&Spanned<Vec<Spanned<i64>>>>, checker: &mut Checker) -> Vec<SectorSize> {
    let Some(list) = list else {
        checker.default("output.sector-size", "[512]");
        return vec![SectorSize::B512];
    };
    let mut sizes = Vec::new();
    for number in list.get_ref() {
        let size = match number.get_ref() {
            512 => SectorSize::B512,
            4096 => SectorSize::B4096,
            other => {
                let message =
                    format!("`output.sector-size` lists {other}; disks have sectors of 512 or 4096 bytes");
                checker.fault_at(number, message);
                continue;
            }
        };
        if sizes.contains(&size) {
            checker.fault_at(number, format!("{} is listed twice", size.get()));
        }
        sizes.push(size);
    }
    if list.get_ref().is_empty() {
        let fault = Fault::new(Span::from(list.span()), "`output.sector-size` lists nothing");
        checker.fault(fault.hint("list at least one of 512 and 4096"));
    }
    sizes.sort();
    sizes
}

/// The size of a partition: a whole number of MiB, not none, not absurd.
fn partition_size(text: Option<&Text>, key: &str, default: ByteCount, checker: &mut Checker) -> ByteCount {
    let Some(text) = text else { return checker.default_text(key, default) };
    let Some(size) = checker.parse::<ByteCount>(text) else { return default };
    let problem = if size == ByteCount::ZERO {
        format!("`{key}` is nothing")
    } else if !size.is_multiple_of(Alignment::MIB) {
        format!("`{key}` is {size}, which is no whole number of MiB")
    } else if size > PARTITION_MOST {
        format!("`{key}` is {size}; the most is {PARTITION_MOST}")
    } else {
        return size;
    };
    checker.fault_at(text, problem);
    default
}

/// A default list, shown as TOML shows it.
struct Joined<T>(Vec<T>);

impl<T: Display + FromStr> Display for Joined<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[")?;
        for (index, item) in self.0.iter().enumerate() {
            write!(f, "{}\"{item}\"", if index == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}
